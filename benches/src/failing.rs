//! A processor whose handler fails events by their source: what has to wait, and for how long, is in the record.
//!
//! It is this program under another name in the environment, so that it has the allocator of weir-processor.

use std::collections::HashMap;
use std::process::ExitCode;
use std::sync::Mutex;

use processor::step::handle::{Answer, Handler};
use schemas::{ReasonCode, VerifiedEvent};

use crate::events::{mix, number_of};

/// Set in the environment: this process is such a processor.
pub const FAILING: &str = "WEIR_BENCH_FAILING";
/// Events of this source fail, and are tried again an hour later: those behind them stay parked.
pub const HELD: &str = "held";
/// Events of this source pass. A name as long as the other one.
pub const PAST: &str = "past";
/// Before the share of events, per cent, that fail [`FAILURES`] times before they pass.
pub const LATE: &str = "late-";
/// How often.
pub const FAILURES: u8 = 3;
/// The pause after each of their failures.
pub const PAUSE_MS: u64 = 1000;

const HOUR_MS: u64 = 60 * 60 * 1000;

/// Runs it until it is asked to stop.
pub fn run() -> ExitCode {
    processor::program::run(vec![Box::new(Failing::default())])
}

/// Whether an event of that number fails at first, of so many per cent.
pub fn is_late(number: u64, percent: u64) -> bool {
    mix(number ^ 0xfa11) % 100 < percent
}

#[derive(Default)]
struct Failing {
    /// How often each has failed.
    failed: Mutex<HashMap<u64, u8>>,
}

impl Failing {
    fn is_through(&self, number: u64) -> bool {
        let mut failed = self.failed.lock().expect("nobody panics here");
        let times = failed.entry(number).or_default();
        if *times == FAILURES {
            failed.remove(&number);
            return true;
        }
        *times += 1;
        false
    }
}

impl Handler for Failing {
    fn name(&self) -> &str {
        "failing"
    }

    fn handle(&self, event: &VerifiedEvent<'_>) -> Answer {
        let retry = |after_ms: u64| Answer::Retry {
            reason: ReasonCode::HandlerFailed,
            message: "as its source says".to_owned(),
            after_ms: Some(after_ms),
        };
        if event.source == HELD {
            return retry(HOUR_MS);
        }
        let percent = event.source.strip_prefix(LATE).and_then(|percent| percent.parse().ok());
        match (percent, number_of(event.event_id.as_bytes())) {
            (Some(percent), Some(number)) if is_late(number, percent) && !self.is_through(number) => retry(PAUSE_MS),
            (_, _) => Answer::Emit,
        }
    }
}
