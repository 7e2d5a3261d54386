//! The record of `verified-events`: one authentic event with the policy that decides about it.
//!
//! Decoding borrows from the record and allocates nothing.
//! `avro/verified_event.avsc` is the published shape; the contract tests hold this file to it.

use crate::avro::{DecodeError, Reader, Writer};

/// Fingerprint of `avro/verified_event.avsc` (CRC-64-AVRO of its canonical form).
pub const FINGERPRINT: u64 = 0x3dc3_3897_4928_5216;

/// What becomes of a stale event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StaleMode {
    /// The rule is off for this source.
    Off,
    /// Not emitted, counted.
    Drop,
    /// Emitted with `ce_stale`.
    Flag,
    /// Written to `stale-events` instead.
    Route,
}

/// How an event relates to its resource's last timestamp.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventKind {
    /// Neither reads nor advances it.
    Other,
    /// Carries the whole state: may be stale, advances it.
    Snapshot,
    /// The end of the resource: never stale, advances it.
    Terminal,
}

/// One authentic event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedEvent<'a> {
    /// Name of the configured source.
    pub source: &'a str,
    /// First part of `ce_type`.
    pub preset: &'a str,
    /// The provider's id, or `sha256:<hex of the body>`.
    pub event_id: &'a str,
    /// The provider's type; may be empty.
    pub event_type: &'a str,
    /// What makes two deliveries the same event (see [`crate::identity`]).
    pub identity: &'a [u8],
    /// Whether the signature covers the id.
    pub identity_signed: bool,
    /// Deduplication window in milliseconds of stream time.
    pub window_ms: i64,
    /// What becomes of it when it is stale.
    pub stale: StaleMode,
    /// How it relates to its resource's last timestamp.
    pub kind: EventKind,
    /// When it happened, if known.
    pub occurred_at_ms: Option<i64>,
    /// Whether the signature covers `occurred_at_ms`.
    pub occurred_at_signed: bool,
    /// The timestamp inside the signature.
    pub signed_at_ms: Option<i64>,
    /// Wall clock of the ingest that received it.
    pub received_at_ms: i64,
    /// Content-Type of the request; may be empty.
    pub content_type: &'a str,
    /// 0 to 3.
    pub assurance: u8,
    /// Name of the JSON Schema of its source.
    pub schema: Option<&'a str>,
    /// Reason code of what could not be understood.
    pub defect: Option<&'a str>,
    /// Request headers kept for inspection.
    pub http_headers: HttpHeaders<'a>,
    /// The provider's bytes.
    pub body: &'a [u8],
}

impl<'a> VerifiedEvent<'a> {
    /// Appends the record's bytes to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.reserve(self.body.len() + self.identity.len() + 512);
        let mut writer = Writer::single_object(out, FINGERPRINT);
        writer.string(self.source);
        writer.string(self.preset);
        writer.string(self.event_id);
        writer.string(self.event_type);
        writer.bytes(self.identity);
        writer.boolean(self.identity_signed);
        writer.long(self.window_ms);
        writer.long(match self.stale {
            StaleMode::Off => 0,
            StaleMode::Drop => 1,
            StaleMode::Flag => 2,
            StaleMode::Route => 3,
        });
        writer.long(match self.kind {
            EventKind::Other => 0,
            EventKind::Snapshot => 1,
            EventKind::Terminal => 2,
        });
        writer.optional_long(self.occurred_at_ms);
        writer.boolean(self.occurred_at_signed);
        writer.optional_long(self.signed_at_ms);
        writer.long(self.received_at_ms);
        writer.string(self.content_type);
        writer.long(i64::from(self.assurance));
        writer.optional_string(self.schema);
        writer.optional_string(self.defect);
        match &self.http_headers {
            HttpHeaders::Listed(list) => writer.array(list, |writer, (name, value)| {
                writer.string(name);
                writer.bytes(value);
            }),
            HttpHeaders::Encoded(bytes) => writer.raw(bytes),
        }
        writer.bytes(self.body);
    }

    /// Reads a record. Everything borrows from `bytes`.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::single_object(bytes, FINGERPRINT)?;
        let event = Self {
            source: reader.string("source")?,
            preset: reader.string("preset")?,
            event_id: reader.string("event_id")?,
            event_type: reader.string("event_type")?,
            identity: reader.bytes("identity")?,
            identity_signed: reader.boolean("identity_signed")?,
            window_ms: reader.long("window_ms")?,
            stale: stale_mode(reader.long("stale")?)?,
            kind: event_kind(reader.long("kind")?)?,
            occurred_at_ms: reader.optional_long("occurred_at_ms")?,
            occurred_at_signed: reader.boolean("occurred_at_signed")?,
            signed_at_ms: reader.optional_long("signed_at_ms")?,
            received_at_ms: reader.long("received_at_ms")?,
            content_type: reader.string("content_type")?,
            assurance: assurance(reader.long("assurance")?)?,
            schema: reader.optional_string("schema")?,
            defect: reader.optional_string("defect")?,
            http_headers: HttpHeaders::Encoded(reader.items("http_headers", |item| http_header(item).map(drop))?),
            body: reader.bytes("body")?,
        };
        reader.finish()?;
        Ok(event)
    }
}

/// Request headers: listed to be written, or encoded as they were read. Almost nobody looks at them, so reading a
/// record checks them and leaves them where they are.
#[derive(Debug, Clone)]
pub enum HttpHeaders<'a> {
    /// Name and value of each.
    Listed(Vec<(&'a str, &'a [u8])>),
    /// Bytes that were checked.
    Encoded(&'a [u8]),
}

impl<'a> HttpHeaders<'a> {
    /// Name and value of each header, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&'a str, &'a [u8])> {
        let list = match self {
            Self::Listed(list) => list.clone(),
            Self::Encoded(bytes) => Reader::inside(bytes).array("http_headers", http_header).unwrap_or_default(),
        };
        list.into_iter()
    }
}

impl Default for HttpHeaders<'_> {
    fn default() -> Self {
        Self::Listed(Vec::new())
    }
}

impl PartialEq for HttpHeaders<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for HttpHeaders<'_> {}

fn http_header<'a>(item: &mut Reader<'a>) -> Result<(&'a str, &'a [u8]), DecodeError> {
    Ok((item.string("header name")?, item.bytes("header value")?))
}

fn stale_mode(branch: i64) -> Result<StaleMode, DecodeError> {
    match branch {
        0 => Ok(StaleMode::Off),
        1 => Ok(StaleMode::Drop),
        2 => Ok(StaleMode::Flag),
        3 => Ok(StaleMode::Route),
        _ => Err(DecodeError::Malformed("stale")),
    }
}

fn event_kind(branch: i64) -> Result<EventKind, DecodeError> {
    match branch {
        0 => Ok(EventKind::Other),
        1 => Ok(EventKind::Snapshot),
        2 => Ok(EventKind::Terminal),
        _ => Err(DecodeError::Malformed("kind")),
    }
}

fn assurance(level: i64) -> Result<u8, DecodeError> {
    match u8::try_from(level) {
        Ok(level @ 0..=3) => Ok(level),
        Ok(_) | Err(_) => Err(DecodeError::Malformed("assurance")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fingerprint_is_that_of_the_published_schema() {
        let schema =
            apache_avro::Schema::parse_str(include_str!("../avro/verified_event.avsc")).expect("a valid schema");
        let print = schema.fingerprint::<apache_avro::rabin::Rabin>();
        let expected = u64::from_le_bytes(print.bytes.as_slice().try_into().expect("8 bytes"));
        assert_eq!(FINGERPRINT, expected, "the shape changed: {expected:#018x}");
    }
}
