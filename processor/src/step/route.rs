//! Step 9: what the steps before found out, turned into one decision.

use schemas::verified_event::StaleMode;
use schemas::{ReasonCode, VerifiedEvent};

use super::dedup::{Verdict, check_of};
use super::handle::Handled;
use super::order::Order;
use super::{About, Decision, Input, Outcome};
use crate::books::Place;
use crate::state::{DeadRef, Entry, ResourceHash, Seen, Status};

/// Why and where an event died.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Death {
    /// Reason code.
    pub reason: ReasonCode,
    /// Why, for a person.
    pub message: String,
    /// Where.
    pub stage: &'static str,
}

/// The decision about a record that is no event: it dies, and the state learns nothing.
pub fn undecodable<'a>(death: Death) -> Decision<'a> {
    Decision { event: None, outcome: Outcome::Dead(death), entry: None, supersedes: None }
}

/// The decision about a copy.
pub fn duplicate(event: VerifiedEvent<'_>, is_conflict: bool) -> Decision<'_> {
    Decision { event: Some(event), outcome: Outcome::Duplicate { is_conflict }, entry: None, supersedes: None }
}

/// The decision about an event whose effect a torn transaction already made visible: the state catches up.
pub fn already_visible<'a>(
    event: VerifiedEvent<'a>,
    about: &About<'_>,
    verdict: Verdict,
    order: Order,
    place: Place,
    input: &Input<'_>,
) -> Decision<'a> {
    let supersedes = match verdict {
        Verdict::Redelivery(dead) if place != Place::Dead => Some(dead),
        Verdict::Redelivery(_) | Verdict::New | Verdict::Duplicate { .. } => None,
    };
    let (outcome, status, last) = match place {
        Place::Dead => {
            let death = Death { reason: ReasonCode::HandlerRejected, message: String::new(), stage: "handle" };
            (Outcome::Dead(death), dead(input), None)
        }
        Place::Stale => (Outcome::StaleRouted, Status::Done, None),
        Place::Clean | Place::Duplicate | Place::Discarded | Place::Parked | Place::Retrying => {
            (Outcome::Clean { is_stale: false, is_future: false }, Status::Done, advance(order))
        }
    };
    let entry = Some(entry(&event, about, status, last));
    Decision { event: Some(event), outcome, entry, supersedes }
}

/// The decision about an event that is no copy.
pub fn route<'a>(
    event: VerifiedEvent<'a>,
    about: &About<'_>,
    verdict: Verdict,
    order: Order,
    handled: Handled,
    input: &Input<'_>,
) -> Decision<'a> {
    let supersedes = match verdict {
        Verdict::Redelivery(dead) => Some(dead),
        Verdict::New | Verdict::Duplicate { .. } => None,
    };
    let (outcome, status, last) = match (handled, order) {
        // It would die of the same again: one dead letter stands for it already.
        (Handled::Dead { .. }, _) if supersedes.is_some() => return duplicate(event, false),
        (Handled::Dead { reason, message, stage }, _) => {
            (Outcome::Dead(Death { reason, message, stage }), dead(input), None)
        }
        (Handled::Emit, Order::Stale(StaleMode::Drop)) => (Outcome::StaleDropped, Status::Done, None),
        (Handled::Emit, Order::Stale(StaleMode::Route)) => (Outcome::StaleRouted, Status::Done, None),
        (Handled::Emit, Order::Stale(StaleMode::Flag | StaleMode::Off)) => {
            (Outcome::Clean { is_stale: true, is_future: false }, Status::Done, None)
        }
        (Handled::Emit, Order::Pass { advance, is_future }) => {
            (Outcome::Clean { is_stale: false, is_future }, Status::Done, advance)
        }
    };
    let entry = Some(entry(&event, about, status, last));
    Decision { event: Some(event), outcome, entry, supersedes }
}

fn advance(order: Order) -> Option<(ResourceHash, i64)> {
    match order {
        Order::Pass { advance, .. } => advance,
        Order::Stale(_) => None,
    }
}

fn dead(input: &Input<'_>) -> Status {
    Status::Dead(DeadRef { offset: input.offset, generation: 0 })
}

fn entry(event: &VerifiedEvent<'_>, about: &About<'_>, status: Status, last: Option<(ResourceHash, i64)>) -> Entry {
    Entry {
        class: about.class,
        slot: about.slot,
        hash: about.hash,
        seen: Seen { first_seen: about.now, check: check_of(event.body), status },
        last,
    }
}
