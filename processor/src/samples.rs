//! An event for tests that are about something else.

use schemas::VerifiedEvent;
use schemas::verified_event::{EventKind, HttpHeaders, StaleMode};

/// A signed event with this body and nothing special about it.
pub fn event(body: &[u8]) -> VerifiedEvent<'_> {
    VerifiedEvent {
        source: "warehouse",
        preset: "warehouse",
        event_id: "1",
        event_type: "",
        identity: b"1",
        identity_signed: true,
        window_ms: 1,
        stale: StaleMode::Off,
        kind: EventKind::Other,
        occurred_at_ms: None,
        occurred_at_signed: false,
        signed_at_ms: None,
        received_at_ms: 0,
        content_type: "",
        assurance: 3,
        schema: None,
        defect: None,
        http_headers: HttpHeaders::default(),
        body,
    }
}
