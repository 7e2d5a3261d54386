//! What does not deserve a place in `clean-events`: forgeries, requests the door does not know, and authentic
//! bodies that nobody can understand.

use serde_json::Value;

use crate::event::{Event, Place, key};
use crate::sign::{Headers, Scheme};
use crate::sources::Source;

/// A way to pretend to be a provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Forgery {
    /// Signed with a secret nobody has.
    WrongSecret,
    /// Signed with another source's secret.
    OtherSource,
    /// One byte changed after signing.
    ChangedBody,
    /// Parsed and written again after signing.
    Reserialised,
    /// No signature at all.
    Missing,
    /// Authentic, an hour ago.
    OldTimestamp,
    /// Authentic, in an hour.
    FutureTimestamp,
    /// Half of a good signature.
    Truncated,
    /// An HMAC with an empty key, which a careless server would compute as well.
    EmptyKey,
    /// The signed timestamp's header is gone.
    NoTimestamp,
    /// Two signature headers, one good.
    TwoSignatures,
}

impl Forgery {
    /// All of them.
    pub const ALL: [Forgery; 11] = [
        Forgery::WrongSecret,
        Forgery::OtherSource,
        Forgery::ChangedBody,
        Forgery::Reserialised,
        Forgery::Missing,
        Forgery::OldTimestamp,
        Forgery::FutureTimestamp,
        Forgery::Truncated,
        Forgery::EmptyKey,
        Forgery::NoTimestamp,
        Forgery::TwoSignatures,
    ];

    /// Whether this forgery makes sense for a scheme.
    pub fn fits(self, scheme: Scheme) -> bool {
        match self {
            Forgery::OldTimestamp | Forgery::FutureTimestamp => scheme.has_timestamp(),
            Forgery::NoTimestamp => scheme.timestamp_header().is_some(),
            _ => true,
        }
    }

    /// Status and reason the caller is told.
    pub fn answer(self) -> (u16, &'static str) {
        match self {
            Forgery::TwoSignatures => (400, "duplicate_header"),
            _ => (401, "signature_invalid"),
        }
    }

    /// What the log and the metric may call it.
    pub fn reasons(self) -> &'static [&'static str] {
        match self {
            Forgery::WrongSecret | Forgery::EmptyKey | Forgery::ChangedBody => &["signature_mismatch"],
            Forgery::OtherSource => &["wrong_secret", "signature_mismatch"],
            Forgery::Reserialised => &["body_modified", "signature_mismatch"],
            Forgery::Missing => &["signature_missing"],
            Forgery::OldTimestamp => &["timestamp_too_old"],
            Forgery::FutureTimestamp => &["timestamp_too_new"],
            Forgery::Truncated => &["signature_malformed", "signature_mismatch"],
            Forgery::NoTimestamp => &["timestamp_missing"],
            Forgery::TwoSignatures => &["duplicate_header"],
        }
    }

    /// The headers and the body to send. `key` is the source's own, `other` another source's.
    pub fn commit(self, event: &Event, key: &[u8], other: &[u8], now_s: i64) -> (Headers, Vec<u8>) {
        let scheme = event.source.scheme();
        let sign = |key: &[u8], at: i64| scheme.sign(key, &event.id, at, &event.body);
        let body = event.body.to_vec();
        let good = || sign(key, now_s);
        match self {
            Forgery::WrongSecret => (sign(b"a secret that nobody has", now_s), body),
            Forgery::OtherSource => (sign(other, now_s), body),
            Forgery::EmptyKey => (sign(b"", now_s), body),
            Forgery::OldTimestamp => (sign(key, now_s - 3600), body),
            Forgery::FutureTimestamp => (sign(key, now_s + 3600), body),
            Forgery::ChangedBody => (good(), changed(body)),
            Forgery::Reserialised => (good(), reserialised(&body)),
            Forgery::Missing => (without(good(), scheme.header()), body),
            Forgery::NoTimestamp => (without(good(), scheme.timestamp_header().unwrap_or_default()), body),
            Forgery::Truncated => {
                let mut headers = good();
                for (name, value) in &mut headers {
                    if *name == scheme.header() {
                        value.truncate(value.len() - 20);
                    }
                }
                (headers, body)
            }
            Forgery::TwoSignatures => {
                let mut headers = good();
                headers.extend(sign(b"another", now_s).into_iter().filter(|(name, _)| *name == scheme.header()));
                (headers, body)
            }
        }
    }
}

fn without(mut headers: Headers, name: &str) -> Headers {
    headers.retain(|(header, _)| *header != name);
    headers
}

fn changed(mut body: Vec<u8>) -> Vec<u8> {
    // A digit, so that it stays JSON; every body of ours has one.
    let at = body.iter().rposition(u8::is_ascii_digit).unwrap_or_default();
    body[at] = if body[at] == b'9' { b'8' } else { b'9' };
    body
}

fn reserialised(body: &[u8]) -> Vec<u8> {
    let value: Value = serde_json::from_slice(body).unwrap_or_default();
    let mut compact = value.to_string().into_bytes();
    if compact == body {
        compact = format!("{value:#}").into_bytes();
    }
    compact
}

/// A request that never gets as far as a signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DoorCase {
    /// No source of that name.
    UnknownSource,
    /// Not POST.
    Get,
    /// Compressed.
    Encoded,
    /// Larger than the limit.
    TooLarge,
}

impl DoorCase {
    /// All of them.
    pub const ALL: [DoorCase; 4] = [DoorCase::UnknownSource, DoorCase::Get, DoorCase::Encoded, DoorCase::TooLarge];

    /// Status and reason the caller is told.
    pub fn answer(self) -> (u16, &'static str) {
        match self {
            DoorCase::UnknownSource => (404, "unknown_source"),
            DoorCase::Get => (405, "method_not_allowed"),
            DoorCase::Encoded => (415, "unsupported_encoding"),
            DoorCase::TooLarge => (413, "body_too_large"),
        }
    }
}

/// A way for an authentic body to make no sense.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Defect {
    /// Text.
    NotJson,
    /// Cut off.
    CutOff,
    /// Bytes that are no UTF-8.
    NotText,
    /// No id.
    NoId,
    /// Two ids.
    TwoIds,
    /// Nested too deep.
    TooDeep,
    /// Its time is no time.
    BadTime,
    /// It fails the source's JSON Schema.
    Schema,
}

impl Defect {
    /// All of them.
    pub const ALL: [Defect; 8] = [
        Defect::NotJson,
        Defect::CutOff,
        Defect::NotText,
        Defect::NoId,
        Defect::TwoIds,
        Defect::TooDeep,
        Defect::BadTime,
        Defect::Schema,
    ];

    /// Whether a source can have it: those whose id stands in the body, and one with a schema.
    pub fn fits(self, source: Source) -> bool {
        match self {
            Defect::Schema => source == Source::Warehouse,
            _ => matches!(source, Source::Stripe | Source::Slack | Source::Warehouse),
        }
    }

    /// The reason it dies of.
    pub fn reason(self) -> &'static str {
        match self {
            Defect::NotJson | Defect::CutOff | Defect::NotText => "invalid_json",
            Defect::NoId => "no_identity",
            Defect::TwoIds => "ambiguous_identity",
            Defect::TooDeep => "too_deep",
            Defect::BadTime => "bad_timestamp",
            Defect::Schema => "schema_violation",
        }
    }

    /// Spoils an event.
    pub fn spoil(self, event: &mut Event) {
        event.set_body(self.spoiled(event));
        event.place = Place::Dead(self.reason());
        // What cannot be understood is known by its bytes alone.
        if !matches!(self, Defect::Schema | Defect::BadTime) {
            event.id = format!("sha256:{}", hex::encode(event.digest));
            event.key = key(event.source.name(), "event", &event.id);
            event.occurred_ms = None;
        }
    }

    fn spoiled(self, event: &Event) -> Vec<u8> {
        let id_field = if event.source == Source::Slack { "event_id" } else { "id" };
        let time_field = match event.source {
            Source::Stripe => "created",
            Source::Slack => "event_time",
            _ => "at",
        };
        let mut value: Value = serde_json::from_slice(&event.body).unwrap_or_default();
        match self {
            Defect::NotJson => format!("this is no JSON: {}", event.id).into_bytes(),
            Defect::CutOff => {
                // Behind the id: without it two events of one resource may be the same bytes, and so the same event.
                let id = event.id.as_bytes();
                let id_ends = event.body.windows(id.len()).position(|bytes| bytes == id).map(|at| at + id.len());
                let end = id_ends.unwrap_or(event.body.len() - 1).max(event.body.len() * 2 / 3);
                event.body[..end.min(event.body.len() - 1)].to_vec()
            }
            Defect::NotText => [event.body.as_ref(), b"\xff\xfe"].concat(),
            Defect::NoId => {
                value.as_object_mut().expect("an object").remove(id_field);
                value["without"] = event.id.clone().into();
                value.to_string().into_bytes()
            }
            Defect::TwoIds => {
                let rest = value.to_string();
                format!("{{\"{id_field}\":\"another\",{}", &rest[1..]).into_bytes()
            }
            Defect::TooDeep => {
                value["deep"] = (0..80).fold(Value::from(1), |inner, _| Value::from(vec![inner]));
                value.to_string().into_bytes()
            }
            Defect::BadTime => {
                value[time_field] = "soon".into();
                value.to_string().into_bytes()
            }
            Defect::Schema => {
                value["parcel"]["grams"] = "heavy".into();
                value.to_string().into_bytes()
            }
        }
    }
}
