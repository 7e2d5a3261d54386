//! The stores of whoever owned each partition last, against what the changelog alone makes of it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::Result;
use processor::state::rocks::RocksStores;
use processor::state::{Cursor, StateError, Store as _, Stores as _};

/// How far a store goes, and everything else that it holds, as bytes.
pub type State = (Cursor, BTreeMap<Vec<u8>, Vec<u8>>);

/// The state of each partition, or why it cannot be read.
pub type States = BTreeMap<i32, Result<State, String>>;

/// The state of each partition, from the store that goes furthest. The processes that hold them must have stopped.
pub fn read(folders: &[PathBuf], partitions: i32) -> States {
    let all: Vec<RocksStores> = folders.iter().map(|folder| RocksStores::new(folder.clone())).collect();
    let mut states = States::new();
    for partition in 0..partitions {
        let is_there = |(_, folder): &(&RocksStores, &PathBuf)| folder.join(partition.to_string()).exists();
        let found = all.iter().zip(folders).filter(is_there);
        let last = found
            .map(|(stores, _)| Ok((stores.clone().open(partition)?.cursor()?, stores)))
            .collect::<Result<Vec<_>, StateError>>()
            .map(|all| all.into_iter().max_by_key(|(cursor, _)| cursor.as_ref().map(|cursor| cursor.txn)));
        let state = match last {
            Ok(None) => continue,
            Ok(Some((cursor, stores))) => contents(stores, partition)
                .map(|contents| (cursor.unwrap_or_default(), contents))
                .map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        states.insert(partition, state);
    }
    states
}

fn contents(stores: &RocksStores, partition: i32) -> Result<BTreeMap<Vec<u8>, Vec<u8>>, StateError> {
    stores.clone().open(partition)?.contents()
}

/// What the one has and the other has not, or has otherwise. Takeovers change numbers and no content. Where files were
/// damaged, one of them may lie in a place that nobody has read since.
pub fn differences(owned: &States, rebuilt: &States, partitions: i32, were_damaged: bool) -> Vec<String> {
    let mut found = Vec::new();
    for partition in 0..partitions {
        match (owned.get(&partition), rebuilt.get(&partition)) {
            (Some(Ok(own)), Some(Ok(new))) => found.extend(difference(partition, own, new)),
            (Some(Err(_)), Some(Ok(_))) if were_damaged => {}
            (own, new) => {
                let why = |state: Option<&Result<State, String>>| match state {
                    Some(Ok(_)) => "fine".to_owned(),
                    Some(Err(error)) => error.clone(),
                    None => "nowhere".to_owned(),
                };
                found.push(format!("the state of partition {partition} is {}, and rebuilt {}", why(own), why(new)));
            }
        }
    }
    found
}

fn difference(partition: i32, (own, contents): &State, (new, again): &State) -> Option<String> {
    let same = |cursor: &Cursor| Cursor { txn: 0, changelog_next: 0, ..cursor.clone() };
    if same(own) != same(new) {
        return Some(format!("the state of partition {partition} goes to {own:?}, and rebuilt to {new:?}"));
    }
    let differs = |key: &&Vec<u8>| contents.get(*key) != again.get(*key);
    let keys = contents.keys().chain(again.keys().filter(|key| !contents.contains_key(*key)));
    let differing: Vec<String> = keys.filter(differs).map(hex::encode).collect();
    let (count, all) = (differing.len(), contents.len());
    let first = differing.first()?;
    Some(format!("partition {partition}: {count} of {all} keys differ when rebuilt, first {first}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_is_missing_too_many_or_otherwise_is_noticed() {
        let state = |pairs: &[(&str, &str)]| {
            let contents = pairs.iter().map(|(key, value)| (key.as_bytes().to_vec(), value.as_bytes().to_vec()));
            States::from([(0, Ok((Cursor { next: 7, ..Cursor::default() }, contents.collect())))])
        };
        let differences = |one: &States, other: &States| differences(one, other, 1, true).len();
        let owned = state(&[("d1", "x"), ("d2", "y")]);
        assert_eq!(differences(&owned, &owned), 0);
        for other in [
            state(&[("d1", "x")]),
            state(&[("d1", "x"), ("d2", "z")]),
            state(&[("d1", "x"), ("d2", "y"), ("d3", "")]),
            States::new(),
        ] {
            assert_eq!((differences(&owned, &other), differences(&other, &owned)), (1, 1), "{other:?}");
        }
        let cursor =
            |next: i64, txn: u64| States::from([(0, Ok((Cursor { next, txn, ..Cursor::default() }, BTreeMap::new())))]);
        assert_eq!((differences(&cursor(7, 3), &cursor(7, 4)), differences(&cursor(7, 3), &cursor(6, 3))), (0, 1));
    }

    #[test]
    fn a_damaged_store_is_excused_where_files_were_damaged_and_its_rebuilt_one_never() {
        let fine = States::from([(0, Ok((Cursor::default(), BTreeMap::new())))]);
        let broken = States::from([(0, Err("a flipped bit".to_owned()))]);
        assert_eq!(differences(&broken, &fine, 1, true).len(), 0);
        assert_eq!(differences(&broken, &fine, 1, false).len(), 1);
        assert_eq!(differences(&fine, &broken, 1, true).len(), 1);
    }
}
