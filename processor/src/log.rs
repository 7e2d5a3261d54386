//! What a worker asks of Kafka, as a trait: production answers it with librdkafka, the model test with a log in
//! memory in which it can crash between any two calls.
//!
//! Calls come in the order the life cycle dictates. None of them decides anything.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use crate::batch::Batch;
use crate::emit::{Out, Record};
use crate::state::wait::RecordAt;
use crate::step::Input;
use crate::waiting::Spot;

/// What went wrong between us and Kafka.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// A call failed or its outcome is unknown. The log will tell what happened.
    #[error("{doing}: {detail}")]
    Unsure {
        /// What we were doing.
        doing: &'static str,
        /// The client's own words.
        detail: String,
    },
    /// Another process took our name (static member or transactional id): stop, don't fight.
    #[error("{doing}: another process runs as this instance: {detail}")]
    Fenced {
        /// What we were doing.
        doing: &'static str,
        /// The client's own words.
        detail: String,
    },
}

impl Fault {
    /// A call that failed, with everything that led to it. Also a fenced member or producer is only unsure: a
    /// transaction that timed out, or a session that ended, looks the same. Whether another process runs as this
    /// instance is for the group's own poll to say.
    pub fn unsure(doing: &'static str, error: &(dyn std::error::Error + 'static)) -> Self {
        Self::Unsure { doing, detail: runtime::report::chain(error) }
    }
}

/// What a collection brought besides records.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Polled {
    /// Partitions the group took from us.
    pub revoked: Vec<i32>,
    /// Partitions the group gave to us.
    pub assigned: Vec<i32>,
}

/// How much a worker may take at a time, and hold.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Most records.
    pub events: usize,
    /// Most bytes.
    pub bytes: usize,
    /// Longest time, in milliseconds.
    pub wait_ms: u64,
    /// Most committed changes that wait in memory for the stores, in all partitions together.
    pub kept: usize,
}

/// A committed offset with its metadata.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Next offset to read.
    pub next: i64,
    /// See [`crate::position::Position`].
    pub metadata: String,
}

/// Where a partition of a topic begins and ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ends {
    /// First offset still there.
    pub start: i64,
    /// Before this everything is decided.
    pub stable: i64,
    /// Where the next record goes.
    pub high: i64,
}

/// A committed record, as restore and reconcile read it.
#[derive(Debug, Clone, Copy)]
pub struct Found<'a> {
    /// Its offset.
    pub offset: i64,
    /// Its key.
    pub key: &'a [u8],
    /// Its value.
    pub value: &'a [u8],
    /// Its `weir-src`.
    pub src: Option<(i32, i64)>,
    /// Its `weir-seq`.
    pub seq: Option<u64>,
    /// Its `weir-txn`.
    pub txn: Option<u64>,
    /// Its `weir-generation`.
    pub generation: u64,
}

/// Whether a scan of several partitions goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scan {
    /// It does.
    On,
    /// Not with this partition.
    Enough,
    /// Not at all.
    Stop,
}

/// How far a scan came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scanned {
    /// Where the next scan goes on.
    pub next: i64,
    /// Whether everything decided so far was read.
    pub is_end: bool,
}

/// A record by itself, with everything that it has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Loose {
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// Its timestamp.
    pub timestamp: i64,
    /// Its key.
    pub key: Vec<u8>,
    /// Its value.
    pub value: Vec<u8>,
    /// Its headers.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

impl Loose {
    /// A copy of a record.
    pub fn of(input: &Input<'_>, headers: &schemas::command::RecordHeaders<'_>) -> Self {
        let owned = |(name, value): &(&str, Option<&[u8]>)| ((*name).to_owned(), value.map(<[u8]>::to_vec));
        Self {
            partition: input.partition,
            offset: input.offset,
            timestamp: input.timestamp,
            key: input.key.to_vec(),
            value: input.value.to_vec(),
            headers: headers.iter().map(owned).collect(),
        }
    }

    /// As a decision sees it.
    pub fn input(&self) -> Input<'_> {
        let Self { partition, offset, timestamp, key, value, .. } = self;
        Input { partition: *partition, offset: *offset, timestamp: *timestamp, key, value }
    }

    /// Its headers, borrowed.
    pub fn headers(&self) -> schemas::command::RecordHeaders<'_> {
        self.headers.iter().map(|(name, value)| (name.as_str(), value.as_deref())).collect()
    }

    /// About how much memory it takes.
    pub fn size(&self) -> usize {
        let headers = self.headers.iter().map(|(name, value)| 48 + name.len() + value.as_ref().map_or(0, Vec::len));
        128 + self.key.len() + self.value.len() + headers.sum::<usize>()
    }
}

/// A record that is wanted because its event's turn comes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Want {
    /// Partition of the event.
    pub partition: i32,
    /// Which event.
    pub spot: Spot,
    /// Where its record lies.
    pub record_at: RecordAt,
}

/// What came from the first retry topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// What a person wants of a dead letter.
    Command(Loose),
    /// The record of an event that is tried again, which is of no interest here: its partition and offset.
    Other(i32, i64),
    /// Everything that was there has been read.
    End(i32),
}

impl Heard {
    /// A record of that topic. Only a command is copied.
    pub fn of(input: &Input<'_>, headers: &schemas::command::RecordHeaders<'_>) -> Self {
        if schemas::command::is_command(headers.iter().map(|(name, _)| *name)) {
            Self::Command(Loose::of(input, headers))
        } else {
            Self::Other(input.partition, input.offset)
        }
    }

    /// Which partition it is about.
    pub fn partition(&self) -> i32 {
        match self {
            Self::Command(record) => record.partition,
            Self::Other(partition, _) | Self::End(partition) => *partition,
        }
    }
}

/// Offsets the open transaction's records got.
pub type Acks = BTreeMap<(Out, i32), i64>;

/// Kafka, as a worker sees it.
pub trait Log {
    /// Polls the group and collects records of running partitions. Never called while a transaction is open.
    fn collect(&mut self, batch: &mut Batch, bounds: Bounds) -> Result<Polled, Fault>;
    /// Lets records of partitions flow, each from its next offset on.
    fn run(&mut self, next: &[(i32, i64)]) -> Result<(), Fault>;
    /// Stops records of a partition.
    fn pause(&mut self, partition: i32) -> Result<(), Fault>;

    /// Reads the first retry topic of partitions, each from an offset on, or from its beginning if it is not there.
    fn follow(&mut self, from: &[(i32, i64)]) -> Result<(), Fault>;
    /// Reads it no more.
    fn unfollow(&mut self, partition: i32);
    /// What came from the first retry topics of the partitions that are followed. Never blocks for long, and never
    /// fails: it comes after a collection, whose records must not be lost. Trouble is waited out.
    fn heard(&mut self) -> Vec<Heard>;
    /// Has records fetched. Never blocks.
    fn want(&mut self, wants: Vec<Want>);
    /// Records that were fetched since; `None`: it is not in its topic any more. Never blocks.
    fn fetched(&mut self) -> Vec<(Want, Option<Loose>)>;

    /// The committed offsets of partitions of `verified-events`, decided ones only.
    fn positions(&mut self, partitions: &[i32]) -> Result<Vec<(i32, Option<Stored>)>, Fault>;
    /// The same between two transactions, where there is an answer at once.
    fn glance(&mut self, partitions: &[i32]) -> Result<Vec<(i32, Option<Stored>)>, Fault>;
    /// Where `verified-events` begins and ends.
    fn input_ends(&mut self, partition: i32) -> Result<Ends, Fault>;
    /// The same of several partitions, at once where that can be.
    fn input_ends_of(&mut self, partitions: &[i32]) -> Result<BTreeMap<i32, Ends>, Fault> {
        partitions.iter().map(|partition| Ok((*partition, self.input_ends(*partition)?))).collect()
    }
    /// Where partitions of `verified-events` have their first record that was appended after a time, if they have one.
    fn first_after(&mut self, times: &[(i32, i64)]) -> Result<BTreeMap<i32, i64>, Fault>;
    /// Where an output partition begins and ends.
    fn ends(&mut self, out: Out, partition: i32) -> Result<Ends, Fault>;
    /// The same of several partitions, at once where that can be.
    fn ends_of(&mut self, wanted: &[(Out, i32)]) -> Result<BTreeMap<(Out, i32), Ends>, Fault> {
        wanted.iter().map(|(out, partition)| Ok(((*out, *partition), self.ends(*out, *partition)?))).collect()
    }
    /// Reads committed records from `from` on, until `each` breaks, the decided end, or some milliseconds passed.
    fn scan(
        &mut self,
        out: Out,
        partition: i32,
        from: i64,
        budget_ms: u64,
        each: &mut dyn FnMut(Found<'_>) -> ControlFlow<()>,
    ) -> Result<Scanned, Fault>;
    /// Reads committed records of several partitions of an output, at once where that can be: from these offsets on,
    /// until `each` has enough, the decided ends, or some milliseconds passed.
    fn scan_all(
        &mut self,
        out: Out,
        from: &[(i32, i64)],
        budget_ms: u64,
        each: &mut dyn FnMut(i32, Found<'_>) -> Scan,
    ) -> Result<(), Fault> {
        for (partition, next) in from {
            let mut is_over = false;
            self.scan(out, *partition, *next, budget_ms, &mut |found| match each(*partition, found) {
                Scan::On => ControlFlow::Continue(()),
                Scan::Enough => ControlFlow::Break(()),
                Scan::Stop => {
                    is_over = true;
                    ControlFlow::Break(())
                }
            })?;
            if is_over {
                break;
            }
        }
        Ok(())
    }

    /// Nothing is read back for a while.
    fn rest(&mut self) -> Result<(), Fault> {
        Ok(())
    }

    /// Makes a fresh producer, which fences the one before and decides what it left open.
    fn recycle(&mut self) -> Result<(), Fault>;
    /// Opens a transaction under the group membership of this moment.
    fn begin(&mut self) -> Result<(), Fault>;
    /// Adds a record to the open transaction.
    fn produce(&mut self, record: &Record<'_>) -> Result<(), Fault>;
    /// Waits until Kafka has every record; the greatest offset of each output partition.
    fn settle(&mut self) -> Result<Acks, Fault>;
    /// Adds offsets and metadata to the open transaction.
    fn send_offsets(&mut self, offsets: &[(i32, i64, String)]) -> Result<(), Fault>;
    /// Commits. `false`: committed, but the connection misbehaved, so the producer must not be used again.
    fn commit(&mut self) -> Result<bool, Fault>;

    /// Partitions of `clean-events`; `stale-events` has as many.
    fn clean_partitions(&self) -> i32;
    /// Partitions of `verified-events`.
    fn input_partitions(&self) -> i32;
    /// Wall clock, milliseconds since the epoch. Never decides about an event.
    fn now_ms(&self) -> i64;
    /// A number nobody drew before.
    fn nonce(&mut self) -> u64;
}
