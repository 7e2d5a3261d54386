//! The table of keys: name, kind, default and meaning of everything that may stand in `weir.toml`.
//!
//! Reading, the reference, the JSON Schema and `weir config show` all follow this table, so none of
//! them can drift from the others. It decides single values; relations between keys are in `resolve`.

mod services;
pub(super) mod sources;

use super::form::Form;

/// One key.
#[derive(Debug)]
pub(super) struct Key {
    /// As written.
    pub(super) name: &'static str,
    /// What it takes.
    pub(super) kind: Kind,
    /// When it is not there.
    pub(super) default: Default,
    /// False: refused with anything but its default, "not available in this version".
    pub(super) is_built: bool,
    /// For operators: a sentence or two.
    pub(super) meaning: &'static str,
}

/// What a key takes.
#[derive(Debug)]
pub(super) enum Kind {
    /// A text of a certain form.
    Text(Form),
    /// A whole number.
    Integer(i64, i64),
    /// A power of two.
    PowerOfTwo(i64, i64),
    /// true or false.
    Flag,
    /// A list of that many texts.
    Texts(Form, usize, usize),
    /// A table.
    Table(&'static [Key]),
    /// A list of that many tables.
    Tables(&'static [Key], usize, usize),
    /// A text or a table.
    TextOr(Form, &'static [Key]),
    /// A text, a table, or a list of up to that many of them.
    Several(Form, &'static [Key], usize),
    /// A text of one form, or a list of that many texts of another.
    TextOrTexts(Form, Form, usize, usize),
    /// librdkafka properties.
    Properties,
    /// A table of up to that many names of one form, each with a text of another, or a table.
    Entries(Form, Form, &'static [Key], usize),
}

/// The value of a key that is not there.
#[derive(Debug)]
pub(super) enum Default {
    /// This TOML.
    Is(&'static str),
    /// None, or one that depends on something else: described.
    Else(&'static str),
    /// A table that is always there, with its own defaults.
    Section,
    /// It has to be there.
    Required,
}

/// Everything in `weir.toml`.
pub(super) const ROOT: &[Key] = &[
    key(
        "shutdown_timeout",
        Kind::Text(Form::Length("1s", "10m")),
        Default::Is("\"30s\""),
        "Time a process may take to drain after SIGTERM or SIGINT before it leaves with what is unfinished.",
    ),
    key(
        "kafka",
        Kind::Table(services::KAFKA),
        Default::Section,
        "How to reach Kafka. The same for all three binaries.",
    ),
    key(
        "topics",
        Kind::Table(services::TOPICS),
        Default::Section,
        "The topics, created by `weir topics apply`; services only check them.",
    ),
    key("ingest", Kind::Table(services::INGEST), Default::Section, "`weir-ingest`: the door for webhooks."),
    key(
        "processor",
        Kind::Table(services::PROCESSOR),
        Default::Section,
        "`weir-processor`: deduplicates, orders and emits.",
    ),
    key("retry", Kind::Table(services::RETRY), Default::Section, "What happens to an event whose handler fails."),
    key(
        "source",
        Kind::Tables(sources::SOURCE, 0, 1000),
        Default::Is("[]"),
        "One door, `POST /hooks/<name>`. Every `[[source]]` is one.",
    ),
];

pub(super) const fn key(name: &'static str, kind: Kind, default: Default, meaning: &'static str) -> Key {
    Key { name, kind, default, is_built: true, meaning }
}

/// How pauses grow: a name, or a list of them.
const SCHEDULE: Kind =
    Kind::TextOrTexts(Form::OneOf(&["tiers", "fixed", "linear", "exponential"]), Form::Length("1ms", "1d"), 1, 16);

/// A key whose feature is not built yet.
const fn later(name: &'static str, kind: Kind, default: Default, meaning: &'static str) -> Key {
    Key { name, kind, default, is_built: false, meaning }
}

impl Key {
    /// The keys inside it, when it is or may be a table.
    pub(super) fn inner(&self) -> &'static [Key] {
        match &self.kind {
            Kind::Table(keys)
            | Kind::Tables(keys, ..)
            | Kind::TextOr(_, keys)
            | Kind::Several(_, keys, _)
            | Kind::Entries(_, _, keys, _) => keys,
            Kind::Text(_)
            | Kind::Integer(..)
            | Kind::PowerOfTwo(..)
            | Kind::Flag
            | Kind::Texts(..)
            | Kind::TextOrTexts(..)
            | Kind::Properties => &[],
        }
    }

    /// Whether it heads a section of its own in the file.
    pub(super) fn is_section(&self) -> bool {
        matches!(self.default, Default::Section) || matches!(self.name, "source" | "scheme" | "handlers")
    }
}
