//! Decisions that take more than one step.

use super::*;
use crate::samples::event;

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
    let mut value = Vec::new();
    VerifiedEvent { schema: Some("order.json"), ..event(b"{}") }.encode(&mut value);
    let input = Input { partition: 0, offset: 0, timestamp: 0, key: b"warehouse|event|1", value: &value };
    let decided = |turn| decide(&input, turn, 0, &Nothing, &Handlers::default(), Torn::default());
    let first = decided(Turn::First { is_held_back: false, has_room: true });
    assert!(matches!(first, Err(Undecided::UnknownSchema { .. })), "{first:?}");
    let again = decided(Turn::Again(Past::default())).expect("decided");
    assert!(matches!(again.outcome, Outcome::Retry(Retry { is_counted: false, .. })), "{again:?}");
    let redriven = decided(Turn::Redrive(Past { generation: 1, ..Past::default() })).expect("decided");
    assert!(matches!(&redriven.outcome, Outcome::Dead(death) if death.message.contains("order.json")), "{redriven:?}");
}
