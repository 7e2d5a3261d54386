//! What a person wants done with a dead letter: a record of the first retry topic, executed by the partition's owner.
//!
//! ```text
//! headers   those of the original record, untouched
//!           weir-command, weir-command-id, weir-dead-id, weir-source, weir-generation, weir-attempt,
//!           weir-first-failed, weir-received, weir-operator, weir-note, weir-as-is (only when it is wanted),
//!           weir-history, weir-originals (how many of the headers are originals)
//! key       the original record's
//! value     the record to run, edited or not
//! ```
//! A command may be sent twice, by two people, and be interrupted anywhere: the owner accepts it at most once.

use crate::dead_event::Failure;
use crate::headers;

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// Run the event again.
    Redrive,
    /// Never run it again.
    Discard,
}

impl Verb {
    /// As it stands in the record.
    pub const fn as_str(self) -> &'static str {
        match self {
            Verb::Redrive => "redrive",
            Verb::Discard => "discard",
        }
    }
}

/// Which dead letter: `<partition>-<offset in verified-events>-<generation>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeadId {
    /// Partition of the event in `verified-events`, and of its dead letters in `dead-events`.
    pub partition: i32,
    /// Its offset there.
    pub offset: i64,
    /// How often it had been redriven when it died.
    pub generation: u64,
}

impl DeadId {
    /// Reads `<partition>-<offset>-<generation>`.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('-');
        let id = Self {
            partition: parts.next()?.parse().ok().filter(|partition| *partition >= 0)?,
            offset: parts.next()?.parse().ok().filter(|offset| *offset >= 0)?,
            generation: parts.next()?.parse().ok()?,
        };
        // One spelling: no signs, no leading zeros, nothing behind it.
        (id.to_string() == text).then_some(id)
    }
}

impl std::fmt::Display for DeadId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}-{}", self.partition, self.offset, self.generation)
    }
}

/// Headers of a record, in order.
pub type RecordHeaders<'a> = Vec<(&'a str, Option<&'a [u8]>)>;

/// A command about a dead letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command<'a> {
    /// What to do.
    pub verb: Verb,
    /// Tells this command from every other.
    pub id: &'a str,
    /// Which dead letter.
    pub dead_id: DeadId,
    /// In whose books the letter stands: its source, empty when it could not be told. A record that is lost, or that
    /// was never read, does not say it. `None`: an older sender's command, which leaves it to the record.
    pub source: Option<&'a str>,
    /// How often the event had been handled.
    pub attempts: u32,
    /// When it failed first, milliseconds since the epoch.
    pub first_failed_ms: i64,
    /// Append time of the original record.
    pub received_at_ms: i64,
    /// Who wants it.
    pub operator: &'a str,
    /// Why.
    pub note: &'a str,
    /// Let it through although it is stale.
    pub is_as_is: bool,
    /// The failures so far, as [`encode_history`] writes them.
    pub history: &'a [u8],
    /// Headers of the original record.
    pub originals: RecordHeaders<'a>,
}

/// Whether a record of the first retry topic is a command.
pub fn is_command<'a>(mut names: impl Iterator<Item = &'a str>) -> bool {
    // Every command has it, and no record that ingest writes.
    names.any(|name| name == headers::WEIR_ORIGINALS)
}

impl<'a> Command<'a> {
    /// The headers of its record. Owned, because numbers have to be written.
    pub fn headers(&self) -> Vec<(String, Option<Vec<u8>>)> {
        let mut all: Vec<(String, Option<Vec<u8>>)> =
            self.originals.iter().map(|(name, value)| ((*name).to_owned(), value.map(<[u8]>::to_vec))).collect();
        let originals = all.len();
        let mut push = |name: &str, value: &[u8]| all.push((name.to_owned(), Some(value.to_vec())));
        push(headers::WEIR_COMMAND, self.verb.as_str().as_bytes());
        push(headers::WEIR_COMMAND_ID, self.id.as_bytes());
        push(headers::WEIR_DEAD_ID, self.dead_id.to_string().as_bytes());
        if let Some(source) = self.source {
            push(headers::WEIR_SOURCE, source.as_bytes());
        }
        push(headers::WEIR_GENERATION, self.dead_id.generation.to_string().as_bytes());
        push(headers::WEIR_ATTEMPT, self.attempts.to_string().as_bytes());
        push(headers::WEIR_FIRST_FAILED, self.first_failed_ms.to_string().as_bytes());
        push(headers::WEIR_RECEIVED, self.received_at_ms.to_string().as_bytes());
        push(headers::WEIR_OPERATOR, self.operator.as_bytes());
        push(headers::WEIR_NOTE, self.note.as_bytes());
        if self.is_as_is {
            push(headers::WEIR_AS_IS, b"true");
        }
        push(headers::WEIR_HISTORY, self.history);
        push(headers::WEIR_ORIGINALS, originals.to_string().as_bytes());
        all
    }

    /// Reads a command from its record's headers. `None`: it is none, or makes no sense.
    pub fn read(all: &[(&'a str, Option<&'a [u8]>)]) -> Option<Self> {
        let text = |value: Option<&'a [u8]>| std::str::from_utf8(value.unwrap_or_default()).ok();
        let (_, count) = all.last().filter(|(name, _)| *name == headers::WEIR_ORIGINALS)?;
        let (originals, ours) = all.split_at_checked(text(*count)?.parse().ok()?)?;
        let value = |name: &str| ours.iter().find(|(found, _)| *found == name).map(|(_, value)| *value);
        let field = |name: &str| value(name).and_then(text);
        Some(Self {
            verb: match field(headers::WEIR_COMMAND)? {
                "redrive" => Verb::Redrive,
                "discard" => Verb::Discard,
                _ => return None,
            },
            id: field(headers::WEIR_COMMAND_ID)?,
            dead_id: DeadId::parse(field(headers::WEIR_DEAD_ID)?)?,
            source: field(headers::WEIR_SOURCE),
            attempts: field(headers::WEIR_ATTEMPT)?.parse().ok()?,
            first_failed_ms: field(headers::WEIR_FIRST_FAILED)?.parse().ok()?,
            received_at_ms: field(headers::WEIR_RECEIVED)?.parse().ok()?,
            operator: field(headers::WEIR_OPERATOR).unwrap_or_default(),
            note: field(headers::WEIR_NOTE).unwrap_or_default(),
            is_as_is: field(headers::WEIR_AS_IS) == Some("true"),
            history: value(headers::WEIR_HISTORY).flatten().unwrap_or_default(),
            originals: originals.to_vec(),
        })
    }
}

/// Writes failures down: JSON, one array `[at_ms, attempt, reason, message]` each, the last twenty.
pub fn encode_history(failures: &[Failure<'_>]) -> Vec<u8> {
    let first = failures.len().saturating_sub(crate::dead_event::HISTORY_MAX);
    let rows: Vec<(i64, i64, &str, &str)> = failures
        .iter()
        .skip(first)
        .map(|failure| (failure.at_ms, failure.attempt, failure.reason, crate::dead_event::cut(failure.message)))
        .collect();
    serde_json::to_vec(&rows).unwrap_or_default()
}

/// A failure that owns its texts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failed {
    /// When, milliseconds since the epoch.
    pub at_ms: i64,
    /// Which attempt, from 1.
    pub attempt: i64,
    /// Reason code.
    pub reason: String,
    /// A sentence for a person.
    pub message: String,
}

impl Failed {
    /// It, borrowed.
    pub fn as_failure(&self) -> Failure<'_> {
        Failure { at_ms: self.at_ms, attempt: self.attempt, reason: &self.reason, message: &self.message }
    }
}

/// Reads failures. What cannot be read is no history.
pub fn decode_history(bytes: &[u8]) -> Vec<Failed> {
    let rows: Vec<(i64, i64, String, String)> = serde_json::from_slice(bytes).unwrap_or_default();
    rows.into_iter().map(|(at_ms, attempt, reason, message)| Failed { at_ms, attempt, reason, message }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_survives_the_round_trip_with_the_original_headers_untouched() {
        let failures = [Failure { at_ms: 1, attempt: 2, reason: "schema_violation", message: "no \"number\"" }];
        let history = encode_history(&failures);
        let originals: RecordHeaders<'_> =
            vec![("traceparent", Some(b"00-\xff")), ("weir-command", Some(b"discard")), ("empty", None)];
        let command = Command {
            verb: Verb::Redrive,
            id: "c0ffee",
            dead_id: DeadId { partition: 3, offset: 17, generation: 2 },
            source: Some("gh"),
            attempts: 9,
            first_failed_ms: 1_700_000_000_000,
            received_at_ms: 1_699_000_000_000,
            operator: "ann",
            note: "fixed: the number",
            is_as_is: true,
            history: &history,
            originals,
        };
        let record = command.headers();
        let borrowed: RecordHeaders<'_> =
            record.iter().map(|(name, value)| (name.as_str(), value.as_deref())).collect();
        assert!(is_command(borrowed.iter().map(|(name, _)| *name)));
        assert_eq!(Command::read(&borrowed), Some(command));
        let read = decode_history(&history);
        assert_eq!(read.iter().map(Failed::as_failure).collect::<Vec<_>>(), failures);
    }

    #[test]
    fn what_is_no_command_is_not_read_as_one() {
        assert_eq!(Command::read(&[]), None);
        assert_eq!(Command::read(&[("weir-command", Some(b"redrive"))]), None);
        assert_eq!(Command::read(&[(headers::WEIR_ORIGINALS, Some(b"7"))]), None);
    }

    #[test]
    fn a_dead_id_has_one_spelling() {
        let id = DeadId { partition: 15, offset: 1234, generation: 0 };
        assert_eq!(DeadId::parse("15-1234-0"), Some(id));
        for bad in ["", "1-2", "1-2-3-4", "-1-2-3", "01-2-3", "1-+2-3", "1-2-x", " 1-2-3"] {
            assert_eq!(DeadId::parse(bad), None, "{bad}");
        }
    }
}
