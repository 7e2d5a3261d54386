//! Slices of restore: the changelogs of several partitions are read at once, a little at a time.

use std::collections::{BTreeMap, BTreeSet};

use super::{SLICE_MS, Takeover, TakeoverError};
use crate::emit::Out;
use crate::lifecycle::Progress;
use crate::log::{Fault, Log, Scan};
use crate::state::{Store, Stores};

/// How long one slice may open stores.
const OPENING_MS: i64 = 50;
/// Restored changes that wait in memory for their stores, in all partitions together.
const READY: usize = 256 * 1024;

/// What a slice came to for a partition.
pub type Sliced = Result<Progress, TakeoverError>;
/// What reading came to for each partition: whether its own barrier was reached.
type Read = Vec<(i32, Result<bool, TakeoverError>)>;

/// Restores partitions for a little while. The outer error says that nothing is known, an inner one that this
/// partition can't be restored.
pub fn restore<L: Log, T: Stores>(
    takeovers: &mut BTreeMap<i32, Takeover<T::Store>>,
    partitions: &[i32],
    log: &mut L,
    stores: &mut T,
) -> Result<BTreeMap<i32, Sliced>, Fault> {
    let mut sliced = open(takeovers, partitions, log, stores)?;
    for (partition, read) in read(takeovers, partitions, log)? {
        if let Some(takeover) = takeovers.get_mut(&partition) {
            sliced.insert(partition, takeover.concluded(read, stores));
        }
    }
    Ok(sliced)
}

/// Opens stores that are not open, as many as there is time for, and one at least. What could not be opened.
fn open<L: Log, T: Stores>(
    takeovers: &mut BTreeMap<i32, Takeover<T::Store>>,
    partitions: &[i32],
    log: &mut L,
    stores: &mut T,
) -> Result<BTreeMap<i32, Sliced>, Fault> {
    let is_closed = |partition: &&i32| takeovers.get(*partition).is_some_and(|takeover| !takeover.is_open());
    let closed: Vec<(Out, i32)> =
        partitions.iter().filter(is_closed).map(|partition| (Out::Changelog, *partition)).collect();
    let mut sliced = BTreeMap::new();
    if closed.is_empty() {
        return Ok(sliced);
    }
    let began = log.now_ms();
    for ((_, partition), ends) in log.ends_of(&closed)? {
        let Some(takeover) = takeovers.get_mut(&partition) else { continue };
        if let Err(error) = takeover.open(ends, stores) {
            sliced.insert(partition, Err(error));
        }
        if log.now_ms().saturating_sub(began) >= OPENING_MS {
            break;
        }
    }
    Ok(sliced)
}

/// Reads on in the changelogs of open stores, and writes what has become too much.
fn read<L: Log, S: Store>(
    takeovers: &mut BTreeMap<i32, Takeover<S>>,
    partitions: &[i32],
    log: &mut L,
) -> Result<Read, Fault> {
    let mut open = BTreeMap::new();
    for (partition, takeover) in takeovers.iter_mut() {
        if let Some(restoring) = takeover.restoring().filter(|_| partitions.contains(partition)) {
            open.insert(*partition, restoring);
        }
    }
    let from: Vec<(i32, i64)> = open.iter().map(|(partition, (_, restore))| (*partition, restore.next())).collect();
    let mut ready: usize = open.values().map(|(_, restore)| restore.ready_len()).sum();
    let mut reading: BTreeSet<i32> = open.keys().copied().collect();
    let mut failed = BTreeMap::new();
    if !from.is_empty() {
        log.scan_all(Out::Changelog, &from, SLICE_MS, &mut |partition, found| {
            let Some((_, restore)) = open.get_mut(&partition).filter(|_| reading.contains(&partition)) else {
                return Scan::On;
            };
            let before = restore.ready_len();
            let fed = restore.feed(found.offset, found.value);
            ready += restore.ready_len() - before;
            let is_over = fed.as_ref().map_or(true, |is_done| *is_done);
            failed.extend(fed.err().map(|error| (partition, TakeoverError::from(error))));
            if is_over {
                reading.remove(&partition);
            }
            match (is_over, ready >= READY) {
                (true, _) => Scan::Enough,
                (false, true) => Scan::Stop,
                (false, false) => Scan::On,
            }
        })?;
    }
    if ready >= READY {
        for (partition, (store, restore)) in &mut open {
            // Small pieces would make small files.
            if restore.ready_len() >= READY / 2 / from.len() && !failed.contains_key(partition) {
                let (changes, cursor) = restore.take_ready();
                let applied = store.apply(&changes, &cursor).and_then(|()| store.index());
                failed.extend(applied.err().map(|error| (*partition, error.into())));
            }
        }
    }
    let outcome = |(partition, _)| {
        let is_done = !reading.contains(&partition);
        (partition, failed.remove(&partition).map_or(Ok(is_done), Err))
    };
    Ok(from.into_iter().map(outcome).collect())
}
