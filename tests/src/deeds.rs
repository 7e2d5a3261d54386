//! What handlers and people did to events besides what was planned: further attempts, commands, their outcomes.
//!
//! Read from the topics without any of Weir's own code, like everything that is compared.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use rdkafka::Message;
use rdkafka::message::Headers;
use serde_json::Value;

use crate::cluster::Cluster;
use crate::event::Event;
use crate::observed::Position;
use crate::reader;

/// What became of one dead letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// `result`.
    pub result: String,
    /// `new_dead_id`.
    pub new_dead_id: Option<String>,
}

/// Everything of the kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deeds {
    /// Most attempts an event may have needed.
    pub attempts_max: i64,
    /// Commands about dead letters.
    pub commands: BTreeSet<String>,
    /// Those of them that have an answer.
    pub answered: BTreeSet<String>,
    /// What became of dead letters, by their ids.
    pub resolved: BTreeMap<String, Resolved>,
    /// Copies of events in retry topics.
    pub retries: u64,
}

/// Nobody did anything.
pub static NONE: Deeds = Deeds {
    attempts_max: 1,
    commands: BTreeSet::new(),
    answered: BTreeSet::new(),
    resolved: BTreeMap::new(),
    retries: 0,
};

impl Deeds {
    /// Reads them. `delays`: those of the retry topics, the first of which carries the commands. It blocks.
    pub fn read(cluster: &Cluster, prefix: &str, delays: &[&str], attempts_max: i64) -> Result<Self> {
        let mut deeds = Self { attempts_max, ..NONE.clone() };
        for delay in delays {
            reader::each(cluster, &format!("{prefix}retry-events-{delay}"), |record| {
                let headers = record.headers().map(|headers| headers.iter()).into_iter().flatten();
                let mut id = headers.filter(|header| header.key == "weir-command-id");
                match id.next().and_then(|header| header.value) {
                    Some(id) => drop(deeds.commands.insert(String::from_utf8(id.to_vec())?)),
                    None => deeds.retries += 1,
                }
                Ok(())
            })?;
        }
        reader::each(cluster, &format!("{prefix}dead-resolutions"), |record| {
            let key = String::from_utf8(record.key().context("no key")?.to_vec())?;
            let value: Value = serde_json::from_slice(record.payload().context("no value")?)?;
            let text = |name: &str| value[name].as_str().map(str::to_owned);
            deeds.answered.extend(text("command_id"));
            if !key.contains('/') {
                let result = text("result").context("no result")?;
                deeds.resolved.insert(key, Resolved { result, new_dead_id: text("new_dead_id") });
            }
            Ok(())
        })?;
        Ok(deeds)
    }

    /// How many commands have no answer yet.
    pub fn open(&self) -> usize {
        self.commands.difference(&self.answered).count()
    }

    /// Whether the last dead letter of an event was given up.
    pub fn is_discarded(&self, src: Position, letters: usize) -> bool {
        let last = letters.checked_sub(1).map(|generation| dead_id(src, generation));
        last.and_then(|id| self.resolved.get(&id)).is_some_and(|resolved| resolved.result == "discarded")
    }

    /// What is wrong with the dead letters of one event: their ids, in any order.
    pub fn complaint(&self, event: &Event, src: Position, ids: &[&str]) -> Option<String> {
        let generations = 0..ids.len();
        if let Some(missing) = generations.map(|generation| dead_id(src, generation)).find(|id| !ids.contains(&&**id)) {
            return Some(format!("is dead as {}, and {missing} is not there", ids.join(" and ")));
        }
        for generation in 0..ids.len() {
            let id = dead_id(src, generation);
            let found = self.resolved.get(&id);
            let is_last = generation + 1 == ids.len();
            let is_right = match found {
                None => is_last,
                Some(Resolved { result, new_dead_id: None }) => is_last && result == "discarded",
                Some(Resolved { result, new_dead_id: Some(new) }) => {
                    !is_last && result == "dead" && *new == dead_id(src, generation + 1)
                }
            };
            if !is_right {
                let of = ids.len();
                return Some(format!("is dead {of} times in {:?}, and of {id} is said {found:?}", event.place));
            }
        }
        None
    }
}

/// The id of a dead letter of an event.
pub fn dead_id(src: Position, generation: usize) -> String {
    format!("{}-{}-{generation}", src.partition, src.offset)
}

/// How often the event of a dead letter had been redriven.
pub fn generation(dead_id: &str) -> Option<i64> {
    dead_id.rsplit_once('-').and_then(|(_, generation)| generation.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{Case, Fates, check};
    use crate::observed::DeadLetter;
    use crate::perfect::Day;

    /// A day on which somebody redrove the first event that died, and it died again; what is wrong with it.
    fn findings(resolved: &[(&str, Option<&str>)], generations: &[i64]) -> usize {
        let mut day = Day::perfect();
        let letter = day.observed.dead.first().cloned().expect("a day has everything");
        let src = letter.src().expect("a place");
        let id = |generation: &str| format!("{}-{}-{generation}", src.partition, src.offset);
        day.observed.dead.remove(0);
        for generation in generations {
            let attempts = generation + 1;
            day.observed.dead.push(DeadLetter { dead_id: id(&generation.to_string()), attempts, ..letter.clone() });
        }
        let resolved = resolved.iter().zip(["0", "1", "2"]).map(|((result, new), generation)| {
            (id(generation), Resolved { result: (*result).to_owned(), new_dead_id: new.map(id) })
        });
        let deeds = Deeds { resolved: resolved.collect(), ..NONE.clone() };
        let case = Case { deeds: &deeds, ..day.case() };
        check(&case, &Fates::new(&case)).len()
    }

    #[test]
    fn a_letter_has_as_many_successors_as_it_was_redriven() {
        let again = [("dead", Some("1"))];
        assert_eq!(findings(&[], &[0]), 0);
        assert_eq!(findings(&again, &[0, 1]), 0);
        assert_eq!(findings(&[("dead", Some("1")), ("discarded", None)], &[0, 1]), 0);
        assert_eq!(findings(&[("discarded", None)], &[0]), 0);
        // Nobody redrove it; it was redriven and is nowhere; one between is missing; one is there twice; it was given
        // up and died all the same; it came of another.
        assert_eq!(findings(&[], &[0, 1]), 1);
        assert_eq!(findings(&again, &[0]), 1);
        assert!(findings(&[("dead", Some("1")), ("dead", Some("2"))], &[0, 2]) >= 1);
        assert!(findings(&again, &[0, 1, 1]) >= 1);
        assert_eq!(findings(&[("discarded", None)], &[0, 1]), 1);
        assert_eq!(findings(&[("dead", Some("2"))], &[0, 1]), 1);
        assert_eq!(findings(&[("redriven", None)], &[0]), 1);
    }

    #[test]
    fn only_whoever_was_given_up_is_discarded() {
        let day = Day::perfect();
        let letter = day.observed.dead.first().expect("a day has everything");
        let src = letter.src().expect("a place");
        let given_up = Resolved { result: "discarded".to_owned(), new_dead_id: None };
        let deeds = Deeds { resolved: [(dead_id(src, 0), given_up)].into(), ..NONE.clone() };
        assert!(deeds.is_discarded(src, 1) && !NONE.is_discarded(src, 1));
    }
}
