//! One partition of a topic as its broker keeps it: records, which transaction each belongs to, and the markers that
//! decide them.
//!
//! A broker knows no transaction, only producers: what a producer appended since its last marker is open, and the
//! next marker decides all of it, whatever the producer meant it to be part of. That is how transactions tear.

use std::collections::BTreeMap;

/// Whoever has one `transactional.id`.
pub type ProducerId = usize;

/// A produced record, as far as anybody looks at it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stamped {
    pub key: Vec<u8>,
    pub value: Vec<u8>,
    pub src: Option<(i32, i64)>,
    pub seq: Option<u64>,
    pub txn: Option<u64>,
    pub generation: u64,
    /// All of them, where somebody looks at them.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fate {
    Open,
    Committed,
    Aborted,
}

enum Entry {
    Data { segment: usize, record: Stamped },
    Marker,
}

struct Open {
    segment: usize,
    first: i64,
}

/// The log of one partition.
#[derive(Default)]
pub struct Partition {
    entries: Vec<Entry>,
    /// What became of each stretch of records between two markers of one producer.
    fates: Vec<Fate>,
    open: BTreeMap<ProducerId, Open>,
    epochs: BTreeMap<ProducerId, u64>,
}

impl Partition {
    /// An empty log.
    pub const fn new() -> Self {
        Self { entries: Vec::new(), fates: Vec::new(), open: BTreeMap::new(), epochs: BTreeMap::new() }
    }

    /// Whether the producer has records here that no marker has decided.
    pub fn is_open(&self, producer: ProducerId) -> bool {
        self.open.contains_key(&producer)
    }

    /// Appends a record. `None`: a newer epoch of the producer has been here.
    pub fn append(&mut self, producer: ProducerId, epoch: u64, record: Stamped) -> Option<i64> {
        let known = self.epochs.entry(producer).or_default();
        if epoch < *known {
            return None;
        }
        *known = epoch;
        let offset = self.high();
        let fates = &mut self.fates;
        let open = self.open.entry(producer).or_insert_with(|| {
            fates.push(Fate::Open);
            Open { segment: fates.len() - 1, first: offset }
        });
        self.entries.push(Entry::Data { segment: open.segment, record });
        Some(offset)
    }

    /// Appends a record of no transaction.
    pub fn append_plain(&mut self, record: Stamped) -> i64 {
        let offset = self.high();
        self.fates.push(Fate::Committed);
        self.entries.push(Entry::Data { segment: self.fates.len() - 1, record });
        offset
    }

    /// Writes a marker: everything the producer has open here is decided.
    pub fn mark(&mut self, producer: ProducerId, epoch: u64, is_commit: bool) {
        let known = self.epochs.entry(producer).or_default();
        *known = epoch.max(*known);
        if let Some(open) = self.open.remove(&producer) {
            self.fates[open.segment] = if is_commit { Fate::Committed } else { Fate::Aborted };
        }
        self.entries.push(Entry::Marker);
    }

    /// Where the next record goes.
    pub fn high(&self) -> i64 {
        self.entries.len() as i64
    }

    /// The first offset that is not decided: where readers of committed records stop.
    pub fn stable(&self) -> i64 {
        self.open.values().map(|open| open.first).min().unwrap_or(self.high())
    }

    /// Who holds the stable offset back.
    pub fn open_producers(&self) -> Vec<ProducerId> {
        self.open.keys().copied().collect()
    }

    /// Committed records from an offset on, as far as everything is decided.
    pub fn committed(&self, from: i64) -> impl Iterator<Item = (i64, &Stamped)> {
        self.records(from, self.stable(), Fate::Committed)
    }

    /// Records that no reader of committed records sees now, decided or not.
    pub fn uncommitted(&self, from: i64) -> impl Iterator<Item = (i64, &Stamped)> {
        self.records(from, self.high(), Fate::Open).chain(self.records(from, self.high(), Fate::Aborted))
    }

    fn records(&self, from: i64, to: i64, fate: Fate) -> impl Iterator<Item = (i64, &Stamped)> {
        let range = from.max(0) as usize..to.max(from.max(0)) as usize;
        let numbered = range.clone().zip(self.entries.get(range).unwrap_or_default());
        numbered.filter_map(move |(offset, entry)| match entry {
            Entry::Data { segment, record } if self.fates[*segment] == fate => Some((offset as i64, record)),
            Entry::Data { .. } | Entry::Marker => None,
        })
    }
}
