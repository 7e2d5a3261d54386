//! When each event of a load was acknowledged with a 200, and when it was seen in `clean-events`.
//!
//! An event that was acknowledged must be found exactly once behind the door.

use std::ops::Range;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

/// Times of all slots of one load.
#[derive(Debug)]
pub struct Times {
    /// What the load's delivery ids carry.
    pub tag: u16,
    began: Instant,
    /// Nanoseconds since `began`; 0: never.
    acked: Box<[AtomicU64]>,
    seen: Box<[AtomicU64]>,
    /// In which partition it was seen.
    partitions: Box<[AtomicI32]>,
    seen_twice: AtomicU64,
}

impl Times {
    /// Of a load with at most `slots` requests.
    pub fn new(tag: u16, slots: usize) -> Self {
        let empty = || (0..slots).map(|_| AtomicU64::new(0)).collect();
        let partitions = (0..slots).map(|_| AtomicI32::new(-1)).collect();
        let (acked, seen) = (empty(), empty());
        Self { tag, began: Instant::now(), acked, seen, partitions, seen_twice: AtomicU64::new(0) }
    }

    /// How many requests it has room for.
    pub fn slots(&self) -> u64 {
        self.acked.len() as u64
    }

    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX).max(1)
    }

    /// A slot got its 200.
    pub fn ack(&self, slot: u64) {
        if let Some(acked) = self.acked.get(slot as usize) {
            acked.store(self.now(), Ordering::Relaxed);
        }
    }

    /// A slot was seen.
    pub fn see(&self, slot: u64) {
        let now = self.now();
        if let Some(seen) = self.seen.get(slot as usize)
            && seen.swap(now, Ordering::Relaxed) != 0
        {
            self.seen_twice.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A slot was seen in a partition.
    pub fn see_in(&self, slot: u64, partition: i32) {
        if let Some(place) = self.partitions.get(slot as usize) {
            place.store(partition, Ordering::Relaxed);
        }
        self.see(slot);
    }

    /// How many were acknowledged.
    pub fn acked(&self) -> u64 {
        self.acked.iter().filter(|time| time.load(Ordering::Relaxed) != 0).count() as u64
    }

    /// How many were acknowledged and not seen.
    pub fn missing(&self) -> u64 {
        let is_missing = |(acked, seen): &(u64, u64)| *acked != 0 && *seen == 0;
        self.pairs().filter(is_missing).count() as u64
    }

    /// Fails unless every acknowledged event was seen, and none twice.
    pub fn check(&self) -> Result<()> {
        let twice = self.seen_twice.load(Ordering::Relaxed);
        ensure!(twice == 0, "{twice} events were seen twice");
        let missing = self.missing();
        ensure!(missing == 0, "{missing} of {} acknowledged events were lost", self.acked());
        Ok(())
    }

    /// How long each acknowledged event took to be seen; nothing for one that was seen before its answer came.
    pub fn waits(&self) -> Result<hdrhistogram::Histogram<u64>> {
        self.waits_of(|_, _| true)
    }

    /// How long those took that were acknowledged in a span of time, and seen in a partition that `is_wanted`.
    pub fn waits_between(
        &self,
        span: Range<Instant>,
        is_wanted: impl Fn(i32) -> bool,
    ) -> Result<hdrhistogram::Histogram<u64>> {
        let since = |at: Instant| at.saturating_duration_since(self.began).as_nanos() as u64;
        let span = since(span.start)..since(span.end);
        self.waits_of(|acked, partition| span.contains(&acked) && is_wanted(partition))
    }

    /// Of those that are wanted by when they were acknowledged and where they were seen.
    fn waits_of(&self, is_wanted: impl Fn(u64, i32) -> bool) -> Result<hdrhistogram::Histogram<u64>> {
        let mut waits = histogram()?;
        let places = self.partitions.iter().map(|partition| partition.load(Ordering::Relaxed));
        for ((acked, seen), partition) in self.pairs().zip(places) {
            if acked != 0 && seen != 0 && is_wanted(acked, partition) {
                waits.saturating_record((seen.saturating_sub(acked) / 1_000).max(1));
            }
        }
        Ok(waits)
    }

    fn pairs(&self) -> impl Iterator<Item = (u64, u64)> {
        let load = |time: &AtomicU64| time.load(Ordering::Relaxed);
        self.acked.iter().zip(&self.seen).map(move |(acked, seen)| (load(acked), load(seen)))
    }
}

/// A histogram of microseconds up to five minutes, to three digits.
pub fn histogram() -> Result<hdrhistogram::Histogram<u64>> {
    let longest = Duration::from_secs(300).as_micros() as u64;
    hdrhistogram::Histogram::new_with_bounds(1, longest, 3).context("cannot make a histogram")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_those_of_a_span_and_of_some_partitions() {
        let times = Times::new(1, 3);
        let before = Instant::now();
        (0..2).for_each(|slot| times.ack(slot));
        times.see_in(0, 5);
        times.see_in(1, 6);
        let between = Instant::now();
        times.ack(2);
        times.see_in(2, 5);
        let len = |span, wanted: fn(i32) -> bool| times.waits_between(span, wanted).expect("a histogram").len();
        let after = Instant::now() + Duration::from_secs(1);
        assert_eq!(len(before..between, |_| true), 2);
        assert_eq!(len(before..after, |partition| partition == 5), 2);
        assert_eq!(len(between..after, |partition| partition == 6), 0);
    }

    #[test]
    fn a_lost_and_a_doubled_event_fail_the_check() {
        let times = Times::new(1, 4);
        times.ack(0);
        times.ack(1);
        times.see(0);
        assert_eq!((times.acked(), times.missing()), (2, 1));
        assert!(times.check().is_err());
        times.see(1);
        times.check().expect("both were seen");
        assert_eq!(times.waits().expect("a histogram").len(), 2);
        times.see(1);
        assert!(times.check().is_err());
    }
}
