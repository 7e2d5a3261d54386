//! Between two transactions: what came from elsewhere is handed out, and what is needed next is asked for.

use super::{Observer, Worker};
use crate::log::Log;
use crate::state::Stores;

impl<L: Log, S: Stores, O: Observer> Worker<L, S, O> {
    /// Hands out what came from elsewhere, and asks for what is needed next.
    pub(super) fn run_errands(&mut self) {
        let Self { log, caller, tasks, shared, .. } = self;
        let tier = shared.handlers.retries.first_tier();
        for heard in log.heard() {
            if let Some(task) = tasks.get_mut(&heard.partition()) {
                task.hear(heard, tier);
            }
        }
        for (ticket, reply) in caller.replies() {
            if let Some(task) = tasks.get_mut(&ticket.partition) {
                task.answered(ticket, reply);
            }
        }
        let now_ms = log.now_ms();
        let wants: Vec<_> = tasks.values_mut().flat_map(|task| task.wants(now_ms)).collect();
        if !wants.is_empty() {
            log.want(wants);
        }
        for (want, record) in log.fetched() {
            if let Some(task) = tasks.get_mut(&want.partition) {
                task.fetched(&want, record);
            }
        }
    }
}
