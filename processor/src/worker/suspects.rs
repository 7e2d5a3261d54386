//! Records and errands that may have killed processes are handled one at a time, and whoever does so says it first.

use super::{Observer, Worker};
use crate::lifecycle::{Event, Stage};
use crate::log::{Fault, Log, Polled};
use crate::position::Alone;
use crate::state::Stores;
use crate::task::Task;

impl<L: Log, S: Stores, O: Observer> Worker<L, S, O> {
    /// A partition that has to be handled with care: the one that is marked, before any other goes on, or the next
    /// one with records, or errands.
    pub(super) fn suspect(&self, now_ms: i64) -> Option<i32> {
        let suspicion = self.shared.suspicion;
        let marked = self.tasks.iter().find(|(_, task)| task.is_marked()).map(|(partition, _)| *partition);
        let is_suspect = |(partition, task): &(&i32, &Task<S::Store>)| {
            let has_errand = || task.errand_alone(suspicion, now_ms).is_some() && self.is_running(**partition);
            (task.is_suspect(suspicion) && self.batch.has(**partition)) || has_errand()
        };
        marked.or_else(|| self.tasks.iter().find(is_suspect).map(|(partition, _)| *partition))
    }

    fn is_running(&self, partition: i32) -> bool {
        self.life.partitions().get(&partition) == Some(&Stage::Running)
    }

    /// Puts everything back but what is handled alone: the first record of a suspect, if it is marked. Other partitions
    /// are set aside until it has been handled: none of them may keep its record from coming.
    pub(super) fn single_out(&mut self, suspect: i32, mut polled: Polled) -> Event {
        let partitions = self.batch.partitions();
        let marked = self.tasks.get(&suspect).and_then(Task::marked_alone).map(|(alone, _)| alone);
        let first = self.batch.keep_first(suspect).filter(|_| marked == Some(Alone::Next));
        if first.is_none() {
            self.batch.clear();
        }
        for partition in partitions {
            let Some(task) = self.tasks.get(&partition) else { continue };
            let done = if partition == suspect {
                self.log.run(&[(partition, first.map_or(task.next(), |offset| offset + 1))])
            } else {
                self.aside.push(partition);
                self.log.pause(partition)
            };
            take_anew_if(done, partition, &mut polled, &mut self.observer);
        }
        self.batch.remove(&polled.revoked);
        if marked.is_none() && polled.revoked.is_empty() && polled.assigned.is_empty() {
            return Event::Suspected(suspect);
        }
        let mut batch = self.batch.partitions();
        if marked.is_some_and(|alone| alone != Alone::Next) && !polled.revoked.contains(&suspect) {
            batch = vec![suspect];
        }
        Event::Polled { batch, revoked: polled.revoked, assigned: polled.assigned }
    }

    /// Lets the partitions that were set aside go on, once no record is being handled alone.
    pub(super) fn bring_back(&mut self, polled: &mut Polled) {
        if self.tasks.values().any(Task::is_marked) {
            return;
        }
        for partition in std::mem::take(&mut self.aside) {
            let is_running = self.is_running(partition) && !polled.revoked.contains(&partition);
            if let Some(task) = self.tasks.get(&partition).filter(|_| is_running) {
                let done = self.log.run(&[(partition, task.next())]);
                take_anew_if(done, partition, polled, &mut self.observer);
            }
        }
    }

    pub(super) fn mark(&mut self, partition: i32) -> Result<Event, Fault> {
        let Some(task) = self.tasks.get_mut(&partition) else { return Ok(Event::Failed) };
        self.log.begin()?;
        // By the time at which it was suspected: with a clock that was set back since, the errand would not be due, and a
        // record would be marked that may never come.
        self.log.send_offsets(&[task.mark(self.shared.suspicion, self.suspected_ms)])?;
        let is_clean = self.log.commit()?;
        task.marked();
        self.marked.extend(task.marked_alone().map(|marked| (partition, marked)));
        Ok(Event::Marked { is_clean })
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
