//! The record of `dead-events`: a record that was given up, whole, with why and where it died.
//!
//! `avro/dead_event.avsc` is the published shape; the contract tests hold this file to it.

use crate::avro::{DecodeError, Reader, Writer};

/// Fingerprint of `avro/dead_event.avsc` (CRC-64-AVRO of its canonical form).
pub const FINGERPRINT: u64 = 0x0659_3bba_c2b1_a33e;

/// How many failures a dead event remembers.
pub const HISTORY_MAX: usize = 20;
/// Longest message of a failure, in bytes.
pub const MESSAGE_BYTES_MAX: usize = 512;

/// One failed attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure<'a> {
    /// When, milliseconds since the epoch.
    pub at_ms: i64,
    /// Which attempt, from 1.
    pub attempt: i64,
    /// Reason code.
    pub reason: &'a str,
    /// A sentence for a person.
    pub message: &'a str,
}

/// A record that was given up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadEvent<'a> {
    /// `<partition>-<offset in verified-events>-<generation>`.
    pub dead_id: &'a str,
    /// How many times it was redriven before.
    pub generation: i64,
    /// Reason code.
    pub reason: &'a str,
    /// A sentence for a person, at most [`MESSAGE_BYTES_MAX`].
    pub message: &'a str,
    /// Where it died.
    pub stage: &'a str,
    /// How many times it was handled.
    pub attempts: i64,
    /// First failure, milliseconds since the epoch.
    pub first_failed_ms: i64,
    /// Last failure, milliseconds since the epoch.
    pub last_failed_ms: i64,
    /// Absent when the record could not be decoded.
    pub source: Option<&'a str>,
    /// Absent when the record could not be decoded.
    pub event_id: Option<&'a str>,
    /// Absent when the record could not be decoded.
    pub event_type: Option<&'a str>,
    /// Topic of the original record.
    pub source_topic: &'a str,
    /// Partition of the original record.
    pub source_partition: i32,
    /// Offset of the original record.
    pub source_offset: i64,
    /// Append time of the original record.
    pub received_at_ms: i64,
    /// The original key.
    pub original_key: Option<&'a [u8]>,
    /// The original value, byte for byte.
    pub original_value: Option<&'a [u8]>,
    /// The original headers.
    pub original_headers: Vec<(&'a str, Option<&'a [u8]>)>,
    /// The last failures, at most [`HISTORY_MAX`].
    pub history: Vec<Failure<'a>>,
}

impl<'a> DeadEvent<'a> {
    /// Appends the record's bytes to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut writer = Writer::single_object(out, FINGERPRINT);
        writer.string(self.dead_id);
        writer.long(self.generation);
        writer.string(self.reason);
        writer.string(cut(self.message));
        writer.string(self.stage);
        writer.long(self.attempts);
        writer.long(self.first_failed_ms);
        writer.long(self.last_failed_ms);
        writer.optional_string(self.source);
        writer.optional_string(self.event_id);
        writer.optional_string(self.event_type);
        writer.string(self.source_topic);
        writer.long(i64::from(self.source_partition));
        writer.long(self.source_offset);
        writer.long(self.received_at_ms);
        writer.optional_bytes(self.original_key);
        writer.optional_bytes(self.original_value);
        writer.array(&self.original_headers, |writer, (name, value)| {
            writer.string(name);
            writer.optional_bytes(*value);
        });
        let first = self.history.len().saturating_sub(HISTORY_MAX);
        writer.array(self.history.get(first..).unwrap_or_default(), |writer, failure| {
            writer.long(failure.at_ms);
            writer.long(failure.attempt);
            writer.string(failure.reason);
            writer.string(cut(failure.message));
        });
    }

    /// Reads a record. Everything borrows from `bytes`.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::single_object(bytes, FINGERPRINT)?;
        let event = Self {
            dead_id: reader.string("dead_id")?,
            generation: reader.long("generation")?,
            reason: reader.string("reason")?,
            message: reader.string("message")?,
            stage: reader.string("stage")?,
            attempts: reader.long("attempts")?,
            first_failed_ms: reader.long("first_failed_ms")?,
            last_failed_ms: reader.long("last_failed_ms")?,
            source: reader.optional_string("source")?,
            event_id: reader.optional_string("event_id")?,
            event_type: reader.optional_string("event_type")?,
            source_topic: reader.string("source_topic")?,
            source_partition: i32::try_from(reader.long("source_partition")?)
                .map_err(|_| DecodeError::Malformed("source_partition"))?,
            source_offset: reader.long("source_offset")?,
            received_at_ms: reader.long("received_at_ms")?,
            original_key: reader.optional_bytes("original_key")?,
            original_value: reader.optional_bytes("original_value")?,
            original_headers: reader.array("original_headers", |item| {
                Ok((item.string("header name")?, item.optional_bytes("header value")?))
            })?,
            history: reader.array("history", |item| {
                Ok(Failure {
                    at_ms: item.long("at_ms")?,
                    attempt: item.long("attempt")?,
                    reason: item.string("reason")?,
                    message: item.string("message")?,
                })
            })?,
        };
        reader.finish()?;
        Ok(event)
    }
}

/// A message cut to [`MESSAGE_BYTES_MAX`] at a character's boundary.
pub fn cut(message: &str) -> &str {
    let mut end = message.len().min(MESSAGE_BYTES_MAX);
    while !message.is_char_boundary(end) {
        end -= 1;
    }
    message.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fingerprint_is_that_of_the_published_schema() {
        let schema = apache_avro::Schema::parse_str(include_str!("../avro/dead_event.avsc")).expect("a valid schema");
        let print = schema.fingerprint::<apache_avro::rabin::Rabin>();
        let expected = u64::from_le_bytes(print.bytes.as_slice().try_into().expect("8 bytes"));
        assert_eq!(FINGERPRINT, expected, "the shape changed: {expected:#018x}");
    }
}
