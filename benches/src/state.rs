//! The processor with a large state, next to one with hardly any: ids written straight into its stores, then the
//! preloaded topic through it.
//!
//! A processor runs first with a few events, so that every partition has a store and a position. The filler adds entries
//! under the cursor it left to one copy of the stores; they are not in the changelog, so a restore of so many ids is not
//! measured here. From then on two states of one group take turns: each catches up at its start, from the changelog,
//! with what was done on the other, and that counts as its start.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use processor::state::rocks::{RocksStore, RocksStores};
use processor::state::{Changes, Cursor, Entry, Seen, Status, Store, Stores, keys};
use schemas::identity::Hash128;
use schemas::{Topic, Topics, partition};
use serde_json::json;

use crate::args::Settings;
use crate::broker::{BenchBroker, folder_bytes};
use crate::events::{Shape, WINDOW_MS, mix};
use crate::ingest_bench::next_offsets;
use crate::outputs::{self, Wanted};
use crate::processor_bench::shape;
use crate::series::{Figure, Series, figure, report};
use crate::watch::{self, Offsets};
use crate::weir::{STOP_WITHIN, Weir};
use crate::{load, machine, topics};

const FIGURES: [Figure; 6] = [
    figure("events_per_s", "events/s", 0),
    figure("cpu_s_per_million", "CPU s per M", 2),
    figure("rss_peak_mib", "peak RSS MiB", 0),
    figure("store_bytes_per_id", "store B/id", 1),
    figure("start_s", "start to first commit s", 2),
    figure("foreign_percent", "other load %", 0),
];
/// Events that go before all others: a partition without any leaves no store behind.
const FIRST: u64 = 200_000;
/// Entries of one write.
const CHUNK: u64 = 50_000;
/// The ids are as old as this at most; the rest of the window is left, so that none expires meanwhile.
const SPREAD_MS: u64 = 3 * 24 * 60 * 60 * 1000;

/// The large state, whose owner has let go of it; the same after kill -9; and the small one.
const LARGE: &str = "large state";
const KILLED: &str = "large state, after kill -9";
const SMALL: &str = "small state";
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Runs every round and reports.
pub async fn run(settings: &Settings) -> Result<()> {
    let broker = BenchBroker::start().await?;
    let topics = topics::contract(&broker.prefix, settings.partitions);
    topics::create(&broker, &topics).await?;
    let facts = machine::facts(broker.brokers(), broker.is_own());
    println!("{}", machine::shown(&facts));
    let weir = Weir::new(&broker, settings, "state")?;
    let input = topics.name(&Topic::Verified);
    let offsets = Offsets::new(&broker, &weir.group(), &input, settings.partitions)?;
    let first = Shape { seed: !settings.seed, events: FIRST, snapshots: 0, ..shape(settings) };
    load::load(&broker, &input, settings.partitions, &first)?;
    let (small, large) = (weir.state("small"), weir.state("large"));
    let mut service = weir.processor_with("bench", &small)?;
    watch::follow(&broker, &offsets, &mut service.process, 0, FIRST).await?;
    service.process.stop(STOP_WITHIN).await?;
    let copied = Command::new("cp").arg("-a").args([&small, &large]).status().context("cannot run cp")?;
    ensure!(copied.success(), "the state can't be copied");
    let now_ms = runtime::clock::now_ms();
    for partition in 0..settings.partitions {
        fill(&large, partition, settings, now_ms).await.with_context(|| format!("partition {partition}"))?;
    }
    println!("{} ids stand in {} bytes", settings.ids, folder_bytes(&large, |_| true)?);
    let title = format!("processor, {} ids in the large state", settings.ids);
    let series = Series::new(title, &FIGURES);
    let mut rounds = Rounds { broker, topics, weir, offsets, settings, series, done: 0 };
    for _ in 0..settings.runs {
        // The first leaves the state to the last as kill -9 leaves it.
        rounds.one(LARGE, &large, Ending::Kill).await.context(LARGE)?;
        rounds.one(SMALL, &small, Ending::Stop).await.context(SMALL)?;
        rounds.one(KILLED, &large, Ending::Stop).await.context(KILLED)?;
        let mut stores = RocksStores::new(large.clone());
        for partition in 0..settings.partitions {
            settle(stores.open(partition)?).await.with_context(|| format!("partition {partition}"))?;
        }
    }
    let settings = json!({
        "runs": settings.runs, "seed": settings.seed, "ids": settings.ids, "events": settings.events,
        "partitions": settings.partitions, "window_days": 4, "client": settings.client,
    });
    report("state", &facts, &settings, &[rounds.series])?;
    topics::clean_up(&rounds.broker).await
}

enum Ending {
    Stop,
    Kill,
}

struct Rounds<'a> {
    broker: BenchBroker,
    topics: Topics,
    weir: Weir,
    offsets: Offsets,
    settings: &'a Settings,
    series: Series,
    done: u64,
}

impl Rounds<'_> {
    /// New events through the processor with this state.
    async fn one(&mut self, name: &str, state: &Path, ending: Ending) -> Result<()> {
        let Self { broker, topics, weir, offsets, settings, series, done } = self;
        // Ids follow from the seed: each run brings new ones, and newer ones, or nearly all of them would be stale.
        let shape = shape(settings);
        let shape =
            Shape { seed: settings.seed + *done, base_ms: shape.base_ms + (*done * shape.events) as i64, ..shape };
        let (input, clean) = (topics.name(&Topic::Verified), topics.name(&Topic::Clean));
        let before = next_offsets(broker, &clean)?;
        load::load(broker, &input, settings.partitions, &shape)?;
        let mut service = weir.processor_with("bench", state)?;
        let (from, to) = (FIRST + *done * shape.events, FIRST + (*done + 1) * shape.events);
        let followed = watch::follow(broker, offsets, &mut service.process, from, to).await?;
        match ending {
            Ending::Stop => service.process.stop(STOP_WITHIN).await?,
            Ending::Kill => service.process.kill()?,
        }
        outputs::check(broker, &clean, &before, "ce_id", &shape, Wanted::Once)?;
        *done += 1;
        let millions = shape.events as f64 / 1e6;
        let mut add = |figure, value| series.add(name, figure, value);
        add("events_per_s", followed.events_per_s);
        add("cpu_s_per_million", followed.usage.cpu_s / millions);
        add("rss_peak_mib", followed.usage.rss_peak as f64 / (1024.0 * 1024.0));
        if name != SMALL {
            let ids = settings.ids + *done * shape.uniques();
            add("store_bytes_per_id", folder_bytes(state, |_| true)? as f64 / ids as f64);
        }
        add("start_s", followed.start_s);
        add("foreign_percent", followed.span.foreign * 100.0);
        println!("{name}: {:.0} events/s", followed.events_per_s);
        Ok(())
    }
}

/// Adds this partition's share of the ids to its store, as old as the window allows.
async fn fill(folder: &Path, partition: i32, settings: &Settings, now_ms: i64) -> Result<()> {
    let mut store = RocksStores::new(folder.to_owned()).open(partition)?;
    let mut cursor = store.cursor()?.context("the processor left no cursor")?;
    let mut left = settings.ids / settings.partitions as u64;
    let mut number = partition as u64;
    while left > 0 {
        let entries: Vec<Entry> = (0..left.min(CHUNK))
            .map(|_| {
                number += settings.partitions as u64;
                entry(settings, partition, number, now_ms)
            })
            .collect();
        left -= entries.len() as u64;
        apply(&mut store, &mut cursor, entries)?;
    }
    settle(store).await
}

/// Leaves a store as it would stand after a while with no events, and an orderly end.
async fn settle(mut store: RocksStore) -> Result<()> {
    loop {
        store.index()?;
        if store.is_quiet()? {
            return Ok(store.let_go()?);
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

fn apply(store: &mut impl Store, cursor: &mut Cursor, entries: Vec<Entry>) -> Result<()> {
    cursor.cover(&entries);
    let changes = Changes { entries, ..Changes::default() };
    store.apply(&changes, cursor).context("cannot write into the store")
}

/// An id that nobody else has, of this partition.
pub fn entry(settings: &Settings, partition: i32, number: u64, now_ms: i64) -> Entry {
    let hash = |salt: u64| mix(settings.seed ^ salt ^ number).to_be_bytes();
    let mut bytes = [0_u8; 16];
    bytes[..8].copy_from_slice(&hash(0xf111));
    bytes[8..].copy_from_slice(&hash(0x0f11_1e12));
    let slots_each = u64::from(partition::SLOTS) / settings.partitions as u64;
    let slot = (mix(number) % slots_each) * settings.partitions as u64 + partition as u64;
    let first_seen = now_ms - (mix(number ^ 0xa6e) % SPREAD_MS) as i64;
    Entry {
        class: keys::class_of(WINDOW_MS),
        window_class: keys::class_of(WINDOW_MS),
        slot: slot as u16,
        hash: Hash128(bytes),
        seen: Seen { first_seen, check: number as u16, status: Status::Done },
        last: None,
    }
}
