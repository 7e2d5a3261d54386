//! Who acts next: turns of processes, requests and markers that arrive, records that come in, and what befalls the
//! installation from outside.

use std::rc::Rc;

use processor::emit::Out;
use processor::log::Fault;

use crate::oracle::Harm;
use crate::plan::{Epochs, Mishap};
use crate::stores::Disk;
use crate::transactions::Target;
use crate::world::{Crash, Trouble, World};

/// Steps a run may take before it counts as stuck.
const STEPS_MAX: usize = 60_000;
/// Time that passes where nothing else does. A run that is stuck ends before the next snapshot of the state.
const REST_MS: i64 = 250;
/// More than lies between two of those.
const HOURS_MS: i64 = 7 * 60 * 60 * 1000;
/// Time until more records come in, at most.
const INTAKE_MS: usize = 500;

impl World {
    /// Runs until all input is committed and nothing is left to do.
    pub fn run(self: &Rc<Self>) {
        let workers = self.plan.borrow().workers;
        for slot in 0..workers {
            self.start(slot, Disk::default());
        }
        let horizon = self.plan.borrow().horizon;
        while self.violation.borrow().is_none() {
            let steps = *self.steps.borrow();
            if steps >= horizon {
                self.plan.borrow_mut().budget = 0;
                if self.is_done() {
                    return;
                }
                if self.is_likely(1) {
                    self.time_out_retries();
                }
                if self.is_at_rest() {
                    // All is processed, but a late request set a committed offset back. The next record would mend
                    // it; here its owner must find it out.
                    self.cluster.borrow_mut().clock_ms += REST_MS;
                }
            }
            if steps > STEPS_MAX {
                self.accuse(Harm::Stuck, format!("after {steps} steps: {}", self.whatever_is_left()));
            }
            self.step();
        }
    }

    /// What is left open in a retry topic holds back whoever reads it, until the clock of its transaction ends it.
    fn time_out_retries(&self) {
        let mut cluster = self.cluster.borrow_mut();
        let open: Vec<_> = cluster
            .partitions(Out::Retry(0))
            .flat_map(|(partition, log)| log.open_producers().into_iter().map(move |producer| (partition, producer)))
            .collect();
        for (partition, producer) in open {
            cluster.decide(producer, Target::Log(Out::Retry(0), partition));
        }
    }

    /// Something happens somewhere.
    pub fn step(self: &Rc<Self>) {
        *self.steps.borrow_mut() += 1;
        let what = self.plan.borrow_mut().below(100);
        match what {
            0..66 => {
                let me = self.plan.borrow_mut().pick(&self.runnable());
                if let Some(me) = me {
                    self.turn(me);
                }
            }
            66..80 => self.arrive(20),
            80..88 => self.receive(),
            88..90 => self.let_people_act(),
            _ => self.befall(),
        }
    }

    /// What is on the wire arrives as fast as the seed says; `patience` is the least chance in a hundred.
    fn arrive(&self, patience: u32) {
        let (requests, markers) = {
            let plan = self.plan.borrow();
            (plan.requests_ease.max(patience), plan.markers_ease.max(patience))
        };
        let mut cluster = self.cluster.borrow_mut();
        if !cluster.network.is_empty() && self.is_likely(requests) {
            let chosen = self.plan.borrow_mut().below(cluster.network.len());
            let request = cluster.deliver(chosen);
            self.say(|| format!("arrives: {request:?}"));
        }
        let on_their_way = cluster.transactions.markers();
        if !on_their_way.is_empty() && self.is_likely(markers) {
            let marker = on_their_way[self.plan.borrow_mut().below(on_their_way.len())];
            cluster.mark(marker);
            self.say(|| format!("marker: {marker:?}"));
        }
    }

    /// Some records come in.
    fn receive(&self) {
        self.reader.borrow_mut().read_on(&self.cluster.borrow());
        let mut cluster = self.cluster.borrow_mut();
        cluster.clock_ms += self.plan.borrow_mut().below(INTAKE_MS) as i64;
        let lengths: Vec<(i32, usize)> = cluster.input.iter().map(|(partition, log)| (*partition, log.len())).collect();
        for (partition, length) in lengths {
            let more = self.plan.borrow_mut().below(5);
            let arrived = cluster.arrived.entry(partition).or_default();
            *arrived = (*arrived + more).min(length);
        }
    }

    /// What comes from outside. What heals always happens, what harms only while faults are left.
    fn befall(self: &Rc<Self>) {
        self.heal();
        let workers = self.plan.borrow().workers;
        let slot = self.plan.borrow_mut().below(workers);
        let current = self.current(slot);
        if self.strikes(Mishap::Move) {
            let partitions = self.cluster.borrow().input.len();
            let partition = self.plan.borrow_mut().below(partitions) as i32;
            self.cluster.borrow_mut().group.ask_to_move(partition, slot);
        }
        if self.plan.borrow().epochs != Epochs::WhenNoticed && self.strikes(Mishap::Expire) {
            self.cluster.borrow_mut().group.remove(slot);
        }
        if self.strikes(Mishap::TimeOut) {
            let ongoing = self.cluster.borrow().transactions.ongoing();
            if let Some(producer) = self.plan.borrow_mut().pick(&ongoing) {
                self.cluster.borrow_mut().transactions.fence(producer);
            }
        }
        if self.strikes(Mishap::Hours) {
            self.cluster.borrow_mut().clock_ms += HOURS_MS;
        }
        let Some(me) = current else { return };
        if self.strikes(Mishap::Twin) {
            // On another machine, so with a disk of its own.
            self.start(slot, Disk::default());
        } else if self.processes.borrow()[me].worker.is_some() {
            if self.strikes(Mishap::Stop) {
                self.ask_to_stop(me);
            }
            if self.strikes(Mishap::Crash) {
                self.kill(me);
            }
            if self.strikes(Mishap::Sleep) {
                self.say(|| format!("{me}: falls asleep"));
                self.processes.borrow_mut()[me].is_asleep = true;
            }
        }
    }

    /// Sleepers wake; what died is started again, perhaps after its session.
    fn heal(self: &Rc<Self>) {
        let sleeper = self.processes.borrow().iter().position(|process| process.is_asleep);
        if let Some(me) = sleeper.filter(|_| self.is_likely(50)) {
            self.say(|| format!("{me}: wakes"));
            self.processes.borrow_mut()[me].is_asleep = false;
        }
        let workers = self.plan.borrow().workers;
        let slot = self.plan.borrow_mut().below(workers);
        let Some(me) = self.current(slot) else { return };
        if !self.is_dead(me) {
            return;
        }
        if self.is_likely(40) {
            self.cluster.borrow_mut().group.remove(slot);
        } else if self.is_likely(60) {
            let disk = Rc::clone(&self.processes.borrow()[me].disk);
            self.start(slot, disk);
        }
    }

    fn is_dead(&self, me: usize) -> bool {
        let process = &self.processes.borrow()[me];
        process.worker.is_none() && !process.is_busy
    }

    fn current(&self, slot: usize) -> Option<usize> {
        self.processes.borrow().iter().position(|process| process.slot == slot && process.is_current)
    }

    /// A point inside of a call of a process: time passes, and something may go wrong.
    pub fn point(self: &Rc<Self>, me: usize, call: &'static str) -> Result<(), Fault> {
        let point = *self.points.borrow();
        *self.points.borrow_mut() += 1;
        let planned = self.troubles.borrow().get(&point).copied();
        match planned {
            Some(trouble @ (Trouble::Crash | Trouble::PowerCut | Trouble::DiskLost)) => {
                std::panic::resume_unwind(Box::new(Crash(trouble)));
            }
            Some(Trouble::Fail) => return Err(unsure("by plan")),
            Some(Trouble::LateEnd) => self.cluster.borrow_mut().end_ongoing(),
            Some(Trouble::Tear) | None => {}
        }
        self.drift();
        if self.strikes(Mishap::Sleep) {
            self.say(|| format!("{me}: stands still in {call}"));
            self.pass(80);
        }
        if self.strikes(Mishap::Crash) {
            self.say(|| format!("{me}: dies in {call}"));
            std::panic::resume_unwind(Box::new(Crash(Trouble::Crash)));
        }
        if self.strikes(Mishap::Fail) {
            self.say(|| format!("{me}: {call} fails"));
            return Err(unsure(call));
        }
        Ok(())
    }

    /// Others go on for a while.
    pub fn pass(self: &Rc<Self>, steps_max: usize) {
        if self.plan.borrow().is_still {
            return;
        }
        let steps = self.plan.borrow_mut().below(steps_max);
        for _ in 0..steps {
            self.step();
        }
    }

    /// A moment passes.
    pub fn drift(&self) {
        self.cluster.borrow_mut().clock_ms += 1;
        self.arrive(0);
    }

    /// Waits until these producers have nothing undecided there: the others go on, and in the end the clock decides.
    pub fn await_decision(self: &Rc<Self>, producers: &[usize], target: Target) {
        self.pass(12);
        for producer in producers {
            self.cluster.borrow_mut().decide(*producer, target);
        }
    }
}

/// A call whose outcome is unknown.
pub fn unsure(detail: &str) -> Fault {
    Fault::Unsure { doing: "model", detail: detail.to_owned() }
}
