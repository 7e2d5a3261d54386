//! Slices of restore: the changelogs of several partitions are read at once, a little at a time.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{SLICE_MS, Takeover, TakeoverError};
use crate::emit::Out;
use crate::lifecycle::Progress;
use crate::log::{Fault, Log, Scan};
use crate::restore::Restore;
use crate::state::{Store, Stores};

/// How long one slice may open stores.
const OPENING_MS: i64 = 50;
/// How long a slice that has nothing to read waits for what is being written.
const WRITING: Duration = Duration::from_millis(5);

/// What a slice came to for a partition.
pub type Sliced = Result<Progress, TakeoverError>;
/// What reading came to for each partition: whether its own barrier was reached.
type Read = Vec<(i32, Result<bool, TakeoverError>)>;

/// Restores partitions for a little while; at most about so many changes wait in memory for their stores, and as many
/// again are being written. The outer error says that nothing is known, an inner one that this partition can't be
/// restored.
pub fn restore<L: Log, T: Stores>(
    takeovers: &mut BTreeMap<i32, Takeover<T::Store>>,
    partitions: &[i32],
    log: &mut L,
    stores: &mut T,
    most: usize,
) -> Result<BTreeMap<i32, Sliced>, Fault> {
    let mut sliced = open(takeovers, partitions, log, stores)?;
    for (partition, read) in read(takeovers, partitions, log, most)? {
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

/// Reads on in the changelogs of open stores, and has written what has become too much. What is being written belongs
/// to nobody here: reading goes on meanwhile, until too much waits again.
fn read<L: Log, S: Store>(
    takeovers: &mut BTreeMap<i32, Takeover<S>>,
    partitions: &[i32],
    log: &mut L,
    most: usize,
) -> Result<Read, Fault> {
    let mut open = BTreeMap::new();
    for (partition, takeover) in takeovers.iter_mut() {
        if let Some(restoring) = takeover.restoring().filter(|_| partitions.contains(partition)) {
            open.insert(*partition, restoring);
        }
    }
    let mut ready: usize = open.values().map(|(_, restore)| restore.ready_len()).sum();
    let unread = open.iter().filter(|(_, (_, restore))| !restore.is_done() && ready <= most);
    let from: Vec<(i32, i64)> = unread.map(|(partition, (_, restore))| (*partition, restore.next())).collect();
    let mut failed = BTreeMap::new();
    if !from.is_empty() {
        log.scan_all(Out::Changelog, &from, SLICE_MS, &mut |partition, found| {
            let Some((_, restore)) = open.get_mut(&partition).filter(|(_, restore)| !restore.is_done()) else {
                return Scan::On;
            };
            if failed.contains_key(&partition) {
                return Scan::On;
            }
            let before = restore.ready_len();
            let fed = restore.feed(found.offset, found.value);
            ready += restore.ready_len() - before;
            let is_over = fed.as_ref().map_or(true, |is_done| *is_done);
            failed.extend(fed.err().map(|error| (partition, TakeoverError::from(error))));
            match (is_over, ready > most) {
                (true, _) => Scan::Enough,
                (false, true) => Scan::Stop,
                (false, false) => Scan::On,
            }
        })?;
    }
    // Small pieces would make small files.
    let few = (most / 2 / open.len().max(1)).max(1);
    let mut patience = if from.is_empty() { WRITING } else { Duration::ZERO };
    let mut outcomes = Vec::with_capacity(open.len());
    for (partition, (store, restore)) in &mut open {
        let done = match failed.remove(partition) {
            Some(error) => Err(error),
            None => advance(store, restore, patience, ready > most && restore.ready_len() >= few),
        };
        // One of them has been waited for.
        patience = Duration::ZERO;
        outcomes.push((*partition, done));
    }
    Ok(outcomes)
}

/// Has written what is ready, if it `is_much`. Whether everything is known and nothing is being written any more.
fn advance(
    store: &mut impl Store,
    restore: &mut Restore,
    patience: Duration,
    is_much: bool,
) -> Result<bool, TakeoverError> {
    if !store.is_written(patience)? {
        return Ok(false);
    }
    if !is_much {
        return Ok(restore.is_done());
    }
    let (changes, cursor) = restore.take_ready();
    store.apply_beside(changes, cursor)?;
    Ok(restore.is_done() && store.is_written(Duration::ZERO)?)
}
