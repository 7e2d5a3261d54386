//! A thread of a process that writes stores while their owner goes on: a restore reads on, and its neighbours work.

use std::path::PathBuf;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::sync::{Arc, OnceLock};
use std::thread::Builder;
use std::time::Duration;

use rocksdb::{DB, IngestExternalFileOptions, Options};

use super::files::{Workshop, Write};
use crate::state::{Changes, Cursor};

/// A write that somebody else does.
pub(super) struct Order {
    pub(super) db: Arc<DB>,
    pub(super) options: Arc<Options>,
    pub(super) workshop: PathBuf,
    pub(super) changes: Changes,
    pub(super) cursor: Cursor,
    pub(super) expired: Vec<(u8, u32, u32)>,
    pub(super) removes_filter: bool,
}

impl Order {
    fn perform(self) -> Result<(), rocksdb::Error> {
        let Self { db, options, workshop, changes, cursor, expired, removes_filter } = self;
        let write = Write { changes: &changes, cursor: &cursor, expired, removes_filter };
        ingest(&db, write.build(Workshop { folder: &workshop, options: &options })?)
    }
}

/// Takes files into a store, all of them or none.
pub(super) fn ingest(db: &DB, paths: Vec<PathBuf>) -> Result<(), rocksdb::Error> {
    let mut options = IngestExternalFileOptions::default();
    options.set_move_files(true);
    db.ingest_external_file_opts(&options, paths)
}

type Outcome = Result<(), rocksdb::Error>;
/// An order, and who wants to know what came of it.
type Orders = SyncSender<(Order, SyncSender<Outcome>)>;

/// Orders that wait for the thread at most; a store has one at a time.
const ORDERS: usize = 64;

/// The way to the thread, which begins with the first order.
#[derive(Clone, Default)]
pub(super) struct Writer(Arc<OnceLock<Orders>>);

/// A write that was ordered.
pub(super) struct Ordered(Receiver<Outcome>);

impl Writer {
    /// Orders a write. Without a thread it is done at once.
    pub(super) fn order(&self, order: Order) -> Ordered {
        let (done, outcome) = mpsc::sync_channel(1);
        let thread = self.0.get_or_init(|| {
            let (sender, orders) = mpsc::sync_channel::<(Order, SyncSender<Outcome>)>(ORDERS);
            let work = move || {
                for (order, done) in orders {
                    // The order holds the store open: it is over before anybody hears of it.
                    let outcome = order.perform();
                    // Whoever does not wait for it knows why.
                    drop(done.send(outcome));
                }
            };
            // Without a thread there is nobody to take orders, and sending fails.
            drop(Builder::new().name("store-writer".to_owned()).spawn(work));
            sender
        });
        if let Err(mpsc::SendError((order, done))) = thread.send((order, done)) {
            drop(done.send(order.perform()));
        }
        Ordered(outcome)
    }
}

impl Ordered {
    /// What came of it, if it is over within that time. Nothing came of it if the thread panicked.
    pub(super) fn outcome(&self, patience: Duration) -> Option<Option<Outcome>> {
        match self.0.recv_timeout(patience) {
            Ok(outcome) => Some(Some(outcome)),
            Err(RecvTimeoutError::Disconnected) => Some(None),
            Err(RecvTimeoutError::Timeout) => None,
        }
    }

    /// Waits for it.
    pub(super) fn wait(self) -> Option<Outcome> {
        self.0.recv().ok()
    }
}
