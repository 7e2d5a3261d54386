//! What a store keeps, loses in time, and says when it is held.

use super::*;
use crate::books::Place;
use crate::state::{DeadRef, Entry, Status};

const DAY: i64 = 24 * 60 * 60 * 1000;

fn entry(n: u8, first_seen: i64) -> Entry {
    Entry {
        class: keys::class_of(4 * DAY),
        window_class: keys::class_of(4 * DAY),
        slot: u16::from(n),
        hash: Hash128([n; 16]),
        seen: Seen { first_seen, check: 1, status: Status::Done },
        last: Some(([n; 12], first_seen - 5)),
    }
}

fn apply(store: &mut RocksStore, entries: Vec<Entry>, cursor: &mut Cursor, stream_time: i64) {
    cursor.stream_time = stream_time;
    cursor.cover(&entries);
    cursor.expire();
    let mut tallies = Tallies::default();
    tallies.set("s", Place::Clean, 7);
    let changes = Changes { entries, tallies, ..Changes::default() };
    store.apply(&changes, cursor).expect("a healthy disk");
}

#[test]
fn what_was_applied_is_there_after_reopening_and_expired_buckets_are_gone() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut stores = RocksStores::new(directory.path().to_owned());
    let start = 1_700_000_000_000;
    let mut cursor = Cursor { txn: 3, ..Cursor::default() };
    let old = entry(1, start);
    let young = entry(2, start + 3 * DAY);
    let mut store = stores.open(0).expect("a new store");
    assert_eq!(store.cursor().expect("readable"), None);
    apply(&mut store, vec![old], &mut cursor, start);
    apply(&mut store, vec![young], &mut cursor, start + 3 * DAY);
    drop(store);

    let mut store = stores.open(0).expect("the same store");
    assert_eq!(store.cursor().expect("readable"), Some(cursor.clone()));
    assert_eq!(store.tallies().expect("readable").get("s", Place::Clean), 7);
    let bucket = |entry: &Entry| keys::bucket_of(entry.class, entry.seen.first_seen);
    let seen = |store: &RocksStore, entry: &Entry| {
        store.seen(entry.class, bucket(entry), entry.slot, entry.hash).expect("readable")
    };
    assert_eq!(seen(&store, &old), Some(old.seen));
    apply(&mut store, vec![], &mut cursor, start + 6 * DAY);
    assert_eq!(seen(&store, &old), None, "its bucket left the window");
    assert_eq!(seen(&store, &young), Some(young.seen));
    let last = store.last(young.class, bucket(&young), young.slot, [2; 12]).expect("readable");
    assert_eq!(last.map(|last| last.occurred_at), Some(young.seen.first_seen - 5));
}

#[test]
fn what_waited_until_its_bucket_was_over_is_not_written() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut stores = RocksStores::new(directory.path().to_owned());
    let mut store = stores.open(0).expect("a new store");
    let start = 100 * 4 * DAY;
    let (old, young) = (entry(1, start), entry(2, start + 6 * DAY));
    apply(&mut store, vec![old, young], &mut Cursor::default(), start + 6 * DAY);
    let seen = |entry: &Entry| {
        let bucket = keys::bucket_of(entry.class, entry.seen.first_seen);
        store.seen(entry.class, bucket, entry.slot, entry.hash).expect("readable")
    };
    assert_eq!((seen(&old), seen(&young)), (None, Some(young.seen)));
}

#[test]
fn what_waits_and_what_is_marked_is_found_again() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut stores = RocksStores::new(directory.path().to_owned());
    let mut store = stores.open(0).expect("a new store");
    let now = |is_there: bool| is_there.then(|| Waits { source: "s".to_owned(), detail: None });
    let change = |src, is_there| WaitChange { slot: 3, resource: [1; 12], src, now: now(is_there) };
    let dead = Status::Dead(DeadRef { offset: i64::MAX, generation: u64::MAX });
    let plain = Entry { class: keys::MARKS, window_class: keys::MARKS, last: None, ..entry(9, 100 * DAY) };
    // The longest value there is.
    let mark = Entry { seen: Seen { status: dead, ..plain.seen }, ..plain };
    let waits = vec![change(7, true), change(8, true), change(7, false)];
    let entries = vec![mark, entry(1, 100 * DAY)];
    let mut cursor = Cursor { stream_time: 100 * DAY, ..Cursor::default() };
    cursor.cover(&entries);
    store.apply(&Changes { entries, waits, ..Changes::default() }, &cursor).expect("a healthy disk");
    let gone = vec![change(9, false)];
    store.apply(&Changes { waits: gone, ..Changes::default() }, &cursor).expect("a healthy disk");
    assert_eq!(store.waits().expect("readable"), [change(8, true)]);
    assert_eq!(store.marks().expect("readable"), [mark]);
}

#[test]
fn a_store_that_could_not_be_read_is_broken_until_it_is_wiped() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut stores = RocksStores::new(directory.path().to_owned());
    let (mut cursor, entry) = (Cursor::default(), entry(1, 5 * DAY));
    let mut store = stores.open(4).expect("a new store");
    apply(&mut store, vec![entry], &mut cursor, 5 * DAY);
    drop(store);
    // One bit of what was seen; the cursor and the tallies stay as they are.
    let files = std::fs::read_dir(directory.path().join("4")).expect("a folder");
    let mut flipped = 0;
    for path in files.map(|file| file.expect("a file").path()).filter(|path| path.extension() == Some("sst".as_ref())) {
        let mut bytes = std::fs::read(&path).expect("readable");
        if bytes[..8].contains(&keys::SEEN) {
            bytes[12] ^= 1;
            std::fs::write(&path, bytes).expect("written");
            flipped += 1;
        }
    }
    assert_eq!(flipped, 1);

    // Another process: this one has the right block in its cache.
    drop(stores);
    let mut stores = RocksStores::new(directory.path().to_owned());
    let store = stores.open(4).expect("nothing is noticed yet");
    let bucket = keys::bucket_of(entry.class, entry.seen.first_seen);
    let read = store.seen(entry.class, bucket, entry.slot, entry.hash);
    assert!(matches!(read, Err(StateError::Broken { partition: 4, .. })), "{read:?}");
    drop(store);
    assert!(matches!(stores.open(4), Err(StateError::Broken { partition: 4, .. })), "or it would be met for ever");
    stores.wipe(4).expect("a healthy disk");
    assert_eq!(stores.open(4).expect("a new store").cursor().expect("readable"), None);
}

#[test]
fn a_second_owner_of_the_directory_is_told_so() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut stores = RocksStores::new(directory.path().to_owned());
    let _held = stores.open(0).expect("a new store");
    assert!(matches!(stores.open(0), Err(StateError::Locked { partition: 0 })));
}

#[test]
fn a_wiped_store_is_new_and_wiping_twice_is_fine() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut stores = RocksStores::new(directory.path().to_owned());
    let mut cursor = Cursor::default();
    let mut store = stores.open(4).expect("a new store");
    apply(&mut store, vec![entry(1, 5 * DAY)], &mut cursor, 5 * DAY);
    drop(store);
    stores.wipe(4).expect("a healthy disk");
    stores.wipe(4).expect("a healthy disk");
    assert_eq!(stores.open(4).expect("a new store").cursor().expect("readable"), None);
}

/// Waits until the filter of a store is whole.
fn tended(store: &mut RocksStore) {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    store.index().expect("readable");
    while !store.index.is_whole() || !store.index.is_idle() {
        assert!(std::time::Instant::now() < deadline, "the filter is never whole");
        std::thread::yield_now();
        store.index().expect("readable");
    }
}

/// Entries that have nothing in common with those of other numbers.
fn entries(numbers: std::ops::Range<u64>) -> Vec<Entry> {
    let entry = |number: u64| Entry {
        hash: schemas::identity::event_hash("s", &number.to_be_bytes()),
        last: None,
        ..entry(1, 5 * DAY)
    };
    numbers.map(entry).collect()
}

fn denied(store: &RocksStore, entries: &[Entry]) -> usize {
    entries.iter().filter(|entry| store.index.never_knew(filter_key(&entry.hash.0))).count()
}

#[test]
fn the_filter_of_a_store_that_was_there_before_is_filled_and_knows_what_was_written_meanwhile() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut stores = RocksStores::new(directory.path().to_owned());
    let mut cursor = Cursor::default();
    let mut store = stores.open(4).expect("a new store");
    assert!(store.index.is_whole(), "nothing is in it");
    apply(&mut store, entries(0..1000), &mut cursor, 5 * DAY);
    drop(store);
    let mut store = stores.open(4).expect("the same store");
    apply(&mut store, entries(1000..2000), &mut cursor, 5 * DAY);
    tended(&mut store);
    apply(&mut store, entries(2000..3000), &mut cursor, 5 * DAY);
    assert_eq!(denied(&store, &entries(0..3000)), 0);
    assert!(denied(&store, &entries(3000..4000)) > 900);
}

#[test]
fn a_filter_that_is_outgrown_is_filled_anew() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut stores = RocksStores::new(directory.path().to_owned());
    let mut store = stores.open(4).expect("a new store");
    let many = 3 * index::FEWEST_KEYS as u64;
    apply(&mut store, entries(0..many), &mut Cursor::default(), 5 * DAY);
    let unknown = entries(many..many + 1000);
    assert!(denied(&store, &unknown) < 900);
    tended(&mut store);
    assert!(denied(&store, &unknown) > 900);
    assert_eq!(denied(&store, &entries(0..many)), 0);
}

#[test]
fn one_filter_is_filled_at_a_time_and_a_store_that_is_closed_meanwhile_is_closed() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut stores = RocksStores::new(directory.path().to_owned());
    let mut store = stores.open(1).expect("a new store");
    apply(&mut store, entries(0..100_000), &mut Cursor::default(), 5 * DAY);
    drop(store);
    let other = stores.turn.take().expect("nobody has it");
    let mut store = stores.open(1).expect("the same store");
    store.index().expect("readable");
    assert!(store.index.is_idle(), "another one is being filled");
    drop(other);
    store.index().expect("readable");
    assert!(!store.index.is_idle());
    drop(store);
    let mut store = stores.open(1).expect("nobody holds it any more");
    tended(&mut store);
}

#[test]
fn a_large_filter_outlives_an_orderly_end_and_no_later_write() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut stores = RocksStores::new(directory.path().to_owned());
    let mut cursor = Cursor { txn: 7, ..Cursor::default() };
    // A filter takes some keys for known that are not, and does not count them.
    let many = index::WORTH_KEEPING as u64 * 101 / 100;
    let (all, unknown) = (entries(0..many), entries(many..many + 1000));
    let mut store = stores.open(4).expect("a new store");
    apply(&mut store, all.clone(), &mut cursor, 5 * DAY);
    // A write of the same transaction, and one of a build that knows of no filters.
    for (txn, is_ignorant) in [(7, false), (8, true)] {
        tended(&mut store);
        store.let_go().expect("a healthy disk");
        drop(store);
        store = stores.open(4).expect("the same store");
        assert!(store.index.is_whole() && store.index.is_idle(), "it was kept");
        assert_eq!(denied(&store, &all), 0);
        assert!(denied(&store, &unknown) > 900);
        if is_ignorant {
            store.index.removed();
        }
        cursor.txn = txn;
        apply(&mut store, entries(many..many + txn), &mut cursor, 5 * DAY);
        drop(store);
        store = stores.open(4).expect("the same store");
        assert!(!store.index.is_whole(), "it would know too little");
    }
}

#[test]
fn what_is_written_beside_us_is_there_when_it_says_so_and_when_the_store_is_closed() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut stores = RocksStores::new(directory.path().to_owned());
    let mut cursor = Cursor { txn: 1, stream_time: 5 * DAY, ..Cursor::default() };
    let some = entries(0..20_000);
    cursor.cover(&some);
    let changes = |entries: &[Entry]| Changes { entries: entries.to_vec(), ..Changes::default() };
    let found = |store: &RocksStore, entry: &Entry| {
        let bucket = keys::bucket_of(entry.class, entry.seen.first_seen);
        store.seen(entry.class, bucket, entry.slot, entry.hash).expect("readable").is_some()
    };
    let mut store = stores.open(4).expect("a new store");
    store.apply_beside(changes(&some), cursor.clone()).expect("a healthy disk");
    assert!(store.is_written(Duration::from_secs(60)).expect("a healthy disk"));
    assert!(some.iter().all(|entry| found(&store, entry)));

    let more = entries(20_000..40_000);
    cursor.txn = 2;
    store.apply_beside(changes(&more), cursor.clone()).expect("a healthy disk");
    drop(store);
    let mut store = stores.open(4).expect("nobody holds it any more");
    assert_eq!(store.cursor().expect("readable").map(|cursor| cursor.txn), Some(2));
    tended(&mut store);
    assert!(some.iter().chain(&more).all(|entry| found(&store, entry)));

    // A filter that began while it is being written could miss it.
    let last = entries(40_000..60_000);
    drop(store);
    let other = stores.turn.take().expect("nobody has it");
    let mut store = stores.open(4).expect("the same store");
    drop(other);
    store.apply_beside(changes(&last), cursor.clone()).expect("a healthy disk");
    store.index().expect("readable");
    assert!(store.index.is_idle());
    assert!(store.is_written(Duration::from_secs(60)).expect("a healthy disk"));
    tended(&mut store);
    assert_eq!(denied(&store, &last), 0);

    std::fs::remove_dir_all(directory.path().join("4").join(WORKSHOP)).expect("a folder");
    store.apply_beside(changes(&last), cursor).expect("nothing is noticed yet");
    let written = store.is_written(Duration::from_secs(60));
    assert!(matches!(written, Err(StateError::Broken { doing: "write", partition: 4, .. })), "{written:?}");
}

#[test]
fn what_the_machine_lacks_is_no_damage_of_the_files() {
    let of = |detail: &str| opening_failed(3, detail.to_owned());
    for detail in ["IO error: No space left on device: While open a file", "Too many open files (os error 24)"] {
        assert!(matches!(of(detail), StateError::Unopened { partition: 3, .. }), "{detail}");
    }
    assert!(matches!(of("Corruption: checksum mismatch"), StateError::Broken { .. }));
}
