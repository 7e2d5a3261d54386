//! What one seed chooses: the shape of the cluster, the history, which faults happen and how often.
//!
//! Each seed switches most kinds of fault off and a few on, so that rare ones meet undisturbed. All chance of a run
//! comes from here, in one order: a seed replays exactly.

use rand::{Rng as _, RngExt as _};
use weir_tests::history::{self, Input, Variety};
use weir_tests::seed::{self, Random};

use crate::controls::Control;

/// What can go wrong.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(usize)]
pub enum Mishap {
    /// kill -9 inside of a call.
    Crash,
    /// A call fails, or has its effect and fails.
    Fail,
    /// A process stands still inside of a call while the others go on.
    Sleep,
    /// An EndTxn stays on the wire after its retry was answered.
    LateEnd,
    /// So does a TxnOffsetCommit.
    LateOffsets,
    /// So does an AddPartitionsToTxn.
    LateAdd,
    /// A Produce stays on the wire and its sender gives up.
    LateProduce,
    /// An InitProducerId stays on the wire after its retry was answered.
    LateInit,
    /// A store fails.
    Disk,
    /// The end of the write-ahead log is lost in a crash.
    LostTail,
    /// A disk is lost in a crash.
    Wiped,
    /// A process comes back with the disk of another cluster.
    Foreign,
    /// The group moves a partition.
    Move,
    /// The group throws a member out, which is not told.
    Expire,
    /// The coordinator's clock ends a transaction.
    TimeOut,
    /// A second process is started under the name of one that is still there.
    Twin,
    /// A process is asked to stop.
    Stop,
    /// Hours pass in which nothing happens.
    Hours,
}

impl Mishap {
    /// Every kind, with how often it happens in ten thousand chances.
    const RATES: [(Mishap, u32); 18] = [
        (Mishap::Crash, 60),
        (Mishap::Fail, 60),
        (Mishap::Sleep, 60),
        (Mishap::LateEnd, 1500),
        (Mishap::LateOffsets, 1000),
        (Mishap::LateAdd, 100),
        (Mishap::LateProduce, 60),
        (Mishap::LateInit, 400),
        (Mishap::Disk, 40),
        (Mishap::LostTail, 3000),
        (Mishap::Wiped, 2000),
        (Mishap::Foreign, 1000),
        (Mishap::Move, 400),
        (Mishap::Expire, 300),
        (Mishap::TimeOut, 300),
        (Mishap::Twin, 100),
        (Mishap::Stop, 200),
        (Mishap::Hours, 100),
    ];
}

/// When a worker takes a new epoch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Epochs {
    /// After every commit.
    EveryCommit,
    /// After a commit during which the connection misbehaved. It always notices.
    WhenTroubled,
    /// The same, but some of the trouble goes unnoticed. What then tears must be found and neutralised afterwards.
    WhenNoticed,
    /// Never: it aborts under the old one. A control.
    Never,
}

/// What fails in handlers, and what people do about it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Ills {
    /// Event ids in a hundred with which something is wrong.
    pub share: u32,
    /// People repair what is wrong, and send commands about the dead letters.
    pub is_repaired: bool,
    /// Events pass those of their resource that wait.
    pub is_overtaking: bool,
    /// Most events that wait, of a resource.
    pub room: usize,
}

impl Ills {
    fn of(random: &mut Random) -> Self {
        let share = [0, 0, 25, 60][random.random_range(0..4)];
        let is_repaired = share > 0 && random.random_ratio(1, 2);
        // Who overtakes, or finds no room, is a matter of time: then only what is true of any order is looked at.
        let is_overtaking = is_repaired && random.random_ratio(1, 4);
        let room = if is_repaired && random.random_ratio(1, 4) { 2 } else { usize::MAX };
        Self { share, is_repaired, is_overtaking, room }
    }
}

/// What a seed chose, and its chance.
pub struct Plan {
    pub clean_partitions: i32,
    pub workers: usize,
    pub batch: usize,
    /// Changes that wait in memory for the stores.
    pub kept: usize,
    /// Takeovers without a move after which records are handled one at a time.
    pub suspect_after: u32,
    pub epochs: Epochs,
    /// Steps after which no fault begins any more.
    pub horizon: usize,
    /// Faults that may still happen.
    pub budget: u32,
    /// Chances in a hundred that a request on the wire arrives while a call is made.
    pub requests_ease: u32,
    /// The same for markers.
    pub markers_ease: u32,
    /// Nobody acts but who is told to.
    pub is_still: bool,
    /// What fails in handlers.
    pub ills: Ills,
    rates: [u32; Mishap::RATES.len()],
    random: Random,
}

impl Plan {
    /// The plan of a seed, and its history.
    pub fn of(seed: u64, control: Control) -> (Self, Input) {
        let mut random = seed::random(seed, "simulate");
        let partitions = [1, 2, 2, 4][random.random_range(0..4)];
        // Where events wait, no window may end meanwhile, or what is right would hang on who came when.
        let ills = Ills::of(&mut random);
        let window_ms = if ills.share == 0 { history::WINDOW_MS } else { 100 * history::WINDOW_MS };
        let variety =
            Variety { partitions, resources: random.random_range(1..5), ids: random.random_range(3..14), window_ms };
        let input = history::random(random.next_u64(), random.random_range(12..60), variety);
        let mut rates = [0; Mishap::RATES.len()];
        for (fault, rate) in Mishap::RATES {
            rates[fault as usize] = rate * [0, 0, 1, 2, 4][random.random_range(0..5)];
        }
        let mut plan = Self {
            clean_partitions: [1, 2, 4][random.random_range(0..3)],
            workers: random.random_range(1..4),
            batch: random.random_range(1..9),
            kept: [0, 0, 3, 12, 1000][random.random_range(0..5)],
            suspect_after: [1, 2, 3, u32::MAX][random.random_range(0..4)],
            epochs: [Epochs::EveryCommit, Epochs::WhenTroubled, Epochs::WhenNoticed][random.random_range(0..3)],
            horizon: random.random_range(100..900),
            budget: random.random_range(2..24),
            requests_ease: [1, 5, 25, 60][random.random_range(0..4)],
            markers_ease: [1, 5, 25, 60][random.random_range(0..4)],
            is_still: false,
            ills,
            rates,
            random,
        };
        if control == Control::NoRecycling {
            plan.epochs = Epochs::Never;
        }
        // A sender whose trouble went unnoticed can double what another owner has taken over meanwhile: see
        // `scenarios.rs`. So nobody is overtaken here but the dead.
        if plan.epochs == Epochs::WhenNoticed {
            for never in [Mishap::Twin, Mishap::Sleep, Mishap::LateProduce] {
                plan.rates[never as usize] = 0;
            }
        }
        (plan, input)
    }

    /// One worker, no fault, no delay: the ground on which a single chosen trouble is put.
    pub fn quiet(seed: u64, length: usize) -> (Self, Input) {
        let input = history::random(seed, length, history::DENSE);
        let plan = Self {
            clean_partitions: [1, 2, 4][seed as usize % 3],
            workers: 1,
            batch: 7,
            kept: [0, 5, 1000][seed as usize % 3],
            suspect_after: [3, u32::MAX, 2, 1][seed as usize % 4],
            epochs: Epochs::WhenTroubled,
            horizon: 0,
            budget: 0,
            requests_ease: 100,
            markers_ease: 100,
            is_still: false,
            ills: Ills::default(),
            rates: [0; Mishap::RATES.len()],
            random: seed::random(seed, "quiet"),
        };
        (plan, input)
    }

    /// Whether a fault happens now.
    pub fn strikes(&mut self, fault: Mishap) -> bool {
        let rate = self.rates[fault as usize];
        let does = self.budget > 0 && rate > 0 && self.random.random_range(0..10_000) < rate;
        self.budget -= u32::from(does);
        does
    }

    /// Whether something happens that happens so often in a hundred.
    pub fn is_likely(&mut self, percent: u32) -> bool {
        percent >= 100 || self.random.random_range(0..100) < percent
    }

    /// A number below another.
    pub fn below(&mut self, end: usize) -> usize {
        self.random.random_range(0..end)
    }

    /// One of several.
    pub fn pick<T: Copy>(&mut self, of: &[T]) -> Option<T> {
        if of.is_empty() { None } else { Some(of[self.below(of.len())]) }
    }
}
