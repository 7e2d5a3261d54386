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

use crate::log::{Log, Range};
use crate::output::{Output, Row};

/// One partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Behind {
    topic: String,
    partition: i32,
    committed: Option<i64>,
    end: i64,
    lag: i64,
    stream_time: Option<String>,
    age_s: Option<i64>,
}

impl Row for Behind {
    const COLUMNS: &'static [&'static str] = &["topic", "partition", "committed", "end", "lag", "stream_time", "age_s"];

    fn color(&self, column: &str) -> Option<Color> {
        (column == "lag" && self.lag > 0).then_some(Color::Yellow)
    }
}

/// Prints a row a partition.
pub fn run(config: &Config, out: &mut Output<'_>) -> Result<Exit, Failure> {
    let topic = config.topics.name(&Topic::Verified);
    let log = Log::connect(&config.kafka, &config.processor.group)?;
    let bounds = log.bounds_of_existing(&topic)?;
    let partitions: Vec<i32> = bounds.iter().map(|range| range.partition).collect();
    let committed = log.committed(&topic, &partitions)?;
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
    Ok(Exit::Done)
}

fn behind(topic: &str, range: &Range, committed: Option<i64>) -> Behind {
    let next = committed.unwrap_or(range.from).max(range.from);
    Behind {
        topic: topic.to_owned(),
        partition: range.partition,
        committed,
        end: range.until,
        lag: (range.until - next).max(0),
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
    fn stream_time_is_that_of_the_last_processed_record() {
        let range = last_processed(&behind("t", &RANGE, Some(140)), &RANGE);
        assert_eq!(range, Some(Range { partition: 2, from: 139, until: 140 }));
    }
}
