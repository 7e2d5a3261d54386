//! What a snapshot repeats, and what a restore makes of it.

use std::sync::Arc;

use schemas::identity::Hash128;

use crate::books::Place;
use crate::changelog::{self, Record};
use crate::emit::Emitter;
use crate::log::Acks;
use crate::position::Position;
use crate::state::overlay::{Overlay, Reader};
use crate::state::rocks::RocksStores;
use crate::state::{Changes, Cursor, Entry, ResourceHash, Seen, Status, Store, Stores, keys};
use crate::step::Input;
use crate::step::handle::Handlers;
use crate::task::{CLOCK_AHEAD_MS, Effects, Means, Restored, Shared, Suspicion, TakeError, Task};

/// 2026, in the middle of a bucket of marks.
const BASE_MS: i64 = 1_795_000_000_000;
const RESOURCE: ResourceHash = [7; 12];

fn entry(class: u8, number: u8, occurred_at: i64) -> Entry {
    let seen = Seen { first_seen: BASE_MS + i64::from(number), check: 0, status: Status::Done };
    let last = Some((RESOURCE, occurred_at));
    Entry { class, window_class: keys::class_of(1), slot: 0, hash: Hash128([number; 16]), seen, last }
}

#[test]
fn a_snapshot_repeats_of_a_mark_that_it_was_seen_and_not_what_it_said_of_its_resource() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = RocksStores::new(folder.path().to_owned()).open(0).expect("nobody holds it");
    // An event that had waited, and then a newer snapshot of its resource; neither is in the store yet.
    let mark = entry(keys::MARKS, 1, 10);
    let mut kept = Changes { entries: vec![mark, entry(keys::class_of(1), 2, 20)], ..Changes::default() };
    kept.tallies.set("s", Place::Clean, 2);
    let position = Position { stream_time: BASE_MS + 2, ..Position::default() };
    let mut log = kept.clone();
    let restored = Restored { store, cursor: Cursor::default(), kept, effects: Effects::default() };
    let mut task = Task::new(0, position, restored, BASE_MS, false).expect("readable");
    let mut repeated = Vec::new();
    let mut send = |record: &crate::emit::Record<'_>| {
        if let Ok(Record::Delta(delta)) = changelog::decode(record.value) {
            repeated.extend(delta.changes.entries);
        }
        Ok(())
    };
    task.send_delta(BASE_MS, &Emitter::default(), &mut send).expect("sent");
    assert!(task.is_touched(), "a snapshot was due");
    assert_eq!(repeated.iter().map(|entry| (entry.class, entry.hash)).collect::<Vec<_>>(), [(keys::MARKS, mark.hash)]);

    // A restore reads one after the other.
    log.entries.extend(repeated);
    let (overlay, cursor) = (Overlay::new(log, BASE_MS), Cursor::default());
    let store = RocksStores::new(folder.path().join("empty")).open(0).expect("a new store");
    assert_eq!(store.cursor().expect("readable"), None);
    let reader = Reader { overlay: &overlay, store: &store, cursor: &cursor };
    let last = reader.last("s", keys::class_of(1), 0, RESOURCE, BASE_MS).expect("readable");
    assert_eq!(last.map(|last| last.occurred_at), Some(20));
}

#[test]
fn who_only_had_to_wait_is_acquitted_in_the_log_too() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = RocksStores::new(folder.path().to_owned()).open(0).expect("nobody holds it");
    let position = Position { attempts: 3, is_marked: true, snapshot_ms: BASE_MS, ..Position::default() };
    let restored = Restored { store, cursor: Cursor::default(), kept: Changes::default(), effects: Effects::default() };
    let mut task = Task::new(0, position, restored, BASE_MS, false).expect("readable");
    assert!(!task.is_touched());
    task.acquit();
    assert!(task.is_touched());
    task.send_delta(BASE_MS, &Emitter::default(), &mut |_| Ok(())).expect("sent");
    let (_, next, metadata) = task.offsets(&Acks::new());
    let committed = Position::parse(next, &metadata).expect("ours");
    assert_eq!((committed.attempts, committed.is_marked), (0, false));
    // Nothing more to say of it the next time.
    task.settled(BASE_MS);
    task.acquit();
    assert!(!task.is_touched());
}

#[test]
fn a_record_from_ahead_of_our_clock_waits_until_that_has_caught_up() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = RocksStores::new(folder.path().to_owned()).open(0).expect("nobody holds it");
    let restored = Restored { store, cursor: Cursor::default(), kept: Changes::default(), effects: Effects::default() };
    let mut task = Task::new(0, Position::default(), restored, BASE_MS, false).expect("readable");
    let shared = Shared {
        handlers: Arc::new(Handlers::default()),
        input_topic: "verified-events".to_owned(),
        clean_partitions: 1,
        suspicion: Suspicion::default(),
    };
    // What its value is makes no difference: the time decides first.
    let input = Input { partition: 0, offset: 0, timestamp: BASE_MS + CLOCK_AHEAD_MS + 1, key: b"k", value: b"v" };
    let mut take = |now_ms| {
        let mut emitter = Emitter::default();
        let mut means = Means { shared: &shared, now_ms, emitter: &mut emitter, send: &mut |_| Ok(()) };
        let taken = task.take(&input, &Vec::new, &mut means);
        (taken, task.position.next)
    };
    let (taken, next) = take(BASE_MS);
    assert!(matches!(&taken, Err(TakeError::Wait(why)) if why.contains("600 s ahead")), "{taken:?}");
    assert_eq!(next, 0);
    let (taken, next) = take(BASE_MS + 1);
    assert!(taken.is_ok() && next == 1, "{taken:?}");
}
