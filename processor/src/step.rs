//! Steps 6 to 9 of an event's walk on one screen: decode, dedup, order, handle, route.
//!
//! Pure: the record, a view of state and the stream time go in, a decision comes out. No Kafka, no disk, no
//! clock, no randomness: a replay of the same log decides the same. No step calls the next; this parent does.

pub mod decode;
pub mod dedup;
pub mod order;
pub mod handle;
pub mod route;

use schemas::VerifiedEvent;
use schemas::identity::Hash128;
use schemas::partition;

use crate::books::Place;
use crate::state::{DeadRef, Entry, Last, ResourceHash, Seen, StateError, keys};
use handle::Handlers;

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
    fn seen(&self, about: &About<'_>) -> Result<Option<Seen>, StateError>;
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
}

impl Outcome {
    /// The event's place in the books.
    pub fn place(&self) -> Place {
        match self {
            Outcome::Clean { .. } => Place::Clean,
            Outcome::StaleRouted | Outcome::StaleDropped => Place::Stale,
            Outcome::Duplicate { .. } => Place::Duplicate,
            Outcome::Dead(_) => Place::Dead,
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
}

/// Decides about one record. `visible` is the place in which a torn transaction already left its effect.
pub fn decide<'a>(
    input: &Input<'a>,
    now: i64,
    view: &impl View,
    handlers: &Handlers,
    visible: Option<Place>,
) -> Result<Decision<'a>, Undecided> {
    let event = match decode::decode(input) {
        Ok(event) => event,
        Err(death) => return Ok(route::undecodable(death)),
    };
    let about = About {
        source: event.source,
        class: keys::class_of(event.window_ms),
        slot: partition::slot(input.key),
        hash: schemas::identity::event_hash(event.source, event.identity),
        now,
    };
    let verdict = dedup::dedup(&event, &about, view)?;
    if let Some(place) = visible {
        let order = order::order(&event, input, &about, view)?;
        return Ok(route::already_visible(event, &about, verdict, order, place, input));
    }
    if let dedup::Verdict::Duplicate { is_conflict } = verdict {
        return Ok(route::duplicate(event, is_conflict));
    }
    let order = order::order(&event, input, &about, view)?;
    let handled = handle::handle(&event, order, handlers)?;
    Ok(route::route(event, &about, verdict, order, handled, input))
}
