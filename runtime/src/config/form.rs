//! The forms a text may have: how each is checked, described and put into the JSON Schema.
//!
//! A check sees one text and nothing else; its message says what was expected.

use std::net::SocketAddr;

use schemas::presets::Preset;

use super::nearest;
use super::units::{parse_length, parse_size};
use crate::expression::{Expression, LENGTH_MAX};
use crate::template::Template;

/// What a text looks like.
#[derive(Debug, Clone, Copy)]
pub(super) enum Form {
    /// Any text but an empty one.
    Any,
    /// Comma-separated `host:port`.
    Brokers,
    /// What a topic's name may begin with; may be empty.
    Prefix,
    /// What is safe in a group, a member's name and a transactional id.
    KafkaName,
    /// Name of a source.
    Name,
    /// Name of a preset.
    Provider,
    /// IP address and port.
    Address,
    /// `http://` or `https://` address.
    Url,
    /// An address with expressions in it.
    Template,
    /// An expression in CEL.
    Expression,
    /// A file or folder.
    Path,
    /// A JSON pointer.
    Pointer,
    /// Name of an HTTP header.
    Header,
    /// Event types with `*`.
    Glob,
    /// A length of time, from and to.
    Length(&'static str, &'static str),
    /// A size, from and to.
    Size(&'static str, &'static str),
    /// One of these.
    OneOf(&'static [&'static str]),
}

const KAFKA_NAME_CHARS: &str = "letters, digits, `.`, `_` and `-`";
/// Leaves room for the longest name behind it: a topic's name has 249 at most.
const PREFIX_LENGTH: usize = 128;
const NAME_LENGTH: usize = 63;

impl Form {
    /// Why this text does not have the form.
    pub(super) fn check(self, text: &str) -> Result<(), String> {
        match self {
            Self::Any | Self::Path => ensure(!text.is_empty(), || "must not be empty".to_owned()),
            Self::Brokers => brokers(text),
            Self::Prefix => ensure(text.len() <= PREFIX_LENGTH && text.chars().all(is_kafka_safe), || {
                format!("\"{text}\" cannot begin a topic's name: use at most {PREFIX_LENGTH} {KAFKA_NAME_CHARS}")
            }),
            Self::KafkaName => {
                let fits = (1..=NAME_LENGTH).contains(&text.len()) && text.chars().all(is_kafka_safe);
                ensure(fits, || format!("\"{text}\" is not a name: use 1 to {NAME_LENGTH} {KAFKA_NAME_CHARS}"))
            }
            Self::Name => name(text),
            Self::Provider => provider(text),
            Self::Address => ensure(text.parse::<SocketAddr>().is_ok(), || {
                format!("\"{text}\" is not an IP address and port, as in \"127.0.0.1:8080\"")
            }),
            Self::Url => url(text),
            Self::Template => Template::parse(text).map(drop),
            Self::Expression => Expression::compile(text).map(drop),
            Self::Pointer => pointer(text),
            Self::Header => ensure(http::HeaderName::from_bytes(text.as_bytes()).is_ok(), || {
                format!("\"{text}\" is not the name of an HTTP header")
            }),
            Self::Glob => ensure((1..=256).contains(&text.len()) && !text.contains(char::is_whitespace), || {
                format!("\"{text}\" is not an event type with `*`: use 1 to 256 characters without white space")
            }),
            Self::Length(from, to) => range(text, from, to, parse_length),
            Self::Size(from, to) => range(text, from, to, parse_size),
            Self::OneOf(choices) => one_of(text, choices),
        }
    }

    /// For the reference: type and range.
    pub(super) fn describe(self) -> (String, String) {
        let plain = |kind: &str, range: &str| (kind.to_owned(), range.to_owned());
        match self {
            Self::Any => plain("text", "not empty"),
            Self::Brokers => plain("text", "`host:port,host:port`"),
            Self::Prefix => plain("text", "up to 128 of `A-Z a-z 0-9 . _ -`"),
            Self::KafkaName => plain("text", "1 to 63 of `A-Z a-z 0-9 . _ -`"),
            Self::Name => plain("text", "1 to 63 of `a-z 0-9 -`"),
            Self::Provider => plain("text", "a preset"),
            Self::Address => plain("text", "`address:port`"),
            Self::Url => plain("text", "`http://…` or `https://…`"),
            Self::Template => plain("address", "`http://…` or `https://…`, with `{expression}` behind the host"),
            Self::Expression => plain("expression", "CEL, up to 4 KiB"),
            Self::Path => plain("path", "not empty"),
            Self::Pointer => plain("JSON pointer", "begins with `/`, or empty"),
            Self::Header => plain("header name", "any case"),
            Self::Glob => plain("text", "1 to 256 characters"),
            Self::Length(from, to) => ("time".to_owned(), format!("`{from}` to `{to}`")),
            Self::Size(from, to) => ("size".to_owned(), format!("`{from}` to `{to}`")),
            Self::OneOf(choices) => ("text".to_owned(), format!("`{}`", choices.join("`, `"))),
        }
    }

    /// For the JSON Schema: what editors can check while typing.
    pub(super) fn schema(self) -> serde_json::Value {
        let pattern = |pattern: &str| serde_json::json!({ "type": "string", "pattern": pattern });
        match self {
            Self::Any | Self::Path => serde_json::json!({ "type": "string", "minLength": 1 }),
            Self::Brokers => pattern("^[^,:\\s]+:[0-9]+(,[^,:\\s]+:[0-9]+)*$"),
            Self::Prefix => pattern("^[A-Za-z0-9._-]{0,128}$"),
            Self::KafkaName => pattern("^[A-Za-z0-9._-]{1,63}$"),
            Self::Name => pattern("^[a-z0-9-]{1,63}$"),
            Self::Provider => serde_json::json!({ "enum": Preset::all().iter().map(|p| p.name).collect::<Vec<_>>() }),
            Self::Address => pattern(":[0-9]+$"),
            Self::Url | Self::Template => pattern("^https?://"),
            Self::Expression => serde_json::json!({ "type": "string", "minLength": 1, "maxLength": LENGTH_MAX }),
            Self::Pointer => pattern("^(/([^~]|~[01])*)?$"),
            Self::Header => pattern("^[!#$%&'*+.^_`|~0-9A-Za-z-]+$"),
            Self::Glob => pattern("^\\S{1,256}$"),
            Self::Length(..) => pattern("^(0|[1-9][0-9]*)(ms|s|m|h|d)$"),
            Self::Size(..) => pattern("^(0|[1-9][0-9]*)(B|KiB|MiB|GiB)$"),
            Self::OneOf(choices) => serde_json::json!({ "enum": choices }),
        }
    }
}

fn ensure(holds: bool, message: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(message()) }
}

fn is_kafka_safe(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')
}

fn range<T: PartialOrd>(
    text: &str,
    from: &str,
    to: &str,
    parse: impl Fn(&str) -> Result<T, String>,
) -> Result<(), String> {
    let value = parse(text)?;
    ensure(value >= parse(from)? && value <= parse(to)?, || format!("\"{text}\" is out of range: {from} to {to}"))
}

fn one_of(text: &str, choices: &[&str]) -> Result<(), String> {
    ensure(choices.contains(&text), || {
        let known = format!("\"{text}\" is not one of {}", choices.join(", "));
        nearest::hint(known, text, choices.iter().copied())
    })
}

fn name(text: &str) -> Result<(), String> {
    let is_safe = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    ensure((1..=NAME_LENGTH).contains(&text.len()) && text.chars().all(is_safe), || {
        format!("\"{text}\" is not a name: use 1 to {NAME_LENGTH} lower-case letters, digits and `-`")
    })
}

fn provider(text: &str) -> Result<(), String> {
    ensure(Preset::find(text).is_some(), || {
        let known: Vec<&str> = Preset::all().iter().map(|preset| preset.name).collect();
        let message = format!("there is no preset \"{text}\": known are {}", known.join(", "));
        nearest::hint(message, text, known)
    })
}

fn brokers(text: &str) -> Result<(), String> {
    let is_broker = |broker: &str| {
        broker.rsplit_once(':').is_some_and(|(host, port)| {
            !host.is_empty() && !host.contains(char::is_whitespace) && port.parse::<u16>().is_ok_and(|port| port > 0)
        })
    };
    ensure(text.split(',').all(is_broker), || {
        format!("\"{text}\" is not a list of brokers: write host:port, separated by commas")
    })
}

fn url(text: &str) -> Result<(), String> {
    let uri = text.parse::<http::Uri>().ok();
    let fits = uri.is_some_and(|uri| matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some());
    ensure(fits, || format!("\"{text}\" is not an address: write it with http:// or https://"))
}

fn pointer(text: &str) -> Result<(), String> {
    ensure(text.is_empty() || text.starts_with('/'), || {
        format!("\"{text}\" is not a JSON pointer: it begins with \"/\", as in \"/data/id\"")
    })?;
    let escapes = text.split('~').skip(1).all(|rest| rest.starts_with(['0', '1']));
    ensure(escapes, || format!("\"{text}\" is not a JSON pointer: \"~\" is written \"~0\", and \"/\" in a name \"~1\""))
}
