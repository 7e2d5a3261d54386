//! The preloaded events: a pure function of a seed, so that every reader knows what must come out.
//!
//! Each place of the topic holds an event of its own or a copy of an earlier one. Ids carry their place, so that
//! a check of two million of them is a bit set.

use schemas::partition;
use schemas::verified_event::{EventKind, HttpHeaders, StaleMode};
use schemas::{VerifiedEvent, identity};

/// Four days, the default of the contract.
pub const WINDOW_MS: i64 = 4 * 24 * 60 * 60 * 1000;
/// Name of the source, also the first part of every resource key.
pub const SOURCE: &str = "bench";

/// What the topic is like.
#[derive(Debug, Clone)]
pub struct Shape {
    /// Name of the source.
    pub source: &'static str,
    /// What everything follows from.
    pub seed: u64,
    /// How many records.
    pub events: u64,
    /// Share of copies, per cent.
    pub duplicates: u64,
    /// How many resources.
    pub resources: u64,
    /// Share of snapshots, per cent.
    pub snapshots: u64,
    /// Bytes of a body.
    pub body_bytes: usize,
    /// When the first event happened; each next one a millisecond later.
    pub base_ms: i64,
    /// What is wrong with every event; `None`: nothing. Such an event dies.
    pub defect: Option<&'static str>,
}

/// One record, in reusable buffers.
#[derive(Debug, Default)]
pub struct Record {
    /// Resource key.
    pub key: String,
    /// Encoded `VerifiedEvent`.
    pub value: Vec<u8>,
    /// Event id.
    pub id: String,
    /// Occurred at, ms, decimal.
    pub ts: String,
    body: Vec<u8>,
}

impl Shape {
    /// The event at a place: its number is the place where it stood first.
    pub fn at(&self, place: u64) -> u64 {
        let mut place = place;
        let mut salt = 0;
        // A copy of a copy is a copy of the same event.
        while self.is_copy(place) {
            salt += 1;
            place = mix(self.seed ^ 0x00c0_ffee ^ (salt << 56) ^ place) % place;
        }
        place
    }

    fn is_copy(&self, place: u64) -> bool {
        place > 0 && mix(self.seed ^ place) % 100 < self.duplicates
    }

    /// How many different events there are.
    pub fn uniques(&self) -> u64 {
        (0..self.events).filter(|place| !self.is_copy(*place)).count() as u64
    }

    /// Fills `record` with the event of that number.
    pub fn write(&self, number: u64, record: &mut Record) {
        use std::fmt::Write as _;
        let resource = mix(self.seed ^ 0x5eed_0000_0000 ^ number) % self.resources;
        let occurred_at = self.base_ms + number as i64;
        let is_snapshot = mix(self.seed ^ 0x0005_0a50_0000 ^ number) % 100 < self.snapshots;
        record.key = partition::resource_key(self.source, "customer", &format!("cus_{resource:010}"));
        record.id.clear();
        record.ts.clear();
        // Writing to a String cannot fail.
        write!(record.id, "evt_{number:08x}{:016x}", mix(self.seed ^ 0x1d ^ number)).unwrap_or_default();
        write!(record.ts, "{occurred_at}").unwrap_or_default();
        self.body(number, resource, &record.id, &mut record.body);
        let signature = format!("t={},v1={:064x}", occurred_at / 1000, mix(number));
        let identity = identity::by_id(&record.id);
        record.value.clear();
        VerifiedEvent {
            source: self.source,
            preset: "stripe",
            event_id: &record.id,
            event_type: "customer.updated",
            identity: &identity,
            identity_signed: true,
            window_ms: WINDOW_MS,
            stale: StaleMode::Drop,
            kind: if is_snapshot { EventKind::Snapshot } else { EventKind::Other },
            occurred_at_ms: Some(occurred_at),
            occurred_at_signed: true,
            signed_at_ms: Some(occurred_at),
            received_at_ms: occurred_at,
            content_type: "application/json; charset=utf-8",
            assurance: 3,
            schema: None,
            defect: self.defect,
            http_headers: HttpHeaders::Listed(vec![
                ("user-agent", b"Stripe/1.0 (+https://stripe.com/docs/webhooks)".as_slice()),
                ("stripe-signature", signature.as_bytes()),
            ]),
            body: &record.body,
        }
        .encode(&mut record.value);
    }

    /// JSON of exactly `body_bytes`, filled up with hex digits that compress as ids and hashes do.
    fn body(&self, number: u64, resource: u64, id: &str, body: &mut Vec<u8>) {
        use std::io::Write as _;
        body.clear();
        write!(
            body,
            "{{\"id\":\"{id}\",\"object\":\"event\",\"created\":{},\"type\":\"customer.updated\",\"data\":{{\"object\":\
             {{\"id\":\"cus_{resource:010}\",\"object\":\"customer\",\"livemode\":true,\"metadata\":{{\"pad\":\"",
            (self.base_ms + number as i64) / 1000,
        )
        .unwrap_or_default();
        let end = b"\"}}}}";
        let mut salt = 0;
        while body.len() + end.len() < self.body_bytes {
            salt += 1;
            let digits = format!("{:016x}", mix(self.seed ^ number ^ (salt << 48)));
            let room = self.body_bytes - end.len() - body.len();
            body.extend(digits.bytes().take(room));
        }
        body.extend_from_slice(end);
    }
}

/// The number of an event, read back from its id.
pub fn number_of(id: &[u8]) -> Option<u64> {
    let digits = std::str::from_utf8(id.strip_prefix(b"evt_")?.get(..8)?).ok()?;
    u64::from_str_radix(digits, 16).ok()
}

/// A hash that spreads consecutive numbers (splitmix64).
pub fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: Shape = Shape {
        source: SOURCE,
        seed: 7,
        events: 20_000,
        duplicates: 5,
        resources: 100,
        snapshots: 50,
        body_bytes: 512,
        base_ms: 1_700_000_000_000,
        defect: None,
    };

    #[test]
    fn a_copy_is_an_earlier_event_and_every_id_knows_its_number() {
        let mut first = Record::default();
        let mut copies = 0;
        for place in 0..SHAPE.events {
            let number = SHAPE.at(place);
            assert!(number <= place && !SHAPE.is_copy(number));
            copies += u64::from(number != place);
        }
        assert_eq!(copies, SHAPE.events - SHAPE.uniques());
        assert!((800..1200).contains(&copies), "{copies} copies are not 5 %");
        SHAPE.write(1234, &mut first);
        assert_eq!(number_of(first.id.as_bytes()), Some(1234));
        assert_eq!(number_of(b"evt_x"), None);
    }

    #[test]
    fn an_event_is_what_ingest_would_write_and_a_copy_has_the_same_bytes() {
        let (mut one, mut two) = (Record::default(), Record::default());
        SHAPE.write(99, &mut one);
        SHAPE.write(98, &mut two);
        SHAPE.write(99, &mut two);
        assert_eq!((&one.key, &one.value), (&two.key, &two.value));
        let event = VerifiedEvent::decode(&one.value).expect("a record of verified-events");
        assert_eq!(event.body.len(), 512);
        assert!(serde_json::from_slice::<serde_json::Value>(event.body).is_ok(), "the body is JSON");
        assert!(one.key.starts_with("bench|customer|cus_"));
    }
}
