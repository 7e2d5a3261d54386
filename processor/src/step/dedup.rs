//! Step 6: has this event been seen within its source's window?
//!
//! The window is judged exactly, in stream time: `now - first_seen < window` is a duplicate, equal or more is new.
//! A duplicate does not extend the window. A redelivery of a dead letter is let through: the provider may have
//! repaired what was wrong with us, and an event whose record was lost while it waited is one too. An event that
//! waited finds itself parked, which is no copy.

use schemas::VerifiedEvent;
use xxhash_rust::xxh3::xxh3_64;

use super::{About, Turn};
use crate::state::{DeadRef, Known, Status};

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

/// Judges an event against what the state knows of it.
pub fn dedup(event: &VerifiedEvent<'_>, about: &About<'_>, turn: Turn<'_>, known: Option<Known>) -> Verdict {
    // Which dead letter may run again was judged before.
    let Some(Known { seen, .. }) = known.filter(|_| !matches!(turn, Turn::Redrive(_))) else {
        return Verdict::New;
    };
    let is_within = about.now.saturating_sub(seen.first_seen) < event.window_ms;
    match (seen.status, turn) {
        (Status::Parked(_), Turn::Again(_)) => Verdict::New,
        // What waits stays known whatever its window, or it would park behind itself.
        (Status::Parked(_), Turn::First { .. } | Turn::Redrive(_)) => duplicate(event, seen.check),
        (Status::Done | Status::Discarded, _) if is_within => duplicate(event, seen.check),
        (Status::Done | Status::Discarded, _) => Verdict::New,
        (Status::Dead(dead), _) => Verdict::Redelivery(dead),
    }
}

/// 16 bits of a body's hash.
pub fn check_of(body: &[u8]) -> u16 {
    xxh3_64(body) as u16
}

fn duplicate(event: &VerifiedEvent<'_>, check: u16) -> Verdict {
    Verdict::Duplicate { is_conflict: event.identity_signed && check_of(event.body) != check }
}
