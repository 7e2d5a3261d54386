//! Records that may have killed processes are handled one at a time, and whoever does so says it first.

use super::{Observer, Worker};
use crate::lifecycle::{Event, Stage};
use crate::log::{Fault, Log, Polled};
use crate::state::Stores;
use crate::task::Task;

impl<L: Log, S: Stores, O: Observer> Worker<L, S, O> {
    /// A partition that has to be handled with care: the one that is marked, before any other goes on, or the next
    /// one with records.
    pub(super) fn suspect(&self) -> Option<i32> {
        let marked = self.tasks.iter().find(|(_, task)| task.is_marked()).map(|(partition, _)| *partition);
        let is_suspect = |(partition, task): &(&i32, &Task<S::Store>)| {
            task.is_suspect(self.shared.suspicion) && self.batch.has(**partition)
        };
        marked.or_else(|| self.tasks.iter().find(is_suspect).map(|(partition, _)| *partition))
    }

    /// Puts everything back but the first record of a suspect, and that too if nobody knows yet that it comes next.
    /// Other partitions are set aside until it has been handled: none of them may keep its record from coming.
    pub(super) fn single_out(&mut self, suspect: i32, mut polled: Polled) -> Event {
        let partitions = self.batch.partitions();
        let is_marked = self.tasks.get(&suspect).is_some_and(Task::is_marked);
        let first = self.batch.keep_first(suspect).filter(|_| is_marked);
        if !is_marked {
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
        if !is_marked && polled.revoked.is_empty() && polled.assigned.is_empty() {
            return Event::Suspected(suspect);
        }
        Event::Polled { batch: self.batch.partitions(), revoked: polled.revoked, assigned: polled.assigned }
    }

    /// Lets the partitions that were set aside go on, once no record is being handled alone.
    pub(super) fn bring_back(&mut self, polled: &mut Polled) {
        if self.tasks.values().any(Task::is_marked) {
            return;
        }
        for partition in std::mem::take(&mut self.aside) {
            let is_running =
                self.life.partitions().get(&partition) == Some(&Stage::Running) && !polled.revoked.contains(&partition);
            if let Some(task) = self.tasks.get(&partition).filter(|_| is_running) {
                let done = self.log.run(&[(partition, task.next())]);
                take_anew_if(done, partition, polled, &mut self.observer);
            }
        }
    }

    pub(super) fn mark(&mut self, partition: i32) -> Result<Event, Fault> {
        let Some(task) = self.tasks.get_mut(&partition) else { return Ok(Event::Failed) };
        self.log.begin()?;
        self.log.send_offsets(&[task.mark()])?;
        let is_clean = self.log.commit()?;
        task.marked();
        self.marked.insert(partition, task.next());
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
