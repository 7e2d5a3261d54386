//! What became of every dead letter, in a few dozen bytes each.
//!
//! A letter without a resolution is dead; the last resolution of the others decides.

use std::collections::HashMap;

use schemas::resolution::Outcome;
use schemas::{DeadId, Resolution};

use crate::args::dead::State;

/// Dead id to state, of those that have a resolution.
#[derive(Debug, Default)]
pub struct States(HashMap<DeadId, State>);

impl States {
    /// Takes in the next record of `dead-resolutions`.
    pub fn take(&mut self, key: &[u8], value: Option<&[u8]>) {
        // The answer to a command that came too late has another key, and says nothing about the letter.
        let Some(id) = std::str::from_utf8(key).ok().and_then(DeadId::parse) else {
            return;
        };
        match value {
            // A value that cannot be read still says that somebody resolved it: better not to run it again.
            Some(value) => {
                let state = Resolution::decode(value).map_or(State::Redriven, |found| state_of(found.result));
                self.0.insert(id, state);
            }
            None => {
                self.0.remove(&id);
            }
        }
    }

    /// The state of a letter.
    pub fn of(&self, id: DeadId) -> State {
        self.0.get(&id).copied().unwrap_or(State::Dead)
    }
}

/// What a resolution makes of a letter.
pub fn state_of(outcome: Outcome) -> State {
    match outcome {
        // It died again: that is another letter.
        Outcome::Redriven | Outcome::Superseded | Outcome::Stale | Outcome::Dead => State::Redriven,
        Outcome::Discarded => State::Discarded,
    }
}

#[cfg(test)]
mod tests {
    use schemas::resolution::late_key;

    use super::*;

    const ID: DeadId = DeadId { partition: 3, offset: 17, generation: 0 };

    fn value(result: Outcome) -> Vec<u8> {
        Resolution {
            dead_id: ID.to_string(),
            result,
            at: String::new(),
            by: None,
            command_id: None,
            operator: None,
            note: None,
            new_dead_id: None,
        }
        .encode()
    }

    #[test]
    fn a_letter_without_a_resolution_is_dead_and_the_last_one_decides() {
        let mut states = States::default();
        assert_eq!(states.of(ID), State::Dead);
        for (result, state) in [
            (Outcome::Redriven, State::Redriven),
            (Outcome::Superseded, State::Redriven),
            (Outcome::Stale, State::Redriven),
            (Outcome::Dead, State::Redriven),
            (Outcome::Discarded, State::Discarded),
        ] {
            states.take(b"3-17-0", Some(&value(result)));
            assert_eq!(states.of(ID), state);
        }
        states.take(b"3-17-0", None);
        assert_eq!(states.of(ID), State::Dead);
    }

    #[test]
    fn the_answer_to_a_late_command_changes_nothing() {
        let mut states = States::default();
        states.take(b"3-17-0", Some(&value(Outcome::Discarded)));
        states.take(late_key("3-17-0", "c0ffee").as_bytes(), Some(&value(Outcome::Superseded)));
        states.take(b"\xff", Some(b""));
        assert_eq!(states.of(ID), State::Discarded);
        assert_eq!(states.of(DeadId { generation: 1, ..ID }), State::Dead);
    }

    #[test]
    fn a_resolution_that_cannot_be_read_still_resolves() {
        let mut states = States::default();
        states.take(b"3-17-0", Some(b"{\"result\":\"of a later version\"}"));
        assert_eq!(states.of(ID), State::Redriven);
    }
}
