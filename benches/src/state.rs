//! The processor with a large state: ids written straight into its stores, then the preloaded topic through it.
//!
//! A processor runs first with a few events, so that every partition has a store and a position; the filler adds entries
//! under the cursor it left. They are not in the changelog: a restore of so many ids is not measured here.

use anyhow::{Context, Result};
use processor::state::rocks::RocksStores;
use processor::state::{Changes, Cursor, Entry, Seen, Status, Store, Stores, keys};
use schemas::identity::Hash128;
use schemas::{Topic, partition};
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
    let mut service = weir.processor("bench")?;
    watch::follow(&broker, &offsets, &mut service.process, 0, FIRST).await?;
    service.process.stop(STOP_WITHIN).await?;
    let folder = weir.state("bench");
    let now_ms = runtime::clock::now_ms();
    for partition in 0..settings.partitions {
        fill(&folder, partition, settings, now_ms).with_context(|| format!("partition {partition}"))?;
    }
    println!("{} ids stand in {} bytes", settings.ids, folder_bytes(&folder, |_| true)?);
    let mut series = Series::new(format!("processor with {} ids", settings.ids), &FIGURES);
    for round in 0..settings.runs as u64 {
        // Ids follow from the seed: each round brings new ones.
        let shape = shape(settings);
        // Newer than the last round's, or nearly all of them would be stale.
        let base_ms = shape.base_ms + (round * shape.events) as i64;
        let shape = Shape { seed: settings.seed + round, base_ms, ..shape };
        let before = next_offsets(&broker, &topics.name(&Topic::Clean))?;
        load::load(&broker, &input, settings.partitions, &shape)?;
        let mut service = weir.processor("bench")?;
        let (from, to) = (FIRST + round * shape.events, FIRST + (round + 1) * shape.events);
        let followed = watch::follow(&broker, &offsets, &mut service.process, from, to).await?;
        service.process.stop(STOP_WITHIN).await?;
        outputs::check(&broker, &topics.name(&Topic::Clean), &before, "ce_id", &shape, Wanted::Once)?;
        let ids = settings.ids + (round + 1) * shape.uniques();
        let millions = shape.events as f64 / 1e6;
        let mut add = |name, value| series.add("weir", name, value);
        add("events_per_s", followed.events_per_s);
        add("cpu_s_per_million", followed.usage.cpu_s / millions);
        add("rss_peak_mib", followed.usage.rss_peak as f64 / (1024.0 * 1024.0));
        add("store_bytes_per_id", folder_bytes(&folder, |_| true)? as f64 / ids as f64);
        add("start_s", followed.start_s);
        add("foreign_percent", followed.span.foreign * 100.0);
    }
    let settings = json!({
        "runs": settings.runs, "seed": settings.seed, "ids": settings.ids, "events": settings.events,
        "partitions": settings.partitions, "window_days": 4, "client": settings.client,
    });
    report("state", &facts, &settings, &[series])?;
    topics::clean_up(&broker).await
}

/// Adds this partition's share of the ids to its store, as old as the window allows.
fn fill(folder: &std::path::Path, partition: i32, settings: &Settings, now_ms: i64) -> Result<()> {
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
    Ok(())
}

fn apply(store: &mut impl Store, cursor: &mut Cursor, entries: Vec<Entry>) -> Result<()> {
    cursor.cover(&entries);
    let changes = Changes { entries, ..Changes::default() };
    store.apply(&changes, cursor).context("cannot write into the store")
}

fn entry(settings: &Settings, partition: i32, number: u64, now_ms: i64) -> Entry {
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
