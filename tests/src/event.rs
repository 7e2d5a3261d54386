//! One thing that happened, as the generator knows it: its bytes, and where it has to end.

use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use crate::sources::Source;

/// SHA-256 of a body.
pub type Digest = [u8; 32];

/// Where an event has to end. Written down before the first byte is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// In `clean-events`, exactly once.
    Clean {
        /// With `ce_stale: true`.
        flagged: bool,
    },
    /// In `stale-events`, exactly once.
    StaleRouted,
    /// Nowhere: older than its resource.
    StaleDropped,
    /// Nowhere: the same signed id with another body.
    Conflict,
    /// In `dead-events`, exactly once, with this reason.
    Dead(&'static str),
    /// Nowhere: refused at the door.
    Refused,
}

/// One thing that happened.
#[derive(Debug, Clone)]
pub struct Event {
    /// Where it came in.
    pub source: Source,
    /// The provider's id; for what has none, the one that Weir gives.
    pub id: String,
    /// The type, as it stands in `ce_type` behind the prefix.
    pub event_type: String,
    /// The record key.
    pub key: String,
    /// When it happened.
    pub occurred_ms: Option<i64>,
    /// The provider's bytes.
    pub body: Bytes,
    /// Their hash.
    pub digest: Digest,
    /// The provider's headers apart from the signature.
    pub headers: Vec<(&'static str, String)>,
    /// Where it has to end.
    pub place: Place,
}

impl Event {
    /// How a person finds it.
    pub fn name(&self) -> String {
        format!("{}:{}", self.source.name(), self.id)
    }

    /// The Content-Type it is sent with.
    pub fn content_type(&self) -> &str {
        let header = self.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("content-type"));
        header.map_or("", |(_, value)| value)
    }

    /// Replaces the body.
    pub fn set_body(&mut self, body: Vec<u8>) {
        self.digest = digest(&body);
        self.body = body.into();
    }
}

/// The hash of a body.
pub fn digest(body: &[u8]) -> Digest {
    Sha256::digest(body).into()
}

/// `source|type|id` with the separators escaped, as the contract's section 3 has it.
pub fn key(source: &str, resource_type: &str, resource_id: &str) -> String {
    let escape = |part: &str| part.replace('%', "%25").replace('|', "%7C");
    format!("{}|{}|{}", escape(source), escape(resource_type), escape(resource_id))
}

/// `<source>:<event id>` where a header can carry it, else with the id's hash.
pub fn idempotency_key(source: &str, id: &str) -> String {
    let plain = format!("{source}:{id}");
    if plain.len() <= 255 && plain.bytes().all(|byte| (0x21..=0x7e).contains(&byte)) {
        return plain;
    }
    format!("{source}:sha256:{}", hex::encode(digest(id.as_bytes())))
}
