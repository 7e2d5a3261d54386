//! What waits: how late retries are, and what a million parked events cost those that do not wait.
//!
//! Intake: of two topics that hold the same records, the events of one wait behind heads that fail, those of the other
//! have passed. Then the same fresh events of other resources come to both.

use anyhow::{Context, Result, ensure};
use schemas::{Topic, Topics};
use serde_json::json;
use weir_tests::scrape;
use weir_tests::wait::wait_until;

use crate::args::Settings;
use crate::broker::BenchBroker;
use crate::events::Shape;
use crate::failing::{HELD, PAST};
use crate::ingest_bench::next_offsets;
use crate::lateness;
use crate::outputs::{self, Wanted};
use crate::processor_bench::shape;
use crate::series::{Figure, Series, figure, median, report};
use crate::watch::{self, Offsets};
use crate::weir::{READY_WITHIN, STOP_WITHIN, Service, Weir};
use crate::{load, machine, topics};

const FIGURES: [Figure; 7] = [
    figure("events_per_s", "events/s", 0),
    figure("cpu_us_per_event", "CPU us/event", 2),
    figure("parked", "parked", 0),
    figure("rss_peak_mib", "peak RSS MiB", 0),
    figure("start_s", "start to first commit s", 2),
    figure("changelog_bytes_per_event", "changelog B/event that waits or passed", 1),
    figure("foreign_percent", "other load %", 0),
];
const PARKED: &str = "with parked events";
const FREE: &str = "without";
/// Events behind each head that fails.
const EACH: u64 = 1000;
/// A retry topic with the pause of the measurement of lateness, and one with that of the heads.
const DELAYS: [&str; 2] = ["1s", "1h"];

/// Measures both and reports.
pub async fn run(settings: &Settings) -> Result<()> {
    let broker = BenchBroker::start().await?;
    let topics = Topics {
        retry_delays: DELAYS.map(str::to_owned).to_vec(),
        ..topics::contract(&broker.prefix, settings.partitions)
    };
    let facts = machine::facts(broker.brokers(), broker.is_own());
    println!("{}", machine::shown(&facts));
    let late = lateness::measure(&broker, settings, &topics).await?;
    let mut intake = Intake { broker, settings, topics, series: Series::new(title(settings), &FIGURES) };
    let mut bytes_each = Vec::new();
    for round in 0..settings.runs {
        let with = intake.one(PARKED, HELD, round).await.context(PARKED)?;
        let without = intake.one(FREE, PAST, round).await.context(FREE)?;
        bytes_each.push((with - without) * 1024.0 * 1024.0 / settings.parked as f64);
    }
    let bytes_each = median(&bytes_each).unwrap_or_default();
    let series = [late, intake.series];
    let shown = json!({
        "runs": settings.runs, "seed": settings.seed, "parked": settings.parked, "behind_each_head": EACH,
        "events": settings.events, "partitions": settings.partitions, "commit_interval_ms": 100, "delays": DELAYS,
        "peak_rss_bytes_per_parked_event": bytes_each,
    });
    report("retries", &facts, &shown, &series)?;
    println!("{bytes_each:.0} bytes of peak RSS for each parked event");
    topics::clean_up(&intake.broker).await
}

/// An installation whose topics are empty, with these delays.
pub async fn installation(broker: &BenchBroker, settings: &Settings, topics: &Topics, group: &str) -> Result<Weir> {
    topics::renew(broker, topics).await?;
    let weir = Weir::new(broker, settings, group)?;
    weir.configure(&format!("[retry]\ndelays = {DELAYS:?}\n"))?;
    Ok(weir)
}

fn title(settings: &Settings) -> String {
    format!("intake of {} events, {} before them", settings.events, settings.parked)
}

struct Intake<'a> {
    broker: BenchBroker,
    settings: &'a Settings,
    topics: Topics,
    series: Series,
}

impl Intake<'_> {
    /// Lets the first events wait, or pass, by their source; then measures fresh ones. Its peak RSS, MiB.
    async fn one(&mut self, name: &str, source: &'static str, round: usize) -> Result<f64> {
        let Self { broker, settings, topics, series } = self;
        let weir = installation(broker, settings, topics, &format!("{source}-{round}")).await?;
        let (input, clean) = (topics.name(&Topic::Verified), topics.name(&Topic::Clean));
        let offsets = Offsets::new(broker, &weir.group(), &input, settings.partitions)?;
        let first = Shape {
            source,
            events: settings.parked,
            duplicates: 0,
            resources: settings.parked.div_ceil(EACH),
            ..shape(settings)
        };
        load::load(broker, &input, settings.partitions, &first)?;
        let mut service = weir.failing_processor("bench")?;
        watch::follow(broker, &offsets, &mut service.process, 0, first.events).await?;
        let parked = if source == HELD { first.events } else { 0 };
        waiting(&service, parked).await?;
        service.process.stop(STOP_WITHIN).await?;
        let changelog = topics.name(&Topic::Changelog);
        let changelog_bytes = broker.topic_bytes(|topic| topic == changelog)?;

        let fresh = shape(settings);
        let before = next_offsets(broker, &clean)?;
        load::load(broker, &input, settings.partitions, &fresh)?;
        let mut service = weir.failing_processor("bench")?;
        let total = first.events + fresh.events;
        let followed = watch::follow(broker, &offsets, &mut service.process, first.events, total).await?;
        waiting(&service, parked).await?;
        service.process.stop(STOP_WITHIN).await?;
        outputs::check(broker, &clean, &before, "ce_id", &fresh, Wanted::Once)?;

        let (span, events) = followed.steady;
        let rss_peak_mib = followed.usage.rss_peak as f64 / (1024.0 * 1024.0);
        let mut add = |figure, value| series.add(name, figure, value);
        add("events_per_s", followed.events_per_s);
        add("cpu_us_per_event", span.contestant_s * 1e6 / events.max(1) as f64);
        add("parked", parked as f64);
        add("rss_peak_mib", rss_peak_mib);
        add("start_s", followed.start_s);
        if let Some(bytes) = changelog_bytes {
            add("changelog_bytes_per_event", bytes as f64 / first.events.max(1) as f64);
        }
        add("foreign_percent", followed.span.foreign * 100.0);
        println!("{name}: {:.0} events/s, {parked} parked", followed.events_per_s);
        Ok(rss_peak_mib)
    }
}

/// Fails unless that many events wait. The books are shown a moment after the commit.
async fn waiting(service: &Service, wanted: u64) -> Result<()> {
    let admin = service.admin;
    let waited = wait_until("the books", READY_WITHIN, || async move {
        let page = scrape::metrics(admin).await.map_err(|error| format!("{error:#}"))?;
        let found = page.sum("weir_processor_parked", &[]) + page.sum("weir_processor_retrying", &[]);
        if found == wanted { Ok(()) } else { Err(format!("{found} events wait instead of {wanted}")) }
    });
    waited.await?;
    let page = scrape::metrics(admin).await?;
    let dead = page.sum("weir_processor_dead", &[]);
    ensure!(dead == 0, "{dead} events died");
    Ok(())
}
