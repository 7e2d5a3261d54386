//! What is looked at from outside of the workers while they work: how far the process is behind, who is overdue,
//! whether the topics are still right. A worker that hangs can't hide it. Nothing here decides about an event.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::BaseConsumer;
use rdkafka::error::KafkaResult;
use runtime::config::Config;
use runtime::shutdown::Shutdown;
use runtime::topics;
use schemas::Topic;
use tokio::time::{Interval, MissedTickBehavior};

use crate::app;
use crate::clients;
use crate::metrics;
use crate::position::Position;
use crate::reader::{self, Quiet};
use crate::status::Status;

/// Between two looks at what is overdue.
const OVERDUE: Duration = Duration::from_secs(1);
/// Between two looks at how far we are behind.
const LAG: Duration = Duration::from_secs(5);

/// Looks until the process is asked to stop.
pub(crate) async fn watch(config: Arc<Config>, status: Arc<Status>, shutdown: Shutdown) {
    let topics = topics::watch(|| app::check(&config), |findings| status.set_findings(findings));
    let looks = async { tokio::join!(overdue(&status), lag(&config, &status), topics) };
    tokio::select! {
        _ = looks => {}
        () = shutdown.wait() => {}
    }
}

async fn overdue(status: &Status) {
    let mut times = every(OVERDUE);
    loop {
        times.tick().await;
        status.show_overdue();
    }
}

async fn lag(config: &Config, status: &Arc<Status>) {
    let client = match BaseConsumer::from_config_and_context(&clients::watcher(config), Quiet) {
        Ok(client) => Arc::new(client),
        Err(error) => return tracing::warn!(%error, "how far we are behind can't be asked"),
    };
    let topic = config.topics.name(&Topic::Verified);
    let mut times = every(LAG);
    let mut lags = Lags::default();
    loop {
        times.tick().await;
        let (client, topic, partitions) = (Arc::clone(&client), topic.clone(), status.partitions());
        let looked_ms = runtime::clock::now_ms();
        // Without an answer time goes on: whoever was behind gets older, and nobody is known to have nothing to do.
        match tokio::task::spawn_blocking(move || look(&client, &topic, &partitions)).await {
            Ok(Ok(seen)) => lags.note(seen, looked_ms),
            Ok(Err(error)) => tracing::debug!(%error, "how far we are behind could not be asked"),
            Err(error) => tracing::warn!(%error, "the look at how far we are behind ended without a result"),
        }
        let now_ms = runtime::clock::now_ms();
        lags.keep(&status.partitions());
        metrics::lag(lags.records(), lags.oldest_ms(now_ms));
        status.set_lags(lags.ages_ms(now_ms));
    }
}

fn every(period: Duration) -> Interval {
    let mut times = tokio::time::interval(period);
    times.set_missed_tick_behavior(MissedTickBehavior::Delay);
    times
}

/// A partition as it was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Seen {
    partition: i32,
    /// Next offset to commit.
    next: i64,
    /// Where the next record goes.
    high: i64,
    /// Greatest append time below `next`.
    read_until: Option<i64>,
}

fn look(client: &BaseConsumer<Quiet>, topic: &str, partitions: &[i32]) -> KafkaResult<Vec<Seen>> {
    if partitions.is_empty() {
        return Ok(Vec::new());
    }
    let positions = reader::committed(client, reader::ANSWER, topic, partitions)?;
    let ranges = reader::ranges(client, topic, partitions)?;
    let seen = positions.into_iter().zip(ranges).map(|((partition, stored), range)| {
        let position = stored.as_ref().and_then(|stored| Position::parse(stored.next, &stored.metadata).ok());
        let next = stored.map_or(*range.start(), |stored| stored.next);
        let read_until = position.map(|position| position.stream_time).filter(|time| *time > 0);
        Seen { partition, next, high: *range.end(), read_until }
    });
    Ok(seen.collect())
}

/// How far each partition is behind, as far as it is known.
#[derive(Debug, Default)]
struct Lags(BTreeMap<i32, Lag>);

#[derive(Debug, Default, Clone, Copy)]
struct Lag {
    records: i64,
    /// Nothing that waits was appended before this, or, if that is unknown, it was first seen behind then; milliseconds
    /// since the epoch. `None`: nothing waits.
    since_ms: Option<i64>,
    /// When it was last seen with nothing to do.
    idle_ms: Option<i64>,
    /// When it was first seen behind after that.
    behind_ms: Option<i64>,
}

impl Lags {
    /// Takes in what was seen by a look that began at `at_ms`.
    fn note(&mut self, seen: Vec<Seen>, at_ms: i64) {
        for Seen { partition, next, high, read_until } in seen {
            let lag = self.0.entry(partition).or_default();
            lag.records = (high - next).max(0);
            if next == high {
                *lag = Lag { idle_ms: Some(at_ms), ..Lag::default() };
                continue;
            }
            let behind_ms = *lag.behind_ms.get_or_insert(at_ms);
            // A partition that has rested for hours is not behind by hours when its next record comes.
            lag.since_ms = read_until.max(lag.idle_ms).or(Some(behind_ms));
        }
    }

    /// Forgets partitions that are ours no more.
    fn keep(&mut self, partitions: &[i32]) {
        self.0.retain(|partition, _| partitions.contains(partition));
    }

    fn records(&self) -> i64 {
        self.0.values().map(|lag| lag.records).sum()
    }

    /// Of each partition that is behind, how old what waits may be.
    fn ages_ms(&self, now_ms: i64) -> BTreeMap<i32, i64> {
        self.0.iter().filter_map(|(partition, lag)| Some((*partition, (now_ms - lag.since_ms?).max(0)))).collect()
    }

    fn oldest_ms(&self, now_ms: i64) -> i64 {
        self.ages_ms(now_ms).into_values().max().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(next: i64, high: i64, read_until: i64) -> Vec<Seen> {
        vec![Seen { partition: 3, next, high, read_until: Some(read_until) }]
    }

    #[test]
    fn a_partition_is_as_far_behind_as_what_was_read_last_is_old() {
        let mut lags = Lags::default();
        lags.note(seen(10, 17, 5_000), 9_000);
        assert_eq!((lags.records(), lags.oldest_ms(9_000)), (7, 4_000));
        // No news: it gets older.
        lags.keep(&[3]);
        assert_eq!(lags.oldest_ms(10_000), 5_000);
        lags.note(seen(12, 17, 8_000), 10_000);
        assert_eq!((lags.records(), lags.oldest_ms(10_000)), (5, 2_000));
        lags.keep(&[]);
        assert_eq!((lags.records(), lags.oldest_ms(10_000)), (0, 0));
    }

    #[test]
    fn a_partition_that_rested_is_behind_since_its_rest_and_no_longer() {
        let mut lags = Lags::default();
        lags.note(seen(17, 17, 5_000), 60_000);
        assert_eq!((lags.records(), lags.oldest_ms(60_000)), (0, 0));
        // Looks that fail are no rest.
        lags.keep(&[3]);
        lags.note(seen(17, 18, 5_000), 65_000);
        assert_eq!((lags.records(), lags.oldest_ms(65_000)), (1, 5_000));
        lags.note(seen(17, 19, 5_000), 70_000);
        assert_eq!((lags.records(), lags.oldest_ms(70_000)), (2, 10_000));
    }

    #[test]
    fn a_log_that_ends_before_what_was_committed_is_behind_without_a_record() {
        let mut lags = Lags::default();
        lags.note(seen(18, 17, 5_000), 50_000);
        assert_eq!((lags.records(), lags.oldest_ms(60_000)), (0, 55_000));
    }

    #[test]
    fn a_partition_of_which_nothing_was_read_is_behind_since_it_was_seen_so() {
        let mut lags = Lags::default();
        let stuck = Seen { partition: 3, next: 0, high: 5, read_until: None };
        lags.note(vec![stuck], 50_000);
        lags.note(vec![stuck], 55_000);
        assert_eq!((lags.records(), lags.oldest_ms(60_000)), (5, 10_000));
        lags.note(seen(5, 5, 50_000), 61_000);
        assert_eq!((lags.records(), lags.oldest_ms(62_000)), (0, 0));
    }
}
