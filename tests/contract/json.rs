//! What we say in JSON against the schemas that others check it with.

use ingest::rejection;
use schemas::ReasonCode;
use schemas::resolution::{Outcome, Resolution};
use serde_json::Value;

const PROBLEM: &str = include_str!("../../schemas/json/problem.json");
const RESOLUTION: &str = include_str!("../../schemas/json/resolution.json");

fn schema(text: &str) -> jsonschema::Validator {
    let schema = serde_json::from_str(text).expect("JSON");
    assert!(jsonschema::meta::is_valid(&schema), "not a JSON Schema");
    jsonschema::validator_for(&schema).expect("a JSON Schema")
}

#[test]
fn every_refusal_is_what_its_schema_says() {
    let schema = schema(PROBLEM);
    let reasons = [
        ReasonCode::BadRequest,
        ReasonCode::DuplicateHeader,
        ReasonCode::SignatureMismatch,
        ReasonCode::UnknownSource,
        ReasonCode::MethodNotAllowed,
        ReasonCode::Timeout,
        ReasonCode::BodyTooLarge,
        ReasonCode::UnsupportedEncoding,
        ReasonCode::HeadersTooLarge,
        ReasonCode::RateLimited,
        ReasonCode::Overloaded,
        ReasonCode::KafkaUnavailable,
        ReasonCode::Draining,
    ];
    for reason in reasons {
        let answer = String::from_utf8(rejection::on_the_wire(reason, "")).expect("text");
        let (_, body) = answer.split_once("\r\n\r\n").expect("head and body");
        let mut body: Value = serde_json::from_str(body).expect("JSON");
        assert!(schema.is_valid(&body), "{body}");
        body["reason"] = reason.as_str().to_uppercase().into();
        assert!(!schema.is_valid(&body), "a schema that allows anything says nothing");
    }
}

#[test]
fn every_resolution_is_what_its_schema_says() {
    let schema = schema(RESOLUTION);
    let all = [Outcome::Redriven, Outcome::Discarded, Outcome::Superseded, Outcome::Stale, Outcome::Dead];
    for result in all {
        let text = |text: &str| Some(text.to_owned());
        let whole = Resolution {
            dead_id: "3-17-0".to_owned(),
            result,
            at: schemas::time::rfc3339(1_700_000_000_000),
            by: text("3:18"),
            command_id: text("c"),
            operator: text("ann"),
            note: text("because"),
            new_dead_id: text("3-17-1"),
        };
        let bare =
            Resolution { by: None, command_id: None, operator: None, note: None, new_dead_id: None, ..whole.clone() };
        for resolution in [whole, bare] {
            let value: Value = serde_json::from_slice(&resolution.encode()).expect("JSON");
            assert!(schema.is_valid(&value), "{value}");
        }
    }
    assert!(!schema.is_valid(&serde_json::json!({ "dead_id": "3-17-0", "result": "gone", "at": "now" })));
}
