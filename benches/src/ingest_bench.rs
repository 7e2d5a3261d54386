//! The door next to its bounds: greatest throughput at several numbers of connections, and latency at constant
//! rates. Every acknowledged delivery must stand in `verified-events`, once.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rdkafka::Message;
use schemas::{Topic, Topics, VerifiedEvent};
use serde_json::json;
use weir_tests::process::Process;
use weir_tests::wait::wait_until;
use weir_tests::{place, ports};

use crate::acked::Times;
use crate::args::{Part, Settings};
use crate::bodies::{BODY_BYTES, Requests, slot_of};
use crate::broker::BenchBroker;
use crate::connection::Connection;
use crate::generator::{self, Load, Pace, Shot};
use crate::series::{Figure, Series, figure, report};
use crate::usage::{self, Pids};
use crate::weir::{STOP_WITHIN, Weir};
use crate::{machine, outputs, topics};

const FIGURES: [Figure; 11] = [
    figure("events_per_s", "events/s", 0),
    figure("p50_ms", "p50 ms", 2),
    figure("p99_ms", "p99 ms", 2),
    figure("p999_ms", "p99.9 ms", 2),
    figure("cpu_us_per_event", "CPU us/event", 1),
    figure("rss_peak_mib", "peak RSS MiB", 0),
    figure("broker_cpu_us_per_event", "broker CPU us/event", 1),
    figure("generator_cores", "generator cores", 2),
    figure("refused", "refused", 0),
    figure("unsent", "not sent in time", 0),
    figure("foreign_percent", "other load %", 0),
];

const WEIR: &str = "weir-ingest";
const BOUNDS: [(Part, &str); 4] = [
    (Part::KafkaKeyed, "http+hmac+kafka, keyed"),
    (Part::Kafka, "http+hmac+kafka, no key"),
    (Part::Hmac, "http+hmac"),
    (Part::Body, "http"),
];
/// Not measured: connections, caches, the producer's first request.
pub const WARM_UP: Duration = Duration::from_secs(2);
/// Connections at a constant rate: enough that none has to wait for another.
pub const RATE_CONNECTIONS: usize = 256;

struct Bench<'a> {
    settings: &'a Settings,
    broker: BenchBroker,
    topics: Topics,
    weir: Weir,
    bound_topic: String,
    requests: Arc<Requests>,
    tag: u16,
}

/// Runs every round and reports.
pub async fn run(settings: &Settings) -> Result<()> {
    let broker = BenchBroker::start().await?;
    let topics = topics::contract(&broker.prefix, settings.partitions);
    topics::create(&broker, &topics).await?;
    let bound_topic = format!("{}door-bound", broker.prefix);
    topics::create_plain(&broker, &bound_topic, settings.partitions).await?;
    let facts = machine::facts(broker.brokers(), broker.is_own());
    println!("{}", machine::shown(&facts));
    let weir = Weir::new(&broker, settings, "ingest")?;
    let requests = Arc::new(Requests::new("/hooks/github", settings.seed));
    let mut bench = Bench { settings, broker, topics, weir, bound_topic, requests, tag: 0 };
    let mut levels: Vec<(Load, Series)> = bench.levels();
    for _ in 0..settings.runs {
        for (load, series) in &mut levels {
            bench.weir(load, series).await.context(WEIR)?;
            for (part, name) in BOUNDS {
                bench.bound(load, part, name, series).await.context(name)?;
            }
        }
    }
    let series: Vec<Series> = levels.into_iter().map(|(_, series)| series).collect();
    let settings = json!({
        "runs": settings.runs, "seed": settings.seed, "partitions": settings.partitions, "body_bytes": BODY_BYTES,
        "seconds": settings.seconds, "warm_up_s": WARM_UP.as_secs(), "generator_threads": settings.threads,
        "source": "github, unique delivery ids, 1000 signed bodies", "client": settings.client,
        "bound_linger_ms": "0 to 16 connections, 1 to 64, 5 above; at a constant rate 0 to 4000/s, 1 above",
    });
    report("ingest", &facts, &settings, &series)?;
    topics::clean_up(&bench.broker).await
}

/// A load on the door.
pub fn load(settings: &Settings, target: SocketAddr, connections: usize, pace: Pace) -> Load {
    let measure = Duration::from_secs(settings.seconds);
    Load { target, connections, threads: settings.threads, pace, warm_up: WARM_UP, measure }
}

/// The linger that gives the bound its best at this load.
fn linger_ms(load: &Load) -> u32 {
    match (load.pace, load.connections) {
        (Pace::Constant(..=4_000), _) | (Pace::Closed, ..=16) => 0,
        (Pace::Constant(_), _) | (Pace::Closed, ..=64) => 1,
        (Pace::Closed, _) => 5,
    }
}

impl Bench<'_> {
    fn levels(&self) -> Vec<(Load, Series)> {
        let closed = self.settings.connections.iter().map(|connections| {
            let load = load(self.settings, self.weir.door, *connections, Pace::Closed);
            (load, Series::new(format!("ingest, {connections} connections"), &FIGURES))
        });
        let constant = self.settings.rates.iter().map(|rate| {
            let load = load(self.settings, self.weir.door, RATE_CONNECTIONS, Pace::Constant(*rate));
            (load, Series::new(format!("ingest, {rate}/s"), &FIGURES))
        });
        closed.chain(constant).collect()
    }

    fn times(&mut self, load: &Load) -> Arc<Times> {
        self.tag += 1;
        load.times(self.tag)
    }

    async fn weir(&mut self, load: &Load, series: &mut Series) -> Result<()> {
        let topic = self.topics.name(&Topic::Verified);
        let before = next_offsets(&self.broker, &topic)?;
        let mut service = self.weir.ingest()?;
        service.ready().await?;
        let times = self.times(load);
        let pids = Pids { contestant: service.process.id(), broker: self.broker.pid() };
        let shot = generator::fire(load, &self.requests, &times, pids).await?;
        add(series, WEIR, &shot, pids)?;
        service.process.stop(STOP_WITHIN).await?;
        ensure!(shot.broken == 0, "{} requests had no answer", shot.broken);
        check(&self.broker, &topic, &before, &times)
    }

    async fn bound(&mut self, load: &Load, part: Part, name: &str, series: &mut Series) -> Result<()> {
        let port = ports::free()?;
        let load = Load { target: (Ipv4Addr::LOCALHOST, port).into(), ..load.clone() };
        let part_name = clap::ValueEnum::to_possible_value(&part).context("a part without a name")?;
        let mut command = Command::new(place::program("weir-bench")?);
        command.args(["bound-door", "--part", part_name.get_name(), "--port", &port.to_string()]);
        command.args(["--brokers", self.broker.brokers(), "--topic", &self.bound_topic]);
        command.args(["--linger-ms", &linger_ms(&load).to_string()]);
        let process = Process::start(name, command, &place::target("bench")?.join("door-bound.log"))?;
        let open = || async { Connection::open(load.target).await.map(drop).map_err(|error| format!("{error:#}")) };
        wait_until("the bound's port", Duration::from_secs(20), open).await?;
        let before = count(&next_offsets(&self.broker, &self.bound_topic)?);
        let times = self.times(&load);
        let pids = Pids { contestant: process.id(), broker: self.broker.pid() };
        let shot = generator::fire(&load, &self.requests, &times, pids).await?;
        add(series, name, &shot, pids)?;
        let written = count(&next_offsets(&self.broker, &self.bound_topic)?) - before;
        process.kill()?;
        let expected = if matches!(part, Part::Kafka | Part::KafkaKeyed) { times.acked() } else { 0 };
        ensure!(shot.broken == 0, "{} requests had no answer", shot.broken);
        ensure!(written == expected as i64, "{written} records were written, {expected} acknowledged");
        Ok(())
    }
}

fn add(series: &mut Series, contestant: &str, shot: &Shot, pids: Pids) -> Result<()> {
    ensure!(shot.done > 0, "no request was answered well; {} were refused", shot.refused);
    let done = shot.done as f64;
    let quantile = |at: f64| shot.latencies.value_at_quantile(at) as f64 / 1e3;
    let mut add = |name, value| series.add(contestant, name, value);
    add("events_per_s", done / shot.span.wall_s);
    add("p50_ms", quantile(0.5));
    add("p99_ms", quantile(0.99));
    add("p999_ms", quantile(0.999));
    add("cpu_us_per_event", shot.span.contestant_s * 1e6 / done);
    add("rss_peak_mib", usage::of(pids.contestant)?.rss_peak as f64 / (1024.0 * 1024.0));
    add("broker_cpu_us_per_event", shot.span.broker_s * 1e6 / done);
    add("generator_cores", shot.span.own_s / shot.span.wall_s);
    add("refused", shot.refused as f64);
    add("unsent", shot.unsent as f64);
    add("foreign_percent", shot.span.foreign * 100.0);
    println!("{contestant}: {:.0} events/s, p99 {:.2} ms", done / shot.span.wall_s, quantile(0.99));
    Ok(())
}

/// Every acknowledged delivery stands in `verified-events`, none twice.
fn check(broker: &BenchBroker, topic: &str, from: &BTreeMap<i32, i64>, times: &Times) -> Result<()> {
    outputs::each(broker, topic, from, &mut |record| {
        let event = VerifiedEvent::decode(record.payload().unwrap_or_default()).context("not a verified event")?;
        let (tag, slot) = slot_of(event.event_id).with_context(|| format!("a foreign id {}", event.event_id))?;
        ensure!(tag == times.tag, "a delivery of another load");
        times.see(slot);
        Ok(())
    })?;
    times.check()
}

/// The end of each partition.
pub fn next_offsets(broker: &BenchBroker, topic: &str) -> Result<BTreeMap<i32, i64>> {
    let ends = broker.cluster.ends(topic)?.with_context(|| format!("there is no topic {topic}"))?;
    Ok(ends.into_iter().map(|(partition, (_, next))| (partition, next)).collect())
}

fn count(next: &BTreeMap<i32, i64>) -> i64 {
    next.values().sum()
}
