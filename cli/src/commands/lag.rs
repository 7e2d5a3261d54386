//! `weir lag`: how far the processor's group is behind in `verified-events`, per partition.
//!
//! Reads committed offsets and one record a partition; changes nothing.

use std::ops::ControlFlow;

use comfy_table::Color;
use rdkafka::message::Message;
use runtime::config::Config;
use runtime::report::{Exit, Failure};
use schemas::{Topic, time};
use serde::Serialize;

use crate::ask;
use crate::log::{Log, Range};
use crate::output::{Output, Row};

/// One partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Behind {
    topic: String,
    partition: i32,
    committed: Option<i64>,
    end: i64,
    /// Negative: more was committed than there is.
    lag: i64,
    stream_time: Option<String>,
    age_s: Option<i64>,
}

impl Row for Behind {
    const COLUMNS: &'static [&'static str] = &["topic", "partition", "committed", "end", "lag", "stream_time", "age_s"];

    fn color(&self, column: &str) -> Option<Color> {
        let color = match self.lag {
            0 => return None,
            lag if lag < 0 => Color::Red,
            _ => Color::Yellow,
        };
        (column == "lag").then_some(color)
    }
}

/// Prints a row a partition.
pub fn run(config: &Config, out: &mut Output<'_>) -> Result<Exit, Failure> {
    let topic = config.topics.name(&Topic::Verified);
    let log = Log::connect(&config.kafka, &config.processor.group)?;
    let partitions: Vec<i32> = log.bounds_of_existing(&topic)?.iter().map(|range| range.partition).collect();
    let committed = log.committed(&topic, &partitions)?;
    // The ends come after the offsets: what is written and processed in between is no offset beyond the end.
    let bounds = log.bounds_of_existing(&topic)?;
    let mut rows: Vec<Behind> =
        bounds.iter().map(|range| behind(&topic, range, committed.get(&range.partition).copied().flatten())).collect();
    let last: Vec<Range> = rows.iter().zip(&bounds).filter_map(|(row, range)| last_processed(row, range)).collect();
    let now_ms = runtime::clock::now_ms();
    log.scan(&topic, &last, &mut |message| {
        if let Some(row) = rows.iter_mut().find(|row| row.partition == message.partition()) {
            let at_ms = message.timestamp().to_millis().unwrap_or_default();
            row.stream_time = Some(time::rfc3339(at_ms));
            row.age_s = Some((now_ms - at_ms).max(0) / 1000);
        }
        ControlFlow::Continue(())
    })?;
    out.list(&rows)?;
    for row in rows.iter().filter(|row| row.lag < 0) {
        ask::say(&format!("{}\n", beyond(row)))?;
    }
    Ok(Exit::Done)
}

/// What it means that an offset lies beyond the end.
fn beyond(row: &Behind) -> String {
    let Behind { topic, partition, end, .. } = row;
    let committed = row.committed.unwrap_or_default();
    format!(
        "{topic} {partition}: offset {committed} was committed and the log ends at {end}: it was cut off, or made anew; \
         the processor stops at this partition"
    )
}

fn behind(topic: &str, range: &Range, committed: Option<i64>) -> Behind {
    let next = committed.unwrap_or(range.from).max(range.from);
    Behind {
        topic: topic.to_owned(),
        partition: range.partition,
        committed,
        end: range.until,
        lag: range.until - next,
        stream_time: None,
        age_s: None,
    }
}

/// The last record that was processed: its append time is the partition's stream time.
fn last_processed(row: &Behind, range: &Range) -> Option<Range> {
    let until = row.committed?.min(range.until);
    (until > range.from).then_some(Range { partition: row.partition, from: until - 1, until })
}

#[cfg(test)]
mod tests {
    use super::*;

    const RANGE: Range = Range { partition: 2, from: 100, until: 150 };

    #[test]
    fn the_lag_is_what_lies_between_the_committed_offset_and_the_end() {
        assert_eq!(behind("t", &RANGE, Some(140)).lag, 10);
        assert_eq!(behind("t", &RANGE, Some(150)).lag, 0);
    }

    #[test]
    fn a_partition_nobody_has_started_lags_by_all_it_holds() {
        let row = behind("t", &RANGE, None);
        assert_eq!((row.lag, row.committed), (50, None));
        assert_eq!(last_processed(&row, &RANGE), None);
    }

    #[test]
    fn records_that_retention_removed_do_not_count_as_lag() {
        assert_eq!(behind("t", &RANGE, Some(10)).lag, 50);
        assert_eq!(last_processed(&behind("t", &RANGE, Some(10)), &RANGE), None);
    }

    #[test]
    fn an_offset_beyond_the_end_is_no_lag_of_nothing() {
        let row = behind("t", &RANGE, Some(151));
        assert_eq!((row.lag, row.color("lag")), (-1, Some(Color::Red)));
        assert!(beyond(&row).contains("t 2: offset 151 was committed and the log ends at 150"), "{}", beyond(&row));
        assert_eq!(behind("t", &RANGE, Some(150)).color("lag"), None);
        assert_eq!(behind("t", &RANGE, Some(149)).color("lag"), Some(Color::Yellow));
        assert_eq!(last_processed(&row, &RANGE), Some(Range { partition: 2, from: 149, until: 150 }));
    }

    #[test]
    fn stream_time_is_that_of_the_last_processed_record() {
        let range = last_processed(&behind("t", &RANGE, Some(140)), &RANGE);
        assert_eq!(range, Some(Range { partition: 2, from: 139, until: 140 }));
    }
}
