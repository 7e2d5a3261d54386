//! The record of a command: a dead letter's original record, edited or not, with what to do in its headers.
//!
//! Pure. `schemas::command` is the shape; the owner of the partition executes it at most once.

use std::path::PathBuf;

use rdkafka::message::{Header, OwnedHeaders};
use schemas::command::{Verb, encode_history};
use schemas::{Command, DeadId};

use super::content::Content;
use super::letters::Letter;

/// What is the same in every command of a run.
#[derive(Debug, Clone)]
pub struct Order {
    /// What to do.
    pub verb: Verb,
    /// Who wants it.
    pub operator: String,
    /// Why.
    pub note: String,
    /// Let stale events through.
    pub is_as_is: bool,
}

/// A command that can be sent.
#[derive(Debug, Clone)]
pub struct Composed {
    /// Tells it from every other; written as 16 hexadecimal digits.
    pub number: u64,
    /// Which letter.
    pub id: DeadId,
    /// The provider's event id.
    pub event_id: Option<String>,
    /// Key of the record.
    pub key: Option<Vec<u8>>,
    /// Its value.
    pub value: Option<Vec<u8>>,
    /// Its headers.
    pub headers: OwnedHeaders,
    /// The draft of its letter, whether or not it carries that body.
    pub draft: Option<PathBuf>,
}

/// An edited body of a letter.
#[derive(Debug, Clone)]
pub struct Edited {
    /// Where it is kept.
    pub draft: PathBuf,
    /// What is sent instead of the original; `None`: the original is.
    pub body: Option<Vec<u8>>,
}

/// How a command's number is written.
pub fn command_id(number: u64) -> String {
    format!("{number:016x}")
}

/// Composes the command about a letter.
pub fn compose(order: &Order, letter: &Letter<'_>, number: u64, edited: Option<Edited>) -> Composed {
    let dead = &letter.event;
    let history = encode_history(&dead.history);
    let id = command_id(number);
    let command = Command {
        verb: order.verb,
        id: &id,
        dead_id: letter.id,
        source: Some(dead.source.unwrap_or_default()),
        attempts: u32::try_from(dead.attempts).unwrap_or(if dead.attempts < 0 { 0 } else { u32::MAX }),
        first_failed_ms: dead.first_failed_ms,
        received_at_ms: dead.received_at_ms,
        operator: &order.operator,
        note: &order.note,
        is_as_is: order.is_as_is,
        history: &history,
        originals: dead.original_headers.clone(),
    };
    let mut headers = OwnedHeaders::new();
    for (key, value) in command.headers() {
        headers = headers.insert(Header { key: &key, value: value.as_ref() });
    }
    let (draft, body) = edited.map_or((None, None), |edited| (Some(edited.draft), edited.body));
    let value = match body {
        Some(body) => Some(Content::of(dead).with_body(&body)),
        None => dead.original_value.map(<[u8]>::to_vec),
    };
    Composed {
        number,
        id: letter.id,
        event_id: dead.event_id.map(str::to_owned),
        key: dead.original_key.map(<[u8]>::to_vec),
        value,
        headers,
        draft,
    }
}

#[cfg(test)]
mod tests {
    use rdkafka::message::Headers;
    use schemas::VerifiedEvent;
    use schemas::command::{Failed, decode_history};

    use super::*;
    use crate::samples;

    fn order() -> Order {
        Order { verb: Verb::Redrive, operator: "ann".to_owned(), note: "fixed".to_owned(), is_as_is: true }
    }

    #[test]
    fn a_command_carries_the_original_record_and_reads_back() {
        let value = samples::dead("3-17-2", b"{\"a\":1}");
        let letter = Letter::read(9, &value).unwrap();
        let composed = compose(&order(), &letter, 0xc0ffee, None);
        assert_eq!(composed.value.as_deref(), letter.event.original_value);
        assert_eq!(composed.key.as_deref(), letter.event.original_key);
        let headers: Vec<_> = composed.headers.iter().map(|header| (header.key, header.value)).collect();
        let command = Command::read(&headers).unwrap();
        assert_eq!((command.id, command.dead_id, command.attempts), ("0000000000c0ffee", letter.id, 2));
        assert_eq!((command.operator, command.note, command.is_as_is), ("ann", "fixed", true));
        assert_eq!(command.originals, letter.event.original_headers);
        let history = decode_history(command.history);
        assert_eq!(history.iter().map(Failed::as_failure).collect::<Vec<_>>(), letter.event.history);
    }

    #[test]
    fn an_edited_letter_is_sent_with_its_new_body() {
        let value = samples::dead("3-17-0", b"{\"a\":1}");
        let letter = Letter::read(9, &value).unwrap();
        for (edit, expected) in [(Some(b"{\"a\":2}".to_vec()), b"{\"a\":2}"), (None, b"{\"a\":1}")] {
            let composed = compose(&order(), &letter, 1, Some(Edited { draft: "d".into(), body: edit }));
            let sent = composed.value.unwrap();
            let event = VerifiedEvent::decode(&sent).unwrap();
            assert_eq!((event.body, event.event_id, composed.draft), (expected.as_slice(), "e1", Some("d".into())));
        }
    }

    #[test]
    fn a_record_without_a_value_is_sent_without_one() {
        let mut dead = samples::around("3-17-0", b"");
        (dead.original_value, dead.original_key, dead.attempts) = (None, None, i64::MAX);
        let value = samples::bytes(&dead);
        let composed = compose(&order(), &Letter::read(0, &value).unwrap(), 1, None);
        assert_eq!((composed.key, composed.value), (None, None));
    }
}
