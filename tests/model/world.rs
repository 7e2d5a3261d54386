//! One simulated installation: processes over a cluster, and the chance that decides who acts next and what fails.
//!
//! Everything runs in one thread. A process that stands still inside of a call lets the others go on from there, so
//! any call of one can fall between any two actions of another.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::sync::Arc;

use processor::lifecycle::{Action, Ending};
use processor::log::Bounds;
use processor::task::{Shared, Suspicion};
use processor::worker::Worker;

use crate::client::MemoryLog;
use crate::cluster::Cluster;
use crate::controls::Control;
use crate::observer::Watcher;
use crate::oracle::{Harm, Reader, Violation};
use crate::plan::{Epochs, Mishap, Plan};
use crate::stores::{Disk, MemoryStores};
use crate::ward::{Phone, Ward};

/// The worker that runs in production, over this model.
pub type ModelWorker = Worker<MemoryLog, MemoryStores, Watcher>;

/// Payload of the panic by which a process dies, and what it takes with it.
pub struct Crash(pub Trouble);

/// A single trouble for the tests that put one at every point.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Trouble {
    /// kill -9.
    Crash,
    /// kill -9, and the end of what was written to the disk is lost.
    PowerCut,
    /// kill -9, and the disk is lost.
    DiskLost,
    /// The call fails; whether its effect took place depends on the side of the point.
    Fail,
    /// A commit that tears at its worst and fails.
    Tear,
    /// An EndTxn of an earlier transaction arrives, and nobody notices.
    LateEnd,
}

/// A process: one life of a worker.
pub struct Process {
    /// Its name: static member and `transactional.id`.
    pub slot: usize,
    /// Taken out while it acts.
    pub worker: Option<ModelWorker>,
    pub disk: Disk,
    pub is_asleep: bool,
    /// It is the one its supervisor started last under this name.
    pub is_current: bool,
    is_stopping: bool,
    /// It is in the middle of a turn.
    pub is_busy: bool,
}

/// An installation.
pub struct World {
    pub cluster: RefCell<Cluster>,
    pub plan: RefCell<Plan>,
    pub processes: RefCell<Vec<Process>>,
    pub control: Control,
    pub violation: RefCell<Option<Violation>>,
    pub torn: RefCell<u64>,
    /// Offsets that were found to be set back.
    pub behind: Cell<u64>,
    pub faults: RefCell<Vec<Mishap>>,
    pub points: RefCell<u64>,
    /// Troubles at chosen points.
    pub troubles: RefCell<BTreeMap<u64, Trouble>>,
    pub steps: RefCell<usize>,
    /// The lineage of each partition. Only a control looks at it.
    pub lineages: RefCell<BTreeMap<i32, u64>>,
    /// What an independent reader has seen so far.
    pub reader: RefCell<Reader>,
    /// Events with which something is wrong.
    pub ward: Arc<Ward>,
    /// The next commit is not made, and confirmed.
    pub undoes: Cell<bool>,
    /// One was not made.
    pub is_undone: Cell<bool>,
    trace: Option<RefCell<Vec<String>>>,
}

impl World {
    /// An installation in which nothing runs yet.
    pub fn new((plan, input): (Plan, weir_tests::history::Input), control: Control, is_traced: bool) -> Rc<Self> {
        let mut cluster = Cluster::new(input, plan.clean_partitions);
        cluster.is_careless = control == Control::CarelessBrokers;
        Rc::new(Self {
            cluster: RefCell::new(cluster),
            plan: RefCell::new(plan),
            processes: RefCell::default(),
            control,
            violation: RefCell::default(),
            torn: RefCell::default(),
            behind: Cell::default(),
            faults: RefCell::default(),
            points: RefCell::default(),
            troubles: RefCell::default(),
            steps: RefCell::default(),
            lineages: RefCell::default(),
            reader: RefCell::default(),
            ward: Arc::default(),
            undoes: Cell::default(),
            is_undone: Cell::default(),
            trace: is_traced.then(RefCell::default),
        })
    }

    /// Writes a line of the trace.
    pub fn say(&self, line: impl FnOnce() -> String) {
        if let Some(trace) = &self.trace {
            trace.borrow_mut().push(line());
        }
    }

    /// The lines of the trace.
    pub fn trace(&self) -> Vec<String> {
        self.trace.as_ref().map(|trace| trace.borrow().clone()).unwrap_or_default()
    }

    /// Notes what went wrong first.
    pub fn accuse(&self, harm: Harm, detail: String) {
        self.say(|| format!("VIOLATION {}: {detail}", harm.as_str()));
        self.violation.borrow_mut().get_or_insert(Violation { harm, detail });
    }

    /// A worker found that the group does not know its last commit. Only unnoticed trouble sets an offset back, and a
    /// commit is undone only where a test does it.
    pub fn note_behind(&self, is_there: bool) {
        self.behind.set(self.behind.get() + 1);
        let can_be = if is_there { self.plan.borrow().epochs == Epochs::WhenNoticed } else { self.is_undone.get() };
        if self.control == Control::None && !can_be {
            self.accuse(Harm::State, format!("a false alarm, there {is_there}"));
        }
    }

    /// Whether a fault happens now. It is written down.
    pub fn strikes(&self, fault: Mishap) -> bool {
        let does = self.plan.borrow_mut().strikes(fault);
        if does {
            self.faults.borrow_mut().push(fault);
            self.say(|| format!("fault: {fault:?}"));
        }
        does
    }

    /// Whether something happens that happens so often in a hundred.
    pub fn is_likely(&self, percent: u32) -> bool {
        self.plan.borrow_mut().is_likely(percent)
    }

    /// Starts a process; it takes the place of the one that ran under this name.
    pub fn start(self: &Rc<Self>, slot: usize, disk: Disk) -> usize {
        let me = self.processes.borrow().len();
        let log = MemoryLog::new(self, me, slot);
        let stores = MemoryStores::new(self, me, &disk);
        let shared = Shared {
            handlers: self.ward.handlers(self.plan.borrow().ills).into(),
            input_topic: "verified-events".to_owned(),
            clean_partitions: self.cluster.borrow().clean_partitions,
            // Nothing here is poison, however often a process dies.
            suspicion: Suspicion { attempts: self.plan.borrow().suspect_after, deaths: u32::MAX },
        };
        let bounds =
            Bounds { events: self.plan.borrow().batch, bytes: usize::MAX, wait_ms: 0, kept: self.plan.borrow().kept };
        let mut worker = Worker::new(log, stores, Watcher::new(self, me), shared, bounds, format!("{slot}#{me}"));
        worker.set_caller(Box::new(Phone::new(self.steps.borrow().wrapping_add(me))));
        let mut processes = self.processes.borrow_mut();
        for process in processes.iter_mut().filter(|process| process.slot == slot) {
            process.is_current = false;
        }
        let worker = Some(worker);
        processes.push(Process {
            slot,
            worker,
            disk,
            is_asleep: false,
            is_current: true,
            is_stopping: false,
            is_busy: false,
        });
        self.say(|| format!("{me}: started as {slot}"));
        me
    }

    /// One turn of a process. `false`: it is over.
    pub fn turn(self: &Rc<Self>, me: usize) -> bool {
        let (worker, is_stopping) = {
            let process = &mut self.processes.borrow_mut()[me];
            process.is_busy = process.worker.is_some();
            (process.worker.take(), process.is_stopping)
        };
        let Some(mut worker) = worker else { return false };
        if !matches!(worker.current(), Action::Collect { .. }) {
            self.say(|| format!("{me}: {:?}", worker.current()));
        }
        let turned = catch_unwind(AssertUnwindSafe(|| worker.turn(is_stopping)));
        self.processes.borrow_mut()[me].is_busy = false;
        match turned {
            Ok(None) => {
                self.processes.borrow_mut()[me].worker = Some(worker);
                return true;
            }
            Ok(Some(Ending::Halted)) => self.accuse(Harm::Halted, format!("process {me}")),
            Ok(Some(ending @ (Ending::Stopped | Ending::Usurped))) => {
                self.say(|| format!("{me}: {ending:?}"));
                if ending == Ending::Stopped && self.is_likely(50) {
                    let slot = self.processes.borrow()[me].slot;
                    self.cluster.borrow_mut().group.remove(slot);
                }
            }
            Err(cause) => match cause.downcast::<Crash>() {
                Ok(crash) => {
                    drop(worker);
                    self.lose(me, *crash);
                }
                Err(cause) => resume_unwind(cause),
            },
        }
        false
    }

    /// kill -9 between two calls.
    pub fn kill(&self, me: usize) {
        let worker = self.processes.borrow_mut()[me].worker.take();
        drop(worker);
        self.lose(me, Crash(Trouble::Crash));
    }

    /// What a crash does to the disk.
    fn lose(&self, me: usize, crash: Crash) {
        self.say(|| format!("{me}: crashed"));
        let disk = Rc::clone(&self.processes.borrow()[me].disk);
        if crash.0 == Trouble::PowerCut || self.strikes(Mishap::LostTail) {
            disk.borrow_mut().lose_tails(&mut self.plan.borrow_mut());
        }
        if crash.0 == Trouble::DiskLost || self.strikes(Mishap::Wiped) {
            disk.borrow_mut().clear();
        }
        if self.strikes(Mishap::Foreign) {
            disk.borrow_mut().become_foreign(&self.cluster.borrow().input);
        }
    }

    /// Processes that can act now.
    pub fn runnable(&self) -> Vec<usize> {
        let processes = self.processes.borrow();
        let can_act = |process: &Process| process.worker.is_some() && !process.is_asleep;
        (0..processes.len()).filter(|me| can_act(&processes[*me])).collect()
    }

    /// Whether a process waits for records with everything it has running.
    fn is_idle(process: &Process) -> bool {
        let Some(worker) = &process.worker else { return !process.is_current };
        matches!(worker.current(), Action::Collect { .. }) && worker.is_ready() && worker.waiting() == 0
    }

    /// Whether every record is committed.
    pub fn is_committed(&self) -> bool {
        let cluster = self.cluster.borrow();
        cluster.input.iter().all(|(partition, log)| {
            cluster.group.stored(*partition).is_some_and(|stored| stored.next == log.len() as i64)
        })
    }

    /// Whether a connection's trouble may go unnoticed, everything has arrived, and nobody has anything to do.
    pub fn is_at_rest(&self) -> bool {
        let cluster = self.cluster.borrow();
        let processes = self.processes.borrow();
        let assigned = |process: &Process| process.worker.as_ref().map_or(0, |worker| worker.log().assigned());
        self.plan.borrow().epochs == Epochs::WhenNoticed
            && processes.iter().map(assigned).sum::<usize>() == cluster.input.len()
            && cluster.input.iter().all(|(partition, log)| cluster.arrived[partition] == log.len())
            && cluster.network.is_empty()
            && processes.iter().all(|process| Self::is_idle(process) && Self::has_read_all(process))
    }

    fn has_read_all(process: &Process) -> bool {
        process.worker.as_ref().is_none_or(|worker| worker.log().has_read_all())
    }

    /// Whether every record is committed, and every process that lives has nothing to do.
    pub fn is_done(&self) -> bool {
        self.is_committed()
            && self.processes.borrow().iter().all(Self::is_idle)
            && (self.plan.borrow().ills.share == 0 || self.is_well())
    }

    /// Why it is not done.
    pub fn whatever_is_left(&self) -> String {
        let processes = self.processes.borrow();
        let told = processes.iter().enumerate().filter_map(|(me, process)| {
            let worker = process.worker.as_ref()?;
            let log = worker.log();
            Some(format!(
                "{me}: {:?}, ready {}, waiting {}, has {}, has read {}",
                worker.current(),
                worker.is_ready(),
                worker.waiting(),
                log.assigned(),
                log.reading()
            ))
        });
        format!(
            "committed {}, letters {:?}; {}",
            self.is_committed(),
            self.letters(),
            told.collect::<Vec<_>>().join("; ")
        )
    }

    /// Whether nobody waits any more and every command was heard, and every dead letter was dealt with.
    fn is_well(&self) -> bool {
        let processes = self.processes.borrow();
        let assigned = |process: &Process| process.worker.as_ref().map_or(0, |worker| worker.log().assigned());
        let cluster = self.cluster.borrow();
        processes.iter().map(assigned).sum::<usize>() == cluster.input.len()
            && processes.iter().all(Self::has_read_all)
            // What is committed and has no marker yet, nobody has seen.
            && cluster.transactions.markers().is_empty()
            && (!self.plan.borrow().ills.is_repaired || self.letters().is_empty())
    }

    /// Whether a process runs every partition, has heard every command, and has nothing else to do.
    pub fn has_all(&self, me: usize) -> bool {
        let process = &self.processes.borrow()[me];
        let partitions = self.cluster.borrow().input.len();
        process.worker.as_ref().is_some_and(|worker| worker.log().assigned() == partitions)
            && Self::is_idle(process)
            && Self::has_read_all(process)
    }

    /// Asks a process to stop.
    pub fn ask_to_stop(&self, me: usize) {
        self.processes.borrow_mut()[me].is_stopping = true;
    }

    /// Ends everything, which also breaks the circle between the world and its processes. What remains are disks.
    pub fn shut_down(&self) -> Vec<Disk> {
        let processes = std::mem::take(&mut *self.processes.borrow_mut());
        let mut disks: Vec<Disk> = Vec::new();
        for Process { worker, disk, .. } in processes {
            drop(worker);
            if !disks.iter().any(|known| Rc::ptr_eq(known, &disk)) {
                disks.push(disk);
            }
        }
        disks
    }
}
