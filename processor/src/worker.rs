//! One worker: performs the life cycle's actions over a log and stores, and tells the life cycle what happened.
//!
//! Everything that must survive a crash is in the log; everything here may vanish at any instant. The same code
//! runs over librdkafka and RocksDB in production and over memory in the model test.

use std::collections::{BTreeMap, BTreeSet};

use runtime::report::chain;

use crate::batch::Batch;
use crate::books::Tallies;
use crate::call::{Caller, NoCaller};
use crate::emit::Emitter;
use crate::lifecycle::{Action, Ending, Event, Lifecycle, Progress, Stage};
use crate::log::{Acks, Bounds, Fault, Log};
use crate::position::Alone;
use crate::state::{StateError, Stores};
use crate::takeover::{self, Evidence, Opening, Takeover, TakeoverError};
use crate::task::{Count, Means, Shared, TakeError, Task};

mod errands;
mod letters;
mod lookback;
mod stages;
mod suspects;

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
    /// Of two numbers the first is that of the last transaction, the second that of the last one that the group
    /// knows. If what it wrote is there, the offset is committed again, else the partition is taken over anew.
    fn behind(&mut self, partition: i32, numbers: (u64, u64), is_there: bool);
    /// A local store is of no use, and why: it is removed and built anew.
    fn distrusted(&mut self, _partition: i32, _why: &str) {}
    /// Whether the group knows our last commits could not be asked; it is asked again soon.
    fn not_looked(&mut self, _fault: &Fault) {}
    /// A transaction was committed and applied.
    fn committed(&mut self, partition: i32, tallies: &Tallies, counts: Vec<Count>);
    /// How many resources have events that wait, and when the next is due.
    fn waiting(&mut self, _partition: i32, _resources: usize, _next_due: Option<i64>) {}
    /// How many dead letters are open, and when the oldest of them died, as far as it is known.
    fn letters(&mut self, _partition: i32, _dead: u64, _since: Option<i64>) {}
}

/// A worker over a log and stores.
#[derive(Debug)]
pub struct Worker<L, S: Stores, O> {
    /// Dropped before the log, for it holds on to the client that its records came from.
    batch: Batch,
    log: L,
    caller: Box<dyn Caller>,
    /// Calls that were made so far.
    calls: u64,
    stores: S,
    observer: O,
    shared: Shared,
    bounds: Bounds,
    owner: String,
    life: Lifecycle,
    emitter: Emitter,
    acks: Acks,
    takeovers: BTreeMap<i32, Takeover<S::Store>>,
    tasks: BTreeMap<i32, Task<S::Store>>,
    held: Vec<i32>,
    /// What this process handled alone, by partition: it is alive, whatever came of it.
    marked: BTreeMap<i32, (Alone, i64)>,
    /// Partitions that wait until such a record has been handled.
    aside: Vec<i32>,
    /// When a partition to be handled with care was last looked for.
    suspected_ms: i64,
    stages: BTreeMap<i32, Stage>,
    letters: letters::Watch,
    next_look_ms: i64,
}

impl<L: Log, S: Stores, O: Observer> Worker<L, S, O> {
    /// A worker that has done nothing yet.
    pub fn new(log: L, stores: S, observer: O, shared: Shared, bounds: Bounds, owner: String) -> Self {
        Self {
            batch: Batch::default(),
            log,
            caller: Box::new(NoCaller::default()),
            calls: 0,
            stores,
            observer,
            shared,
            bounds,
            owner,
            life: Lifecycle::new(),
            emitter: Emitter::default(),
            acks: Acks::new(),
            takeovers: BTreeMap::new(),
            tasks: BTreeMap::new(),
            held: Vec::new(),
            marked: BTreeMap::new(),
            aside: Vec::new(),
            suspected_ms: 0,
            stages: BTreeMap::new(),
            letters: letters::Watch::default(),
            next_look_ms: 0,
        }
    }

    /// Who makes the calls that handlers want.
    pub fn set_caller(&mut self, caller: Box<dyn Caller>) {
        self.caller = caller;
    }

    /// Performs the current action. `Some` when the worker has ended.
    pub fn turn(&mut self, is_stopping: bool) -> Option<Ending> {
        let action = self.life.current().clone();
        if let Action::Exit(ending) = action {
            for (partition, task) in &mut self.tasks {
                reported(task.close(), *partition, &mut self.observer);
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

    /// How many events wait in the partitions that run, and how many errands are left.
    pub fn waiting(&self) -> usize {
        let now_ms = self.log.now_ms();
        self.tasks.values().map(|task| task.waiting().len() + usize::from(task.has_errands(now_ms))).sum()
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
            Action::Restore(parts) => self.restore(&parts),
            Action::Start(parts) => self.start(&parts),
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
        if self.takeovers.is_empty() {
            self.log.rest()?;
        }
        if let Some(missing) = self.look_back() {
            return Ok(Event::Unknown { missing });
        }
        let wait_ms = if is_patient { self.bounds.wait_ms } else { 1 };
        self.batch.clear();
        let mut polled = self.log.collect(&mut self.batch, Bounds { wait_ms, ..self.bounds })?;
        self.bring_back(&mut polled);
        self.batch.remove(&polled.revoked);
        self.run_errands();
        let now_ms = self.log.now_ms();
        self.suspected_ms = now_ms;
        if let Some(suspect) = self.suspect(now_ms) {
            return Ok(self.single_out(suspect, polled));
        }
        self.look_at_letters(now_ms);
        let mut batch = self.batch.partitions();
        let suspicion = self.shared.suspicion;
        let has_errands = |task: &Task<S::Store>| task.has_errands(now_ms) && !task.are_errands_suspect(suspicion);
        let has_more = |task: &Task<S::Store>| task.is_touched() || task.is_snapshot_due(now_ms) || has_errands(task);
        batch.extend(self.tasks.iter().filter(|(_, task)| has_more(task)).map(|(partition, _)| partition));
        batch.retain(|partition| self.tasks.contains_key(partition));
        batch.sort_unstable();
        batch.dedup();
        Ok(Event::Polled { batch, revoked: polled.revoked, assigned: polled.assigned })
    }

    fn read_positions(&mut self, parts: &[i32]) -> Result<Event, Fault> {
        let mut known = Vec::new();
        let mut halted = Vec::new();
        let positions = self.log.positions(parts)?;
        let ends = self.log.input_ends_of(parts)?;
        let until =
            |(partition, stored): &(i32, Option<_>)| Some((*partition, takeover::read_until(stored.as_ref()?)?));
        let newer = self.log.first_after(&Vec::from_iter(positions.iter().filter_map(until)))?;
        for (partition, stored) in positions {
            let Some(ends) = ends.get(&partition).copied() else { continue };
            let (newer, survived) = (newer.get(&partition).copied(), self.marked.get(&partition).copied());
            match Takeover::begin(&mut self.log, partition, Evidence { ends, newer, survived }, stored)? {
                Ok(takeover) => {
                    self.takeovers.insert(partition, takeover);
                    known.push(partition);
                }
                Err(lost) => {
                    self.observer.trouble(partition, true, &chain(&lost));
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

    fn restore(&mut self, parts: &[i32]) -> Result<Event, Fault> {
        let sliced = takeover::restore(&mut self.takeovers, parts, &mut self.log, &mut self.stores, self.bounds.kept)?;
        for partition in parts {
            if let Some(why) = self.takeovers.get_mut(partition).and_then(Takeover::take_distrust) {
                self.observer.distrusted(*partition, &why);
            }
        }
        let mut progress = Vec::with_capacity(sliced.len());
        for (partition, sliced) in sliced {
            let came_to = sliced.unwrap_or_else(|error| match error {
                // A full disk is emptied one day, and another worker of this process closes what it holds.
                TakeoverError::State(error) => {
                    self.observer.fault(&Fault::unsure("restore the state", &error));
                    Progress::Failed
                }
                TakeoverError::Restore(_) | TakeoverError::Truncated { .. } => {
                    self.observer.trouble(partition, true, &chain(&error));
                    Progress::Lost
                }
            });
            progress.push((partition, came_to));
        }
        Ok(Event::RestoreSlice(progress))
    }

    fn start(&mut self, parts: &[i32]) -> Result<Event, Fault> {
        let outputs: BTreeSet<_> =
            parts.iter().flat_map(|partition| takeover::outputs(&self.log, *partition)).collect();
        let ends = takeover::ends_of(&mut self.log, &Vec::from_iter(outputs))?;
        let mut tasks = Vec::with_capacity(parts.len());
        for partition in parts {
            let Some(takeover) = self.takeovers.remove(partition) else { continue };
            let opening = takeover.opening();
            let (task, torn) =
                match takeover.finish(&mut self.log, &ends, self.shared.handlers.retries.is_overtaking)? {
                    Ok(done) => done,
                    Err(error) => {
                        self.observer.trouble(*partition, false, &chain(&error));
                        continue;
                    }
                };
            tasks.push((*partition, task, opening, torn));
        }
        let first_tier = self.shared.handlers.retries.first_tier();
        self.log.run(&Vec::from_iter(tasks.iter().map(|(partition, task, ..)| (*partition, task.next()))))?;
        let commands = tasks.iter().map(|(partition, task, ..)| (*partition, task.commands_from(first_tier)));
        self.log.follow(&Vec::from_iter(commands))?;
        let started = tasks.iter().map(|(partition, ..)| *partition).collect();
        for (partition, task, opening, torn) in tasks {
            self.observer.taken_over(partition, opening, torn);
            self.observer.committed(partition, task.tallies(), Vec::new());
            self.observer.waiting(partition, task.waiting().resources(), task.waiting().next_timed());
            self.tasks.insert(partition, task);
            self.note_letters(partition, 0);
        }
        Ok(Event::Started(started))
    }

    fn produce(&mut self, parts: &[i32]) -> Result<Event, Fault> {
        let Self { log, batch, tasks, shared, emitter, observer, bounds, .. } = self;
        let now_ms = log.now_ms();
        self.held.clear();
        let held = &mut self.held;
        let mut left = bounds.events.saturating_sub(batch.len()).max(bounds.events / 4).max(1);
        let mut is_held = |partition: i32, taken: Result<(), TakeError>| -> Result<bool, Fault> {
            match taken {
                Ok(()) => Ok(false),
                Err(TakeError::Wait(message)) => {
                    observer.trouble(partition, false, &message);
                    held.push(partition);
                    Ok(true)
                }
                Err(TakeError::Fault(fault)) => Err(fault),
                Err(TakeError::State(error)) => Err(Fault::unsure("decide", &error)),
            }
        };
        let mut send = |record: &crate::emit::Record<'_>| log.produce(record);
        let mut means = Means { shared, now_ms, emitter, send: &mut send };
        // What waited goes before anything newer.
        for partition in parts {
            if let Some(task) = tasks.get_mut(partition)
                && is_held(*partition, task.take_turns(&mut left, &mut means))?
            {
                task.acquit();
            }
        }
        let mut stopped = Vec::new();
        batch.drain(&mut |input, originals| {
            if let Some(task) = tasks.get_mut(&input.partition).filter(|_| !stopped.contains(&input.partition))
                && is_held(input.partition, task.take(input, originals, &mut means))?
            {
                task.acquit();
                stopped.push(input.partition);
            }
            Ok(())
        })?;
        let tier = shared.handlers.retries.first_tier();
        for partition in parts {
            if let Some(task) = tasks.get_mut(partition) {
                is_held(*partition, task.take_commands(&mut left, tier, &mut means))?;
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
            let died = letters::died(&counts);
            self.observer.committed(*partition, task.tallies(), counts);
            let waiting = task.waiting();
            self.observer.waiting(*partition, waiting.resources(), waiting.next_timed());
            for (ticket, call) in task.take_calls(&mut self.calls) {
                self.caller.call(ticket, call);
            }
            self.note_letters(*partition, died);
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
        let mut waiting: usize = self.tasks.values().map(|task| task.unwritten().0).sum();
        while waiting > self.bounds.kept {
            let Some((partition, task)) = self.tasks.iter_mut().max_by_key(|(_, task)| task.unwritten().0) else {
                break;
            };
            let (partition, written) = (*partition, task.unwritten().0);
            if !reported(task.write(), partition, &mut self.observer) {
                distrusted.push(partition);
            }
            waiting = waiting.saturating_sub(written.max(1));
        }
        let oldest =
            self.tasks.iter_mut().filter_map(|(partition, task)| Some((task.unwritten().1?, *partition, task)));
        if let Some((since, partition, task)) = oldest.min_by_key(|(since, ..)| *since)
            && since.saturating_add(KEPT_MS) <= now_ms
            && !reported(task.write(), partition, &mut self.observer)
        {
            distrusted.push(partition);
        }
        for (partition, task) in &mut self.tasks {
            if !reported(task.index(), *partition, &mut self.observer) {
                distrusted.push(*partition);
            }
        }
        distrusted
    }

    fn resume(&mut self, parts: &[i32]) -> Result<Event, Fault> {
        let next = parts.iter().filter_map(|partition| Some((*partition, self.tasks.get(partition)?.next())));
        self.log.run(&Vec::from_iter(next))?;
        Ok(Event::Resumed)
    }

    fn forget(&mut self, parts: &[i32]) -> Event {
        for partition in parts {
            // What waits is committed, whatever happened since. A later takeover has less to read again.
            if let Some(mut task) = self.tasks.remove(partition) {
                reported(task.close(), *partition, &mut self.observer);
            }
            self.takeovers.remove(partition);
            self.forget_letters(*partition);
            self.log.unfollow(*partition);
            // It may have been revoked already; then there is nothing to pause.
            if self.life.partitions().contains_key(partition)
                && let Err(fault) = self.log.pause(*partition)
            {
                self.observer.fault(&fault);
            }
        }
        Event::Closed
    }
}

/// `false`: the store can't be trusted any more.
fn reported(done: Result<(), StateError>, partition: i32, observer: &mut impl Observer) -> bool {
    done.inspect_err(|error| observer.trouble(partition, false, &chain(error))).is_ok()
}
