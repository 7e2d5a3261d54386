//! Random histories of `verified-events`, and what must come of them by a model that fits on one screen.

use std::collections::{BTreeMap, BTreeSet};

use processor::books::{Place, Tallies, UNKNOWN_SOURCE};
use processor::emit::dead_id;
use processor::state::{DeadRef, Last, ResourceHash, Seen, Status, keys};
use processor::step::about_place;
use processor::step::dedup::check_of;
use processor::step::order::short_hash;
use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};
use schemas::identity::{self, Hash128};
use schemas::partition;
use schemas::verified_event::{EventKind, HttpHeaders, StaleMode, VerifiedEvent};

/// Partitions of the input in the model.
pub const PARTITIONS: i32 = 2;
const START: i64 = 1_700_000_000_000;
/// One hour: the smallest window class, so that windows end inside of a short history.
pub const WINDOW_MS: i64 = 60 * 60 * 1000;

/// A record of `verified-events`.
#[derive(Debug, Clone)]
pub struct Verified {
    /// Its append time.
    pub timestamp: i64,
    /// Its key.
    pub key: Vec<u8>,
    /// Its value.
    pub value: Vec<u8>,
}

/// Records of `verified-events` by partition.
pub type Input = BTreeMap<i32, Vec<Verified>>;

/// How varied a history is.
#[derive(Debug, Clone, Copy)]
pub struct Variety {
    /// Partitions of the input.
    pub partitions: i32,
    /// Resources of each source.
    pub resources: u32,
    /// Event ids of each resource.
    pub ids: u32,
    /// Window of every source, milliseconds.
    pub window_ms: i64,
}

/// So little that copies and stale events meet in every batch.
pub const DENSE: Variety = Variety { partitions: PARTITIONS, resources: 4, ids: 12, window_ms: WINDOW_MS };

/// Where each input record must end, the tallies of it all, and what the state must know afterwards.
#[derive(Default)]
pub struct Expected {
    /// The place of each record that leaves a trace, by partition and offset.
    pub places: BTreeMap<(i32, i64), Place>,
    /// Tallies by partition.
    pub tallies: BTreeMap<i32, Tallies>,
    /// Ids of the dead letters that a redelivery resolved.
    pub resolved: BTreeSet<String>,
    /// The state of each partition.
    pub state: BTreeMap<i32, Known>,
}

/// What the state of one partition must know.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Known {
    /// The newest of each event.
    pub seen: BTreeMap<Hash128, Seen>,
    /// The last snapshot of each resource.
    pub last: BTreeMap<ResourceHash, Last>,
    /// Stream time.
    pub now: i64,
}

impl Known {
    /// Without what the windows have left behind.
    pub fn live(mut self) -> Self {
        let now = self.now;
        self.seen.retain(|_, seen| is_live(seen.first_seen, now));
        self.last.retain(|_, last| is_live(last.set_at, now));
        self
    }
}

/// Whether the bucket of a time is still kept. Windows are judged exactly.
fn is_live(time: i64, now: i64) -> bool {
    let class = keys::class_of(WINDOW_MS);
    keys::bucket_of(class, time) >= keys::first_live_bucket(class, now)
}

/// A history of `length` records.
pub fn random(seed: u64, length: usize, variety: Variety) -> Input {
    let mut random = StdRng::seed_from_u64(seed);
    let mut input: Input = (0..variety.partitions).map(|partition| (partition, Vec::new())).collect();
    let mut time = START;
    for _ in 0..length {
        // Mostly seconds, often nothing at all, sometimes long enough for a window to end.
        time += if random.random_ratio(1, 5) {
            0
        } else if random.random_ratio(1, 12) {
            WINDOW_MS / 2
        } else {
            random.random_range(0..5_000)
        };
        let record = record(&mut random, time, variety);
        input.entry(partition::partition(&record.key, variety.partitions)).or_default().push(record);
    }
    input
}

fn record(random: &mut impl Rng, time: i64, variety: Variety) -> Verified {
    let resource = random.random_range(0..variety.resources);
    let source = ["alpha", "beta"][random.random_range(0..2)];
    let key = partition::resource_key(source, "thing", &resource.to_string()).into_bytes();
    if random.random_ratio(1, 25) {
        return Verified { timestamp: time, key, value: b"not an event".to_vec() };
    }
    let id = format!("{source}-{resource}-{}", random.random_range(0..variety.ids));
    let identity = identity::by_id(&id);
    let mut value = Vec::new();
    VerifiedEvent {
        source,
        preset: source,
        event_id: &id,
        event_type: "thing.updated",
        identity: &identity,
        identity_signed: true,
        window_ms: variety.window_ms,
        stale: [StaleMode::Drop, StaleMode::Flag, StaleMode::Route][random.random_range(0..3)],
        kind: [EventKind::Snapshot, EventKind::Other][random.random_range(0..2)],
        occurred_at_ms: Some(time - random.random_range(0..20_000)),
        occurred_at_signed: true,
        signed_at_ms: None,
        received_at_ms: time,
        content_type: "application/json",
        assurance: 3,
        schema: None,
        defect: random.random_ratio(1, 20).then_some("no_identity"),
        http_headers: HttpHeaders::default(),
        body: b"{}",
    }
    .encode(&mut value);
    Verified { timestamp: time, key, value }
}

/// What must come of a history.
pub fn expect(input: &Input) -> Expected {
    expect_with(input, &|_| Judgement::Passes)
}

/// What handlers make of an event in the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Judgement {
    /// They let it pass.
    Passes,
    /// They give it up.
    Dies,
    /// They leave it out.
    Unwanted,
}

/// What must come of a history when handlers judge its events, by their ids.
pub fn expect_with(input: &Input, judgement: &dyn Fn(&str) -> Judgement) -> Expected {
    let mut expected = Expected::default();
    for (partition, log) in input {
        let mut known = Known::default();
        expected.tallies.insert(*partition, Tallies::default());
        for (offset, record) in log.iter().enumerate() {
            expect_one(&mut expected, &mut known, (*partition, offset as i64), record, judgement);
        }
        expected.state.insert(*partition, known.live());
    }
    expected
}

fn expect_one(
    expected: &mut Expected,
    known: &mut Known,
    at: (i32, i64),
    record: &Verified,
    judgement: &dyn Fn(&str) -> Judgement,
) {
    let now = known.now.max(record.timestamp);
    known.now = now;
    let tallies = expected.tallies.entry(at.0).or_default();
    let Ok(event) = VerifiedEvent::decode(&record.value) else {
        tallies.add(UNKNOWN_SOURCE, Place::Dead);
        let status = Status::Dead(DeadRef { offset: at.1, generation: 0 });
        known.seen.insert(about_place(at.0, at.1, now).hash, Seen { first_seen: now, check: 0, status });
        expected.places.insert(at, Place::Dead);
        return;
    };
    let hash = identity::event_hash(event.source, event.identity);
    // A stale event that is set aside meets no handler.
    let is_set_aside = event.stale != StaleMode::Flag && is_stale(&event, record, known);
    let judgement = if is_set_aside { Judgement::Passes } else { judgement(event.event_id) };
    let does_die = event.defect.is_some() || judgement == Judgement::Dies;
    let mut is_copy = false;
    let mut dead = None;
    match known.seen.get(&hash) {
        // What died stays known for weeks, which no history lasts.
        Some(Seen { status: Status::Dead(letter), .. }) => {
            dead = Some(*letter);
            is_copy = does_die;
        }
        Some(Seen { status: Status::Done | Status::Discarded, first_seen, .. }) => {
            is_copy = now - first_seen < event.window_ms
        }
        Some(_) | None => {}
    }
    let (place, status) = if is_copy {
        (Place::Duplicate, None)
    } else if does_die {
        (Place::Dead, Some(Status::Dead(DeadRef { offset: at.1, generation: 0 })))
    } else if judgement == Judgement::Unwanted {
        (Place::Discarded, Some(Status::Discarded))
    } else {
        (judge(&event, record, known), Some(Status::Done))
    };
    if let Some(status) = status {
        known.seen.insert(hash, Seen { first_seen: now, check: check_of(event.body), status });
    }
    tallies.add(event.source, place);
    if let Some(letter) = dead.filter(|_| !is_copy) {
        tallies.shift(event.source, Place::Dead, Place::Duplicate);
        expected.resolved.insert(dead_id(at.0, letter));
    }
    let is_dropped = place == Place::Stale && event.stale == StaleMode::Drop;
    if !matches!(place, Place::Duplicate | Place::Discarded) && !is_dropped {
        expected.places.insert(at, place);
    }
}

fn judge(event: &VerifiedEvent<'_>, record: &Verified, known: &mut Known) -> Place {
    if event.kind == EventKind::Other {
        return Place::Clean;
    }
    let occurred_at = event.occurred_at_ms.expect("every snapshot of the model has a time");
    if is_stale(event, record, known) {
        return if event.stale == StaleMode::Flag { Place::Clean } else { Place::Stale };
    }
    known.last.insert(short_hash(&record.key), Last { occurred_at, set_at: known.now });
    Place::Clean
}

fn is_stale(event: &VerifiedEvent<'_>, record: &Verified, known: &Known) -> bool {
    let is_within = |last: &Last| known.now - last.set_at < event.window_ms;
    let last = known.last.get(&short_hash(&record.key)).filter(|last| is_within(last));
    event.kind == EventKind::Snapshot && last.is_some_and(|last| event.occurred_at_ms < Some(last.occurred_at))
}
