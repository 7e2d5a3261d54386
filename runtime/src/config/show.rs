//! The effective configuration as TOML: every key with the value in force, secrets as `***`.
//!
//! What it prints can be read back (with secrets put in again): a test does. It walks the table of keys,
//! so a key without a value here is a key that has none.

use std::collections::BTreeMap;
use std::fmt::Write;

use schemas::presets::{Algorithm, Encoding, SecretEncoding, TimeUnit};
use schemas::verified_event::StaleMode;
use toml_edit::{Array, InlineTable, Value};

use super::keys::{Default, Key, ROOT, sources};
use super::resolved::{
    Config, Dedup, Handler, Ingest, Jitter, Kafka, Overflow, Place, Processor, Recycle, Retry, RetryOrder, Schedule,
    Scheme, Source, Topics,
};
use super::sensitive;
use super::units::{format_length, format_size};

type Values = BTreeMap<&'static str, Value>;

/// Shown instead of a secret.
const HIDDEN: &str = "***";

/// The effective configuration as TOML, with every default filled in and secrets as `***`.
pub fn show(config: &Config) -> String {
    let mut out = String::new();
    let top = Values::from([("shutdown_timeout", format_length(config.shutdown_timeout).into())]);
    section(&mut out, "", ROOT, &top);
    for key in ROOT {
        let values = match key.name {
            "kafka" => kafka(&config.kafka),
            "topics" => topics(&config.topics),
            "ingest" => ingest(&config.ingest),
            "processor" => processor(&config.processor, &config.topics.prefix),
            "retry" => retry(&config.retry),
            _ => continue,
        };
        section(&mut out, &format!("[{}]", key.name), key.inner(), &values);
        if key.name == "kafka" {
            properties(&mut out, &config.kafka);
        }
    }
    for source in &config.sources {
        section(&mut out, "[[source]]", sources::SOURCE, &self::source(source));
        if source.preset.scheme.is_none() {
            section(&mut out, "[source.scheme]", sources::SCHEME, &scheme(&source.scheme));
        }
        for handler in &source.handlers {
            section(&mut out, "[[source.handlers]]", sources::HANDLERS, &self::handler(handler));
        }
    }
    out
}

fn section(out: &mut String, heading: &str, keys: &[Key], values: &Values) {
    if !heading.is_empty() {
        write_line(out, format_args!("\n{heading}"));
    }
    for key in keys.iter().filter(|key| !key.is_section()) {
        match (values.get(key.name), &key.default) {
            (Some(value), _) => write_line(out, format_args!("{} = {value}", key.name)),
            // Not built yet: always the default.
            (None, Default::Is(text)) => write_line(out, format_args!("{} = {text}", key.name)),
            (None, Default::Else(_) | Default::Section | Default::Required) => {}
        }
    }
}

fn write_line(out: &mut String, line: std::fmt::Arguments<'_>) {
    writeln!(out, "{line}").expect("a String takes any text");
}

fn properties(out: &mut String, kafka: &Kafka) {
    if kafka.client.is_empty() {
        return;
    }
    write_line(out, format_args!("\n[kafka.client]"));
    for (property, value) in &kafka.client {
        let value = if sensitive::is(property) { HIDDEN } else { value };
        write_line(out, format_args!("{} = {}", Value::from(property), Value::from(value)));
    }
}

fn kafka(kafka: &Kafka) -> Values {
    Values::from([("brokers", kafka.brokers.as_str().into()), ("wait", format_length(kafka.wait).into())])
}

fn topics(topics: &Topics) -> Values {
    Values::from([
        ("prefix", topics.prefix.as_str().into()),
        ("partitions", i64::from(topics.partitions).into()),
        ("replication", i64::from(topics.replication).into()),
    ])
}

fn ingest(ingest: &Ingest) -> Values {
    let mut values = Values::from([
        ("listen", ingest.listen.to_string().into()),
        ("admin_listen", ingest.admin_listen.to_string().into()),
        ("body_limit", format_size(ingest.body_limit).into()),
        ("linger", format_length(ingest.linger).into()),
    ]);
    values.extend(ingest.public_url.as_deref().map(|url| ("public_url", url.into())));
    values
}

fn processor(processor: &Processor, prefix: &str) -> Values {
    let group = processor.group.strip_prefix(prefix).unwrap_or(&processor.group);
    Values::from([
        ("group", group.into()),
        ("session_timeout", format_length(processor.session_timeout).into()),
        ("instance", processor.instance.as_str().into()),
        ("workers", i64::from(processor.workers).into()),
        ("state_dir", processor.state_dir.display().to_string().into()),
        ("admin_listen", processor.admin_listen.to_string().into()),
        ("commit_interval", format_length(processor.commit_interval).into()),
        ("batch_events", number(processor.batch_events)),
        ("batch_bytes", format_size(processor.batch_bytes as u64).into()),
        ("leave", processor.leave.into()),
        (
            "recycle",
            match processor.recycle {
                Recycle::AfterTrouble => "after_trouble",
                Recycle::EveryCommit => "every_commit",
            }
            .into(),
        ),
    ])
}

fn retry(retry: &Retry) -> Values {
    let delays: Array = retry.delays.iter().map(|(text, _)| text.as_str()).collect();
    Values::from([
        ("delays", delays.into()),
        ("attempts", i64::from(retry.attempts).into()),
        (
            "order",
            match retry.order {
                RetryOrder::Park => "park",
                RetryOrder::Overtake => "overtake",
            }
            .into(),
        ),
        ("schedule", schedule(&retry.schedule)),
        (
            "jitter",
            match retry.jitter {
                Jitter::None => "none",
                Jitter::Full => "full",
                Jitter::Equal => "equal",
                Jitter::Decorrelated => "decorrelated",
            }
            .into(),
        ),
        ("parked_per_resource", number(retry.parked_per_resource)),
        ("parked_total", number(retry.parked_total)),
        (
            "overflow",
            match retry.overflow {
                Overflow::Dead => "dead",
                Overflow::Stop => "stop",
            }
            .into(),
        ),
    ])
}

fn schedule(schedule: &Schedule) -> Value {
    match schedule {
        Schedule::Tiers => "tiers".into(),
        Schedule::Fixed => "fixed".into(),
        Schedule::Linear => "linear".into(),
        Schedule::Exponential => "exponential".into(),
        Schedule::Custom(pauses) => pauses.iter().map(|pause| format_length(*pause)).collect::<Array>().into(),
    }
}

fn source(source: &Source) -> Values {
    let hidden = source.secrets.iter().map(|_| table([("value", HIDDEN)])).collect::<Array>();
    let mut values = Values::from([
        ("name", source.name.as_str().into()),
        ("provider", source.preset.name.into()),
        ("secrets", hidden.into()),
        ("dedup", dedup(&source.dedup)),
        ("dedup_window", format_length(source.dedup_window).into()),
        ("stale", stale(source.stale).into()),
        ("event_id", place(&source.event_id)),
        ("event_type", place(&source.event_type)),
        ("resource", one_or_all(source.resource.iter().map(place).collect())),
        ("resource_type", place(&source.resource_type)),
        ("occurred_at", one_or_all(source.occurred_at.iter().map(|(place, unit)| time(place, *unit)).collect())),
        ("snapshots", texts(&source.snapshots).into()),
        ("terminal", texts(&source.terminal).into()),
        ("body_limit", format_size(source.body_limit).into()),
    ]);
    if source.scheme.signs_timestamp() {
        values.insert("tolerance", format_length(source.tolerance).into());
    }
    values.extend(source.schema.as_ref().map(|schema| ("schema", schema.name().into())));
    values.extend(source.schedule.as_ref().map(|own| ("schedule", schedule(own))));
    values
}

fn handler(handler: &Handler) -> Values {
    let fetch = match handler {
        Handler::Filter { keep } => return Values::from([("kind", "filter".into()), ("keep", keep.text().into())]),
        Handler::Map { body } => {
            let fields: InlineTable = body.iter().map(|(field, value)| (field.as_str(), value.text())).collect();
            return Values::from([("kind", "map".into()), ("body", fields.into())]);
        }
        Handler::Fetch(fetch) => fetch,
    };
    let mut values = Values::from([
        ("kind", "fetch".into()),
        ("url", fetch.url.text().into()),
        ("timeout", format_length(fetch.timeout).into()),
        ("concurrency", i64::from(fetch.concurrency).into()),
        ("body_limit", format_size(fetch.body_limit).into()),
        ("allow_private", fetch.allow_private.into()),
    ]);
    if !fetch.headers.is_empty() {
        let hidden: InlineTable = fetch.headers.iter().map(|(name, _)| (name.as_str(), HIDDEN)).collect();
        values.insert("headers", hidden.into());
    }
    values.extend(fetch.into.as_deref().map(|into| ("into", into.into())));
    values.extend(fetch.when.as_ref().map(|when| ("when", when.text().into())));
    values
}

fn scheme(scheme: &Scheme) -> Values {
    let mut values = Values::from([
        (
            "algorithm",
            match scheme.algorithm {
                Algorithm::Sha1 => "sha1",
                Algorithm::Sha256 => "sha256",
                Algorithm::Sha512 => "sha512",
            }
            .into(),
        ),
        (
            "encoding",
            match scheme.encoding {
                Encoding::Hex => "hex",
                Encoding::Base64 => "base64",
            }
            .into(),
        ),
        (
            "secret_encoding",
            match scheme.secret_encoding {
                SecretEncoding::Raw => "raw",
                SecretEncoding::Base64 => "base64",
                SecretEncoding::Hex => "hex",
            }
            .into(),
        ),
        ("format", scheme.format.as_str().into()),
        ("signed", scheme.signed.as_str().into()),
    ]);
    let first = |names: &[String]| names.first().map(|name| Value::from(name.as_str()));
    values.extend(first(&scheme.headers).map(|name| ("header", name)));
    values.extend(first(&scheme.timestamp_headers).map(|name| ("timestamp_header", name)));
    values.extend(first(&scheme.id_headers).map(|name| ("id_header", name)));
    values
}

fn stale(mode: StaleMode) -> &'static str {
    match mode {
        StaleMode::Off => "off",
        StaleMode::Drop => "drop",
        StaleMode::Flag => "flag",
        StaleMode::Route => "route",
    }
}

fn dedup(dedup: &Dedup) -> Value {
    match dedup {
        Dedup::Id => "id".into(),
        Dedup::Body => "body".into(),
        Dedup::Include(pointers) => table([("include", texts(pointers))]),
        Dedup::Exclude(pointers) => table([("exclude", texts(pointers))]),
    }
}

fn place(place: &Place) -> Value {
    match place {
        Place::Pointer(text) | Place::Constant(text) => text.as_str().into(),
        Place::Header(name) => table([("header", name.as_str())]),
    }
}

fn time(place: &Place, unit: TimeUnit) -> Value {
    let (key, text) = match place {
        Place::Pointer(text) | Place::Constant(text) => ("pointer", text.as_str()),
        Place::Header(name) => ("header", name.as_str()),
    };
    let unit = match unit {
        TimeUnit::Rfc3339 => None,
        TimeUnit::Seconds => Some("s"),
        TimeUnit::Milliseconds => Some("ms"),
        TimeUnit::Microseconds => Some("us"),
    };
    match (key, unit) {
        ("pointer", None) => text.into(),
        (_, None) => table([(key, text)]),
        (_, Some(unit)) => table([(key, text), ("unit", unit)]),
    }
}

fn table<V: Into<Value>, const N: usize>(entries: [(&str, V); N]) -> Value {
    InlineTable::from_iter(entries).into()
}

fn texts(texts: &[String]) -> Array {
    texts.iter().map(String::as_str).collect()
}

fn one_or_all(mut values: Vec<Value>) -> Value {
    if values.len() == 1 {
        return values.remove(0);
    }
    values.into_iter().collect::<Array>().into()
}

fn number(number: impl TryInto<i64>) -> Value {
    number.try_into().unwrap_or(i64::MAX).into()
}
