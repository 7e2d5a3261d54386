//! What the controls break in a worker's connection. Everything wrong on purpose is here and in `stores.rs`.

use std::ops::ControlFlow;

use processor::changelog;
use processor::emit::{Out, Record};
use processor::log::{Ends, Fault, Found, Scanned};

use crate::client::MemoryLog;
use crate::controls::Control;
use crate::plan::Epochs;
use crate::topic::Stamped;
use crate::world::Trouble;

impl MemoryLog {
    /// Looks at a record before it is sent. `true`: it is not sent.
    pub fn is_withheld(&mut self, record: &Record<'_>) -> bool {
        if record.out != Out::Changelog {
            return false;
        }
        match changelog::decode(record.value).expect("our own record") {
            changelog::Record::Barrier(barrier) => {
                self.world.lineages.borrow_mut().insert(record.partition, barrier.lineage);
                self.barriers.insert(record.partition, record.value.to_vec());
                self.world.control == Control::RestoreWithoutBarrier
            }
            changelog::Record::Delta(delta) => {
                if self.world.control == Control::StateBeforeCommit {
                    let disk = self.world.processes.borrow()[self.me].disk.clone();
                    disk.borrow_mut().write_early(record.partition, &delta.changes.entries);
                }
                self.world.control == Control::NoDeltas
            }
        }
    }

    /// Where a partition ends, to one that does not wait for what is undecided.
    pub fn broken_ends(&self, out: Out, ends: Ends) -> Ends {
        let is_hasty = self.world.control == Control::TearsToStable && out != Out::Changelog;
        Ends { high: if is_hasty { ends.stable } else { ends.high }, ..ends }
    }

    /// A scan that sees too little or too much.
    pub fn broken_scan(
        &mut self,
        out: Out,
        partition: i32,
        from: i64,
        each: &mut dyn FnMut(Found<'_>) -> ControlFlow<()>,
    ) -> Option<Scanned> {
        let cluster = self.world.cluster.borrow();
        let log = cluster.log((out, partition));
        match self.world.control {
            Control::BlindToTears if out != Out::Changelog => Some(Scanned { next: log.stable(), is_end: true }),
            Control::TearsUncommitted if out != Out::Changelog => {
                let mut all: Vec<_> = log.committed(from).chain(log.uncommitted(from)).collect();
                all.sort_by_key(|(offset, _)| *offset);
                for (offset, record) in all {
                    let _unread = each(found(offset, record));
                }
                Some(Scanned { next: log.high(), is_end: true })
            }
            Control::RestoreToStable | Control::RestoreWithoutBarrier if out == Out::Changelog => {
                let is_decided = log.stable() == log.high();
                if self.world.control == Control::RestoreWithoutBarrier && !is_decided {
                    return None;
                }
                let barrier = self.barriers.get(&partition)?.clone();
                let mut next = from;
                for (offset, record) in log.committed(from) {
                    next = offset + 1;
                    if each(found(offset, record)).is_break() {
                        return Some(Scanned { next, is_end: false });
                    }
                }
                // It believes to be through: as if its own barrier stood here.
                let end = Stamped { value: barrier, ..Stamped::default() };
                let _through = each(found(next - 1, &end));
                Some(Scanned { next, is_end: true })
            }
            _ => None,
        }
    }

    /// A record as a scan sees it.
    pub fn found<'a>(&self, out: Out, offset: i64, record: &'a Stamped) -> Found<'a> {
        let is_keyless = self.world.control == Control::TearsWithoutKeys && out == Out::Clean;
        let found = found(offset, record);
        if is_keyless { Found { key: b"", ..found } } else { found }
    }

    /// Ends a transaction under the epoch it began with. `false`: there is none, or it has been fenced.
    pub fn abort_instead_of_recycling(&mut self) -> Result<bool, Fault> {
        let is_broken = self.world.plan.borrow().epochs == Epochs::Never;
        let Some(epoch) = self.epoch.filter(|_| is_broken) else { return Ok(false) };
        match self.end(epoch, false) {
            Ok(()) => Ok(true),
            Err(_) => Ok(false),
        }
    }

    /// Whether the test asked for a commit that is not made, and confirmed.
    pub fn is_undone_by_plan(&mut self) -> bool {
        let is_undone = self.world.undoes.take();
        if is_undone {
            self.world.is_undone.set(true);
            let mut cluster = self.world.cluster.borrow_mut();
            cluster.transactions.fence(self.slot);
            cluster.mark_all(self.slot);
            self.epoch = cluster.transactions.renew(self.slot);
        }
        is_undone
    }

    /// Whether the test asked for a tear at this point.
    pub fn is_torn_by_plan(&self) -> bool {
        let last = *self.world.points.borrow() - 1;
        let is_torn = self.world.troubles.borrow().get(&last) == Some(&Trouble::Tear);
        if is_torn {
            self.world.cluster.borrow_mut().tear(self.slot);
        }
        is_torn
    }
}

/// A record as restore and reconcile see it.
fn found(offset: i64, record: &Stamped) -> Found<'_> {
    Found {
        offset,
        key: &record.key,
        value: &record.value,
        src: record.src,
        seq: record.seq,
        txn: record.txn,
        generation: record.generation,
    }
}
