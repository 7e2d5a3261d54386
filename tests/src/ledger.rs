//! The ledger: what every delivery was answered, and when, in moments that can be compared.
//!
//! Written while the day is played, read only afterwards.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// A point in the order of what the providers did and saw. If one is less than another, it came first.
pub type Moment = u64;

/// What became of one delivery.
#[derive(Debug, Clone, Default)]
pub struct Entry {
    /// Before the first attempt's first byte.
    pub sent: Moment,
    /// After the last attempt's answer.
    pub answered: Moment,
    /// The last answer's status; 0 when there was none.
    pub status: u16,
    /// What was wrong with the last answer.
    pub complaint: Option<String>,
    /// Reasons of earlier attempts that were told to come back (503), and how often.
    pub put_off: BTreeMap<String, u32>,
    /// Attempts whose connection broke: nobody knows whether they were accepted.
    pub broken: u32,
}

impl Entry {
    /// How many attempts may have been accepted without the provider knowing.
    pub fn unknown(&self) -> u32 {
        self.broken + self.put_off.values().sum::<u32>()
    }

    /// Whether the provider was told that it was taken.
    pub fn is_accepted(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

/// The book while it is written, by many at once.
#[derive(Debug)]
pub struct Open {
    clock: AtomicU64,
    answered: AtomicUsize,
    entries: Mutex<Vec<Option<Entry>>>,
}

/// The book when it is closed: one entry a delivery, in the plan's order.
#[derive(Debug, Clone)]
pub struct Ledger {
    /// The entries.
    pub entries: Vec<Entry>,
}

impl Open {
    /// An empty book for so many deliveries.
    pub fn new(deliveries: usize) -> Self {
        let entries = Mutex::new(vec![None; deliveries]);
        Self { clock: AtomicU64::new(1), answered: AtomicUsize::new(0), entries }
    }

    /// The present moment, unlike all others.
    pub fn now(&self) -> Moment {
        self.clock.fetch_add(1, Ordering::SeqCst)
    }

    /// Writes down what became of a delivery.
    pub fn enter(&self, delivery: usize, entry: Entry) {
        let mut entries = self.entries.lock().expect("nothing panics while it holds the lock");
        let before = entries[delivery].replace(entry);
        assert!(before.is_none(), "delivery {delivery} was made twice");
        self.answered.fetch_add(1, Ordering::SeqCst);
    }

    /// Finds a delivery among `wanted` that was accepted.
    pub fn accepted(&self, wanted: impl Fn(usize) -> bool) -> Option<usize> {
        let entries = self.entries.lock().expect("nothing panics while it holds the lock");
        let is_it = |number: &usize| wanted(*number) && entries[*number].as_ref().is_some_and(Entry::is_accepted);
        (0..entries.len()).find(is_it)
    }

    /// Changes what is written about a delivery that was made.
    pub fn amend(&self, delivery: usize, change: impl FnOnce(&mut Entry)) {
        let mut entries = self.entries.lock().expect("nothing panics while it holds the lock");
        change(entries[delivery].as_mut().expect("it was made"));
    }

    /// How many deliveries are done.
    pub fn answered(&self) -> usize {
        self.answered.load(Ordering::SeqCst)
    }

    /// Closes the book. Every delivery must have been made.
    pub fn close(&self) -> Ledger {
        let mut entries = self.entries.lock().expect("nothing panics while it holds the lock");
        let entries = entries.iter_mut().enumerate();
        let entries = entries.map(|(number, entry)| entry.take().unwrap_or_else(|| panic!("{number} was not made")));
        Ledger { entries: entries.collect() }
    }
}
