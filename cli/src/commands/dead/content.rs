//! What is inside a dead letter: the provider's body in its envelope, or a record that nobody could read.
//!
//! Pure. An edit changes the body and nothing else: who sent it, its id, its times and its policy stay.

use schemas::{DeadEvent, ReasonCode, VerifiedEvent};

/// The original record's value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content<'a> {
    /// An event.
    Event(Box<VerifiedEvent<'a>>),
    /// Bytes that are none.
    Bare(&'a [u8]),
}

impl<'a> Content<'a> {
    /// Of a dead letter.
    pub fn of(dead: &DeadEvent<'a>) -> Self {
        let value = dead.original_value.unwrap_or_default();
        match VerifiedEvent::decode(value) {
            Ok(event) => Self::Event(Box::new(event)),
            Err(_) => Self::Bare(value),
        }
    }

    /// The provider's bytes; of a record that cannot be read, all of it.
    pub fn body(&self) -> &'a [u8] {
        match self {
            Self::Event(event) => event.body,
            Self::Bare(value) => value,
        }
    }

    /// The event, when it is one.
    pub fn event(&self) -> Option<&VerifiedEvent<'a>> {
        match self {
            Self::Event(event) => Some(event),
            Self::Bare(_) => None,
        }
    }

    /// The value of a record with another body.
    pub fn with_body(&self, body: &[u8]) -> Vec<u8> {
        let Self::Event(event) = self else {
            return body.to_vec();
        };
        let mut value = Vec::new();
        // A defect was one of the old body: with it, the event would be dead again whatever the new one says.
        VerifiedEvent { body, defect: None, ..event.as_ref().clone() }.encode(&mut value);
        value
    }

    /// Whether a new body has to be JSON: the old one was, or should have been.
    pub fn must_be_json(&self) -> bool {
        let defect = self.event().and_then(|event| event.defect).and_then(ReasonCode::parse);
        is_json(self.body()) || matches!(defect, Some(ReasonCode::InvalidJson | ReasonCode::TooDeep))
    }
}

/// Whether bytes are one JSON value.
pub fn is_json(bytes: &[u8]) -> bool {
    serde_json::from_slice::<&serde_json::value::RawValue>(bytes).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;

    #[test]
    fn an_edit_changes_the_body_and_nothing_else() {
        let before = samples::verified(b"{\"a\":1}");
        let original = samples::encoded(&before);
        let dead = samples::around("3-17-0", &original);
        let content = Content::of(&dead);
        assert_eq!(content.body(), b"{\"a\":1}");
        let edited = content.with_body(b"{\"a\":2}");
        let after = VerifiedEvent::decode(&edited).unwrap();
        assert_eq!(after, VerifiedEvent { body: b"{\"a\":2}", ..before });
        assert_eq!(content.with_body(content.body()), original);
    }

    #[test]
    fn an_edit_takes_away_the_defect_of_the_old_body() {
        let original = samples::encoded(&VerifiedEvent { defect: Some("invalid_json"), ..samples::verified(b"{") });
        let dead = samples::around("3-17-0", &original);
        let content = Content::of(&dead);
        assert!(content.must_be_json());
        let edited = content.with_body(b"{}");
        assert_eq!(VerifiedEvent::decode(&edited).unwrap().defect, None);
    }

    #[test]
    fn a_record_that_cannot_be_read_is_its_own_body() {
        let mut dead = samples::around("3-17-0", b"garbage");
        let content = Content::of(&dead);
        assert_eq!((content.body(), content.event()), (b"garbage".as_slice(), None));
        assert_eq!(content.with_body(b"better"), b"better");
        assert!(!content.must_be_json());
        dead.original_value = None;
        assert_eq!(Content::of(&dead).body(), b"");
    }
}
