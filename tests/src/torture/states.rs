//! The stores of whoever owned each partition last, against what the changelog alone makes of it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, Result};
use processor::state::rocks::RocksStores;
use processor::state::{Cursor, Store as _, Stores as _};

/// What the stores hold of each partition: how far they go, and everything else as bytes.
pub type States = BTreeMap<i32, (Cursor, BTreeMap<Vec<u8>, Vec<u8>>)>;

/// The state of each partition, from the store that goes furthest. The processes that hold them must have stopped.
pub fn read(folders: &[PathBuf], partitions: i32) -> Result<States> {
    let mut states = States::new();
    for folder in folders {
        let mut stores = RocksStores::new(folder.clone());
        for partition in (0..partitions).filter(|partition| folder.join(partition.to_string()).exists()) {
            let of = || format!("the state of partition {partition} in {}", folder.display());
            // A store that was damaged and then left to another owner is nobody's state any more.
            let Ok(store) = stores.open(partition) else { continue };
            let Some(cursor) = store.cursor().with_context(of)? else { continue };
            let known = states.get(&partition).map_or(0, |(known, _)| known.txn);
            if cursor.txn > known {
                states.insert(partition, (cursor, store.contents().with_context(of)?));
            }
        }
    }
    Ok(states)
}

/// What the one has and the other has not, or has otherwise. Transactions that only took over change no content.
pub fn differences(owned: &States, rebuilt: &States, partitions: i32) -> Vec<String> {
    let mut found = Vec::new();
    for partition in 0..partitions {
        let (Some((own, contents)), Some((new, again))) = (owned.get(&partition), rebuilt.get(&partition)) else {
            found.push(format!("nobody has a state of partition {partition}"));
            continue;
        };
        if (own.next, own.seq, own.stream_time) != (new.next, new.seq, new.stream_time) {
            found.push(format!("the state of partition {partition} goes to {own:?}, and rebuilt to {new:?}"));
        }
        let differs = |key: &&Vec<u8>| contents.get(*key) != again.get(*key);
        let keys = contents.keys().chain(again.keys().filter(|key| !contents.contains_key(*key)));
        let differing: Vec<String> = keys.filter(differs).map(hex::encode).collect();
        if let Some(first) = differing.first() {
            let (count, all) = (differing.len(), contents.len());
            found.push(format!("partition {partition}: {count} of {all} keys differ when rebuilt, first {first}"));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_is_missing_too_many_or_otherwise_is_noticed() {
        let state = |pairs: &[(&str, &str)]| {
            let contents = pairs.iter().map(|(key, value)| (key.as_bytes().to_vec(), value.as_bytes().to_vec()));
            States::from([(0, (Cursor { next: 7, ..Cursor::default() }, contents.collect()))])
        };
        let owned = state(&[("d1", "x"), ("d2", "y")]);
        assert_eq!(differences(&owned, &owned, 1).len(), 0);
        for other in [
            state(&[("d1", "x")]),
            state(&[("d1", "x"), ("d2", "z")]),
            state(&[("d1", "x"), ("d2", "y"), ("d3", "")]),
            States::new(),
        ] {
            assert_eq!(differences(&owned, &other, 1).len(), 1, "{other:?}");
            assert_eq!(differences(&other, &owned, 1).len(), 1, "{other:?}");
        }
        let mut behind = owned.clone();
        behind.get_mut(&0).expect("it is there").0.next = 6;
        assert_eq!(differences(&owned, &behind, 1).len(), 1);
    }
}
