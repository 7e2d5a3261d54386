//! How late retries are: when an event was tried again, and when a reader of `clean-events` had it, against its due
//! time.
//!
//! All clocks are this machine's. When a try that failed was made follows from the next due time, which is one pause
//! later; the last try succeeds, and is seen.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use rdkafka::consumer::BaseConsumer;
use rdkafka::error::KafkaError;
use rdkafka::message::BorrowedMessage;
use schemas::{Topic, Topics, headers};
use weir_tests::wait::wait_until;

use crate::args::Settings;
use crate::broker::BenchBroker;
use crate::events::{Shape, number_of};
use crate::failing::{FAILURES, PAUSE_MS, is_late};
use crate::latency::from_now_on;
use crate::load;
use crate::outputs::{self, header_of};
use crate::processor_bench::shape;
use crate::retry::installation;
use crate::series::{Figure, Series, figure};
use crate::usage::{Pids, Start};
use crate::weir::STOP_WITHIN;

const FIGURES: [Figure; 9] = [
    figure("retries", "retries", 0),
    figure("commit_interval_ms", "commit interval ms", 0),
    figure("tried_min_ms", "tried after due: min ms", 0),
    figure("tried_p50_ms", "p50 ms", 0),
    figure("tried_p99_ms", "p99 ms", 0),
    figure("tried_max_ms", "max ms", 0),
    figure("visible_p50_ms", "visible after due: p50 ms", 0),
    figure("visible_p99_ms", "p99 ms", 0),
    figure("visible_max_ms", "max ms", 0),
];
/// The situations: events per second (`None`: as fast as they are read), and how many of a hundred fail at first.
const SITUATIONS: [(Option<u64>, &str, u64); 4] =
    [(Some(200), "late-5", 5), (Some(2_000), "late-1", 1), (Some(2_000), "late-20", 20), (None, "late-1", 1)];
/// How much longer than a measurement over HTTP.
const LONGER: u64 = 5;
/// How long the last retries may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// Measures every situation once.
pub async fn measure(broker: &BenchBroker, settings: &Settings, topics: &Topics) -> Result<Series> {
    let mut series = Series::of_situations("retries", &FIGURES);
    for (at, (rate, source, percent)) in SITUATIONS.into_iter().enumerate() {
        let events = rate.map_or(settings.events, |rate| rate * settings.seconds * LONGER);
        let shape = Shape { source, events, duplicates: 0, ..shape(settings) };
        let name = match rate {
            Some(rate) => format!("{rate}/s, {percent} % fail"),
            None => format!("backlog of {events}, {percent} % fail"),
        };
        let weir = installation(broker, settings, topics, &format!("late-{at}")).await?;
        let (input, clean) = (topics.name(&Topic::Verified), topics.name(&Topic::Clean));
        let seen = Watcher::start(broker, &clean, events)?;
        if rate.is_none() {
            load::load(broker, &input, settings.partitions, &shape)?;
        }
        let mut service = weir.failing_processor("bench")?;
        service.runs(settings.partitions).await?;
        let pids = Pids { contestant: service.process.id(), broker: broker.pid() };
        let start = Start::now(pids)?;
        if rate.is_some() {
            load::load_at(broker, &input, settings.partitions, &shape, rate)?;
        }
        let seen = seen.finish().await?;
        let foreign = start.until_now()?.foreign * 100.0;
        service.process.stop(STOP_WITHIN).await?;
        let hops = hops(broker, topics)?;
        let wanted = (0..events).filter(|number| is_late(*number, percent)).count();
        ensure!(hops.len() == wanted, "{} events were retried instead of {wanted}", hops.len());
        let late = Late::of(&hops, &seen)?;
        late.add(&mut series, &name);
        println!("{name}: {late}, other load {foreign:.0} %");
        // Before its time is a defect, however fast.
        ensure!(late.tried.iter().all(|ms| *ms >= 0), "{name}: a retry was early");
    }
    Ok(series)
}

/// When each retry of an event was due, by its number, the first retry first.
fn hops(broker: &BenchBroker, topics: &Topics) -> Result<BTreeMap<u64, Vec<i64>>> {
    let mut hops: BTreeMap<u64, Vec<(i64, i64)>> = BTreeMap::new();
    let topic = topics.retry_delays.first().context("a tier")?;
    let mut take = |record: &BorrowedMessage<'_>| {
        let number = header_of(record, "id").and_then(number_of).context("a record without our id")?;
        hops.entry(number)
            .or_default()
            .push((number_in(record, headers::WEIR_HOP)?, number_in(record, headers::WEIR_DUE)?));
        Ok(())
    };
    outputs::each(broker, &topics.name(&Topic::Retry(topic.clone())), &BTreeMap::new(), &mut take)?;
    let in_order = |(number, mut dues): (u64, Vec<(i64, i64)>)| {
        dues.sort_unstable();
        let is_whole = dues.iter().map(|(hop, _)| *hop).eq(1..=i64::from(FAILURES));
        ensure!(is_whole, "event {number} went through the retry topic as {dues:?}");
        Ok((number, dues.into_iter().map(|(_, due_ms)| due_ms).collect()))
    };
    hops.into_iter().map(in_order).collect()
}

fn number_in(record: &BorrowedMessage<'_>, name: &str) -> Result<i64> {
    let text = header_of(record, name).and_then(|value| std::str::from_utf8(value).ok());
    text.with_context(|| format!("a record without {name}"))?.parse().with_context(|| format!("{name} is no number"))
}

/// How late every retry was tried, and how late every last one was seen, milliseconds.
struct Late {
    tried: Vec<i64>,
    visible: Vec<i64>,
}

impl Late {
    fn of(hops: &BTreeMap<u64, Vec<i64>>, seen: &BTreeMap<u64, i64>) -> Result<Self> {
        let (mut tried, mut visible) = (Vec::new(), Vec::new());
        for (number, dues) in hops {
            let seen_ms = seen.get(number).with_context(|| format!("event {number} did not come out"))?;
            tried.extend(dues.iter().zip(dues.iter().skip(1)).map(|(due, next)| next - PAUSE_MS as i64 - due));
            visible.extend(dues.last().map(|due| seen_ms - due));
        }
        Ok(Self { tried, visible })
    }

    fn add(&self, series: &mut Series, name: &str) {
        let mut add = |figure, value| series.add(name, figure, value);
        add("retries", self.tried.len() as f64);
        add("commit_interval_ms", 100.0);
        add("tried_min_ms", at(&self.tried, 0.0));
        add("tried_p50_ms", at(&self.tried, 0.5));
        add("tried_p99_ms", at(&self.tried, 0.99));
        add("tried_max_ms", at(&self.tried, 1.0));
        add("visible_p50_ms", at(&self.visible, 0.5));
        add("visible_p99_ms", at(&self.visible, 0.99));
        add("visible_max_ms", at(&self.visible, 1.0));
    }
}

impl std::fmt::Display for Late {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let of = |all: &[i64]| [0.0, 0.5, 0.99, 1.0].map(|quantile| at(all, quantile));
        write!(f, "min, p50, p99, max ms: tried {:?}, visible {:?}", of(&self.tried), of(&self.visible))
    }
}

/// The value that this share of all is not above.
fn at(all: &[i64], quantile: f64) -> f64 {
    let mut sorted = all.to_vec();
    sorted.sort_unstable();
    let last = sorted.len().saturating_sub(1);
    sorted.get((last as f64 * quantile).round() as usize).copied().unwrap_or_default() as f64
}

/// A thread that reads `clean-events` as it grows.
struct Watcher {
    thread: JoinHandle<Result<BTreeMap<u64, i64>>>,
    is_over: Arc<AtomicBool>,
}

impl Watcher {
    /// Until so many events are there.
    fn start(broker: &BenchBroker, topic: &str, events: u64) -> Result<Self> {
        let consumer = from_now_on(broker, topic)?;
        let is_over = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&is_over);
        let thread = std::thread::spawn(move || watch(&consumer, events, &stop));
        Ok(Self { thread, is_over })
    }

    /// When each of the events that had failed was there, once all are.
    async fn finish(self) -> Result<BTreeMap<u64, i64>> {
        let waited = wait_until("every event in clean-events", PATIENCE, || {
            std::future::ready(if self.thread.is_finished() { Ok(()) } else { Err("some are missing".to_owned()) })
        });
        let waited = waited.await;
        self.is_over.store(true, Ordering::Relaxed);
        let seen = self.thread.join().map_err(|_| anyhow!("the watcher panicked"))??;
        waited?;
        Ok(seen)
    }
}

fn watch(consumer: &BaseConsumer, events: u64, is_over: &AtomicBool) -> Result<BTreeMap<u64, i64>> {
    let (mut count, mut seen) = (0, BTreeMap::new());
    while count < events && !is_over.load(Ordering::Relaxed) {
        match consumer.poll(Duration::from_millis(100)) {
            Some(Ok(record)) => {
                count += 1;
                if header_of(&record, headers::ATTEMPT) == Some(b"1") {
                    continue;
                }
                let number = header_of(&record, headers::ID).and_then(number_of).context("not one of our ids")?;
                seen.insert(number, runtime::clock::now_ms());
            }
            None | Some(Err(KafkaError::PartitionEOF(_))) => {}
            Some(Err(error)) => return Err(error).context("cannot read clean-events"),
        }
    }
    Ok(seen)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_retry_is_late_by_what_its_try_came_after_its_due_time() {
        let hops = [(7, vec![5_000, 6_030, 7_020])].into();
        let late = Late::of(&hops, &[(7, 7_090)].into()).expect("it came out");
        assert_eq!((late.tried, late.visible), (vec![30, -10], vec![70]), "the second one was early");
        assert!(Late::of(&hops, &BTreeMap::new()).is_err());
        assert_eq!([0.0, 0.5, 1.0].map(|quantile| at(&[3, 1, 2], quantile)), [1.0, 2.0, 3.0]);
    }
}
