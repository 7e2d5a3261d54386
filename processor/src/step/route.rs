//! Step 9: what the steps before found out, turned into one decision.

use schemas::verified_event::StaleMode;
use schemas::{ReasonCode, VerifiedEvent};

use super::dedup::{Verdict, check_of};
use super::handle::Handled;
use super::order::Order;
use super::{About, Decision, Input, Outcome, Turn, Undecided};
use crate::books::Place;
use crate::state::{DeadRef, Entry, Known, ResourceHash, Seen, Status, keys};

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

/// The decision about a record that is no event, or of which nobody can tell: it dies, and is known by its place.
pub fn undecodable<'a>(death: Death, place: &About<'_>, dead: DeadRef) -> Decision<'a> {
    let entry = Some(place_entry(place, Status::Dead(dead)));
    Decision { event: None, outcome: Outcome::Dead(death), entry, supersedes: None, body: None }
}

/// What the state shall know of an event that is known by its place.
pub fn place_entry(place: &About<'_>, status: Status) -> Entry {
    let seen = Seen { first_seen: place.now, check: 0, status };
    Entry { class: place.class, window_class: place.class, slot: place.slot, hash: place.hash, seen, last: None }
}

/// The decision about a copy.
pub fn duplicate(event: VerifiedEvent<'_>, is_conflict: bool) -> Decision<'_> {
    let outcome = Outcome::Duplicate { is_conflict };
    Decision { event: Some(event), outcome, entry: None, supersedes: None, body: None }
}

/// What is known before an event is routed.
#[derive(Debug, Clone, Copy)]
pub struct Route<'s, 'i> {
    /// What the state was asked.
    pub about: &'s About<'s>,
    /// What it answered.
    pub known: Option<Known>,
    /// What that means.
    pub verdict: Verdict,
    /// Why the event is decided about now.
    pub turn: Turn<'s>,
    /// Its record.
    pub input: &'s Input<'i>,
}

impl<'i> Route<'_, 'i> {
    /// The decision about an event whose effect a torn transaction already made visible: the state catches up.
    pub fn already_visible(self, event: VerifiedEvent<'i>, order: Order, place: Place) -> Decision<'i> {
        let supersedes = self.redelivery().filter(|_| place != Place::Dead);
        let (outcome, status, last) = match place {
            Place::Dead => {
                let death = Death { reason: ReasonCode::HandlerRejected, message: String::new(), stage: "handle" };
                (Outcome::Dead(death), Status::Dead(self.dead_ref()), None)
            }
            Place::Stale => (Outcome::StaleRouted, Status::Done, None),
            Place::Clean | Place::Duplicate | Place::Discarded | Place::Parked | Place::Retrying => {
                (Outcome::Clean { is_stale: false, is_future: false }, Status::Done, advance(order))
            }
        };
        let entry = Some(self.entry(&event, status, last));
        Decision { event: Some(event), outcome, entry, supersedes, body: None }
    }

    /// The decision about an event that has to wait and finds no room.
    pub fn without_room(self, event: VerifiedEvent<'i>, is_stopping: bool) -> Result<Decision<'i>, Undecided> {
        if is_stopping {
            return Err(Undecided::NoRoom);
        }
        Ok(self.given_up(event, ReasonCode::ParkOverflow, "too many events wait already", "park"))
    }

    /// The decision about an event that would come out after a later one of its resource.
    pub fn overtaken(self, event: VerifiedEvent<'i>) -> Decision<'i> {
        let message = "a later event of its resource was emitted by a transaction that tore and had given it up";
        self.given_up(event, ReasonCode::Overtaken, message, "handle")
    }

    /// The decision about an event that waited, or was redriven, and kills whoever handles it.
    pub fn poison(self, event: VerifiedEvent<'i>, deaths: u32) -> Decision<'i> {
        let message = format!("{deaths} processes died while they handled this event and nothing else");
        self.given_up(event, ReasonCode::Poison, &message, "process")
    }

    fn given_up(
        self,
        event: VerifiedEvent<'i>,
        reason: ReasonCode,
        message: &str,
        stage: &'static str,
    ) -> Decision<'i> {
        let death = Handled::Dead { reason, message: message.to_owned(), stage };
        self.route(event, Order::Pass { advance: None, is_future: false }, death)
    }

    /// The decision about an event that is no copy.
    pub fn route(self, event: VerifiedEvent<'i>, order: Order, handled: Handled) -> Decision<'i> {
        let supersedes = self.redelivery();
        let mut body = None;
        let (outcome, status, last) = match (handled, order) {
            // It would die of the same again: one dead letter stands for it already.
            (Handled::Dead { .. }, _) if supersedes.is_some() => return duplicate(event, false),
            (Handled::Dead { reason, message, stage }, _) => {
                (Outcome::Dead(Death { reason, message, stage }), Status::Dead(self.dead_ref()), None)
            }
            (Handled::Retry(retry), _) => return self.waits(event, Outcome::Retry(retry)),
            (Handled::Call(handler, call), _) => return self.waits(event, Outcome::Call(handler, call)),
            (Handled::Discard, _) => (Outcome::Discarded, Status::Discarded, None),
            (Handled::Emit(_), Order::Stale(StaleMode::Drop)) => (Outcome::StaleDropped, Status::Done, None),
            (Handled::Emit(_), Order::Stale(StaleMode::Route)) => (Outcome::StaleRouted, Status::Done, None),
            (Handled::Emit(new), Order::Stale(StaleMode::Flag | StaleMode::Off)) => {
                body = new;
                (Outcome::Clean { is_stale: true, is_future: false }, Status::Done, None)
            }
            (Handled::Emit(new), Order::Pass { advance, is_future }) => {
                body = new;
                (Outcome::Clean { is_stale: false, is_future }, Status::Done, advance)
            }
        };
        let entry = Some(self.entry(&event, status, last));
        Decision { event: Some(event), outcome, entry, supersedes, body }
    }

    /// The decision about an event that waits. A redelivery's dead letter stays what it is until then.
    pub fn waits(self, event: VerifiedEvent<'i>, outcome: Outcome) -> Decision<'i> {
        let entry = self.waiting_entry(&event);
        Decision { event: Some(event), outcome, entry, supersedes: None, body: None }
    }

    fn redelivery(&self) -> Option<DeadRef> {
        match self.verdict {
            Verdict::Redelivery(dead) => Some(dead),
            Verdict::New | Verdict::Duplicate { .. } => None,
        }
    }

    fn dead_ref(&self) -> DeadRef {
        DeadRef { offset: self.input.offset, generation: self.turn.past().generation }
    }

    /// That an event waits, unless that is known, or it is another delivery of a dead letter: whoever is first of
    /// such deliveries to pass makes copies of the rest.
    fn waiting_entry(&self, event: &VerifiedEvent<'_>) -> Option<Entry> {
        let is_known = self.known.is_some_and(|known| matches!(known.seen.status, Status::Parked(_)));
        (!is_known && self.redelivery().is_none()).then(|| self.entry(event, Status::Parked(self.dead_ref()), None))
    }

    /// What the state shall know, and the window begins now. An event that is marked stays among the marks while they
    /// know it, so that of several entries the newest is always one of them.
    fn entry(&self, event: &VerifiedEvent<'_>, status: Status, last: Option<(ResourceHash, i64)>) -> Entry {
        let mark = keys::mark_class_of(self.about.class);
        let is_marked = self.known.is_some_and(|known| known.class == mark);
        let class = match status {
            Status::Done if !is_marked => self.about.class,
            Status::Done | Status::Parked(_) | Status::Dead(_) | Status::Discarded => mark,
        };
        let seen = Seen { first_seen: self.about.now, check: check_of(event.body), status };
        Entry { class, window_class: self.about.class, slot: self.about.slot, hash: self.about.hash, seen, last }
    }
}

fn advance(order: Order) -> Option<(ResourceHash, i64)> {
    match order {
        Order::Pass { advance, .. } => advance,
        Order::Stale(_) => None,
    }
}
