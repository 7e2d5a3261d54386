//! What a worker of the model tells: lines of the trace, torn transactions, and partitions that give up, which none
//! may.

use std::rc::Rc;

use processor::books::Tallies;
use processor::lifecycle::Stage;
use processor::log::Fault;
use processor::takeover::Opening;
use processor::task::Count;
use processor::worker::Observer;

use crate::oracle::Harm;
use crate::world::World;

/// Whom a worker reports to.
pub struct Watcher {
    world: Rc<World>,
    me: usize,
}

impl Watcher {
    /// For one process.
    pub fn new(world: &Rc<World>, me: usize) -> Self {
        Self { world: Rc::clone(world), me }
    }
}

impl Observer for Watcher {
    fn stage(&mut self, _: i32, _: Option<Stage>) {}

    fn trouble(&mut self, partition: i32, is_final: bool, message: &str) {
        self.world.say(|| format!("{}: trouble with {partition}: {message}", self.me));
        if is_final {
            self.world.accuse(Harm::Halted, format!("partition {partition}: {message}"));
        }
    }

    fn fault(&mut self, fault: &Fault) {
        self.world.say(|| format!("{}: survives {fault}", self.me));
    }

    fn taken_over(&mut self, partition: i32, opening: Opening, torn: u64) {
        self.world.say(|| format!("{}: has {partition}, {opening:?}, torn {torn}", self.me));
        *self.world.torn.borrow_mut() += torn;
    }

    fn behind(&mut self, partition: i32, numbers: (u64, u64), is_there: bool) {
        self.world.say(|| format!("{}: {partition} is behind, {numbers:?}, there {is_there}", self.me));
        self.world.note_behind(is_there);
    }

    fn committed(&mut self, _: i32, _: &Tallies, _: Vec<Count>) {}
}
