//! Decisions to records: headers, values and partitions of everything a transaction writes.
//!
//! Pure: builds into reusable buffers and hands out borrowed records. Which transaction they go into is not
//! known here.

use schemas::dead_event::Failure;
use schemas::{DeadEvent, VerifiedEvent, headers, partition, time};

use crate::batch::StoredHeaders;
use crate::state::DeadRef;
use crate::step::Input;
use crate::step::route::Death;

/// A topic the processor writes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Out {
    /// `clean-events`.
    Clean,
    /// `stale-events`.
    Stale,
    /// `dead-events`.
    Dead,
    /// `dead-resolutions`.
    Resolutions,
    /// `state-changelog`.
    Changelog,
}

/// A record to produce.
#[derive(Debug, Clone, Copy)]
pub struct Record<'a> {
    /// Where to.
    pub out: Out,
    /// Which partition.
    pub partition: i32,
    /// Its key.
    pub key: Option<&'a [u8]>,
    /// Its value.
    pub value: &'a [u8],
    /// Its headers.
    pub headers: &'a Headers,
}

/// Record headers in one buffer.
#[derive(Debug, Default)]
pub struct Headers {
    names: Vec<(&'static str, usize)>,
    bytes: Vec<u8>,
}

impl Headers {
    /// Name and value of each header, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &[u8])> {
        let mut start = 0;
        self.names.iter().map(move |(name, end)| {
            let value = self.bytes.get(start..*end).unwrap_or_default();
            start = *end;
            (*name, value)
        })
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    fn clear(&mut self) {
        self.names.clear();
        self.bytes.clear();
    }

    fn push(&mut self, name: &'static str, parts: &[&[u8]]) {
        for part in parts {
            self.bytes.extend_from_slice(part);
        }
        self.names.push((name, self.bytes.len()));
    }

    fn text(&mut self, name: &'static str, value: &str) {
        self.push(name, &[value.as_bytes()]);
    }

    fn number(&mut self, name: &'static str, value: u64) {
        push_digits(&mut self.bytes, value);
        self.names.push((name, self.bytes.len()));
    }

    fn time(&mut self, name: &'static str, ms: i64) {
        time::push_rfc3339(ms, &mut self.bytes);
        self.names.push((name, self.bytes.len()));
    }
}

/// What the record to emit is stamped with.
#[derive(Debug, Clone, Copy)]
pub struct Stamp {
    /// Number of the transaction.
    pub txn: u64,
    /// `weir-seq`, for `clean-events`.
    pub seq: Option<u64>,
}

/// How an event passes.
#[derive(Debug, Clone, Copy)]
pub struct Pass {
    /// Late, and let through.
    pub is_stale: bool,
    /// Its occurred-at lies in the future.
    pub is_future: bool,
}

/// Builds records, reusing its buffers.
#[derive(Debug, Default)]
pub struct Emitter {
    headers: Headers,
    value: Vec<u8>,
    text: String,
    none: Headers,
}

impl Emitter {
    /// The record of an event for `clean-events` or `stale-events`, which have `partitions` partitions.
    pub fn event<'a>(
        &'a mut self,
        out: Out,
        partitions: i32,
        event: &VerifiedEvent<'a>,
        input: &Input<'a>,
        stamp: Stamp,
        pass: Pass,
    ) -> Record<'a> {
        let headers = &mut self.headers;
        headers.clear();
        headers.text(headers::SPECVERSION, "1.0");
        headers.text(headers::ID, event.event_id);
        headers.push(headers::SOURCE, &[b"/hooks/", event.source.as_bytes()]);
        if event.event_type.is_empty() {
            headers.text(headers::TYPE, event.preset);
        } else {
            headers.push(headers::TYPE, &[event.preset.as_bytes(), b".", event.event_type.as_bytes()]);
        }
        if let Some(occurred_at) = event.occurred_at_ms {
            headers.time(headers::TIME, occurred_at);
        }
        headers.push(headers::SUBJECT, &[partition::subject(input.key)]);
        if !event.content_type.is_empty() {
            headers.text(headers::CONTENT_TYPE, event.content_type);
        }
        headers::idempotency_key(event.source, event.event_id, &mut self.text);
        headers.text(headers::IDEMPOTENCY_KEY, &self.text);
        headers.time(headers::RECEIVED_TIME, input.timestamp);
        headers.text(headers::ASSURANCE, assurance(event.assurance));
        headers.text(headers::ATTEMPT, "1");
        headers.text(headers::ORIGIN, "live");
        if pass.is_stale {
            headers.text(headers::STALE, "true");
        }
        if pass.is_future {
            headers.text(headers::WEIR_CLOCK, "future");
        }
        stamp_with(headers, input, stamp);
        let partition = partition::partition(input.key, partitions);
        Record { out, partition, key: Some(input.key), value: event.body, headers: &self.headers }
    }

    /// The record of a dead letter.
    pub fn dead<'a>(
        &'a mut self,
        event: Option<&VerifiedEvent<'a>>,
        input: &Input<'a>,
        original_headers: StoredHeaders<'a>,
        source_topic: &str,
        death: &Death,
        stamp: Stamp,
    ) -> Record<'a> {
        let dead = DeadRef { offset: input.offset, generation: 0 };
        let failure =
            Failure { at_ms: input.timestamp, attempt: 1, reason: death.reason.as_str(), message: &death.message };
        self.value.clear();
        DeadEvent {
            dead_id: &dead_id(input.partition, dead),
            generation: 0,
            reason: death.reason.as_str(),
            message: &death.message,
            stage: death.stage,
            attempts: 1,
            first_failed_ms: input.timestamp,
            last_failed_ms: input.timestamp,
            source: event.map(|event| event.source),
            event_id: event.map(|event| event.event_id),
            event_type: event.map(|event| event.event_type),
            source_topic,
            source_partition: input.partition,
            source_offset: input.offset,
            received_at_ms: input.timestamp,
            original_key: Some(input.key),
            original_value: Some(input.value),
            original_headers: original_headers.to_vec(),
            history: vec![failure],
        }
        .encode(&mut self.value);
        self.headers.clear();
        self.headers.text(headers::WEIR_REASON, death.reason.as_str());
        stamp_with(&mut self.headers, input, stamp);
        Record {
            out: Out::Dead,
            partition: input.partition,
            key: Some(input.key),
            value: &self.value,
            headers: &self.headers,
        }
    }

    /// The record that resolves a dead letter whose event came again and succeeded.
    pub fn superseded<'a>(&'a mut self, partition: i32, dead: DeadRef, input: &Input<'_>, stamp: Stamp) -> Record<'a> {
        self.text = dead_id(partition, dead);
        self.value.clear();
        let json = serde_json::json!({
            "dead_id": self.text,
            "result": "superseded",
            "at": time::rfc3339(input.timestamp),
            "by": format!("{}:{}", input.partition, input.offset),
        });
        self.value.extend_from_slice(json.to_string().as_bytes());
        self.headers.clear();
        stamp_with(&mut self.headers, input, stamp);
        Record {
            out: Out::Resolutions,
            partition: 0,
            key: Some(self.text.as_bytes()),
            value: &self.value,
            headers: &self.headers,
        }
    }

    /// A record of the changelog.
    pub fn changelog<'a>(&'a self, partition: i32, value: &'a [u8]) -> Record<'a> {
        Record { out: Out::Changelog, partition, key: None, value, headers: &self.none }
    }
}

/// `<partition>-<offset>-<generation>`.
pub fn dead_id(partition: i32, dead: DeadRef) -> String {
    format!("{partition}-{}-{}", dead.offset, dead.generation)
}

fn stamp_with(headers: &mut Headers, input: &Input<'_>, stamp: Stamp) {
    // Neither is ever negative.
    push_digits(&mut headers.bytes, u64::from(input.partition.unsigned_abs()));
    headers.bytes.push(b':');
    push_digits(&mut headers.bytes, input.offset.unsigned_abs());
    headers.names.push((headers::WEIR_SRC, headers.bytes.len()));
    if let Some(seq) = stamp.seq {
        headers.number(headers::WEIR_SEQ, seq);
    }
    headers.number(headers::WEIR_TXN, stamp.txn);
}

fn push_digits(out: &mut Vec<u8>, number: u64) {
    let mut digits = [0_u8; 20];
    let mut at = digits.len();
    let mut rest = number;
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        at -= 1;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(digits.get(at..).unwrap_or_default());
}

fn assurance(level: u8) -> &'static str {
    match level {
        0 => "a0",
        1 => "a1",
        2 => "a2",
        _ => "a3",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_print_as_they_do_everywhere() {
        for number in [0, 9, 10, 1234567890, u64::MAX] {
            let mut out = Vec::new();
            push_digits(&mut out, number);
            assert_eq!(String::from_utf8_lossy(&out), number.to_string());
        }
    }
}
