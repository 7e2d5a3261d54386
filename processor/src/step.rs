//! Steps 6 to 9 of an event's walk on one screen: decode, dedup, order, handle, route.
//!
//! An event walks them once when it comes, and again each time that it had to wait and its turn has come.
//! Pure: the record, a view of state and the stream time go in, a decision comes out. No Kafka, no disk, no
//! clock, no randomness: a replay of the same log decides the same. No step calls the next; this parent does.

pub mod decode;
pub mod dedup;
pub mod order;
pub mod handle;
pub mod route;

use schemas::identity::Hash128;
use schemas::partition;
use schemas::{ReasonCode, VerifiedEvent};

use crate::books::{Place, UNKNOWN_SOURCE};
use crate::call::{Call, Reply};
use crate::state::{DeadRef, Entry, Known, Last, ResourceHash, StateError, Status, keys};
use handle::{Handled, Handlers};

/// How long an event waits whose JSON Schema nobody here knows any more.
const SCHEMA_PAUSE_MS: i64 = 60_000;

/// One record of `verified-events`.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// Its append time.
    pub timestamp: i64,
    /// Its key.
    pub key: &'a [u8],
    /// Its value.
    pub value: &'a [u8],
}

/// State as a decision sees it: what the open transaction staged before what is committed.
pub trait View {
    /// What is known of an event.
    fn seen(&self, about: &About<'_>) -> Result<Option<Known>, StateError>;
    /// The last snapshot of a resource.
    fn last(&self, about: &About<'_>, resource: ResourceHash) -> Result<Option<Last>, StateError>;
}

/// Which event a look-up is about, and when.
#[derive(Debug, Clone, Copy)]
pub struct About<'a> {
    /// Its source.
    pub source: &'a str,
    /// Window class of its source.
    pub class: u8,
    /// Slot of its key.
    pub slot: u16,
    /// Hash of its identity.
    pub hash: Hash128,
    /// Stream time.
    pub now: i64,
}

/// Why a record is decided about now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn<'a> {
    /// It was read for the first time.
    First {
        /// Events of its resource wait, so it has to.
        is_held_back: bool,
        /// There is room for one more to wait.
        has_room: bool,
    },
    /// It waited, and its turn has come.
    Again(Past<'a>),
    /// A person wants it run again, and may: it is the dead letter that is meant.
    Redrive(Past<'a>),
}

/// What an event has behind it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Past<'a> {
    /// How often it was redriven.
    pub generation: u64,
    /// Failures since it came, or was redriven.
    pub failures: u32,
    /// The last pause, milliseconds.
    pub pause_ms: i64,
    /// Let it through although it is stale.
    pub is_as_is: bool,
    /// What came of the calls made for it, with the number of the handler that wanted each.
    pub replies: &'a [(usize, Reply)],
    /// Processes that died while they handled it and nothing else, if they were enough to give it up.
    pub died: u32,
}

impl<'a> Turn<'a> {
    /// What the event has behind it.
    pub fn past(self) -> Past<'a> {
        match self {
            Turn::First { .. } => Past::default(),
            Turn::Again(past) | Turn::Redrive(past) => past,
        }
    }
}

/// When an event is tried again, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retry {
    /// After this, milliseconds.
    pub pause_ms: i64,
    /// What went wrong.
    pub reason: ReasonCode,
    /// Why, for a person.
    pub message: String,
    /// Whether it used up an attempt.
    pub is_counted: bool,
}

/// Where an event goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// To `clean-events`.
    Clean {
        /// Older than its resource's last snapshot, and let through.
        is_stale: bool,
        /// Its occurred-at lies in the future.
        is_future: bool,
    },
    /// To `stale-events`.
    StaleRouted,
    /// Nowhere: stale, and the source says drop.
    StaleDropped,
    /// Nowhere: a copy.
    Duplicate {
        /// The same signed id with another body.
        is_conflict: bool,
    },
    /// To `dead-events`.
    Dead(route::Death),
    /// Nowhere: nobody wants it.
    Discarded,
    /// It waits behind others of its resource.
    Parked,
    /// It failed, and waits for its next try.
    Retry(Retry),
    /// It waits for another service, which this handler wants asked.
    Call(usize, Call),
}

impl Outcome {
    /// The event's place in the books.
    pub fn place(&self) -> Place {
        match self {
            Outcome::Clean { .. } => Place::Clean,
            Outcome::StaleRouted | Outcome::StaleDropped => Place::Stale,
            Outcome::Duplicate { .. } => Place::Duplicate,
            Outcome::Dead(_) => Place::Dead,
            Outcome::Discarded => Place::Discarded,
            Outcome::Parked => Place::Parked,
            Outcome::Retry(_) | Outcome::Call(..) => Place::Retrying,
        }
    }
}

/// Everything that shall happen to one record.
#[derive(Debug, Clone)]
pub struct Decision<'a> {
    /// The event, unless the record could not be decoded.
    pub event: Option<VerifiedEvent<'a>>,
    /// Where it goes.
    pub outcome: Outcome,
    /// What the state shall know.
    pub entry: Option<Entry>,
    /// The dead letter that this event's success resolves.
    pub supersedes: Option<DeadRef>,
    /// What a handler made of the body.
    pub body: Option<Vec<u8>>,
}

/// Why a record cannot be decided now. Its partition waits at it.
#[derive(Debug, thiserror::Error)]
pub enum Undecided {
    /// The store failed.
    #[error(transparent)]
    State(#[from] StateError),
    /// The event names a JSON Schema that this process does not have: its configuration is older than ingest's.
    #[error("source {event_source} asks for the JSON Schema {schema}, which this process does not have")]
    UnknownSchema {
        /// Source of the event.
        event_source: String,
        /// Name of the schema.
        schema: String,
    },
    /// It has to wait, and there is no room for it.
    #[error("no room for one more event to wait: see [retry] parked_per_resource and parked_total")]
    NoRoom,
}

/// What torn transactions left visible that concerns an event.
#[derive(Debug, Clone, Copy, Default)]
pub struct Torn {
    /// Where its own effect is.
    pub visible: Option<Place>,
    /// A later event of its resource is in `clean-events`, and it is not.
    pub is_overtaken: bool,
}

/// Decides about one record.
pub fn decide<'a>(
    input: &Input<'a>,
    turn: Turn<'_>,
    now: i64,
    view: &impl View,
    handlers: &Handlers,
    torn: Torn,
) -> Result<Decision<'a>, Undecided> {
    let event = match decode::decode(input) {
        Ok(event) => event,
        Err(death) => {
            let dead = DeadRef { offset: input.offset, generation: turn.past().generation };
            return Ok(route::undecodable(death, &about_place(input.partition, input.offset, now), dead));
        }
    };
    let about = about(&event, input.key, now);
    let known = known(&about, input.partition, view)?;
    let verdict = dedup::dedup(&event, &about, turn, known);
    let route = route::Route { about: &about, known, verdict, turn, input };
    if let Some(place) = torn.visible {
        let order = order::order(&event, input, &about, view)?;
        return Ok(route.already_visible(event, order, place));
    }
    if let dedup::Verdict::Duplicate { is_conflict } = verdict {
        return Ok(route::duplicate(event, is_conflict));
    }
    if turn.past().died > 0 {
        return Ok(route.poison(event, turn.past().died));
    }
    let (is_held_back, has_room) = match turn {
        // What was broken when it came has nothing to wait for.
        Turn::First { is_held_back, has_room } => (is_held_back && event.defect.is_none(), has_room),
        Turn::Again(_) | Turn::Redrive(_) => (false, true),
    };
    let decision = if is_held_back {
        route.waits(event, Outcome::Parked)
    } else {
        let past = turn.past();
        let order = order::order(&event, input, &about, view)?.let_through_if(past.is_as_is);
        let handled = handle::handle(&event, input.key, order, handlers, draw(about.hash, past.failures), past)
            .or_else(|undecided| without_schema(undecided, turn))?;
        route.route(event, order, handled)
    };
    match decision {
        Decision { event: Some(event), outcome, .. }
            if !has_room && matches!(outcome.place(), Place::Parked | Place::Retrying) =>
        {
            route.without_room(event, handlers.retries.is_stopping)
        }
        Decision { event: Some(event), outcome, .. }
            if torn.is_overtaken && matches!(outcome.place(), Place::Clean | Place::Retrying) =>
        {
            Ok(route.overtaken(event))
        }
        decision => Ok(decision),
    }
}

/// What becomes of an event that can't be decided now. New input waits for a configuration that knows its schema, and its
/// partition with it. What waited or died before may have outlived its schema: it must not keep others waiting.
fn without_schema(undecided: Undecided, turn: Turn<'_>) -> Result<Handled, Undecided> {
    let Undecided::UnknownSchema { .. } = undecided else { return Err(undecided) };
    let message = undecided.to_string();
    match turn {
        Turn::First { .. } => Err(undecided),
        Turn::Again(_) => {
            let reason = ReasonCode::HandlerFailed;
            Ok(Handled::Retry(Retry { pause_ms: SCHEMA_PAUSE_MS, reason, message, is_counted: false }))
        }
        Turn::Redrive(_) => Ok(Handled::Dead { reason: ReasonCode::SchemaViolation, message, stage: "schema" }),
    }
}

/// The chance of one attempt: as good as any, and the same on every replay.
fn draw(hash: Hash128, failures: u32) -> u64 {
    let bytes = hash.0.first_chunk::<8>().copied().unwrap_or_default();
    xxhash_rust::xxh3::xxh3_64_with_seed(&bytes, u64::from(failures))
}

/// What is known of an event. One whose record was lost while it waited is a dead letter, known by its place.
pub fn known(about: &About<'_>, partition: i32, view: &impl View) -> Result<Option<Known>, StateError> {
    let Some(mut known) = view.seen(about)? else { return Ok(None) };
    if let Status::Parked(waits) = known.seen.status
        && let Some(lost) = view.seen(&about_place(partition, waits.offset, about.now))?
        && let Status::Dead(_) = lost.seen.status
    {
        known.seen.status = lost.seen.status;
    }
    Ok(Some(known))
}

/// What the state is asked about an event whose identity nobody knows: its place is its name.
pub fn about_place(partition: i32, offset: i64, now: i64) -> About<'static> {
    // No source has an empty name.
    let hash = schemas::identity::event_hash("", format!("{partition}-{offset}").as_bytes());
    About { source: UNKNOWN_SOURCE, class: keys::MARKS, slot: 0, hash, now }
}

/// What the state is asked about an event.
pub fn about<'a>(event: &VerifiedEvent<'a>, key: &[u8], now: i64) -> About<'a> {
    About {
        source: event.source,
        class: keys::class_of(event.window_ms),
        slot: partition::slot(key),
        hash: schemas::identity::event_hash(event.source, event.identity),
        now,
    }
}

#[cfg(test)]
mod tests;
