//! An event and its dead letter, for the tests.

use schemas::dead_event::Failure;
use schemas::verified_event::{EventKind, HttpHeaders, StaleMode};
use schemas::{DeadEvent, VerifiedEvent};

/// The event inside.
pub fn verified(body: &[u8]) -> VerifiedEvent<'_> {
    VerifiedEvent {
        source: "gh",
        preset: "github",
        event_id: "e1",
        event_type: "issues.opened",
        identity: b"i",
        identity_signed: false,
        window_ms: 1000,
        stale: StaleMode::Drop,
        kind: EventKind::Other,
        occurred_at_ms: Some(5),
        occurred_at_signed: true,
        signed_at_ms: None,
        received_at_ms: 7,
        content_type: "application/json",
        assurance: 2,
        schema: None,
        defect: None,
        http_headers: HttpHeaders::Listed(vec![("x-github-event", b"issues")]),
        body,
    }
}

/// Its bytes.
pub fn encoded(event: &VerifiedEvent<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    event.encode(&mut bytes);
    bytes
}

/// A dead event around some original record's value.
pub fn around<'a>(dead_id: &'a str, original: &'a [u8]) -> DeadEvent<'a> {
    DeadEvent {
        dead_id,
        generation: 0,
        reason: "schema_violation",
        message: "no number",
        stage: "schema",
        attempts: 2,
        first_failed_ms: 1000,
        last_failed_ms: 2000,
        source: Some("gh"),
        event_id: Some("e1"),
        event_type: Some("issues.opened"),
        source_topic: "verified-events",
        source_partition: 3,
        source_offset: 17,
        received_at_ms: 900,
        original_key: Some(b"gh|repository|1"),
        original_value: Some(original),
        original_headers: vec![("traceparent", Some(b"00-1"))],
        history: vec![Failure { at_ms: 2000, attempt: 2, reason: "schema_violation", message: "no number" }],
    }
}

/// The bytes of a dead event with that id and body.
pub fn dead(dead_id: &str, body: &[u8]) -> Vec<u8> {
    let original = encoded(&verified(body));
    bytes(&around(dead_id, &original))
}

/// The bytes of a dead event.
pub fn bytes(event: &DeadEvent<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    event.encode(&mut bytes);
    bytes
}
