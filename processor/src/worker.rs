//! One worker: performs the life cycle's actions over a log and stores, and tells the life cycle what happened.
//!
//! Everything that must survive a crash is in the log; everything here may vanish at any instant. The same code
//! runs over librdkafka and RocksDB in production and over memory in the model test.

use std::collections::BTreeMap;

use crate::batch::Batch;
use crate::books::Tallies;
use crate::emit::Emitter;
use crate::lifecycle::{Action, Ending, Event, Lifecycle, Progress, Stage};
use crate::log::{Acks, Bounds, Fault, Log, Polled};
use crate::state::{StateError, Store, Stores};
use crate::takeover::{Opening, Takeover};
use crate::task::{Count, Shared, TakeError, Task};

/// Memory reserved for a batch at most; one of larger bounds grows.
const BATCH_BYTES: usize = 40 * 1024 * 1024;
/// Committed changes wait this long for their store at most, in milliseconds, while their partition has events.
const KEPT_MS: i64 = 60_000;

/// How a worker is told of things that happen to it; production turns them into logs and metrics.
pub trait Observer {
    /// A partition changed its stage.
    fn stage(&mut self, partition: i32, stage: Option<Stage>);
    /// A partition can't go on, or waits.
    fn trouble(&mut self, partition: i32, is_final: bool, message: &str);
    /// A fault was survived.
    fn fault(&mut self, fault: &Fault);
    /// A partition's state was taken over.
    fn taken_over(&mut self, partition: i32, opening: Opening, torn: u64);
    /// A transaction was committed and applied.
    fn committed(&mut self, partition: i32, tallies: &Tallies, counts: Vec<Count>);
}

/// A worker over a log and stores.
#[derive(Debug)]
pub struct Worker<L, S: Stores, O> {
    log: L,
    stores: S,
    observer: O,
    shared: Shared,
    bounds: Bounds,
    owner: String,
    life: Lifecycle,
    batch: Batch,
    emitter: Emitter,
    acks: Acks,
    takeovers: BTreeMap<i32, Takeover<S::Store>>,
    tasks: BTreeMap<i32, Task<S::Store>>,
    held: Vec<i32>,
    /// Records this process handled alone, by partition: it is alive, whatever came of it.
    marked: BTreeMap<i32, i64>,
    /// Partitions that wait until such a record has been handled.
    aside: Vec<i32>,
    stages: BTreeMap<i32, Stage>,
}

impl<L: Log, S: Stores, O: Observer> Worker<L, S, O> {
    /// A worker that has done nothing yet.
    pub fn new(log: L, stores: S, observer: O, shared: Shared, bounds: Bounds, owner: String) -> Self {
        Self {
            log,
            stores,
            observer,
            shared,
            bounds,
            owner,
            life: Lifecycle::new(),
            batch: Batch::with_capacity(bounds.bytes.min(BATCH_BYTES)),
            emitter: Emitter::default(),
            acks: Acks::new(),
            takeovers: BTreeMap::new(),
            tasks: BTreeMap::new(),
            held: Vec::new(),
            marked: BTreeMap::new(),
            aside: Vec::new(),
            stages: BTreeMap::new(),
        }
    }

    /// Performs the current action. `Some` when the worker has ended.
    pub fn turn(&mut self, is_stopping: bool) -> Option<Ending> {
        let action = self.life.current().clone();
        if let Action::Exit(ending) = action {
            for (partition, task) in &mut self.tasks {
                write(task, *partition, &mut self.observer);
            }
            return Some(ending);
        }
        // Only between transactions: what is open is finished first.
        let may_stop = match action {
            Action::Recycle
            | Action::Collect { .. }
            | Action::ReadPositions(_)
            | Action::Fence(_)
            | Action::Restore(_)
            | Action::Start(_)
            | Action::Resume(_) => !self.tasks.values().any(Task::is_marked),
            Action::Mark(_)
            | Action::Begin(_)
            | Action::Produce(_)
            | Action::SendOffsets(_)
            | Action::Commit(_)
            | Action::Apply(_)
            | Action::Forget(_)
            | Action::Exit(_) => false,
        };
        let event = if is_stopping && may_stop { Event::StopRequested } else { self.perform(action) };
        self.life.step(event);
        self.report_stages();
        None
    }

    /// The action the next turn performs.
    pub fn current(&self) -> &Action {
        self.life.current()
    }

    /// Whether every assigned partition runs.
    pub fn is_ready(&self) -> bool {
        self.life.is_ready()
    }

    /// Whom it reports to.
    pub fn observer(&self) -> &O {
        &self.observer
    }

    /// The log it works on.
    pub fn log(&self) -> &L {
        &self.log
    }

    fn perform(&mut self, action: Action) -> Event {
        let done = match action {
            Action::Recycle => self.log.recycle().map(|()| Event::Recycled),
            Action::Collect { is_patient } => self.collect(is_patient),
            Action::ReadPositions(parts) => self.read_positions(&parts),
            Action::Fence(parts) => self.fence(&parts),
            Action::Restore(partition) => self.restore(partition),
            Action::Start(partition) => self.start(partition),
            Action::Mark(partition) => self.mark(partition),
            Action::Begin(_) => self.log.begin().map(|()| Event::Begun),
            Action::Produce(parts) => self.produce(&parts),
            Action::SendOffsets(parts) => self.send_offsets(&parts),
            Action::Commit(_) => self.log.commit().map(|is_clean| Event::Committed { is_clean }),
            Action::Apply(parts) => Ok(self.apply(&parts)),
            Action::Resume(parts) => self.resume(&parts),
            Action::Forget(parts) => Ok(self.forget(&parts)),
            Action::Exit(_) => Ok(Event::Closed),
        };
        done.unwrap_or_else(|fault| {
            self.observer.fault(&fault);
            match fault {
                Fault::Unsure { .. } => Event::Failed,
                Fault::Fenced { .. } => Event::Usurped,
            }
        })
    }

    fn collect(&mut self, is_patient: bool) -> Result<Event, Fault> {
        let wait_ms = if is_patient { self.bounds.wait_ms } else { 1 };
        self.batch.clear();
        let mut polled = self.log.collect(&mut self.batch, Bounds { wait_ms, ..self.bounds })?;
        self.bring_back(&mut polled);
        self.batch.remove(&polled.revoked);
        if let Some(suspect) = self.suspect() {
            return Ok(self.single_out(suspect, polled));
        }
        let now_ms = self.log.now_ms();
        let mut batch = self.batch.partitions();
        batch
            .extend(self.tasks.iter().filter(|(_, task)| task.is_snapshot_due(now_ms)).map(|(partition, _)| partition));
        batch.retain(|partition| self.tasks.contains_key(partition));
        batch.sort_unstable();
        batch.dedup();
        Ok(Event::Polled { batch, revoked: polled.revoked, assigned: polled.assigned })
    }

    /// A partition that has to be handled with care: the one that is marked, before any other goes on, or the next
    /// one with records.
    fn suspect(&self) -> Option<i32> {
        let marked = self.tasks.iter().find(|(_, task)| task.is_marked()).map(|(partition, _)| *partition);
        let is_suspect =
            |partition: &i32| self.tasks.get(partition).is_some_and(|task| task.is_suspect(self.shared.suspicion));
        marked.or_else(|| self.batch.partitions().into_iter().find(is_suspect))
    }

    /// Puts everything back but the first record of a suspect, and that too if nobody knows yet that it comes next.
    /// Other partitions are set aside until it has been handled: none of them may keep its record from coming.
    fn single_out(&mut self, suspect: i32, mut polled: Polled) -> Event {
        let partitions = self.batch.partitions();
        let is_marked = self.tasks.get(&suspect).is_some_and(Task::is_marked);
        let first = self.batch.keep_first(suspect).filter(|_| is_marked);
        if !is_marked {
            self.batch.clear();
        }
        for partition in partitions {
            let Some(task) = self.tasks.get(&partition) else { continue };
            let done = if partition == suspect {
                self.log.run(partition, first.map_or(task.next(), |offset| offset + 1))
            } else {
                self.aside.push(partition);
                self.log.pause(partition)
            };
            take_anew_if(done, partition, &mut polled, &mut self.observer);
        }
        self.batch.remove(&polled.revoked);
        if !is_marked && polled.revoked.is_empty() && polled.assigned.is_empty() {
            return Event::Suspected(suspect);
        }
        Event::Polled { batch: self.batch.partitions(), revoked: polled.revoked, assigned: polled.assigned }
    }

    /// Lets the partitions that were set aside go on, once no record is being handled alone.
    fn bring_back(&mut self, polled: &mut Polled) {
        if self.tasks.values().any(Task::is_marked) {
            return;
        }
        for partition in std::mem::take(&mut self.aside) {
            let is_running = self.life.partitions().get(&partition) == Some(&Stage::Running);
            if let Some(task) = self.tasks.get(&partition).filter(|_| is_running) {
                let done = self.log.run(partition, task.next());
                take_anew_if(done, partition, polled, &mut self.observer);
            }
        }
    }

    fn mark(&mut self, partition: i32) -> Result<Event, Fault> {
        let Some(task) = self.tasks.get_mut(&partition) else { return Ok(Event::Failed) };
        self.log.begin()?;
        self.log.send_offsets(&[task.mark()])?;
        let is_clean = self.log.commit()?;
        task.marked();
        self.marked.insert(partition, task.next());
        Ok(Event::Marked { is_clean })
    }

    fn read_positions(&mut self, parts: &[i32]) -> Result<Event, Fault> {
        let mut known = Vec::new();
        let mut halted = Vec::new();
        for (partition, stored) in self.log.positions(parts)? {
            match Takeover::begin(&mut self.log, partition, stored, self.marked.get(&partition).copied())? {
                Ok(takeover) => {
                    self.takeovers.insert(partition, takeover);
                    known.push(partition);
                }
                Err(lost) => {
                    self.observer.trouble(partition, true, &lost.to_string());
                    halted.push(partition);
                }
            }
        }
        Ok(Event::Positioned { known, halted })
    }

    fn fence(&mut self, parts: &[i32]) -> Result<Event, Fault> {
        self.log.begin()?;
        for partition in parts {
            if let Some(takeover) = self.takeovers.get_mut(partition) {
                takeover.write_barrier(&mut self.log, &self.emitter, &self.owner)?;
            }
        }
        self.log.settle()?;
        let offsets: Vec<_> =
            parts.iter().filter_map(|partition| self.takeovers.get(partition).map(Takeover::offsets)).collect();
        self.log.send_offsets(&offsets)?;
        self.log.commit().map(|is_clean| Event::Fenced { is_clean })
    }

    fn restore(&mut self, partition: i32) -> Result<Event, Fault> {
        let Some(takeover) = self.takeovers.get_mut(&partition) else {
            return Ok(Event::Failed);
        };
        let progress = match takeover.restore_slice(&mut self.log, &mut self.stores)? {
            Ok(progress) => progress,
            Err(error) => {
                self.observer.trouble(partition, true, &error.to_string());
                Progress::Lost
            }
        };
        Ok(Event::RestoreSlice { partition, progress })
    }

    fn start(&mut self, partition: i32) -> Result<Event, Fault> {
        let Some(takeover) = self.takeovers.remove(&partition) else {
            return Ok(Event::Failed);
        };
        let opening = takeover.opening();
        let (task, torn) = match takeover.finish(&mut self.log)? {
            Ok(done) => done,
            Err(error) => {
                self.observer.trouble(partition, false, &error.to_string());
                return Ok(Event::Failed);
            }
        };
        self.log.run(partition, task.next())?;
        self.observer.taken_over(partition, opening, torn);
        self.observer.committed(partition, task.tallies(), Vec::new());
        self.tasks.insert(partition, task);
        Ok(Event::Started(partition))
    }

    fn produce(&mut self, parts: &[i32]) -> Result<Event, Fault> {
        let Self { log, batch, tasks, shared, emitter, observer, .. } = self;
        let now_ms = log.now_ms();
        self.held.clear();
        for (input, stored) in batch.iter() {
            if self.held.contains(&input.partition) {
                continue;
            }
            let Some(task) = tasks.get_mut(&input.partition) else { continue };
            let taken = task.take(&input, stored, shared, now_ms, emitter, &mut |record| log.produce(record));
            match taken {
                Ok(()) => {}
                Err(TakeError::Wait(message)) => {
                    observer.trouble(input.partition, false, &message);
                    task.acquit();
                    self.held.push(input.partition);
                }
                Err(TakeError::Fault(fault)) => return Err(fault),
                Err(TakeError::State(error)) => return Err(unsure("decide", &error)),
            }
        }
        for partition in parts {
            if let Some(task) = tasks.get_mut(partition) {
                task.send_delta(now_ms, emitter, &mut |record| log.produce(record))?;
            }
        }
        self.acks = log.settle()?;
        Ok(Event::Produced { held: self.held.clone() })
    }

    fn send_offsets(&mut self, parts: &[i32]) -> Result<Event, Fault> {
        let mut offsets = Vec::with_capacity(parts.len());
        for partition in parts {
            if let Some(task) = self.tasks.get_mut(partition).filter(|task| task.is_touched()) {
                offsets.push(task.offsets(&self.acks));
            }
        }
        if !offsets.is_empty() {
            self.log.send_offsets(&offsets)?;
        }
        Ok(Event::OffsetsSent)
    }

    fn apply(&mut self, parts: &[i32]) -> Event {
        let now_ms = self.log.now_ms();
        for partition in parts {
            let Some(task) = self.tasks.get_mut(partition).filter(|task| task.is_touched()) else { continue };
            let counts = task.settled(now_ms);
            self.observer.committed(*partition, task.tallies(), counts);
        }
        let distrusted = self.write_stores(now_ms);
        for partition in &self.held {
            if let Err(fault) = self.log.pause(*partition) {
                self.observer.fault(&fault);
            }
        }
        Event::Applied { distrusted }
    }

    /// Writes stores while too much waits for them, fullest first, and one whose changes waited for long. One at a
    /// time, so that no transaction pays for all of them.
    fn write_stores(&mut self, now_ms: i64) -> Vec<i32> {
        let mut distrusted = Vec::new();
        let mut waiting: usize = self.tasks.values().map(|task| task.waiting().0).sum();
        while waiting > self.bounds.kept {
            let Some((partition, task)) = self.tasks.iter_mut().max_by_key(|(_, task)| task.waiting().0) else { break };
            let (partition, written) = (*partition, task.waiting().0);
            if !write(task, partition, &mut self.observer) {
                distrusted.push(partition);
            }
            waiting = waiting.saturating_sub(written.max(1));
        }
        let oldest = self.tasks.iter_mut().filter_map(|(partition, task)| Some((task.waiting().1?, *partition, task)));
        if let Some((since, partition, task)) = oldest.min_by_key(|(since, ..)| *since)
            && since.saturating_add(KEPT_MS) <= now_ms
            && !write(task, partition, &mut self.observer)
        {
            distrusted.push(partition);
        }
        // One index at a time. One that fails stays as it is: a store that can't be read says so soon enough.
        for task in self.tasks.values_mut() {
            if task.index().unwrap_or_default() {
                break;
            }
        }
        distrusted
    }

    fn resume(&mut self, parts: &[i32]) -> Result<Event, Fault> {
        for partition in parts {
            if let Some(task) = self.tasks.get(partition) {
                self.log.run(*partition, task.next())?;
            }
        }
        Ok(Event::Resumed)
    }

    fn forget(&mut self, parts: &[i32]) -> Event {
        for partition in parts {
            // What waits is committed, whatever happened since. A later takeover has less to read again.
            if let Some(mut task) = self.tasks.remove(partition) {
                write(&mut task, *partition, &mut self.observer);
            }
            self.takeovers.remove(partition);
            // It may have been revoked already; then there is nothing to pause.
            if self.life.partitions().contains_key(partition)
                && let Err(fault) = self.log.pause(*partition)
            {
                self.observer.fault(&fault);
            }
        }
        Event::Closed
    }

    fn report_stages(&mut self) {
        if self.stages == *self.life.partitions() {
            return;
        }
        for (partition, stage) in self.life.partitions() {
            if self.stages.get(partition) != Some(stage) {
                self.observer.stage(*partition, Some(*stage));
            }
        }
        for partition in self.stages.keys() {
            if !self.life.partitions().contains_key(partition) {
                self.observer.stage(*partition, None);
            }
        }
        self.stages.clone_from(self.life.partitions());
    }
}

/// A partition that could not be put back is taken over anew, or its records would be left out.
fn take_anew_if(done: Result<(), Fault>, partition: i32, polled: &mut Polled, observer: &mut impl Observer) {
    if let Err(fault) = done {
        observer.fault(&fault);
        polled.revoked.push(partition);
        polled.assigned.push(partition);
    }
}

/// `false`: the store can't be trusted any more.
fn write<S: Store>(task: &mut Task<S>, partition: i32, observer: &mut impl Observer) -> bool {
    task.write().inspect_err(|error| observer.trouble(partition, false, &error.to_string())).is_ok()
}

fn unsure(doing: &'static str, error: &StateError) -> Fault {
    Fault::Unsure { doing, detail: error.to_string() }
}
