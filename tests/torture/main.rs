//! A short torture of a fixed seed, on three real brokers; and the proof that its verdict can say no.

use std::sync::OnceLock;
use std::time::Duration;

use weir_tests::torture::control::Control;
use weir_tests::torture::evidence::Run;
use weir_tests::torture::run::{Options, torture};

/// Chosen because it meets every actor early.
const SEED: u64 = 7;
const TIME: Duration = Duration::from_secs(45);
const RATE: u32 = 60;

/// One run is shared by all tests here: it takes most of a minute and all of the machine.
fn run() -> &'static Run {
    static RUN: OnceLock<Run> = OnceLock::new();
    RUN.get_or_init(|| {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime can be started");
        let options = Options { seed: SEED, time: TIME, rate: RATE, control: None };
        let outcome = runtime.block_on(torture(options)).expect("the run came to its end");
        outcome.run
    })
}

#[test]
fn whatever_happens_for_a_while_every_event_comes_out_once_and_in_order() {
    let run = run();
    assert_eq!(run.violations, [""; 0], "logs are kept in target/torture/{SEED}");
    assert!(run.outputs[0] > 500 && run.duplicates > 50, "{run:?}");
    assert!(run.faults.values().sum::<u64>() > 20, "{:?}", run.faults);
}

#[test]
fn a_record_that_somebody_wrote_again_and_one_that_somebody_removed_are_found_out() {
    assert_eq!(run().controls, Control::ALL.map(Control::name));
}
