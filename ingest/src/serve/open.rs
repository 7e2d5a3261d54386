//! The connections that are open: how many, and which of them makes room when there are too many.
//!
//! A caller that is kept out learns nothing and may wait for long; one whose idle connection is closed opens another.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::watch;

use super::pulse::Pulse;
use crate::limits::Limits;
use crate::metrics;

/// Every open connection.
#[derive(Debug)]
pub struct Open {
    limits: Limits,
    next: AtomicU64,
    connections: watch::Sender<HashMap<u64, Arc<Pulse>>>,
}

/// A connection's place among them, until it is dropped.
pub(super) struct Place {
    open: Arc<Open>,
    number: u64,
    pulse: Arc<Pulse>,
}

impl Open {
    /// None yet.
    pub(super) fn new(limits: Limits) -> Self {
        Self { limits, next: AtomicU64::new(0), connections: watch::Sender::new(HashMap::new()) }
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.connections.borrow().len()
    }

    /// Whether there are as many as there may be.
    pub fn is_full(&self) -> bool {
        self.count() >= self.limits.connections
    }

    /// A place for a new one.
    pub(super) fn enter(self: &Arc<Self>) -> Place {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let pulse = Arc::new(Pulse::new(self.limits));
        self.connections.send_modify(|all| drop(all.insert(number, Arc::clone(&pulse))));
        metrics::connected();
        Place { open: Arc::clone(self), number, pulse }
    }

    /// Waits until there may be one more, and asks idle ones to make room.
    pub(super) async fn room(&self) {
        let pause = self.limits.head / 10;
        while self.is_full() {
            self.spare_one();
            // Whether somebody left or it is time to ask the next one.
            tokio::time::timeout(pause, self.when(|count| count < self.limits.connections)).await.unwrap_or_default();
        }
    }

    /// Asks an idle one to leave, if there is any.
    pub(super) fn spare_one(&self) {
        if let Some(idle) = self.longest_idle() {
            idle.leave();
            metrics::connection_evicted();
        }
    }

    /// Returns when there is none.
    pub(super) async fn none(&self) {
        self.when(|count| count == 0).await;
    }

    async fn when(&self, is_so: impl Fn(usize) -> bool) {
        // The sender lives in `self`, so this ends only with the condition.
        self.connections.subscribe().wait_for(|all| is_so(all.len())).await.map(drop).unwrap_or_default();
    }

    /// The one that has been idle for longest; first those that never made a request. A moment of rest is nobody's end.
    fn longest_idle(&self) -> Option<Arc<Pulse>> {
        let rest: Duration = self.limits.head / 5;
        let all = self.connections.borrow();
        let idle = all.values().filter_map(|pulse| pulse.idle().map(|idle| (idle, pulse)));
        let rested = idle.filter(|((_, since), _)| since.elapsed() >= rest);
        rested.min_by_key(|(idle, _)| *idle).map(|(_, pulse)| Arc::clone(pulse))
    }
}

impl Place {
    /// The connection's life.
    pub(super) fn pulse(&self) -> &Arc<Pulse> {
        &self.pulse
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.open.connections.send_modify(|all| drop(all.remove(&self.number)));
        metrics::disconnected();
    }
}
