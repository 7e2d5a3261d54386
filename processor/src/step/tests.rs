//! Decisions that take more than one step.

use schemas::identity;
use schemas::verified_event::{EventKind, HttpHeaders, StaleMode};

use super::*;

/// A state that knows nothing.
struct Nothing;

impl View for Nothing {
    fn seen(&self, _: &About<'_>) -> Result<Option<Known>, StateError> {
        Ok(None)
    }

    fn last(&self, _: &About<'_>, _: ResourceHash) -> Result<Option<Last>, StateError> {
        Ok(None)
    }
}

#[test]
fn an_event_whose_schema_is_gone_holds_up_its_partition_only_when_it_comes() {
    let identity = identity::by_id("1");
    let mut value = Vec::new();
    VerifiedEvent {
        source: "shop",
        preset: "shop",
        event_id: "1",
        event_type: "",
        identity: &identity,
        identity_signed: true,
        window_ms: 1000,
        stale: StaleMode::Off,
        kind: EventKind::Other,
        occurred_at_ms: None,
        occurred_at_signed: false,
        signed_at_ms: None,
        received_at_ms: 0,
        content_type: "",
        assurance: 3,
        schema: Some("order.json"),
        defect: None,
        http_headers: HttpHeaders::default(),
        body: b"{}",
    }
    .encode(&mut value);
    let input = Input { partition: 0, offset: 0, timestamp: 0, key: b"shop|event|1", value: &value };
    let decided = |turn| decide(&input, turn, 0, &Nothing, &Handlers::default(), Torn::default());
    let first = decided(Turn::First { is_held_back: false, has_room: true });
    assert!(matches!(first, Err(Undecided::UnknownSchema { .. })), "{first:?}");
    let again = decided(Turn::Again(Past::default())).expect("decided");
    assert!(matches!(again.outcome, Outcome::Retry(Retry { is_counted: false, .. })), "{again:?}");
    let redriven = decided(Turn::Redrive(Past { generation: 1, ..Past::default() })).expect("decided");
    assert!(matches!(&redriven.outcome, Outcome::Dead(death) if death.message.contains("order.json")), "{redriven:?}");
}
