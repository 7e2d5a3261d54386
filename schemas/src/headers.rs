//! Names of every record header Weir writes.
//!
//! `ce_*` are CloudEvents 1.0.2 attributes in Kafka binary mode; `weir-*` are ours and tell where a record came from.

/// CloudEvents version, always `1.0`.
pub const SPECVERSION: &str = "ce_specversion";
/// The provider's event id.
pub const ID: &str = "ce_id";
/// `/hooks/<source>`.
pub const SOURCE: &str = "ce_source";
/// `<preset>.<event type>`.
pub const TYPE: &str = "ce_type";
/// Occurred at, RFC 3339 UTC, when known.
pub const TIME: &str = "ce_time";
/// Resource key without the source.
pub const SUBJECT: &str = "ce_subject";
/// The provider's Content-Type.
pub const CONTENT_TYPE: &str = "content-type";
/// Stable across retries, restarts and redrives.
pub const IDEMPOTENCY_KEY: &str = "ce_idempotencykey";
/// Append time in `verified-events`, RFC 3339 UTC.
pub const RECEIVED_TIME: &str = "ce_receivedtime";
/// `a0` to `a3`.
pub const ASSURANCE: &str = "ce_assurance";
/// 1 is the first attempt.
pub const ATTEMPT: &str = "ce_attempt";
/// `live`, `redrive` or `reconcile`.
pub const ORIGIN: &str = "ce_origin";
/// `true` on a late event that was let through.
pub const STALE: &str = "ce_stale";

/// `<partition>:<offset>` in `verified-events`.
pub const WEIR_SRC: &str = "weir-src";
/// Sequence number per partition of `verified-events`, from 1, without a gap.
pub const WEIR_SEQ: &str = "weir-seq";
/// Number of the transaction that wrote the record, per partition of `verified-events`.
pub const WEIR_TXN: &str = "weir-txn";
/// How often the event had moved through a retry topic when the record was written; 0 is the first pass.
pub const WEIR_HOP: &str = "weir-hop";
/// `future` when occurred-at is later than the receipt allows.
pub const WEIR_CLOCK: &str = "weir-clock";
/// Reason code on a dead event and on a retry.
pub const WEIR_REASON: &str = "weir-reason";
/// Why, for a person, on a retry.
pub const WEIR_MESSAGE: &str = "weir-message";
/// How often the event had been handled when the record was written.
pub const WEIR_ATTEMPT: &str = "weir-attempt";
/// When the event failed first, milliseconds since the epoch.
pub const WEIR_FIRST_FAILED: &str = "weir-first-failed";
/// Append time of the original record in `verified-events`, milliseconds since the epoch, on a command.
pub const WEIR_RECEIVED: &str = "weir-received";
/// When the event is due, milliseconds since the epoch.
pub const WEIR_DUE: &str = "weir-due";
/// How often the event was redriven; absent is never.
pub const WEIR_GENERATION: &str = "weir-generation";
/// The failures so far, see [`crate::command::encode_history`].
pub const WEIR_HISTORY: &str = "weir-history";
/// `redrive` or `discard`: the record is a command about a dead letter.
pub const WEIR_COMMAND: &str = "weir-command";
/// Tells a command from every other.
pub const WEIR_COMMAND_ID: &str = "weir-command-id";
/// The dead letter that a command is about, or that a dead event is.
pub const WEIR_DEAD_ID: &str = "weir-dead-id";
/// Source of the dead letter that a command is about; empty when the letter does not know it.
pub const WEIR_SOURCE: &str = "weir-source";
/// Who sent a command.
pub const WEIR_OPERATOR: &str = "weir-operator";
/// Why a command was sent.
pub const WEIR_NOTE: &str = "weir-note";
/// `true` on a redrive that may be stale.
pub const WEIR_AS_IS: &str = "weir-as-is";
/// How many of a record's headers, from the first, are those of the original record.
pub const WEIR_ORIGINALS: &str = "weir-originals";

/// Where an event comes from and why it died, under the names that tools for Kafka Streams (KIP-1034) and for Kafka
/// Connect's dead letter queues read: topic, partition, offset, exception, message. Numbers are text, as Connect's.
pub const ERRORS: [[&str; 5]; 2] = [
    [
        "__streams.errors.topic",
        "__streams.errors.partition",
        "__streams.errors.offset",
        "__streams.errors.exception",
        "__streams.errors.message",
    ],
    [
        "__connect.errors.topic",
        "__connect.errors.partition",
        "__connect.errors.offset",
        "__connect.errors.exception.class.name",
        "__connect.errors.exception.message",
    ],
];

/// The idempotency key of an event: `<source>:<event id>` when that is at most 255 visible ASCII characters,
/// else `<source>:sha256:<hex of the event id>`, so that it fits an HTTP header.
pub fn idempotency_key(source: &str, event_id: &str, out: &mut String) {
    out.clear();
    out.push_str(source);
    out.push(':');
    if out.len() + event_id.len() <= 255 && event_id.bytes().all(|byte| byte.is_ascii_graphic()) {
        out.push_str(event_id);
    } else {
        out.push_str("sha256:");
        out.push_str(&hex::encode(crate::identity::sha256(event_id.as_bytes())));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idempotency_key_always_fits_an_http_header() {
        let key = |source: &str, id: &str| {
            let mut out = String::new();
            idempotency_key(source, id, &mut out);
            out
        };
        assert_eq!(key("stripe", "evt_1"), "stripe:evt_1");
        assert_eq!(key("s", &"a".repeat(253)).len(), 255);
        for id in ["a b", "é", "x\n", &"a".repeat(254)] {
            let key = key("s", id);
            assert!(key.starts_with("s:sha256:") && key.len() == 9 + 64, "{key}");
        }
    }
}
