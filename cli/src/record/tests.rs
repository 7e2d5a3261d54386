//! Records of each topic as they are shown.

use rdkafka::Timestamp;
use rdkafka::message::{Header, OwnedHeaders, OwnedMessage};

use super::*;
use crate::samples;

fn message(value: Vec<u8>, headers: &[(&str, &str)]) -> OwnedMessage {
    let mut all = OwnedHeaders::new();
    for (key, value) in headers {
        all = all.insert(Header { key, value: Some(*value) });
    }
    let key = b"gh|repository|1".to_vec();
    OwnedMessage::new(Some(value), Some(key), "t".to_owned(), Timestamp::LogAppendTime(0), 3, 17, Some(all))
}

#[test]
fn a_verified_event_shows_what_is_inside_its_envelope() {
    let seen = Seen::of(&Topic::Verified, &message(samples::encoded(&samples::verified(b"{\"a\":1}")), &[]));
    assert_eq!(seen.source.as_deref(), Some("gh"));
    assert_eq!(seen.event_type.as_deref(), Some("github.issues.opened"));
    assert_eq!(seen.event_id.as_deref(), Some("e1"));
    assert_eq!(seen.occurred_at.as_deref(), Some("1970-01-01T00:00:00.005Z"));
    assert_eq!(seen.key.as_deref(), Some("gh|repository|1"));
    assert_eq!((seen.partition, seen.offset, seen.time.as_str()), (3, 17, "1970-01-01T00:00:00.000Z"));
    assert_eq!(seen.body.as_deref(), Some("{\"a\":1}"));
}

#[test]
fn a_body_that_is_not_json_is_base64_and_its_defect_the_reason() {
    let event = VerifiedEvent { defect: Some("invalid_json"), ..samples::verified(b"\xff\x00") };
    let seen = Seen::of(&Topic::Retry("5s".to_owned()), &message(samples::encoded(&event), &[]));
    assert_eq!((seen.body, seen.body_base64.as_deref()), (None, Some("/wA=")));
    assert_eq!(seen.reason.as_deref(), Some("invalid_json"));
}

#[test]
fn a_record_that_cannot_be_decoded_is_shown_with_its_bytes() {
    for topic in [Topic::Verified, Topic::Dead] {
        let seen = Seen::of(&topic, &message(b"garbage".to_vec(), &[]));
        assert_eq!(seen.event_id, None);
        assert_eq!(seen.body_base64.as_deref(), Some("Z2FyYmFnZQ=="));
    }
}

#[test]
fn a_dead_event_shows_why_and_the_body_it_died_with() {
    let value = samples::dead("3-17-0", b"[1]");
    let seen = Seen::of(&Topic::Dead, &message(value, &[]));
    assert_eq!(seen.reason.as_deref(), Some("schema_violation"));
    assert_eq!(seen.event_type.as_deref(), Some("github.issues.opened"));
    assert_eq!(seen.came_from(), Some("3:17"));
    assert_eq!(seen.body.as_deref(), Some("[1]"));
    let dead = seen.dead.unwrap();
    assert_eq!((dead.id.as_str(), dead.attempts, dead.last_failed.as_str()), ("3-17-0", 2, "1970-01-01T00:00:02.000Z"));
}

#[test]
fn a_clean_event_is_known_by_its_headers() {
    let headers = [("ce_id", "e1"), ("ce_source", "/hooks/gh"), ("ce_type", "github.push"), ("weir-src", "3:9")];
    let seen = Seen::of(&Topic::Clean, &message(b"{}".to_vec(), &headers));
    assert_eq!(seen.event_id.as_deref(), Some("e1"));
    assert_eq!(seen.source.as_deref(), Some("gh"));
    assert_eq!(seen.event_type.as_deref(), Some("github.push"));
    assert_eq!(seen.came_from(), Some("3:9"));
}

#[test]
fn a_person_sees_one_line_however_long_the_body() {
    let body = serde_json::to_vec(&"x\n".repeat(500)).unwrap();
    let seen = Seen::of(&Topic::Clean, &message(body, &[("ce_id", "e1")]));
    let line = seen.pretty();
    assert!(line.chars().count() < 260 && line.contains("  e1 ") && line.ends_with('…'), "{line}");
}

#[test]
fn a_command_in_a_retry_topic_is_told_from_a_retry() {
    let id = schemas::DeadId { partition: 3, offset: 12, generation: 0 };
    let command = Command {
        verb: schemas::command::Verb::Discard,
        id: "c1",
        dead_id: id,
        source: Some("gh"),
        attempts: 1,
        first_failed_ms: 0,
        received_at_ms: 0,
        operator: "ann",
        note: "obsolete",
        is_as_is: false,
        history: b"[]",
        originals: Vec::new(),
    };
    let headers = command.headers();
    let text = |value: &Option<Vec<u8>>| String::from_utf8(value.clone().unwrap_or_default()).unwrap();
    let owned: Vec<(String, String)> = headers.iter().map(|(name, value)| (name.clone(), text(value))).collect();
    let borrowed: Vec<(&str, &str)> = owned.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let retry = Topic::Retry("5s".to_owned());
    let commanded = Seen::of(&retry, &message(samples::encoded(&samples::verified(b"{}")), &borrowed)).command.unwrap();
    let said = (commanded.verb, commanded.dead_id.as_str(), commanded.operator.as_str(), commanded.note.as_str());
    assert_eq!(said, ("discard", "3-12-0", "ann", "obsolete"));
    let hop = [("weir-hop", "1"), ("weir-reason", "handler_failed")];
    assert_eq!(Seen::of(&retry, &message(samples::encoded(&samples::verified(b"{}")), &hop)).command, None);
}
