//! The recorded day: which deliveries are made, in which order, and where every event has to end.
//!
//! A lane is one resource. Its steps are played one after the other, the deliveries of a step at the same time on
//! different connections. So a stale update is sent only after the newer one was accepted, and its place is known
//! beforehand.

mod lane;

use rand::RngExt;
use rand::seq::IndexedRandom;

use crate::event::{Event, Place};
use crate::forge::{Defect, DoorCase, Forgery};
use crate::making::{Maker, family};
use crate::payloads::Payloads;
use crate::seed::{Random, random};
use crate::sources::Source;
use lane::Lane;

const DAY_MS: i64 = 24 * 3_600_000;

/// Why an authentic delivery is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Copy {
    /// For the first time.
    First,
    /// At the same time as the first, on another connection.
    Twin,
    /// Later, signed again.
    Retry,
}

/// One request, or one provider's attempts to get it accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// Authentic.
    Event {
        /// Number in [`Plan::events`].
        event: usize,
        /// Why.
        copy: Copy,
    },
    /// Not authentic.
    Forged {
        /// Number in [`Plan::events`].
        event: usize,
        /// How.
        forgery: Forgery,
    },
    /// Refused before the signature.
    Door(DoorCase),
    /// Slack asks whether the address is ours.
    Challenge,
}

/// The whole day.
#[derive(Debug, Clone)]
pub struct Plan {
    /// What it follows from.
    pub seed: u64,
    /// Everything that happened.
    pub events: Vec<Event>,
    /// Every delivery.
    pub deliveries: Vec<Delivery>,
    /// Lanes of steps of numbers in `deliveries`.
    pub lanes: Vec<Vec<Vec<usize>>>,
}

/// How many deliveries of every thousand begin something other than a fresh event.
struct Shares {
    retry: u32,
    stale: u32,
    late: u32,
    burst: u32,
    conflict: u32,
    forged: u32,
    defect: u32,
    alone: u32,
}

const SHARES: Shares =
    Shares { retry: 80, stale: 50, late: 50, burst: 40, conflict: 6, forged: 60, defect: 20, alone: 20 };

/// Makes plans.
pub struct Planner<'a> {
    payloads: &'a Payloads,
    maker: Maker,
    random: Random,
    limit: usize,
    plan: Plan,
    lanes: Vec<Lane>,
}

impl Plan {
    /// The day of a seed, ending at `now_ms`, with exactly `deliveries` deliveries.
    pub fn new(seed: u64, deliveries: usize, now_ms: i64, payloads: &Payloads) -> Self {
        let mut planner = Planner {
            payloads,
            maker: Maker::new(random(seed, "events")),
            random: random(seed, "plan"),
            limit: deliveries,
            plan: Plan { seed, events: Vec::new(), deliveries: Vec::new(), lanes: Vec::new() },
            lanes: Vec::new(),
        };
        planner.open_lanes(now_ms);
        planner.strange_requests();
        while planner.room() > 0 {
            planner.next();
        }
        planner.finish()
    }
}

impl Planner<'_> {
    fn room(&self) -> usize {
        self.limit.saturating_sub(self.plan.deliveries.len())
    }

    fn open_lanes(&mut self, now_ms: i64) {
        let wanted = (self.limit / 45).max(30);
        let weights: u32 = Source::ALL.into_iter().map(Source::weight).sum();
        for source in Source::ALL {
            let count = (wanted * source.weight() as usize / weights as usize).max(4);
            let all = self.payloads.templates.iter().enumerate().filter(|(_, t)| t.source == source);
            let mut families: Vec<(String, Vec<usize>)> = Vec::new();
            for (index, template) in all {
                let Some(family) = family(template) else { continue };
                match families.iter_mut().find(|(name, _)| *name == family) {
                    Some((_, templates)) => templates.push(index),
                    None => families.push((family, vec![index])),
                }
            }
            for number in 0..count {
                let (_, templates) = &families[number % families.len()];
                let start = now_ms - self.random.random_range(DAY_MS / 4..DAY_MS);
                self.lanes.push(Lane::new(source, number as u32, templates.clone(), start));
            }
        }
    }

    /// A few of everything the door must refuse, Slack's question, and one of everything else that is rare.
    fn strange_requests(&mut self) {
        for forgery in Forgery::ALL {
            let lane = self.lane_of(|source| forgery.fits(source.scheme()));
            self.forge(lane, forgery);
        }
        for defect in Defect::ALL {
            let lane = self.lane_of(|source| defect.fits(source));
            self.spoil(lane, defect);
        }
        let each = (self.limit / 2000).max(1);
        for _ in 0..each {
            for case in DoorCase::ALL {
                self.apart(Delivery::Door(case));
            }
            self.apart(Delivery::Challenge);
        }
    }

    /// Some lane of a source that fits.
    fn lane_of(&mut self, fits: impl Fn(Source) -> bool) -> usize {
        let fitting: Vec<usize> = (0..self.lanes.len()).filter(|lane| fits(self.lanes[*lane].source)).collect();
        *fitting.choose(&mut self.random).expect("every source has lanes")
    }

    /// A delivery that has to do with no other: a lane of its own.
    fn apart(&mut self, delivery: Delivery) {
        self.plan.deliveries.push(delivery);
        self.plan.lanes.push(vec![vec![self.plan.deliveries.len() - 1]]);
    }

    fn next(&mut self) {
        let number = self.random.random_range(0..self.lanes.len());
        let mut dice = self.random.random_range(0..1000);
        let mut falls = |share: u32| {
            let hit = dice < share;
            dice = if hit { u32::MAX } else { dice.wrapping_sub(share) };
            hit
        };
        let played = if falls(SHARES.retry) {
            self.retry(number)
        } else if falls(SHARES.stale) {
            self.stale(number)
        } else if falls(SHARES.late) {
            self.late(number)
        } else if falls(SHARES.burst) {
            self.burst(number)
        } else if falls(SHARES.conflict) {
            self.conflict(number)
        } else if falls(SHARES.forged) {
            self.forged(number)
        } else if falls(SHARES.defect) {
            self.defect(number)
        } else if falls(SHARES.alone) {
            self.alone()
        } else {
            false
        };
        if !played {
            self.fresh(number);
        }
    }

    /// Adds an authentic event to a step, now and then with twins.
    fn deliver(&mut self, event: usize, step: &mut Vec<usize>) {
        let twins = match self.random.random_range(0..100) {
            0..=9 => 1,
            10..=12 => 2,
            _ => 0,
        };
        for copy in std::iter::once(Copy::First).chain(std::iter::repeat_n(Copy::Twin, twins)) {
            if self.room() > 0 {
                step.push(self.plan.deliveries.len());
                self.plan.deliveries.push(Delivery::Event { event, copy });
            }
        }
    }

    fn add(&mut self, event: Event) -> usize {
        self.plan.events.push(event);
        self.plan.events.len() - 1
    }

    /// The usual case: the next thing that happens to a resource.
    fn fresh(&mut self, lane: usize) {
        let event = self.lanes[lane].fresh(self.payloads, &mut self.maker, &mut self.random);
        let event = self.add(event);
        let mut step = Vec::new();
        self.deliver(event, &mut step);
        self.lanes[lane].accepted.push(event);
        self.lanes[lane].steps.push(step);
    }

    /// A provider that did not see our answer sends an old event again.
    fn retry(&mut self, lane: usize) -> bool {
        let Some(event) = self.lanes[lane].accepted.choose(&mut self.random).copied() else { return false };
        let number = self.plan.deliveries.len();
        self.plan.deliveries.push(Delivery::Event { event, copy: Copy::Retry });
        self.lanes[lane].steps.push(vec![number]);
        true
    }

    /// A snapshot that is older than what its resource has already become.
    fn stale(&mut self, lane: usize) -> bool {
        let lane_state = &self.lanes[lane];
        let Some(event) = lane_state.stale(self.payloads, &mut self.maker, &mut self.random) else { return false };
        self.single(lane, event);
        true
    }

    /// Out of order, but no snapshot: it passes in the order of its arrival.
    fn late(&mut self, lane: usize) -> bool {
        let lane_state = &self.lanes[lane];
        let Some(event) = lane_state.late(self.payloads, &mut self.maker, &mut self.random) else { return false };
        self.single(lane, event);
        true
    }

    fn single(&mut self, lane: usize, event: Event) {
        let event = self.add(event);
        let mut step = Vec::new();
        self.deliver(event, &mut step);
        self.lanes[lane].accepted.push(event);
        self.lanes[lane].steps.push(step);
    }

    /// Several different events of one resource at the same moment.
    fn burst(&mut self, lane: usize) -> bool {
        let mut step = Vec::new();
        for _ in 0..self.random.random_range(2..=4) {
            let lane_state = &self.lanes[lane];
            let event = lane_state.late(self.payloads, &mut self.maker, &mut self.random);
            let Some(event) = event.filter(|_| self.room() > 0) else { break };
            let event = self.add(event);
            self.deliver(event, &mut step);
            self.lanes[lane].accepted.push(event);
        }
        let any = !step.is_empty();
        if any {
            self.lanes[lane].steps.push(step);
        }
        any
    }

    /// A signed id that was already used, with another body.
    fn conflict(&mut self, lane: usize) -> bool {
        let lane_state = &self.lanes[lane];
        if matches!(lane_state.source, Source::Github | Source::Shopify) {
            return false;
        }
        let events = &self.plan.events;
        let is_clean = |event: &&usize| matches!(events[**event].place, Place::Clean { .. });
        let known: Vec<&usize> = lane_state.accepted.iter().filter(is_clean).collect();
        let Some(known) = known.choose(&mut self.random).map(|event| **event) else { return false };
        let mut event = self.plan.events[known].clone();
        let marker = format!(" {}", self.plan.events.len());
        // JSON still: white space in front of it.
        event.set_body([marker.replace(|c: char| c.is_ascii_digit(), " ").as_bytes(), &event.body].concat());
        if self.plan.events.iter().any(|other| other.digest == event.digest) {
            return false;
        }
        event.place = Place::Conflict;
        let event = self.add(event);
        let number = self.plan.deliveries.len();
        self.plan.deliveries.push(Delivery::Event { event, copy: Copy::First });
        self.lanes[lane].steps.push(vec![number]);
        true
    }

    fn forged(&mut self, lane: usize) -> bool {
        let source = self.lanes[lane].source;
        let fitting: Vec<Forgery> = Forgery::ALL.into_iter().filter(|forgery| forgery.fits(source.scheme())).collect();
        let Some(forgery) = fitting.choose(&mut self.random).copied() else { return false };
        self.forge(lane, forgery);
        true
    }

    fn forge(&mut self, lane: usize, forgery: Forgery) {
        let mut event = self.lanes[lane].probe(self.payloads, &mut self.maker, &mut self.random);
        event.place = Place::Refused;
        let event = self.add(event);
        let number = self.plan.deliveries.len();
        self.plan.deliveries.push(Delivery::Forged { event, forgery });
        self.lanes[lane].steps.push(vec![number]);
    }

    fn defect(&mut self, lane: usize) -> bool {
        let source = self.lanes[lane].source;
        let fitting: Vec<Defect> = Defect::ALL.into_iter().filter(|defect| defect.fits(source)).collect();
        let Some(defect) = fitting.choose(&mut self.random).copied() else { return false };
        self.spoil(lane, defect);
        true
    }

    fn spoil(&mut self, lane: usize, defect: Defect) {
        let mut event = self.lanes[lane].probe(self.payloads, &mut self.maker, &mut self.random);
        defect.spoil(&mut event);
        self.single(lane, event);
    }

    /// An event that names no resource.
    fn alone(&mut self) -> bool {
        let without = |template: &&crate::payloads::Template| family(template).is_none();
        let templates: Vec<_> = self.payloads.templates.iter().filter(without).collect();
        let Some(template) = templates.choose(&mut self.random) else { return false };
        let event = self.maker.make(template, 0, 0);
        let event = self.add(event);
        let mut step = Vec::new();
        self.deliver(event, &mut step);
        self.plan.lanes.push(vec![step]);
        true
    }

    fn finish(mut self) -> Plan {
        let lanes = self.lanes.into_iter().map(|lane| lane.steps).filter(|steps| !steps.is_empty());
        self.plan.lanes.extend(lanes);
        self.plan
    }
}

#[cfg(test)]
mod tests;
