//! The real worker over the real Kafka and RocksDB, with one trouble at a chosen call: it dies, it falls asleep, or
//! the call's outcome is lost.
//!
//! What is wrapped is the door between the worker and the world (the traits `Log` and `Stores`), so every line that
//! decides is the one that runs in production. The negative controls live here and nowhere else.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::process::Command;
use std::rc::Rc;

use processor::batch::Batch;
use processor::emit::{Out, Record};
use processor::kafka::KafkaLog;
use processor::lifecycle::Stage;
use processor::log::{Acks, Bounds, Ends, Fault, Found, Heard, Log, Loose, Polled, Scan, Scanned, Stored, Want};
use schemas::headers;

mod kept;
mod outside;
mod stores;

pub use kept::Kept;
pub use outside::Outside;
pub use stores::{Opened, TroubledStores};

use stores::write_early;

/// Set in the environment: events fail at first.
pub const FLAKY: &str = "WEIR_STEPPER_FLAKY";
/// Set in the environment: the worker goes on when everything is committed, until it is killed.
pub const STAYS: &str = "WEIR_STEPPER_STAYS";

/// What happens at the chosen call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    /// kill -9.
    Die,
    /// SIGSTOP; the test wakes it again.
    Sleep,
    /// The caller is told that the outcome is unknown.
    LoseOutcome,
    /// A commit is not made, and confirmed.
    Undo,
}

/// A deed, and when it is done: before or after the nth call of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    deed: Deed,
    is_after: bool,
    call: String,
    nth: u64,
}

impl std::str::FromStr for Trouble {
    type Err = String;

    /// `die-before:commit:3`, `sleep-after:produce:1`, `lose-after:commit:2`, `undo-before:commit:2`.
    fn from_str(text: &str) -> Result<Self, String> {
        let parts: Vec<&str> = text.split(':').collect();
        let [what, call, nth] = parts.as_slice() else {
            return Err(format!("{text} is not DEED-SIDE:CALL:N"));
        };
        let (deed, side) = what.split_once('-').ok_or_else(|| format!("{what} is not DEED-SIDE"))?;
        let deed = match deed {
            "die" => Deed::Die,
            "sleep" => Deed::Sleep,
            "lose" => Deed::LoseOutcome,
            "undo" => Deed::Undo,
            _ => return Err(format!("no deed {deed}")),
        };
        let nth = nth.parse().map_err(|_| format!("{nth} is no number"))?;
        Ok(Self { deed, is_after: side == "after", call: (*call).to_owned(), nth })
    }
}

/// A way to break the guarantee on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Control {
    /// None: the real thing.
    #[default]
    None,
    /// Offsets are committed at once, in a transaction of their own.
    OffsetsOutside,
    /// What a transaction decides is on disk before it commits.
    StateEarly,
    /// Seen ids live in memory only.
    DedupInMemory,
    /// The producer keeps its epoch, whatever happens.
    NoRecycling,
}

impl std::str::FromStr for Control {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "none" => Ok(Self::None),
            "offsets-outside" => Ok(Self::OffsetsOutside),
            "state-early" => Ok(Self::StateEarly),
            "dedup-in-memory" => Ok(Self::DedupInMemory),
            "no-recycling" => Ok(Self::NoRecycling),
            _ => Err(format!("no control {text}")),
        }
    }
}

/// What the wrapped log and stores share.
#[derive(Debug, Default)]
pub struct Tracker {
    counts: BTreeMap<&'static str, u64>,
    trouble: Option<Trouble>,
    idle: u32,
    is_done: bool,
    stages: BTreeMap<i32, Stage>,
    /// Whether a partition needs a person.
    pub is_halted: bool,
}

/// The tracker, shared within the one thread of a worker.
pub type SharedTracker = Rc<RefCell<Tracker>>;

impl Tracker {
    /// A tracker that makes one trouble, or none.
    pub fn shared(trouble: Option<Trouble>) -> SharedTracker {
        Rc::new(RefCell::new(Self { trouble, ..Self::default() }))
    }

    /// A partition's stage has changed; with nothing, it is not this worker's any more.
    pub fn note_stage(&mut self, partition: i32, stage: Option<Stage>) {
        match stage {
            Some(stage) => self.stages.insert(partition, stage),
            None => self.stages.remove(&partition),
        };
    }

    /// Whether every record of the input is committed, and this worker has taken over what is its own: before, it does
    /// not know what waits there.
    pub fn is_done(&self) -> bool {
        self.is_done && !self.stages.is_empty() && self.stages.values().all(|stage| *stage == Stage::Running)
    }

    /// How often each call was made.
    pub fn counts(&self) -> &BTreeMap<&'static str, u64> {
        &self.counts
    }

    /// Counts a call; whether its outcome is lost before it.
    fn before(&mut self, call: &'static str) -> bool {
        *self.counts.entry(call).or_default() += 1;
        self.strike(call, false)
    }

    /// Whether the trouble is this very record, wherever it is handled: `die-before:clean/2/5:1` is offset 5 of
    /// partition 2.
    fn is_poison(&self, record: &Record<'_>) -> bool {
        let mut headers = record.headers.iter();
        let src = headers
            .find(|(name, _)| *name == headers::WEIR_SRC)
            .map(|(_, value)| String::from_utf8_lossy(value.unwrap_or_default()));
        let wanted = self.trouble.as_ref().and_then(|trouble| trouble.call.strip_prefix("clean/"));
        wanted.is_some_and(|wanted| src.is_some_and(|src| src.replace(':', "/") == wanted))
    }

    /// Whether the next commit is the one that is not made.
    fn undoes_commit(&self) -> bool {
        let next = self.counts.get("commit").copied().unwrap_or_default() + 1;
        self.trouble.as_ref().is_some_and(|trouble| trouble.deed == Deed::Undo && trouble.nth == next)
    }

    fn strike(&mut self, call: &'static str, is_after: bool) -> bool {
        let n = self.counts.get(call).copied().unwrap_or_default();
        let Some(trouble) = &self.trouble else { return false };
        if trouble.call != call || trouble.nth != n || trouble.is_after != is_after {
            return false;
        }
        eprintln!("stepper: {trouble:?}");
        match trouble.deed {
            Deed::Die => signal("-KILL"),
            Deed::Sleep => signal("-STOP"),
            Deed::LoseOutcome | Deed::Undo => {}
        }
        trouble.deed == Deed::LoseOutcome
    }
}

fn signal(name: &str) {
    let pid = std::process::id().to_string();
    let sent = Command::new("kill").args([name, &pid]).status();
    assert!(sent.is_ok_and(|status| status.success()), "kill {name} works");
}

/// The real log, with trouble.
pub struct TroubledLog {
    inner: KafkaLog,
    tracker: SharedTracker,
    outside: Option<Outside>,
    early: Option<Opened>,
    kept: Option<Rc<RefCell<Kept>>>,
}

impl TroubledLog {
    /// Wraps a log. `outside`: the control of offsets outside of the transaction.
    pub fn new(inner: KafkaLog, tracker: SharedTracker, outside: Option<Outside>) -> Self {
        Self { inner, tracker, outside, early: None, kept: None }
    }

    /// The control of state that is on disk before its transaction commits.
    pub fn write_early(&mut self, stores: Opened) {
        self.early = Some(stores);
    }

    /// The control of a producer that keeps its epoch.
    pub fn keep(&mut self, producer: Kept) {
        self.kept = Some(Rc::new(RefCell::new(producer)));
    }

    fn around<T>(
        &mut self,
        call: &'static str,
        perform: impl FnOnce(&mut KafkaLog) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        let lost = Fault::Unsure { doing: call, detail: "the outcome was lost on purpose".to_owned() };
        if self.tracker.borrow_mut().before(call) {
            return Err(lost);
        }
        let done = perform(&mut self.inner);
        if self.tracker.borrow_mut().strike(call, true) { Err(lost) } else { done }
    }

    /// After a few polls without records: whether everything is committed.
    fn look_whether_done(&mut self, is_empty: bool) -> Result<(), Fault> {
        let idle = if is_empty { self.tracker.borrow().idle + 1 } else { 0 };
        self.tracker.borrow_mut().idle = idle;
        if idle < 3 {
            return Ok(());
        }
        let partitions: Vec<i32> = (0..self.inner.input_partitions()).collect();
        let mut is_done = true;
        for (partition, stored) in self.inner.positions(&partitions)? {
            let end = self.inner.input_ends(partition)?.high;
            is_done &= stored.is_some_and(|stored| stored.next == end);
        }
        self.tracker.borrow_mut().is_done = is_done;
        Ok(())
    }
}

impl Log for TroubledLog {
    fn collect(&mut self, batch: &mut Batch, bounds: Bounds) -> Result<Polled, Fault> {
        let polled = self.around("collect", |log| log.collect(batch, bounds))?;
        // It looks again the next time. A fault here would lose what was polled: partitions that nobody would take over.
        drop(self.look_whether_done(batch.is_empty()));
        Ok(polled)
    }

    fn run(&mut self, next: &[(i32, i64)]) -> Result<(), Fault> {
        self.around("run", |log| log.run(next))
    }

    fn pause(&mut self, partition: i32) -> Result<(), Fault> {
        self.around("pause", |log| log.pause(partition))
    }

    fn follow(&mut self, from: &[(i32, i64)]) -> Result<(), Fault> {
        self.around("follow", |log| log.follow(from))
    }

    fn unfollow(&mut self, partition: i32) {
        self.inner.unfollow(partition);
    }

    fn heard(&mut self) -> Vec<Heard> {
        self.inner.heard()
    }

    fn want(&mut self, wants: Vec<Want>) {
        self.inner.want(wants);
    }

    fn fetched(&mut self) -> Vec<(Want, Option<Loose>)> {
        self.inner.fetched()
    }

    fn positions(&mut self, partitions: &[i32]) -> Result<Vec<(i32, Option<Stored>)>, Fault> {
        self.around("positions", |log| log.positions(partitions))
    }

    fn glance(&mut self, partitions: &[i32]) -> Result<Vec<(i32, Option<Stored>)>, Fault> {
        self.inner.glance(partitions)
    }

    fn input_ends(&mut self, partition: i32) -> Result<Ends, Fault> {
        self.around("input_ends", |log| log.input_ends(partition))
    }

    fn first_after(&mut self, times: &[(i32, i64)]) -> Result<BTreeMap<i32, i64>, Fault> {
        self.around("first_after", |log| log.first_after(times))
    }

    fn ends(&mut self, out: Out, partition: i32) -> Result<Ends, Fault> {
        self.around("ends", |log| log.ends(out, partition))
    }

    fn scan(
        &mut self,
        out: Out,
        partition: i32,
        from: i64,
        budget_ms: u64,
        each: &mut dyn FnMut(Found<'_>) -> ControlFlow<()>,
    ) -> Result<Scanned, Fault> {
        self.around("scan", |log| log.scan(out, partition, from, budget_ms, each))
    }

    fn input_ends_of(&mut self, partitions: &[i32]) -> Result<BTreeMap<i32, Ends>, Fault> {
        self.around("input_ends", |log| log.input_ends_of(partitions))
    }

    fn ends_of(&mut self, wanted: &[(Out, i32)]) -> Result<BTreeMap<(Out, i32), Ends>, Fault> {
        self.around("ends", |log| log.ends_of(wanted))
    }

    fn scan_all(
        &mut self,
        out: Out,
        from: &[(i32, i64)],
        budget_ms: u64,
        each: &mut dyn FnMut(i32, Found<'_>) -> Scan,
    ) -> Result<(), Fault> {
        self.around("scan", |log| log.scan_all(out, from, budget_ms, each))
    }

    fn rest(&mut self) -> Result<(), Fault> {
        self.inner.rest()
    }

    fn recycle(&mut self) -> Result<(), Fault> {
        if let Some(kept) = self.kept.clone() {
            return self.around("recycle", |_| kept.borrow_mut().recycle());
        }
        self.around("recycle", Log::recycle)
    }

    fn begin(&mut self) -> Result<(), Fault> {
        if let Some(kept) = self.kept.clone() {
            return self.around("begin", |log| kept.borrow_mut().begin(log));
        }
        self.around("begin", Log::begin)
    }

    fn produce(&mut self, record: &Record<'_>) -> Result<(), Fault> {
        if record.out == Out::Clean && self.tracker.borrow().is_poison(record) {
            signal("-KILL");
        }
        if let Some(stores) = self.early.as_ref().filter(|_| record.out == Out::Changelog) {
            write_early(stores, record);
        }
        if let Some(kept) = self.kept.clone() {
            return self.around("produce", |_| kept.borrow().produce(record));
        }
        self.around("produce", |log| log.produce(record))
    }

    fn settle(&mut self) -> Result<Acks, Fault> {
        if let Some(kept) = self.kept.clone() {
            return self.around("settle", |_| kept.borrow_mut().settle());
        }
        self.around("settle", Log::settle)
    }

    fn send_offsets(&mut self, offsets: &[(i32, i64, String)]) -> Result<(), Fault> {
        if let Some(kept) = self.kept.clone() {
            return self.around("send_offsets", |_| kept.borrow_mut().send_offsets(offsets));
        }
        if let Some(outside) = &self.outside {
            outside.commit(offsets);
            return self.around("send_offsets", |_| Ok(()));
        }
        self.around("send_offsets", |log| log.send_offsets(offsets))
    }

    fn commit(&mut self) -> Result<bool, Fault> {
        if let Some(kept) = self.kept.clone() {
            return self.around("commit", |_| kept.borrow_mut().commit());
        }
        if self.tracker.borrow().undoes_commit() {
            // Recycling is the abort.
            return self.around("commit", |log| log.recycle().map(|()| true));
        }
        self.around("commit", Log::commit)
    }

    fn clean_partitions(&self) -> i32 {
        self.inner.clean_partitions()
    }

    fn input_partitions(&self) -> i32 {
        self.inner.input_partitions()
    }

    fn now_ms(&self) -> i64 {
        self.inner.now_ms()
    }

    fn nonce(&mut self) -> u64 {
        self.inner.nonce()
    }
}
