//! The tallies: for each source how many events reached which place, exact across crashes and moves.
//!
//! They are part of the state: staged with each decision, written absolutely into every DELTA, shown as metrics
//! only once committed. `clean + duplicate + stale + discarded + dead + parked + retrying` equals the records read.

use std::collections::BTreeMap;

/// The place an event is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Place {
    /// In `clean-events`. Only grows.
    Clean = 0,
    /// A copy of another event. Only grows.
    Duplicate = 1,
    /// Stale and set aside. Only grows.
    Stale = 2,
    /// Discarded by a person. Only grows.
    Discarded = 3,
    /// A dead letter now.
    Dead = 4,
    /// Parked now.
    Parked = 5,
    /// In a retry tier now.
    Retrying = 6,
}

impl Place {
    /// Every place, in the order of the ledger.
    pub const ALL: [Place; 7] =
        [Place::Clean, Place::Duplicate, Place::Stale, Place::Discarded, Place::Dead, Place::Parked, Place::Retrying];

    /// The place of that number in a DELTA or a store.
    pub fn from_u8(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|place| *place as u8 == number)
    }

    /// The label in metrics and documentation.
    pub const fn as_str(self) -> &'static str {
        match self {
            Place::Clean => "clean",
            Place::Duplicate => "duplicate",
            Place::Stale => "stale",
            Place::Discarded => "discarded",
            Place::Dead => "dead",
            Place::Parked => "parked",
            Place::Retrying => "retrying",
        }
    }
}

/// Source of records that could not be decoded, so that they too are in the books.
pub const UNKNOWN_SOURCE: &str = "unknown";

/// Absolute tallies by source and place.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tallies(pub BTreeMap<String, [u64; Place::ALL.len()]>);

impl Tallies {
    /// The tally of one place.
    pub fn get(&self, source: &str, place: Place) -> u64 {
        self.0.get(source).and_then(|row| row.get(place as usize)).copied().unwrap_or_default()
    }

    /// One more event in a place.
    pub fn add(&mut self, source: &str, place: Place) {
        *self.cell(source, place) += 1;
    }

    /// An event leaves a place for another.
    pub fn shift(&mut self, source: &str, from: Place, to: Place) {
        self.leave(source, from);
        self.add(source, to);
    }

    /// An event leaves a place. None can be left more often than it was entered.
    pub fn leave(&mut self, source: &str, from: Place) {
        let cell = self.cell(source, from);
        debug_assert!(*cell > 0, "an event left {from:?} that never entered it");
        *cell = cell.saturating_sub(1);
    }

    /// Sets one tally.
    pub fn set(&mut self, source: &str, place: Place, value: u64) {
        *self.cell(source, place) = value;
    }

    /// Takes over every row of `other`, whose values are absolute.
    pub fn overwrite(&mut self, other: &Tallies) {
        for (source, row) in &other.0 {
            self.0.insert(source.clone(), *row);
        }
    }

    /// The sum over all sources and places: how many records were read.
    pub fn total(&self) -> u64 {
        self.0.values().flatten().sum()
    }

    /// Every tally, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Place, u64)> {
        self.0.iter().flat_map(|(source, row)| {
            Place::ALL.into_iter().zip(row).map(move |(place, n)| (source.as_str(), place, *n))
        })
    }

    fn cell(&mut self, source: &str, place: Place) -> &mut u64 {
        if !self.0.contains_key(source) {
            self.0.insert(source.to_owned(), [0; Place::ALL.len()]);
        }
        let row = self.0.get_mut(source).expect("the row was inserted above when it was absent");
        &mut row[place as usize]
    }
}
