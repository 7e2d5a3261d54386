//! The state of one partition: ids seen, last timestamps, tallies, and how far all of it goes.
//!
//! A store only ever holds what a committed transaction decided: changes are staged in an overlay, applied in one
//! atomic write with the cursor after the commit is known, and can always be rebuilt from the changelog.
//! Only the task that owns the partition touches its store.

pub mod filter;
pub mod keys;
pub mod overlay;
pub mod rocks;
pub mod wait;

use std::collections::BTreeMap;
use std::time::Duration;

use schemas::identity::Hash128;

use self::wait::WaitChange;
use crate::books::Tallies;

/// What became of an event the state knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It reached its last place.
    Done,
    /// It waits for its resource or for a retry; the reference names the dead letter it becomes if its record is lost.
    Parked(DeadRef),
    /// It is a dead letter; the reference names which.
    Dead(DeadRef),
    /// A person discarded it.
    Discarded,
}

/// Which dead letter an event is: with the partition it makes the dead id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeadRef {
    /// Offset in `verified-events` of the event that died.
    pub offset: i64,
    /// How often it was redriven before.
    pub generation: u64,
}

/// What the state knows of an event, and in which class of windows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known {
    /// Where it was found.
    pub class: u8,
    /// What is known.
    pub seen: Seen,
}

/// What the state knows of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// Stream time at its first copy.
    pub first_seen: i64,
    /// 16 bits of its body's hash, to notice one id with two bodies.
    pub check: u16,
    /// What became of it.
    pub status: Status,
}

/// The last snapshot of a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Last {
    /// Its occurred-at.
    pub occurred_at: i64,
    /// Stream time when it was set.
    pub set_at: i64,
}

/// 12 bytes of a resource's hash: enough that no two resources meet, small enough for the changelog.
pub type ResourceHash = [u8; 12];

/// One event's change to the state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Class in which the event is known: that of its source's window, or [`keys::MARKS`].
    pub class: u8,
    /// Class of its source's window, in which the last snapshot is known. Always the same one, or of two snapshots of
    /// one millisecond nobody could tell the later.
    pub window_class: u8,
    /// Slot of its key.
    pub slot: u16,
    /// Hash of its identity.
    pub hash: Hash128,
    /// What the state shall know of it.
    pub seen: Seen,
    /// New last snapshot of its resource.
    pub last: Option<(ResourceHash, i64)>,
}

/// How far a store goes, kept inside of it and written in the same batch as the data.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cursor {
    /// See [`crate::position::Position::lineage`].
    pub lineage: u64,
    /// Last transaction applied.
    pub txn: u64,
    /// Next input offset after it.
    pub next: i64,
    /// Last `weir-seq`.
    pub seq: u64,
    /// Stream time.
    pub stream_time: i64,
    /// Next changelog offset to replay.
    pub changelog_next: i64,
    /// Which buckets hold anything, by window class: first and last.
    pub buckets: BTreeMap<u8, (u32, u32)>,
    /// Which classes each source has ever written, as a bit set.
    pub source_classes: BTreeMap<String, u16>,
}

/// Everything one committed transaction changes in a store.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// In the order they were decided; a later entry wins.
    pub entries: Vec<Entry>,
    /// Absolute tallies of the sources that were touched.
    pub tallies: Tallies,
    /// Classes each touched source has ever written, as a bit set.
    pub source_classes: BTreeMap<String, u16>,
    /// Events that wait, or wait no more; a later change wins.
    pub waits: Vec<WaitChange>,
}

/// A store could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The disk or the store's files failed us; the store cannot be trusted any more.
    #[error("cannot {doing} the state of partition {partition}: {detail}")]
    Broken {
        /// What we were doing.
        doing: &'static str,
        /// Whose state.
        partition: i32,
        /// The store's own words.
        detail: String,
    },
    /// It can't be opened now: the machine lacks room, or handles. Its files may be as good as ever.
    #[error("cannot open the state of partition {partition} now: {detail}")]
    Unopened {
        /// Whose state.
        partition: i32,
        /// The system's own words.
        detail: String,
    },
    /// Another process holds the directory.
    #[error("the state of partition {partition} is locked by another process")]
    Locked {
        /// Whose state.
        partition: i32,
    },
}

/// One partition's store.
pub trait Store {
    /// How far it goes; `None` when it is new.
    fn cursor(&self) -> Result<Option<Cursor>, StateError>;
    /// Every tally.
    fn tallies(&self) -> Result<Tallies, StateError>;
    /// Every event that waits.
    fn waits(&self) -> Result<Vec<WaitChange>, StateError>;
    /// Every entry of [`keys::MARKS`]: what outlives the windows.
    fn marks(&self) -> Result<Vec<Entry>, StateError>;
    /// What a bucket knows of an event.
    fn seen(&self, class: u8, bucket: u32, slot: u16, hash: Hash128) -> Result<Option<Seen>, StateError>;
    /// What a bucket knows of a resource.
    fn last(&self, class: u8, bucket: u32, slot: u16, resource: ResourceHash) -> Result<Option<Last>, StateError>;
    /// Applies a transaction and its cursor in one atomic write, and removes the buckets that fell out of `cursor`.
    fn apply(&mut self, changes: &Changes, cursor: &Cursor) -> Result<(), StateError>;
    /// The same, and may return before it is done; until [`Self::is_written`] says so nothing is read from the store.
    fn apply_beside(&mut self, changes: Changes, cursor: Cursor) -> Result<(), StateError> {
        self.apply(&changes, &cursor)
    }
    /// Whether everything that was applied is there; waits so long if it is not. An error of what was applied beside
    /// comes out here.
    fn is_written(&mut self, _patience: Duration) -> Result<bool, StateError> {
        Ok(true)
    }
    /// Sees to what makes look-ups fast; the work is done beside this thread. Called after each transaction.
    fn index(&mut self) -> Result<(), StateError> {
        Ok(())
    }
    /// Its owner is about to close it, and everything is applied: the last chance to keep what was worked out.
    fn let_go(&mut self) -> Result<(), StateError> {
        Ok(())
    }
}

/// Where stores come from.
pub trait Stores {
    /// The kind of store.
    type Store: Store;
    /// Opens or creates the store of a partition.
    fn open(&mut self, partition: i32) -> Result<Self::Store, StateError>;
    /// Removes everything of a partition. Its store is closed.
    fn wipe(&mut self, partition: i32) -> Result<(), StateError>;
}
