//! The oldest open dead letter, among marks of every status, over a real store: in memory, written, and after a restart.

use std::sync::Arc;

use schemas::command::{Command, DeadId, Verb};
use schemas::verified_event::{EventKind, HttpHeaders, StaleMode};
use schemas::{ReasonCode, VerifiedEvent, identity, partition};
use tempfile::TempDir;

use crate::emit::Emitter;
use crate::log::{Heard, Loose};
use crate::position::Position;
use crate::state::rocks::{RocksStore, RocksStores};
use crate::state::{Changes, Store, Stores};
use crate::step::Input;
use crate::step::handle::{Answer, Handler, Handlers};
use crate::task::{Effects, Means, Restored, Shared, Suspicion, Task};

/// 2026, in the middle of a bucket of marks.
const BASE_MS: i64 = 1_795_000_000_000;
const DAY_MS: i64 = 24 * 60 * 60 * 1000;
const TIER: &str = "1s";

/// An event whose id begins with `bad` dies, one with `late` waits, and all others pass.
struct ById;

impl Handler for ById {
    fn name(&self) -> &str {
        "by id"
    }

    fn handle(&self, event: &VerifiedEvent<'_>) -> Answer {
        let (reason, message) = (ReasonCode::HandlerRejected, "by its id".to_owned());
        match event.event_id.split('-').next() {
            Some("bad") if event.body != b"mended" => Answer::Dead { reason, message },
            Some("late") => Answer::Retry { reason, message, after_ms: Some(DAY_MS.unsigned_abs()) },
            Some(_) | None => Answer::Emit,
        }
    }
}

/// One partition over a store on disk.
struct Scene {
    folder: TempDir,
    task: Option<Task<RocksStore>>,
    shared: Shared,
    emitter: Emitter,
    commands: i64,
    /// Whether the store is written, and opened again, after every step.
    is_restarting: bool,
}

impl Scene {
    fn new(is_restarting: bool) -> Self {
        let handlers = Handlers { own: vec![Box::new(ById)], ..Handlers::default() };
        let shared = Shared {
            handlers: Arc::new(handlers),
            input_topic: "verified-events".to_owned(),
            clean_partitions: 1,
            suspicion: Suspicion::default(),
        };
        let folder = tempfile::tempdir().expect("a folder");
        let (emitter, commands) = (Emitter::default(), 0);
        let mut scene = Self { folder, task: None, shared, emitter, commands, is_restarting };
        scene.task = Some(scene.open(Position::default()));
        scene
    }

    fn open(&self, position: Position) -> Task<RocksStore> {
        let store = RocksStores::new(self.folder.path().to_owned()).open(0).expect("nobody holds it");
        let cursor = store.cursor().expect("readable").unwrap_or_default();
        let restored = Restored { store, cursor, kept: Changes::default(), effects: Effects::default() };
        Task::new(0, position, restored, BASE_MS, false).expect("readable")
    }

    /// One transaction.
    fn commit(&mut self, now_ms: i64, what: impl FnOnce(&mut Task<RocksStore>, &mut Means<'_>)) {
        let mut task = self.task.take().expect("it is open");
        let mut send = |_: &crate::emit::Record<'_>| Ok(());
        let mut means = Means { shared: &self.shared, now_ms, emitter: &mut self.emitter, send: &mut send };
        what(&mut task, &mut means);
        task.send_delta(now_ms, &self.emitter, &mut |_| Ok(())).expect("sent");
        task.settled(now_ms);
        if self.is_restarting {
            task.write().expect("written");
            let position = task.committed.clone();
            drop(task);
            task = self.open(position);
        }
        self.task = Some(task);
    }

    /// Takes an event of a resource of its own, so long after the beginning.
    fn take(&mut self, offset: i64, at_ms: i64, id: &str, body: &str) {
        let now_ms = BASE_MS + at_ms;
        let (key, value) = record(id, body);
        self.commit(now_ms, |task, means| {
            let input = Input { partition: 0, offset, timestamp: now_ms, key: &key, value: &value };
            task.take(&input, &Vec::new, means).expect("taken");
        });
    }

    /// Carries out a command about the event of an offset, edited or not.
    fn command(&mut self, verb: Verb, offset: i64, id: &str, body: &str) {
        let (key, value) = record(id, body);
        let command = Command {
            verb,
            id: "a command",
            dead_id: DeadId { partition: 0, offset, generation: 0 },
            source: Some("alpha"),
            attempts: 1,
            first_failed_ms: BASE_MS,
            received_at_ms: BASE_MS,
            operator: "ann",
            note: "because",
            is_as_is: false,
            history: b"",
            originals: Vec::new(),
        };
        let headers = command.headers();
        let loose = Loose { partition: 0, offset: self.commands, timestamp: BASE_MS, key, value, headers };
        self.commands += 1;
        let now_ms = self.task.as_ref().expect("it is open").stream_time();
        self.commit(now_ms, |task, means| {
            task.hear(Heard::Command(loose), TIER);
            task.take_commands(&mut 1, TIER, means).expect("taken");
        });
    }

    /// How many are open, and how long after the beginning the oldest died.
    fn open_letters(&self) -> (u64, Option<i64>) {
        let task = self.task.as_ref().expect("it is open");
        (task.dead(), task.oldest_dead().expect("readable").map(|at| at - BASE_MS))
    }
}

fn record(id: &str, body: &str) -> (Vec<u8>, Vec<u8>) {
    let identity = identity::by_id(id);
    let mut value = Vec::new();
    VerifiedEvent {
        source: "alpha",
        preset: "github",
        event_id: id,
        event_type: "thing.created",
        identity: &identity,
        identity_signed: true,
        window_ms: 4 * DAY_MS,
        stale: StaleMode::Off,
        kind: EventKind::Other,
        occurred_at_ms: None,
        occurred_at_signed: false,
        signed_at_ms: None,
        received_at_ms: 1,
        content_type: "text/plain",
        assurance: 2,
        schema: None,
        defect: None,
        http_headers: HttpHeaders::default(),
        body: body.as_bytes(),
    }
    .encode(&mut value);
    (partition::resource_key("alpha", "thing", id).into_bytes(), value)
}

#[test]
fn the_oldest_open_letter_is_found_among_marks_of_every_status() {
    for is_restarting in [false, true] {
        let mut scene = Scene::new(is_restarting);
        assert_eq!(scene.open_letters(), (0, None));
        // Older than every letter, and marks as well: one that waits, and one that is given up at once.
        scene.take(0, 10, "late-1", "");
        scene.take(1, 20, "bad-0", "");
        scene.command(Verb::Discard, 1, "bad-0", "");
        assert_eq!(scene.open_letters(), (0, None), "neither is a letter any more");
        scene.take(2, 30, "bad-1", "");
        scene.take(3, 40, "bad-2", "");
        scene.take(4, 50, "good-1", "");
        scene.take(5, 60, "bad-3", "");
        scene.take(6, 70, "bad-4", "");
        assert_eq!(scene.open_letters(), (4, Some(30)), "restarting: {is_restarting}");

        // Ten days later their bucket is another one: what is resolved has a new mark, and the old one is still there.
        scene.take(7, 10 * DAY_MS, "good-2", "");
        scene.command(Verb::Discard, 2, "bad-1", "");
        assert_eq!(scene.open_letters(), (3, Some(40)), "after a discard");
        scene.command(Verb::Redrive, 3, "bad-2", "mended");
        assert_eq!(scene.open_letters(), (2, Some(60)), "after a redrive that succeeded");
        scene.take(8, 10 * DAY_MS + 10, "bad-3", "mended");
        assert_eq!(scene.open_letters(), (1, Some(70)), "after a redelivery that succeeded");
        // One that is redriven and dies again is as old as its last death.
        scene.command(Verb::Redrive, 6, "bad-4", "");
        assert_eq!(scene.open_letters(), (1, Some(10 * DAY_MS + 10)), "after a redrive that failed");
        scene.take(9, 10 * DAY_MS + 20, "bad-5", "");
        assert_eq!(scene.open_letters(), (2, Some(10 * DAY_MS + 10)));
    }
}
