//! Step 7: is this event older than what its resource has already become?
//!
//! Only types the preset calls snapshots are judged, and only by a time the signature covers. Strictly older is
//! stale; equal passes, because providers count in whole seconds. A time from the future is let through and does
//! not move the last timestamp, or one wrong clock would make everything after it stale.

use schemas::VerifiedEvent;
use schemas::identity::resource_hash;
use schemas::verified_event::{EventKind, StaleMode};

use super::{About, Input, View};
use crate::state::{ResourceHash, StateError};

/// How far occurred-at may lie ahead of the receipt, in milliseconds.
pub const FUTURE_MS: i64 = 5 * 60 * 1000;

/// An event's place in its resource's time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// It may pass; the last timestamp becomes this.
    Pass {
        /// The new last snapshot, when it advances.
        advance: Option<(ResourceHash, i64)>,
        /// Its occurred-at lies in the future.
        is_future: bool,
    },
    /// Strictly older than the last snapshot.
    Stale(StaleMode),
}

impl Order {
    /// A person says that it may pass although it is stale: then it does, and is marked.
    pub fn let_through_if(self, is_as_is: bool) -> Self {
        match self {
            Order::Stale(_) if is_as_is => Order::Stale(StaleMode::Flag),
            order @ (Order::Pass { .. } | Order::Stale(_)) => order,
        }
    }
}

const PASS: Order = Order::Pass { advance: None, is_future: false };

/// Judges an event against the last snapshot of its resource.
pub fn order(
    event: &VerifiedEvent<'_>,
    input: &Input<'_>,
    about: &About<'_>,
    view: &impl View,
) -> Result<Order, StateError> {
    let Some(occurred_at) = event.occurred_at_ms else {
        return Ok(PASS);
    };
    if occurred_at > input.timestamp.saturating_add(FUTURE_MS) {
        return Ok(Order::Pass { advance: None, is_future: true });
    }
    if !event.occurred_at_signed || event.stale == StaleMode::Off || event.kind == EventKind::Other {
        return Ok(PASS);
    }
    let resource = short_hash(input.key);
    let last = view.last(about, resource)?.filter(|last| about.now.saturating_sub(last.set_at) < event.window_ms);
    match (event.kind, last) {
        (EventKind::Snapshot, Some(last)) if occurred_at < last.occurred_at => Ok(Order::Stale(event.stale)),
        (EventKind::Terminal, Some(last)) if occurred_at <= last.occurred_at => Ok(PASS),
        (EventKind::Snapshot | EventKind::Terminal | EventKind::Other, _) => {
            Ok(Order::Pass { advance: Some((resource, occurred_at)), is_future: false })
        }
    }
}

/// The 12 bytes under which the state knows a resource.
pub fn short_hash(key: &[u8]) -> ResourceHash {
    let mut short = ResourceHash::default();
    let long = resource_hash(key).0;
    for (to, from) in short.iter_mut().zip(long) {
        *to = from;
    }
    short
}

#[cfg(test)]
mod tests;
