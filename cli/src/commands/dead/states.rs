//! What became of every dead letter, in 10 to 20 bytes each.
//!
//! A letter without a resolution is dead; the last resolution of the others decides.

use std::collections::{HashMap, HashSet};

use schemas::resolution::Outcome;
use schemas::{DeadId, Resolution};

use crate::args::dead::State;

/// Bits of an id's offset and generation in eight bytes; the rest is the partition's.
const OFFSET_BITS: u32 = 40;
const GENERATION_BITS: u32 = 12;

/// Those that have a resolution. There may be a million, so an id takes eight bytes where it fits, and its state none.
#[derive(Debug, Default)]
pub struct States {
    redriven: HashSet<u64>,
    discarded: HashSet<u64>,
    /// Ids that do not fit: an offset, generation or partition beyond all practice.
    others: HashMap<DeadId, State>,
}

impl States {
    /// Takes in the next record of `dead-resolutions`.
    pub fn take(&mut self, key: &[u8], value: Option<&[u8]>) {
        // The answer to a command that came too late has another key, and says nothing about the letter.
        let Some(id) = std::str::from_utf8(key).ok().and_then(DeadId::parse) else {
            return;
        };
        // A value that cannot be read still says that somebody resolved it: better not to run it again.
        let state = value.map_or(State::Dead, |value| {
            Resolution::decode(value).map_or(State::Redriven, |found| state_of(found.result))
        });
        self.set(id, state);
    }

    fn set(&mut self, id: DeadId, state: State) {
        let Some(short) = short(id) else {
            self.others.insert(id, state);
            return;
        };
        for (of, set) in [(State::Redriven, &mut self.redriven), (State::Discarded, &mut self.discarded)] {
            if of == state {
                set.insert(short);
            } else {
                set.remove(&short);
            }
        }
    }

    /// The state of a letter.
    pub fn of(&self, id: DeadId) -> State {
        match short(id) {
            Some(short) if self.redriven.contains(&short) => State::Redriven,
            Some(short) if self.discarded.contains(&short) => State::Discarded,
            Some(_) => State::Dead,
            None => self.others.get(&id).copied().unwrap_or(State::Dead),
        }
    }
}

/// An id in eight bytes, one for one, if it fits.
fn short(id: DeadId) -> Option<u64> {
    let fitting = |number: u64, bits: u32| Some(number).filter(|number| number >> bits == 0);
    let partition = fitting(u64::try_from(id.partition).ok()?, u64::BITS - OFFSET_BITS - GENERATION_BITS)?;
    let offset = fitting(u64::try_from(id.offset).ok()?, OFFSET_BITS)?;
    let generation = fitting(id.generation, GENERATION_BITS)?;
    Some((partition << OFFSET_BITS | offset) << GENERATION_BITS | generation)
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
    fn ids_are_told_apart_whether_they_fit_or_not() {
        let large = DeadId { partition: 4096, offset: 1 << 40, generation: 1 << 12 };
        let ids = [
            ID,
            DeadId { partition: 4, ..ID },
            DeadId { offset: 18, ..ID },
            DeadId { generation: 1, ..ID },
            DeadId { partition: 4095, offset: (1 << 40) - 1, generation: (1 << 12) - 1 },
            DeadId { partition: large.partition, ..ID },
            DeadId { offset: large.offset, ..ID },
            DeadId { generation: large.generation, ..ID },
        ];
        assert_eq!(ids.iter().filter(|id| short(**id).is_none()).count(), 3);
        for id in ids {
            let mut states = States::default();
            states.take(id.to_string().as_bytes(), Some(&value(Outcome::Discarded)));
            let found: Vec<DeadId> = ids.into_iter().filter(|id| states.of(*id) == State::Discarded).collect();
            assert_eq!(found, [id]);
        }
    }

    #[test]
    fn a_resolution_that_cannot_be_read_still_resolves() {
        let mut states = States::default();
        states.take(b"3-17-0", Some(b"{\"result\":\"of a later version\"}"));
        assert_eq!(states.of(ID), State::Redriven);
    }
}
