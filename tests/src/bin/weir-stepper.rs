//! One worker of the real processor that dies, sleeps or loses an outcome at a chosen call. For `tests/broker`.
//!
//! `weir-stepper CONFIG [TROUBLE [CONTROL]]`; `-` for no trouble. Ends with 0 once everything is committed, with
//! what was called how often on standard output; with 78 when another
//! process took its name, with 70 when a partition needs a person.

use std::path::Path;
use std::sync::Arc;

use processor::app;
use processor::books::Tallies;
use processor::clients;
use processor::kafka::KafkaLog;
use processor::lifecycle::{Ending, Stage};
use processor::log::{Bounds, Fault};
use processor::state::rocks::RocksStores;
use processor::step::handle::Handler;
use processor::takeover::Opening;
use processor::task::Count;
use processor::worker::Observer;
use schemas::Topic;
use weir_tests::flaky::Flaky;
use weir_tests::script::{SCRIPT, Script, Service};
use weir_tests::stepper::{
    Control, FLAKY, Kept, Outside, STAYS, SharedTracker, Tracker, Trouble, TroubledLog, TroubledStores,
};

/// Says what happens, for the test's log, and notes when a partition halts.
struct Aloud(SharedTracker);

impl Observer for Aloud {
    fn stage(&mut self, partition: i32, stage: Option<Stage>) {
        eprintln!("stepper: partition {partition} {stage:?}");
        self.0.borrow_mut().note_stage(partition, stage);
    }
    fn trouble(&mut self, partition: i32, is_final: bool, message: &str) {
        eprintln!("stepper: partition {partition} final {is_final}: {message}");
        self.0.borrow_mut().is_halted |= is_final;
    }
    fn fault(&mut self, fault: &Fault) {
        eprintln!("stepper: fault {fault}");
    }
    fn taken_over(&mut self, partition: i32, opening: Opening, torn: u64) {
        eprintln!("stepper: took over {partition} {opening:?} torn {torn}");
    }
    fn behind(&mut self, partition: i32, numbers: (u64, u64), is_there: bool) {
        eprintln!("stepper: behind in {partition} there {is_there}: {numbers:?}");
    }
    fn committed(&mut self, _: i32, _: &Tallies, _: Vec<Count>) {}
}

fn main() -> ! {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let argument = |n: usize| args.get(n).map(String::as_str).unwrap_or("-");
    let trouble: Option<Trouble> = match argument(1) {
        "-" => None,
        text => Some(text.parse().expect("a trouble")),
    };
    let control: Control = match argument(2) {
        "-" => Control::None,
        text => text.parse().expect("a control"),
    };
    let config = runtime::config::load(Path::new(argument(0))).expect("a configuration").config;
    let tracker = Tracker::shared(trouble);
    let outside = (control == Control::OffsetsOutside)
        .then(|| Outside::new(&config.kafka.brokers, &config.processor.group, &config.topics.name(&Topic::Verified)));
    let log = KafkaLog::connect(clients::clients(&config, 0)).expect("a reachable broker");
    let mut log = TroubledLog::new(log, tracker.clone(), outside);
    let stores = RocksStores::new(config.processor.state_dir.clone());
    let stores = TroubledStores::new(stores, tracker.clone(), control == Control::DedupInMemory);
    if control == Control::StateEarly {
        log.write_early(stores.opened());
    }
    if control == Control::NoRecycling {
        log.keep(Kept::new(clients::clients(&config, 0)));
    }
    let own: Vec<Box<dyn Handler>> = match (std::env::var(SCRIPT), std::env::var_os(FLAKY)) {
        (Ok(script), _) => vec![Box::new(Script::new(&script))],
        (Err(_), Some(_)) => vec![Box::new(Flaky::from_environment())],
        (Err(_), None) => Vec::new(),
    };
    let handlers = Arc::new(app::handlers(&config, own));
    // Stores are written with every transaction, so that each trouble meets that call too.
    let bounds = Bounds { kept: 0, ..app::bounds(&config) };
    let mut worker = app::worker(log, stores, Aloud(tracker.clone()), &config, handlers, bounds, 0);
    worker.set_caller(Box::new(Service::default()));
    let is_staying = std::env::var_os(STAYS).is_some();
    let ending = loop {
        let is_done = !is_staying && tracker.borrow().is_done() && worker.waiting() == 0;
        if tracker.borrow().is_halted {
            break Ending::Halted;
        }
        if let Some(ending) = worker.turn(is_done) {
            break ending;
        }
    };
    for (call, count) in tracker.borrow().counts() {
        println!("{call} {count}");
    }
    // Without closing anything: librdkafka may hang while it closes a member whose name was taken.
    std::process::exit(match ending {
        Ending::Stopped => 0,
        Ending::Halted => 70,
        Ending::Usurped => 78,
    })
}
