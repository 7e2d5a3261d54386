//! Step 6: has this event been seen within its source's window?
//!
//! The window is judged exactly, in stream time: `now - first_seen < window` is a duplicate, equal or more is new.
//! A duplicate does not extend the window. A redelivery of a dead letter is let through: the provider may have
//! repaired what was wrong with us.

use schemas::VerifiedEvent;
use xxhash_rust::xxh3::xxh3_64;

use super::{About, View};
use crate::state::{DeadRef, StateError, Status};

/// Whether the event is new.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Not seen within the window.
    New,
    /// A copy.
    Duplicate {
        /// The same signed id with another body.
        is_conflict: bool,
    },
    /// A copy of a dead letter.
    Redelivery(DeadRef),
}

/// Judges an event against what the state knows.
pub fn dedup(event: &VerifiedEvent<'_>, about: &About<'_>, view: &impl View) -> Result<Verdict, StateError> {
    let Some(seen) = view.seen(about)? else {
        return Ok(Verdict::New);
    };
    let is_within = about.now.saturating_sub(seen.first_seen) < event.window_ms;
    match seen.status {
        // What waits stays known whatever its window, or it would park behind itself.
        Status::Parked => Ok(duplicate(event, seen.check)),
        Status::Done | Status::Discarded if is_within => Ok(duplicate(event, seen.check)),
        Status::Done | Status::Discarded => Ok(Verdict::New),
        Status::Dead(dead) => Ok(Verdict::Redelivery(dead)),
    }
}

/// 16 bits of a body's hash.
pub fn check_of(body: &[u8]) -> u16 {
    xxh3_64(body) as u16
}

fn duplicate(event: &VerifiedEvent<'_>, check: u16) -> Verdict {
    Verdict::Duplicate { is_conflict: event.identity_signed && check_of(event.body) != check }
}
