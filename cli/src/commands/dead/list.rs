//! `weir dead list`: one row a letter as it is read, or how many there are of each reason and source.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use comfy_table::Color;
use runtime::config::Config;
use runtime::report::{Exit, Failure};
use schemas::{DeadEvent, partition, time};
use serde::Serialize;

use super::filter::Filter;
use super::letters::{Letters, reading};
use crate::args::dead::{ListArgs, State};
use crate::output::{Output, Row};
use crate::progress::Progress;

/// One letter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Listed {
    id: String,
    event_id: Option<String>,
    source: Option<String>,
    #[serde(rename = "type")]
    event_type: Option<String>,
    resource: Option<String>,
    reason: String,
    attempts: i64,
    first_failed: String,
    last_failed: String,
    state: State,
}

impl Row for Listed {
    const COLUMNS: &'static [&'static str] =
        &["id", "event_id", "source", "type", "resource", "reason", "attempts", "first_failed", "last_failed", "state"];

    fn color(&self, column: &str) -> Option<Color> {
        (column == "state").then(|| state_color(self.state))
    }
}

/// Letters of one reason and source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Counted {
    /// Why they died.
    pub reason: String,
    /// Where they came from.
    pub source: Option<String>,
    /// How many.
    pub count: u64,
}

impl Row for Counted {
    const COLUMNS: &'static [&'static str] = &["reason", "source", "count"];
}

/// How many letters there are of each reason and source.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts(BTreeMap<(String, Option<String>), u64>);

impl Counts {
    /// One more.
    pub fn add(&mut self, dead: &DeadEvent<'_>) {
        let key = (dead.reason.to_owned(), dead.source.map(str::to_owned));
        *self.0.entry(key).or_default() += 1;
    }

    /// The most first.
    pub fn rows(&self) -> Vec<Counted> {
        let row = |((reason, source), count): (&(String, Option<String>), &u64)| Counted {
            reason: reason.clone(),
            source: source.clone(),
            count: *count,
        };
        let mut rows: Vec<Counted> = self.0.iter().map(row).collect();
        rows.sort_by_key(|row| std::cmp::Reverse(row.count));
        rows
    }
}

/// Prints letters. None is an answer, too.
pub fn run(config: &Config, options: &ListArgs, out: &mut Output<'_>) -> Result<Exit, Failure> {
    let filter = Filter::of(&options.filter, runtime::clock::now_ms())?;
    let letters = Letters::open(config)?;
    // The letters' end is read before the resolutions: no letter is shown whose resolution is not known.
    let ranges = letters.ranges()?;
    let states = letters.states()?;
    let mut counts = Counts::default();
    // Rows that appear on a terminal are progress enough, and a bar would stand among them.
    let is_watched = out.is_on_terminal() && !options.counts;
    let progress = if is_watched { Progress::hidden() } else { reading(&ranges) };
    let mut rows = out.rows();
    letters.each(&ranges, progress, &mut |letter| {
        let state = states.of(letter.id);
        if !filter.fits(&letter.event, state) {
            return Ok(ControlFlow::Continue(()));
        }
        if options.counts {
            counts.add(&letter.event);
        } else {
            rows.push(listed(&letter.event, state))?;
        }
        Ok(ControlFlow::Continue(()))
    })?;
    if options.counts {
        drop(rows);
        out.list(&counts.rows())?;
    } else {
        rows.end()?;
    }
    Ok(Exit::Done)
}

fn listed(dead: &DeadEvent<'_>, state: State) -> Listed {
    Listed {
        id: dead.dead_id.to_owned(),
        event_id: dead.event_id.map(str::to_owned),
        source: dead.source.map(str::to_owned),
        event_type: dead.event_type.map(str::to_owned),
        resource: resource(dead),
        reason: dead.reason.to_owned(),
        attempts: dead.attempts,
        first_failed: time::rfc3339(dead.first_failed_ms),
        last_failed: time::rfc3339(dead.last_failed_ms),
        state,
    }
}

/// The resource key without the source, or the whole key where it does not begin with it.
pub fn resource(dead: &DeadEvent<'_>) -> Option<String> {
    let key = dead.original_key?;
    let begins = dead.source.is_some_and(|source| {
        key.strip_prefix(source.as_bytes()).is_some_and(|rest| rest.first().is_some_and(|byte| *byte == b'|'))
    });
    let resource = if begins { partition::subject(key) } else { key };
    Some(String::from_utf8_lossy(resource).into_owned())
}

/// How a state stands out.
pub fn state_color(state: State) -> Color {
    match state {
        State::Dead => Color::Red,
        State::Redriven => Color::Green,
        State::Discarded => Color::Yellow,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;

    #[test]
    fn a_row_has_the_keys_of_the_contract_in_their_order() {
        let row = listed(&samples::around("3-17-0", b""), State::Dead);
        let expected = "{\"id\":\"3-17-0\",\"event_id\":\"e1\",\"source\":\"gh\",\"type\":\"issues.opened\",\
                        \"resource\":\"repository|1\",\"reason\":\"schema_violation\",\"attempts\":2,\
                        \"first_failed\":\"1970-01-01T00:00:01.000Z\",\"last_failed\":\"1970-01-01T00:00:02.000Z\",\
                        \"state\":\"dead\"}";
        assert_eq!(serde_json::to_string(&row).unwrap(), expected);
    }

    #[test]
    fn a_row_is_what_its_json_schema_says() {
        let schema = include_str!("../../../../schemas/json/dead_letter.json");
        let schema = jsonschema::validator_for(&serde_json::from_str(schema).unwrap()).unwrap();
        let mut dead = samples::around("3-17-0", b"");
        for state in [State::Dead, State::Redriven, State::Discarded] {
            let row = serde_json::to_value(listed(&dead, state)).unwrap();
            assert!(schema.is_valid(&row), "{row}");
            (dead.source, dead.event_id, dead.event_type, dead.original_key) = (None, None, None, None);
        }
        let mut row = serde_json::to_value(listed(&dead, State::Dead)).unwrap();
        row["state"] = "open".into();
        assert!(!schema.is_valid(&row), "a schema that allows anything says nothing");
    }

    #[test]
    fn what_could_not_be_decoded_is_null() {
        let mut dead = samples::around("3-17-0", b"garbage");
        (dead.source, dead.event_id, dead.event_type) = (None, None, None);
        let row = listed(&dead, State::Discarded);
        assert_eq!((row.event_id, row.source, row.event_type), (None, None, None));
        assert_eq!(row.resource.as_deref(), Some("gh|repository|1"));
        dead.original_key = None;
        assert_eq!(resource(&dead), None);
    }

    #[test]
    fn only_the_letters_own_source_is_taken_off_its_resource() {
        let mut dead = samples::around("3-17-0", b"");
        for (key, expected) in [("gh|a|1", "a|1"), ("ghx|a|1", "ghx|a|1"), ("gh", "gh"), ("gh|", "")] {
            dead.original_key = Some(key.as_bytes());
            assert_eq!(resource(&dead).as_deref(), Some(expected), "{key}");
        }
    }

    #[test]
    fn counts_are_by_reason_and_source_the_most_first() {
        let mut counts = Counts::default();
        let mut dead = samples::around("3-17-0", b"");
        counts.add(&dead);
        dead.reason = "poison";
        counts.add(&dead);
        counts.add(&dead);
        dead.source = None;
        counts.add(&dead);
        let rows: Vec<(String, Option<String>, u64)> =
            counts.rows().into_iter().map(|row| (row.reason, row.source, row.count)).collect();
        let gh = || Some("gh".to_owned());
        let expected =
            [("poison".to_owned(), gh(), 2), ("poison".to_owned(), None, 1), ("schema_violation".to_owned(), gh(), 1)];
        assert_eq!(rows, expected);
    }
}
