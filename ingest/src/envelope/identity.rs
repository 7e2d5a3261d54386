//! The event id: a string or a whole number, at most 256 bytes, exactly as the provider wrote it.
//!
//! Compared byte for byte ever after: nothing here folds case, normalises Unicode or reads a number.

use schemas::ReasonCode;
use schemas::identity::sha256;
use schemas::sizes::EVENT_ID_BYTES;

use super::json::Found;

/// The id that stands at the place where ids stand, or the defect of the event.
pub fn event_id<'a>(value: &'a Found<'_>) -> Result<&'a str, ReasonCode> {
    let id = match value {
        Found::Absent | Found::Null => return Err(ReasonCode::NoIdentity),
        Found::Twice | Found::Other => return Err(ReasonCode::AmbiguousIdentity),
        Found::Text(text) => text.as_ref(),
        // 1e2, 100 and 100.0 are one number and three spellings: only a whole number is an id.
        Found::Number(text) if text.contains(['.', 'e', 'E']) => return Err(ReasonCode::AmbiguousIdentity),
        Found::Number(text) => text,
    };
    match id.len() {
        0 => Err(ReasonCode::NoIdentity),
        1..=EVENT_ID_BYTES => Ok(id),
        _ => Err(ReasonCode::AmbiguousIdentity),
    }
}

/// The id of an event that has none: the hash of its bytes.
pub fn by_hash(body: &[u8]) -> String {
    format!("sha256:{}", hex::encode(sha256(body)))
}

/// A name inside a key or a type: what an id may be, or nothing.
pub fn name<'a>(value: &'a Found<'_>) -> Option<&'a str> {
    let text = match value {
        Found::Text(text) => text.as_ref(),
        Found::Number(text) => text,
        Found::Absent | Found::Null | Found::Other | Found::Twice => return None,
    };
    (1..=EVENT_ID_BYTES).contains(&text.len()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_a_string_or_a_whole_number_as_it_is_written() {
        let long = "x".repeat(EVENT_ID_BYTES);
        for text in ["evt_1", "a b", "é", "\0", "\u{202e}", "null", "0", &long] {
            assert_eq!(event_id(&Found::Text(text.into())), Ok(text));
        }
        for number in ["0", "-0", "100", "9007199254740993", "18446744073709551617"] {
            assert_eq!(event_id(&Found::Number(number)), Ok(number));
        }
    }

    #[test]
    fn anything_else_is_a_defect_and_says_which() {
        for none in [Found::Absent, Found::Null, Found::Text("".into())] {
            assert_eq!(event_id(&none), Err(ReasonCode::NoIdentity), "{none:?}");
        }
        let long = "x".repeat(EVENT_ID_BYTES + 1);
        let ambiguous = [
            Found::Other,
            Found::Twice,
            Found::Number("1e2"),
            Found::Number("100.0"),
            Found::Number("1E400"),
            Found::Text(long.into()),
        ];
        for found in ambiguous {
            assert_eq!(event_id(&found), Err(ReasonCode::AmbiguousIdentity), "{found:?}");
        }
    }
}
