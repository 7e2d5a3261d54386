//! What became of an event, told from the records it left behind.
//!
//! Pure. A record of `verified-events` below the committed offset that left nothing behind was a duplicate or was
//! dropped as stale: neither writes an event.

use std::collections::BTreeMap;

use comfy_table::Color;
use schemas::{Topic, headers};
use serde::Serialize;

use crate::output::Row;
use crate::record::Seen;

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
            "stale" => Color::Yellow,
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
    let ends: BTreeMap<String, &'static str> = found
        .iter()
        .filter(|found| matches!(found.topic, Topic::Clean | Topic::Stale | Topic::Dead))
        .filter_map(|found| Some((found.seen.came_from()?.to_owned(), what(&found.topic))))
        .collect();
    found.iter().map(|found| place(found, &ends, committed)).collect()
}

fn place(found: &Found, ends: &BTreeMap<String, &'static str>, committed: &BTreeMap<i32, Option<i64>>) -> Place {
    let seen = &found.seen;
    let detail = match &found.topic {
        Topic::Verified => received(seen, ends, committed.get(&seen.partition).copied().flatten()),
        Topic::Dead => died(seen),
        Topic::Clean | Topic::Stale => emitted(seen),
        Topic::Resolutions | Topic::Quarantine | Topic::Changelog => seen.body.clone().unwrap_or_default(),
        Topic::Retry(delay) => format!("waits {delay}"),
    };
    Place {
        time: seen.time.clone(),
        topic: seen.topic.clone(),
        partition: seen.partition,
        offset: seen.offset,
        source: seen.source.clone(),
        event_type: seen.event_type.clone(),
        key: seen.key.clone(),
        what: what(&found.topic),
        detail,
    }
}

fn what(topic: &Topic) -> &'static str {
    match topic {
        Topic::Verified => "received",
        Topic::Retry(_) => "retry",
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
    use crate::record::Dead;

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
}
