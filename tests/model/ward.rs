//! Events with which something is wrong, and the handlers that find it: some fail a few times, some until somebody
//! repairs them, some panic, some need another service first, some nobody wants.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use processor::call::{Call, Caller, Reply, Ticket};
use processor::retry::policy::Policies;
use processor::step::handle::{Answer, Handler, Handlers};
use schemas::{ReasonCode, VerifiedEvent};
use weir_tests::history::Judgement;

use crate::plan::Ills;

/// Attempts before an event is dead.
pub const ATTEMPTS: u32 = 3;

/// What is wrong with an event.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ill {
    /// Nothing.
    None,
    /// It fails once or twice.
    Passing(u32),
    /// It fails until it is repaired.
    Lasting,
    /// It panics until it is repaired.
    Panics,
    /// Another service has to be asked, which fails at times.
    Calls,
    /// Nobody wants it.
    Unwanted,
}

impl Ill {
    /// What is wrong with an event of this id, if something is.
    pub fn of(event_id: &str, ills: Ills) -> Self {
        let hash = schemas::identity::sha256(event_id.as_bytes());
        if u32::from(hash[0]) * 100 / 256 >= ills.share {
            return Ill::None;
        }
        match hash[1] % 8 {
            0 | 1 => Ill::Passing(1),
            2 => Ill::Passing(2),
            // What lasts is for people to repair. Whether a copy comes before or after its death is a matter of time.
            3 | 4 if ills.is_repaired => Ill::Lasting,
            5 if ills.is_repaired => Ill::Panics,
            3..=5 => Ill::Passing(2),
            6 => Ill::Calls,
            _ => Ill::Unwanted,
        }
    }

    /// What comes of it if nobody helps.
    pub fn judgement(self) -> Judgement {
        match self {
            Ill::None | Ill::Passing(_) | Ill::Calls => Judgement::Passes,
            Ill::Lasting | Ill::Panics => Judgement::Dies,
            Ill::Unwanted => Judgement::Unwanted,
        }
    }
}

/// What has happened to them so far.
#[derive(Default)]
pub struct Ward {
    failures: Mutex<BTreeMap<String, u32>>,
    is_repaired: AtomicBool,
}

impl Ward {
    /// The handlers of one process.
    pub fn handlers(self: &Arc<Self>, ills: Ills) -> Handlers {
        let tiers = vec![("5ms".to_owned(), 5), ("40ms".to_owned(), 40)];
        let mut retries = Policies::simple(tiers, ATTEMPTS, ills.is_overtaking);
        retries.room = (ills.room, usize::MAX);
        let own: Vec<Box<dyn Handler>> = vec![Box::new(Doctor { ward: Arc::clone(self), ills })];
        Handlers { own, retries, ..Handlers::default() }
    }

    /// What was lasting is over.
    pub fn repair(&self) {
        self.is_repaired.store(true, Ordering::Relaxed);
    }

    /// Whether it is.
    pub fn is_repaired(&self) -> bool {
        self.is_repaired.load(Ordering::Relaxed)
    }
}

struct Doctor {
    ward: Arc<Ward>,
    ills: Ills,
}

fn fails() -> Answer {
    Answer::Retry { reason: ReasonCode::HandlerFailed, message: "by plan".to_owned(), after_ms: None }
}

impl Handler for Doctor {
    fn name(&self) -> &str {
        "doctor"
    }

    fn handle(&self, event: &VerifiedEvent<'_>) -> Answer {
        let ill = Ill::of(event.event_id, self.ills);
        match ill {
            Ill::None => Answer::Emit,
            Ill::Passing(times) => {
                let mut failures = self.ward.failures.lock().expect("nobody panics here");
                let so_far = failures.entry(event.event_id.to_owned()).or_default();
                *so_far += 1;
                if *so_far <= times { fails() } else { Answer::Emit }
            }
            Ill::Lasting | Ill::Panics if self.ward.is_repaired() => Answer::Emit,
            Ill::Lasting => fails(),
            Ill::Panics => std::panic::resume_unwind(Box::new("a handler's own")),
            Ill::Calls => Answer::Call(Call {
                method: "GET".to_owned(),
                url: "http://model".to_owned(),
                headers: Vec::new(),
                body: Vec::new(),
                timeout_ms: 1,
                concurrency: 1,
                body_max: 0,
                may_be_private: true,
            }),
            Ill::Unwanted => Answer::Discard,
        }
    }
}

/// Answers calls some time later: well, or that the host's breaker is open.
#[derive(Debug)]
pub struct Phone {
    chance: usize,
    waiting: VecDeque<Ticket>,
}

impl Phone {
    /// A phone with a chance of its own.
    pub fn new(chance: usize) -> Self {
        Self { chance, waiting: VecDeque::new() }
    }
}

impl Caller for Phone {
    fn call(&mut self, ticket: Ticket, _: Call) {
        self.waiting.push_back(ticket);
    }

    fn replies(&mut self) -> Vec<(Ticket, Reply)> {
        self.chance = self.chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let now = (self.chance >> 33) % (self.waiting.len() + 1);
        let is_open = (self.chance >> 40).is_multiple_of(5);
        let answer = |ticket| {
            let answered = Reply::Answered { status: 200, headers: Vec::new(), body: Vec::new() };
            (ticket, if is_open { Reply::Open { retry_in_ms: 3 } } else { answered })
        };
        self.waiting.drain(..now).map(answer).collect()
    }
}
