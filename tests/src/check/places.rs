//! Every event in its place, exactly once, and nowhere else.

use std::collections::HashSet;

use crate::check::{Case, Fate, Fates, Finding, Trouble};
use crate::event::{Event, Place};
use crate::observed::Position;

/// One topic as it concerns one event.
struct There {
    topic: &'static str,
    at: Vec<Position>,
    belongs: bool,
}

/// Every event that is not where it belongs.
pub fn check(case: &Case<'_>, fates: &Fates) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (event, fate) in case.plan.events.iter().zip(&fates.of) {
        findings.extend(at_the_door(event, fate));
        for there in topics(case, event, fate) {
            findings.extend(in_topic(event, fate, &there));
        }
        findings.extend(letters(case, event, fate));
    }
    findings
}

/// What was accepted is in `verified-events` as often as it was accepted.
fn at_the_door(event: &Event, fate: &Fate) -> Option<Finding> {
    let found = fate.verified.len() as u32;
    if found < fate.accepted {
        let text = format!("was accepted {} times and is in verified-events {found} times", fate.accepted);
        return Some(Finding::about(event, Trouble::Lost, text));
    }
    if found > fate.accepted + fate.unknown {
        let Fate { accepted, unknown, .. } = fate;
        let text = format!("is in verified-events {found} times, accepted {accepted} times, and {unknown} are unknown");
        let trouble = if event.place == Place::Refused { Trouble::Misplaced } else { Trouble::Doubled };
        return Some(Finding::about(event, trouble, text));
    }
    None
}

fn in_topic(event: &Event, fate: &Fate, there: &There) -> Option<Finding> {
    let There { topic, at, belongs } = there;
    let list = || at.iter().map(Position::to_string).collect::<Vec<_>>().join(" and ");
    match (belongs, at.len()) {
        (true, 0) if fate.counts() => {
            let text = format!("was accepted {} times and is lost: it is not in {topic}", fate.accepted);
            Some(Finding::about(event, Trouble::Lost, text))
        }
        (true, 0 | 1) | (false, 0) => None,
        (true, times) => {
            let text = format!("is doubled: it is in {topic} {times} times, at {}", list());
            Some(Finding::about(event, Trouble::Doubled, text))
        }
        (false, _) => {
            let text = format!("is in {topic} at {} and belongs to {:?}", list(), event.place);
            Some(Finding::about(event, Trouble::Misplaced, text))
        }
    }
}

/// A dead letter for each time that the event died, and a redrive between every two.
fn letters(case: &Case<'_>, event: &Event, fate: &Fate) -> Option<Finding> {
    let src = case.observed.verified[*fate.verified.first()?].at;
    let ids: Vec<&str> = fate.dead.iter().map(|number| case.observed.dead[*number].dead_id.as_str()).collect();
    let complaint = case.deeds.complaint(event, src, &ids).filter(|_| !ids.is_empty())?;
    Some(Finding::about(event, Trouble::Misplaced, complaint))
}

/// Where the letters of an event lie that are not there for the first time under their id.
fn doubled_letters(case: &Case<'_>, fate: &Fate) -> Vec<Position> {
    let mut seen = HashSet::new();
    let letters = fate.dead.iter().map(|number| &case.observed.dead[*number]);
    letters.filter(|letter| !seen.insert(letter.dead_id.as_str())).map(|letter| letter.at).collect()
}

fn topics(case: &Case<'_>, event: &Event, fate: &Fate) -> [There; 3] {
    let belongs = |topic: &str| match event.place {
        Place::Clean { .. } => topic == "clean-events",
        Place::StaleRouted => topic == "stale-events",
        Place::Dead(_) => topic == "dead-events",
        Place::StaleDropped | Place::Conflict | Place::Refused => false,
    };
    let there = |topic: &'static str, at: Vec<Position>| There { topic, at, belongs: belongs(topic) };
    let observed = case.observed;
    let first = fate.dead.first().map(|number| observed.dead[*number].at);
    let dead = first.into_iter().chain(doubled_letters(case, fate)).collect();
    [
        there("clean-events", fate.clean.iter().map(|number| observed.clean[*number].at).collect()),
        there("stale-events", fate.stale.iter().map(|number| observed.stale[*number].at).collect()),
        there("dead-events", dead),
    ]
}
