//! JSON Schemas of the configured sources, as handlers: a body that fails its schema is a dead letter at once.
//!
//! Which schema judges an event travels in the event, so that a replay is judged by the same name.

use runtime::json_schema::JsonSchema;
use schemas::{ReasonCode, VerifiedEvent};

use crate::step::handle::{Answer, Handler};

impl Handler for JsonSchema {
    fn name(&self) -> &str {
        self.name()
    }

    fn handle(&self, event: &VerifiedEvent<'_>) -> Answer {
        match self.check(event.body) {
            Ok(()) => Answer::Emit,
            // The letter's message goes further than its body.
            Err(violation) => {
                Answer::Dead { reason: ReasonCode::SchemaViolation, message: violation.masked().to_owned() }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::event;

    #[test]
    fn a_body_that_fails_is_dead_with_the_place_and_without_its_value() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("parcel.json");
        let schema = r#"{"type":"object","properties":{"grams":{"type":"integer"}},"required":["grams"]}"#;
        std::fs::write(&path, schema).expect("writable");
        let handler = JsonSchema::load("parcel.json", &path).expect("a schema");
        assert_eq!(handler.handle(&event(br#"{"grams":5}"#)), Answer::Emit);
        for (body, place) in [(&br#"{"grams":"top-secret"}"#[..], "/grams"), (b"{}", "grams"), (b"{", "not JSON")] {
            let Answer::Dead { reason: ReasonCode::SchemaViolation, message } = handler.handle(&event(body)) else {
                panic!("the body should be dead")
            };
            assert!(message.contains(place), "{message}");
            assert!(!message.contains("top-secret"), "{message}");
        }
    }
}
