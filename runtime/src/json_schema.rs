//! A JSON Schema of a source: read once, when the configuration is, and used by whoever judges a body.
//!
//! Which schema judges an event travels in the event, by its name.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use jsonschema::Validator;

/// Largest file, bytes.
const BYTES_MAX: u64 = 1024 * 1024;

/// One JSON Schema. Clones share it.
#[derive(Clone)]
pub struct JsonSchema {
    name: String,
    validator: Arc<Validator>,
}

/// Why a body fails.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    shown: String,
    masked: String,
}

impl Violation {
    /// What is wrong, and with which value: for whoever has the body before them.
    pub fn shown(&self) -> &str {
        &self.shown
    }

    /// What is wrong, without the value: for what is kept elsewhere than the body. Names of members are shown.
    pub fn masked(&self) -> &str {
        &self.masked
    }
}

impl JsonSchema {
    /// Reads and compiles a schema. References to other documents are not followed.
    pub fn load(name: &str, path: &Path) -> Result<Self, String> {
        let file = path.display();
        let unreadable = |error| format!("{file} cannot be read: {error}");
        let size = std::fs::metadata(path).map_err(unreadable)?.len();
        if size > BYTES_MAX {
            return Err(format!("{file} is larger than 1 MiB"));
        }
        let text = std::fs::read(path).map_err(unreadable)?;
        let schema = serde_json::from_slice(&text).map_err(|error| format!("{file} is not JSON: {error}"))?;
        let validator = jsonschema::validator_for(&schema);
        let validator = validator.map_err(|error| format!("{file} is not a JSON Schema: {error}"))?;
        Ok(Self { name: name.to_owned(), validator: Arc::new(validator) })
    }

    /// Its name: the path as configured.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether a body satisfies it.
    pub fn check(&self, body: &[u8]) -> Result<(), Violation> {
        let body = serde_json::from_slice(body).map_err(|error| {
            let text = format!("the body is not JSON: {error}");
            Violation { shown: text.clone(), masked: text }
        })?;
        self.validator.validate(&body).map_err(|error| {
            let path = error.instance_path().to_string();
            let place = if path.is_empty() { "the top" } else { &path };
            Violation { shown: format!("at {place}: {error}"), masked: format!("at {place}: {}", error.masked()) }
        })
    }
}

impl fmt::Debug for JsonSchema {
    /// Not the validator, which is a tree of hundreds of lines.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("JsonSchema").field(&self.name).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loaded(text: &[u8]) -> Result<JsonSchema, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("parcel.json");
        std::fs::write(&path, text).unwrap();
        JsonSchema::load("parcel.json", &path)
    }

    #[test]
    fn a_body_that_fails_is_told_where_and_its_value_only_to_who_has_it() {
        let schema = br#"{"type":"object","properties":{"grams":{"type":"integer"}},"required":["grams"]}"#;
        let schema = loaded(schema).unwrap();
        assert_eq!(schema.check(br#"{"grams":5}"#), Ok(()));
        for (body, place) in [(&br#"{"grams":"top-secret"}"#[..], "/grams"), (b"{}", "the top"), (b"{", "not JSON")] {
            let violation = schema.check(body).unwrap_err();
            assert!(violation.masked().contains(place) && violation.shown().contains(place), "{violation:?}");
            assert!(!violation.masked().contains("top-secret"), "{violation:?}");
        }
        let violation = schema.check(br#"{"grams":"top-secret"}"#).unwrap_err();
        assert!(violation.shown().contains("top-secret"), "{violation:?}");
        assert_eq!(format!("{schema:?}"), "JsonSchema(\"parcel.json\")");
    }

    #[test]
    fn a_schema_that_is_none_is_refused_with_its_file() {
        let large = vec![b' '; 1024 * 1024 + 1];
        for (text, why) in [
            (b"{".as_slice(), "is not JSON"),
            (br#"{"type":5}"#, "is not a JSON Schema"),
            (&large, "is larger than 1 MiB"),
        ] {
            let error = loaded(text).unwrap_err();
            assert!(error.contains("parcel.json") && error.contains(why), "{error}");
        }
        let error = JsonSchema::load("gone.json", Path::new("no-such-folder/gone.json")).unwrap_err();
        assert!(error.contains("gone.json cannot be read"), "{error}");
    }
}
