//! Decisions to records: headers, values and partitions of everything a transaction writes.
//!
//! Pure: builds into reusable buffers and hands out borrowed records. Which transaction they go into is not
//! known here.

use schemas::command::{Failed, RecordHeaders};
use schemas::dead_event::{Failure, cut};
use schemas::{DeadEvent, DeadId, Resolution, VerifiedEvent, headers, partition, resolution, time};

use crate::state::DeadRef;
use crate::state::wait::Detail;
use crate::step::route::Death;
use crate::step::{Input, Retry};

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
    /// A retry topic, by its number in `[retry] delays`.
    Retry(u8),
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
    /// Names of others' headers, which are written before ours.
    texts: Vec<(String, Option<usize>)>,
    names: Vec<(&'static str, usize)>,
    bytes: Vec<u8>,
}

impl Headers {
    /// Name and value of each header, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Option<&[u8]>)> {
        let others = self.texts.iter().map(|(name, end)| (name.as_str(), *end));
        let ours = self.names.iter().map(|(name, end)| (*name, Some(*end)));
        let mut start = 0;
        others.chain(ours).map(move |(name, end)| {
            let value = end.map(|end| self.bytes.get(start..end).unwrap_or_default());
            start = end.unwrap_or(start);
            (name, value)
        })
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.texts.len() + self.names.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn clear(&mut self) {
        self.texts.clear();
        self.names.clear();
        self.bytes.clear();
    }

    /// Another record's headers, untouched. Before any of ours.
    fn others(&mut self, others: &RecordHeaders<'_>) {
        for (name, value) in others {
            self.bytes.extend_from_slice(value.unwrap_or_default());
            self.texts.push(((*name).to_owned(), value.map(|_| self.bytes.len())));
        }
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
    /// How often the event was redriven.
    pub generation: u64,
    /// How often it has been handled, this time included.
    pub attempt: u32,
}

/// What a failing event has behind it.
#[derive(Debug)]
pub struct Failures<'a> {
    /// Name of the topic of the original record.
    pub source_topic: &'a str,
    /// Headers of the original record.
    pub originals: RecordHeaders<'a>,
    /// When it failed first, milliseconds since the epoch.
    pub first_ms: i64,
    /// When it failed last.
    pub last_ms: i64,
    /// All of them but the last.
    pub history: &'a [Failed],
}

/// How an event passes.
#[derive(Debug, Clone, Copy)]
pub struct Pass<'a> {
    /// Late, and let through.
    pub is_stale: bool,
    /// Its occurred-at lies in the future.
    pub is_future: bool,
    /// What a handler made of the body.
    pub body: Option<&'a [u8]>,
}

/// Builds records, reusing its buffers.
#[derive(Debug, Default)]
pub struct Emitter {
    headers: Headers,
    value: Vec<u8>,
    text: String,
    none: Headers,
    /// When the last event was received, and how that is written: all records that the broker appended at once say the
    /// same.
    received: (i64, Vec<u8>),
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
        pass: Pass<'a>,
    ) -> Record<'a> {
        let Self { headers, received, text, .. } = self;
        if received.0 != input.timestamp || received.1.is_empty() {
            received.0 = input.timestamp;
            received.1.clear();
            time::push_rfc3339(input.timestamp, &mut received.1);
        }
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
        headers::idempotency_key(event.source, event.event_id, text);
        headers.text(headers::IDEMPOTENCY_KEY, text);
        headers.push(headers::RECEIVED_TIME, &[&received.1]);
        headers.text(headers::ASSURANCE, assurance(event.assurance));
        headers.number(headers::ATTEMPT, u64::from(stamp.attempt));
        headers.text(headers::ORIGIN, if stamp.generation == 0 { "live" } else { "redrive" });
        if pass.is_stale {
            headers.text(headers::STALE, "true");
        }
        if pass.is_future {
            headers.text(headers::WEIR_CLOCK, "future");
        }
        stamp_with(headers, input, stamp);
        let partition = partition::partition(input.key, partitions);
        Record { out, partition, key: Some(input.key), value: pass.body.unwrap_or(event.body), headers }
    }

    /// The record of a dead letter. `input`: the record as it was, or what is known of it.
    pub fn dead<'a>(
        &'a mut self,
        event: Option<&VerifiedEvent<'a>>,
        source: Option<&'a str>,
        input: &Input<'a>,
        failures: &Failures<'a>,
        death: &'a Death,
        stamp: Stamp,
    ) -> Record<'a> {
        let id = DeadId { partition: input.partition, offset: input.offset, generation: stamp.generation }.to_string();
        let mut history: Vec<Failure<'_>> = failures.history.iter().map(Failed::as_failure).collect();
        history.push(Failure {
            at_ms: failures.last_ms,
            attempt: i64::from(stamp.attempt),
            reason: death.reason.as_str(),
            message: &death.message,
        });
        self.value.clear();
        DeadEvent {
            dead_id: &id,
            generation: i64::try_from(stamp.generation).unwrap_or(i64::MAX),
            reason: death.reason.as_str(),
            message: &death.message,
            stage: death.stage,
            attempts: i64::from(stamp.attempt),
            first_failed_ms: failures.first_ms,
            last_failed_ms: failures.last_ms,
            source: event.map(|event| event.source).or(source),
            event_id: event.map(|event| event.event_id),
            event_type: event.map(|event| event.event_type),
            source_topic: failures.source_topic,
            source_partition: input.partition,
            source_offset: input.offset,
            received_at_ms: input.timestamp,
            original_key: Some(input.key),
            original_value: Some(input.value),
            original_headers: failures.originals.clone(),
            history,
        }
        .encode(&mut self.value);
        let headers = &mut self.headers;
        headers.clear();
        headers.text(headers::WEIR_REASON, death.reason.as_str());
        headers.text(headers::WEIR_DEAD_ID, &id);
        // The names that tools for Kafka Streams (KIP-1034) and Kafka Connect look for.
        for [topic, partition, offset, exception, message] in headers::ERRORS {
            headers.text(topic, failures.source_topic);
            headers.number(partition, u64::from(input.partition.unsigned_abs()));
            headers.number(offset, input.offset.unsigned_abs());
            headers.text(exception, death.reason.as_str());
            headers.text(message, cut(&death.message));
        }
        stamp_with(headers, input, stamp);
        Record {
            out: Out::Dead,
            partition: input.partition,
            key: Some(input.key),
            value: &self.value,
            headers: &self.headers,
        }
    }

    /// The record of an event that is tried again, for its tier.
    pub fn retry<'a>(
        &'a mut self,
        tier: usize,
        input: &Input<'a>,
        originals: &RecordHeaders<'a>,
        retry: &Retry,
        detail: &Detail,
        stamp: Stamp,
    ) -> Record<'a> {
        let headers = &mut self.headers;
        headers.clear();
        headers.others(originals);
        headers.number(headers::WEIR_HOP, u64::from(detail.hops));
        headers.number(headers::WEIR_ATTEMPT, u64::from(stamp.attempt));
        headers.number(headers::WEIR_DUE, detail.due_ms.unsigned_abs());
        headers.number(headers::WEIR_FIRST_FAILED, detail.first_failed_ms.unsigned_abs());
        headers.text(headers::WEIR_REASON, retry.reason.as_str());
        headers.text(headers::WEIR_MESSAGE, cut(&retry.message));
        stamp_with(headers, input, stamp);
        Record {
            // There are sixteen tiers at most.
            out: Out::Retry(tier as u8),
            partition: input.partition,
            key: Some(input.key),
            value: input.value,
            headers: &self.headers,
        }
    }

    /// The record that resolves a dead letter whose event came again and succeeded.
    pub fn superseded<'a>(&'a mut self, partition: i32, dead: DeadRef, input: &Input<'_>, stamp: Stamp) -> Record<'a> {
        let resolution = Resolution {
            dead_id: dead_id(partition, dead),
            result: resolution::Outcome::Superseded,
            at: time::rfc3339(input.timestamp),
            by: Some(format!("{}:{}", input.partition, input.offset)),
            command_id: None,
            operator: None,
            note: None,
            new_dead_id: None,
        };
        self.resolution(&resolution, false, Some(input), stamp)
    }

    /// The record of a resolution. A command that came too late is answered under a key of its own.
    pub fn resolution<'a>(
        &'a mut self,
        resolution: &Resolution,
        is_late: bool,
        input: Option<&Input<'_>>,
        stamp: Stamp,
    ) -> Record<'a> {
        self.text = match &resolution.command_id {
            Some(command_id) if is_late => resolution::late_key(&resolution.dead_id, command_id),
            Some(_) | None => resolution.dead_id.clone(),
        };
        self.value = resolution.encode();
        self.headers.clear();
        match input {
            Some(input) => stamp_with(&mut self.headers, input, stamp),
            None => self.headers.number(headers::WEIR_TXN, stamp.txn),
        }
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
    DeadId { partition, offset: dead.offset, generation: dead.generation }.to_string()
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
    if stamp.generation > 0 {
        headers.number(headers::WEIR_GENERATION, stamp.generation);
    }
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
    fn what_a_handler_says_at_length_finds_room_in_headers() {
        let input = Input { partition: 0, offset: 7, timestamp: 0, key: b"k", value: b"v" };
        let long = "\u{e9}".repeat(512 * 1024);
        let stamp = Stamp { txn: 1, seq: None, generation: 0, attempt: 1 };
        let failures =
            Failures { source_topic: "verified-events", originals: Vec::new(), first_ms: 0, last_ms: 0, history: &[] };
        let death = Death { reason: schemas::ReasonCode::SchemaViolation, message: long.clone(), stage: "schema" };
        let retry = Retry { pause_ms: 1, reason: schemas::ReasonCode::HandlerFailed, message: long, is_counted: true };
        let mut emitter = Emitter::default();
        let size = |record: Record<'_>| -> usize {
            record.headers.iter().map(|(name, value)| name.len() + value.unwrap_or_default().len()).sum()
        };
        assert!(size(emitter.dead(None, None, &input, &failures, &death, stamp)) < 4096);
        assert!(size(emitter.retry(0, &input, &Vec::new(), &retry, &Detail::default(), stamp)) < 4096);
    }

    #[test]
    fn what_is_late_or_from_the_future_is_marked_and_nothing_else_is() {
        let input = Input { partition: 0, offset: 7, timestamp: 0, key: b"k", value: b"v" };
        let stamp = Stamp { txn: 1, seq: Some(1), generation: 0, attempt: 1 };
        let event = crate::samples::event(b"{}");
        let mut emitter = Emitter::default();
        let mut marks = |is_stale, is_future| {
            let pass = Pass { is_stale, is_future, body: None };
            let record = emitter.event(Out::Clean, 1, &event, &input, stamp, pass);
            [headers::STALE, headers::WEIR_CLOCK].map(|mark| {
                let found = record.headers.iter().find(|(name, _)| *name == mark);
                found.and_then(|(_, value)| value).map(|value| String::from_utf8_lossy(value).into_owned())
            })
        };
        assert_eq!(marks(false, false), [None, None]);
        assert_eq!(marks(true, false), [Some("true".to_owned()), None]);
        assert_eq!(marks(false, true), [None, Some("future".to_owned())]);
    }

    #[test]
    fn numbers_print_as_they_do_everywhere() {
        for number in [0, 9, 10, 1234567890, u64::MAX] {
            let mut out = Vec::new();
            push_digits(&mut out, number);
            assert_eq!(String::from_utf8_lossy(&out), number.to_string());
        }
    }
}
