//! Telling the observer in which stage of its life each partition is, whenever that changes.

use super::{Observer, Worker};
use crate::log::Log;
use crate::state::Stores;

impl<L: Log, S: Stores, O: Observer> Worker<L, S, O> {
    pub(super) fn report_stages(&mut self) {
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
