//! The real stores, with trouble.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::rc::{Rc, Weak};

use processor::books::Tallies;
use processor::changelog;
use processor::emit::Record;
use processor::state::rocks::{RocksStore, RocksStores};
use processor::state::wait::WaitChange;
use processor::state::{Changes, Cursor, Entry, Last, ResourceHash, Seen, StateError, Store, Stores};
use schemas::identity::Hash128;

use super::SharedTracker;

/// Stores that are open, by partition.
pub type Opened = Rc<RefCell<BTreeMap<i32, Weak<RefCell<RocksStore>>>>>;

/// Writes what a DELTA says into its store, before it is committed, which is wrong: a control.
pub(super) fn write_early(stores: &Opened, record: &Record<'_>) {
    let Ok(changelog::Record::Delta(delta)) = changelog::decode(record.value) else { return };
    let Some(store) = stores.borrow().get(&record.partition).and_then(Weak::upgrade) else { return };
    let mut store = store.borrow_mut();
    let Ok(Some(mut cursor)) = store.cursor() else { return };
    cursor.cover(&delta.changes.entries);
    let changes = Changes { entries: delta.changes.entries, ..Changes::default() };
    store.apply(&changes, &cursor).expect("a disk with room");
}

/// The real stores, with trouble.
pub struct TroubledStores {
    inner: RocksStores,
    tracker: SharedTracker,
    is_forgetful: bool,
    opened: Opened,
}

impl TroubledStores {
    /// Wraps stores. `is_forgetful`: the control of ids that live in memory only.
    pub fn new(inner: RocksStores, tracker: SharedTracker, is_forgetful: bool) -> Self {
        Self { inner, tracker, is_forgetful, opened: Opened::default() }
    }

    /// The stores that are open.
    pub fn opened(&self) -> Opened {
        Rc::clone(&self.opened)
    }
}

impl Stores for TroubledStores {
    type Store = TroubledStore;

    fn open(&mut self, partition: i32) -> Result<TroubledStore, StateError> {
        let inner = Rc::new(RefCell::new(self.inner.open(partition)?));
        self.opened.borrow_mut().insert(partition, Rc::downgrade(&inner));
        let memory = self.is_forgetful.then(HashMap::new);
        Ok(TroubledStore { inner, tracker: Rc::clone(&self.tracker), memory })
    }

    fn wipe(&mut self, partition: i32) -> Result<(), StateError> {
        self.inner.wipe(partition)
    }
}

/// A real store, with trouble.
pub struct TroubledStore {
    inner: Rc<RefCell<RocksStore>>,
    tracker: SharedTracker,
    memory: Option<HashMap<Hash128, Seen>>,
}

impl Store for TroubledStore {
    fn cursor(&self) -> Result<Option<Cursor>, StateError> {
        self.inner.borrow().cursor()
    }

    fn tallies(&self) -> Result<Tallies, StateError> {
        self.inner.borrow().tallies()
    }

    fn waits(&self) -> Result<Vec<WaitChange>, StateError> {
        self.inner.borrow().waits()
    }

    fn marks(&self) -> Result<Vec<Entry>, StateError> {
        self.inner.borrow().marks()
    }

    fn seen(&self, class: u8, bucket: u32, slot: u16, hash: Hash128) -> Result<Option<Seen>, StateError> {
        match &self.memory {
            Some(memory) => Ok(memory.get(&hash).copied()),
            None => self.inner.borrow().seen(class, bucket, slot, hash),
        }
    }

    fn last(&self, class: u8, bucket: u32, slot: u16, resource: ResourceHash) -> Result<Option<Last>, StateError> {
        self.inner.borrow().last(class, bucket, slot, resource)
    }

    fn apply(&mut self, changes: &Changes, cursor: &Cursor) -> Result<(), StateError> {
        self.tracker.borrow_mut().before("apply");
        if let Some(memory) = &mut self.memory {
            memory.extend(changes.entries.iter().map(|entry| (entry.hash, entry.seen)));
            let only_tallies = Changes { entries: Vec::new(), ..changes.clone() };
            self.inner.borrow_mut().apply(&only_tallies, cursor)?;
        } else {
            self.inner.borrow_mut().apply(changes, cursor)?;
        }
        self.tracker.borrow_mut().strike("apply", true);
        Ok(())
    }
}
