//! What became of an event, told from the records it left behind.
//!
//! Pure. A record of `verified-events` below the committed offset that left nothing behind was a duplicate or was
//! dropped as stale: neither writes an event.

use std::collections::BTreeMap;

use comfy_table::Color;
use schemas::resolution::Outcome;
use schemas::{DeadId, Resolution, Topic, headers, time};
use serde::Serialize;

use crate::output::Row;
use crate::record::{Seen, sentence};

/// A record of the event, and where it was found.
#[derive(Debug, Clone)]
pub struct Found {
    /// Which topic.
    pub topic: Topic,
    /// The record.
    pub seen: Seen,
}

/// One place the event went through.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Place {
    time: String,
    topic: String,
    partition: i32,
    offset: i64,
    source: Option<String>,
    #[serde(rename = "type")]
    event_type: Option<String>,
    key: Option<String>,
    what: &'static str,
    detail: String,
}

impl Row for Place {
    const COLUMNS: &'static [&'static str] =
        &["time", "topic", "partition", "offset", "source", "type", "key", "what", "detail"];

    fn color(&self, column: &str) -> Option<Color> {
        let color = match self.what {
            "clean" => Color::Green,
            "dead" => Color::Red,
            "stale" | "retry" => Color::Yellow,
            "redrive" | "discard" => Color::Cyan,
            _ => return None,
        };
        (column == "what").then_some(color)
    }
}

/// The event's places in the order of time. `committed`: the group's offsets in `verified-events`.
pub fn life_line(mut found: Vec<Found>, committed: &BTreeMap<i32, Option<i64>>) -> Vec<Place> {
    // The sort is stable and the topics were read in the order an event meets them, which decides between
    // records of the same millisecond.
    found.sort_by_key(|found| found.seen.at_ms);
    let ends: BTreeMap<String, &'static str> = found.iter().filter_map(end).collect();
    found.iter().map(|found| place(found, &ends, committed)).collect()
}

/// Which record of `verified-events` a record decides about, and how. The last one stays.
fn end(found: &Found) -> Option<(String, &'static str)> {
    match found.topic {
        Topic::Clean | Topic::Stale | Topic::Dead => Some((found.seen.came_from()?.to_owned(), what(found))),
        Topic::Resolutions => {
            let resolution = resolution(&found.seen)?;
            let id = DeadId::parse(found.seen.key.as_deref()?)?;
            let end = match resolution.result {
                Outcome::Discarded => "discarded",
                Outcome::Superseded => "dead, and superseded",
                Outcome::Stale => "stale",
                // The event itself says so in another topic.
                Outcome::Redriven | Outcome::Dead => return None,
            };
            Some((format!("{}:{}", id.partition, id.offset), end))
        }
        Topic::Verified | Topic::Retry(_) | Topic::Quarantine | Topic::Changelog => None,
    }
}

fn place(found: &Found, ends: &BTreeMap<String, &'static str>, committed: &BTreeMap<i32, Option<i64>>) -> Place {
    let seen = &found.seen;
    let detail = match &found.topic {
        Topic::Verified => received(seen, ends, committed.get(&seen.partition).copied().flatten()),
        Topic::Dead => died(seen),
        Topic::Clean | Topic::Stale => emitted(seen),
        Topic::Retry(delay) => waits(seen, delay),
        Topic::Resolutions => resolved(seen),
        Topic::Quarantine | Topic::Changelog => seen.body.clone().unwrap_or_default(),
    };
    Place {
        time: seen.time.clone(),
        topic: seen.topic.clone(),
        partition: seen.partition,
        offset: seen.offset,
        source: seen.source.clone(),
        event_type: seen.event_type.clone(),
        key: seen.key.clone(),
        what: what(found),
        detail,
    }
}

fn what(found: &Found) -> &'static str {
    match found.topic {
        Topic::Verified => "received",
        Topic::Retry(_) => found.seen.command.as_ref().map_or("retry", |command| command.verb),
        Topic::Clean => "clean",
        Topic::Stale => "stale",
        Topic::Dead => "dead",
        Topic::Resolutions => "resolved",
        Topic::Quarantine => "quarantined",
        Topic::Changelog => "state",
    }
}

fn received(seen: &Seen, ends: &BTreeMap<String, &'static str>, committed: Option<i64>) -> String {
    let src = format!("{}:{}", seen.partition, seen.offset);
    let fate = match ends.get(&src) {
        Some(end) => format!("became {end}"),
        None if committed.is_some_and(|next| seen.offset < next) => "duplicate, or dropped as stale".to_owned(),
        None => "waits for the processor".to_owned(),
    };
    match &seen.reason {
        Some(defect) => format!("{fate} (defect: {defect})"),
        None => fate,
    }
}

/// A hop through a retry topic, or a command.
fn waits(seen: &Seen, delay: &str) -> String {
    if let Some(command) = &seen.command {
        let as_is = if command.as_is { ", stale or not" } else { "" };
        return format!("{} by {}{as_is}: {}", command.dead_id, command.operator, command.note);
    }
    let header = |name: &str| seen.headers.get(name).map(String::as_str);
    let mut text = format!("waits {delay}");
    if let Some(due) = header(headers::WEIR_DUE).and_then(|due| due.parse().ok()) {
        text.push_str(&format!(" until {}", time::rfc3339(due)));
    }
    if let Some(reason) = header(headers::WEIR_REASON) {
        let attempt = header(headers::WEIR_ATTEMPT).unwrap_or("?");
        text.push_str(&format!("; attempt {attempt} failed: {reason}"));
    }
    if let Some(message) = header(headers::WEIR_MESSAGE) {
        text.push_str(&format!(": {message}"));
    }
    text
}

fn resolution(seen: &Seen) -> Option<Resolution> {
    Resolution::decode(seen.body.as_ref()?.as_bytes())
}

fn resolved(seen: &Seen) -> String {
    let Some(resolution) = resolution(seen) else {
        return seen.body.clone().unwrap_or_default();
    };
    let is_late = seen.key.as_deref().is_some_and(|key| key.contains('/'));
    let late = if is_late { " (a command that came too late)" } else { "" };
    format!("{}: {}{late}", resolution.dead_id, sentence(&resolution))
}

fn died(seen: &Seen) -> String {
    let reason = seen.reason.as_deref().unwrap_or("unreadable");
    match &seen.dead {
        Some(dead) => format!("{reason}: {} (dead id {}, from {})", dead.message, dead.id, dead.came_from),
        None => reason.to_owned(),
    }
}

fn emitted(seen: &Seen) -> String {
    let header = |name: &str| seen.headers.get(name).map_or("?", String::as_str);
    let mut text = format!("from {}, attempt {}", header(headers::WEIR_SRC), header(headers::ATTEMPT));
    if let Some(seq) = seen.headers.get(headers::WEIR_SEQ) {
        text.push_str(", seq ");
        text.push_str(seq);
    }
    if seen.headers.get(headers::ORIGIN).is_some_and(|origin| origin != "live") {
        text.push_str(", ");
        text.push_str(header(headers::ORIGIN));
    }
    if seen.headers.contains_key(headers::STALE) {
        text.push_str(", let through though stale");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Commanded, Dead};

    fn found(topic: Topic, at_ms: i64, partition: i32, offset: i64) -> Found {
        Found { topic, seen: Seen { at_ms, partition, offset, ..Seen::default() } }
    }

    fn emitted_from(topic: Topic, at_ms: i64, src: &str) -> Found {
        let mut found = found(topic, at_ms, 0, 0);
        found.seen.headers.insert(headers::WEIR_SRC.to_owned(), src.to_owned());
        found.seen.headers.insert(headers::ATTEMPT.to_owned(), "1".to_owned());
        found
    }

    fn told(found: Vec<Found>, committed: Option<i64>) -> Vec<(&'static str, String)> {
        let committed = BTreeMap::from([(3, committed)]);
        life_line(found, &committed).into_iter().map(|place| (place.what, place.detail)).collect()
    }

    #[test]
    fn a_clean_event_and_its_duplicate_are_told_apart() {
        let records = vec![
            found(Topic::Verified, 10, 3, 5),
            found(Topic::Verified, 30, 3, 9),
            emitted_from(Topic::Clean, 20, "3:5"),
        ];
        let expected = [
            ("received", "became clean".to_owned()),
            ("clean", "from 3:5, attempt 1".to_owned()),
            ("received", "duplicate, or dropped as stale".to_owned()),
        ];
        assert_eq!(told(records, Some(10)), expected);
    }

    #[test]
    fn an_event_beyond_the_committed_offset_waits() {
        for committed in [Some(5), None] {
            let told = told(vec![found(Topic::Verified, 1, 3, 5)], committed);
            assert_eq!(told, [("received", "waits for the processor".to_owned())]);
        }
    }

    #[test]
    fn a_dead_event_says_why_and_under_which_id() {
        let mut dead = found(Topic::Dead, 2, 3, 0);
        dead.seen.reason = Some("schema_violation".to_owned());
        let message = "no number".to_owned();
        let came_from = "3:5".to_owned();
        dead.seen.dead = Some(Dead { id: "3-5-0".to_owned(), message, came_from, ..Dead::default() });
        let told = told(vec![found(Topic::Verified, 1, 3, 5), dead], Some(6));
        assert_eq!(told.first().map(|place| place.1.as_str()), Some("became dead"));
        let expected = "schema_violation: no number (dead id 3-5-0, from 3:5)";
        assert_eq!(told.get(1).map(|place| place.1.as_str()), Some(expected));
    }

    #[test]
    fn records_of_one_millisecond_keep_the_order_an_event_meets_the_topics() {
        let records = vec![found(Topic::Verified, 1, 3, 5), emitted_from(Topic::Clean, 1, "3:5")];
        assert_eq!(told(records, Some(6)).first().map(|place| place.0), Some("received"));
    }

    fn resolution_of(key: &str, at_ms: i64, result: Outcome) -> Found {
        let mut found = found(Topic::Resolutions, at_ms, 0, 0);
        let resolution = Resolution {
            dead_id: "3-5-0".to_owned(),
            result,
            at: "AT".to_owned(),
            by: None,
            command_id: Some("c1".to_owned()),
            operator: Some("ann".to_owned()),
            note: Some("fixed".to_owned()),
            new_dead_id: None,
        };
        found.seen.key = Some(key.to_owned());
        found.seen.body = String::from_utf8(resolution.encode()).ok();
        found
    }

    #[test]
    fn a_redriven_event_tells_who_sent_it_and_where_it_ended() {
        let mut hop = found(Topic::Retry("5s".to_owned()), 2, 3, 0);
        for (name, value) in [("weir-due", "5000"), ("weir-reason", "handler_failed"), ("weir-attempt", "1")] {
            hop.seen.headers.insert(name.to_owned(), value.to_owned());
        }
        let mut dead = found(Topic::Dead, 3, 3, 0);
        dead.seen.dead = Some(Dead { id: "3-5-0".to_owned(), came_from: "3:5".to_owned(), ..Dead::default() });
        let mut command = found(Topic::Retry("5s".to_owned()), 4, 3, 1);
        command.seen.command = Some(Commanded {
            verb: "redrive",
            dead_id: "3-5-0".to_owned(),
            operator: "ann".to_owned(),
            note: "fixed".to_owned(),
            ..Commanded::default()
        });
        let records = vec![
            found(Topic::Verified, 1, 3, 5),
            hop,
            command,
            emitted_from(Topic::Clean, 5, "3:5"),
            dead,
            resolution_of("3-5-0", 5, Outcome::Redriven),
        ];
        let told = told(records, Some(6));
        let whats: Vec<&str> = told.iter().map(|(what, _)| *what).collect();
        assert_eq!(whats, ["received", "retry", "dead", "redrive", "clean", "resolved"]);
        for (at, expected) in [
            (0, "became clean"),
            (1, "waits 5s until 1970-01-01T00:00:05.000Z; attempt 1 failed: handler_failed"),
            (3, "3-5-0 by ann: fixed"),
            (5, "3-5-0: redriven at AT by ann: fixed"),
        ] {
            assert_eq!(told.get(at).map(|place| place.1.as_str()), Some(expected));
        }
    }

    #[test]
    fn a_discarded_event_ends_there_and_a_late_command_changes_nothing() {
        let mut dead = found(Topic::Dead, 2, 3, 0);
        dead.seen.dead = Some(Dead { id: "3-5-0".to_owned(), came_from: "3:5".to_owned(), ..Dead::default() });
        let records = vec![
            found(Topic::Verified, 1, 3, 5),
            dead,
            resolution_of("3-5-0", 3, Outcome::Discarded),
            resolution_of("3-5-0/c2", 4, Outcome::Superseded),
        ];
        let told = told(records, Some(6));
        assert_eq!(told.first().map(|place| place.1.as_str()), Some("became discarded"));
        assert!(told.last().is_some_and(|place| place.1.ends_with("(a command that came too late)")), "{told:?}");
    }
}
