//! JSON Schemas of the configured sources, as handlers: a body that fails its schema is a dead letter at once.
//!
//! Schemas are read once, at start. Which schema judges an event travels in the event, so that a replay is judged
//! by the same name.

use std::path::Path;

use anyhow::Context;
use jsonschema::Validator;
use schemas::{ReasonCode, VerifiedEvent};

use crate::step::handle::{Answer, Handler};

/// One JSON Schema.
pub struct JsonSchema {
    name: String,
    validator: Validator,
}

impl JsonSchema {
    /// Reads and compiles a schema. References to other documents are not followed.
    pub fn load(name: &str, path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read(path).with_context(|| format!("cannot read the JSON Schema {name}"))?;
        let schema = serde_json::from_slice(&text).with_context(|| format!("the JSON Schema {name} is not JSON"))?;
        let validator = jsonschema::validator_for(&schema)
            .map_err(|error| anyhow::anyhow!("{name} is not a JSON Schema: {error}"))?;
        Ok(Self { name: name.to_owned(), validator })
    }
}

impl Handler for JsonSchema {
    fn name(&self) -> &str {
        &self.name
    }

    fn handle(&self, event: &VerifiedEvent<'_>) -> Answer {
        let dead = |message: String| Answer::Dead { reason: ReasonCode::SchemaViolation, message };
        let body = match serde_json::from_slice(event.body) {
            Ok(body) => body,
            Err(error) => return dead(format!("the body is not JSON: {error}")),
        };
        match self.validator.validate(&body) {
            Ok(()) => Answer::Emit,
            Err(error) => {
                let path = error.instance_path().to_string();
                let place = if path.is_empty() { "the top" } else { &path };
                dead(format!("at {place}: {}", error.masked()))
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

    #[test]
    fn a_schema_that_is_none_is_refused_with_its_name() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("bad.json");
        for text in ["{", r#"{"type":5}"#] {
            std::fs::write(&path, text).expect("writable");
            let error = JsonSchema::load("bad.json", &path).err().expect("refused");
            assert!(error.to_string().contains("bad.json"), "{error:#}");
        }
    }
}
