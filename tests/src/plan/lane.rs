//! One resource while its day is planned: what happened to it so far, and what the stale rule will make of it.

use rand::RngExt;
use rand::seq::IndexedRandom;

use crate::event::{Event, Place};
use crate::making::{Maker, type_of};
use crate::payloads::{Payloads, Template};
use crate::seed::Random;
use crate::sources::{Role, Source, Stale};

/// A resource.
#[derive(Debug)]
pub struct Lane {
    /// Whose.
    pub source: Source,
    /// What was accepted of it so far.
    pub accepted: Vec<usize>,
    /// What is played, in order.
    pub steps: Vec<Vec<usize>>,
    number: u32,
    templates: Vec<usize>,
    clock_ms: i64,
    /// The last snapshot or end that was emitted.
    last_ms: Option<i64>,
}

impl Lane {
    /// A resource to which nothing has happened yet.
    pub fn new(source: Source, number: u32, templates: Vec<usize>, clock_ms: i64) -> Self {
        Self { source, accepted: Vec::new(), steps: Vec::new(), number, templates, clock_ms, last_ms: None }
    }

    fn choose<'a>(
        &self,
        payloads: &'a Payloads,
        random: &mut Random,
        wanted: impl Fn(Role) -> bool,
    ) -> Option<&'a Template> {
        let role = |index: &usize| self.source.role(&type_of(&payloads.templates[*index]));
        let fitting: Vec<usize> = self.templates.iter().copied().filter(|index| wanted(role(index))).collect();
        fitting.choose(random).map(|index| &payloads.templates[*index])
    }

    /// The next thing that happens. Whole seconds, because some providers count in them; sometimes the same one.
    pub fn fresh(&mut self, payloads: &Payloads, maker: &mut Maker, random: &mut Random) -> Event {
        if !random.random_bool(0.1) {
            self.clock_ms += random.random_range(1..90) * 1000 + random.random_range(0..1000);
        }
        // Ends are rare: most resources go on.
        let with_ends = random.random_bool(0.05);
        let template = self
            .choose(payloads, random, |role| with_ends || role != Role::Terminal)
            .expect("every family has more than an end");
        let event = maker.make(template, self.number, self.clock_ms);
        if self.source.role(&event.event_type) != Role::Other {
            self.last_ms = self.last_ms.max(event.occurred_ms);
        }
        event
    }

    /// A snapshot older than the last.
    pub fn stale(&self, payloads: &Payloads, maker: &mut Maker, random: &mut Random) -> Option<Event> {
        let template = self.choose(payloads, random, |role| role == Role::Snapshot)?;
        let before = self.last_ms? - random.random_range(1..600) * 1000;
        let mut event = maker.make(template, self.number, before);
        event.place = match self.source.stale() {
            Stale::Drop => Place::StaleDropped,
            Stale::Flag => Place::Clean { flagged: true },
            Stale::Route => Place::StaleRouted,
        };
        Some(event)
    }

    /// Something that happened earlier and arrives now, but is no snapshot.
    pub fn late(&self, payloads: &Payloads, maker: &mut Maker, random: &mut Random) -> Option<Event> {
        let template = self.choose(payloads, random, |role| role == Role::Other)?;
        let before = self.clock_ms - random.random_range(0..600) * 1000;
        Some(maker.make(template, self.number, before))
    }

    /// An event that shall not count: it leaves the resource as it is.
    pub fn probe(&self, payloads: &Payloads, maker: &mut Maker, random: &mut Random) -> Event {
        let template = self.choose(payloads, random, |_| true).expect("a family has templates");
        maker.make(template, self.number, self.clock_ms)
    }
}
