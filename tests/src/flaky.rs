//! A handler that fails at first: which events, and how often, follows from their ids.

use std::collections::HashMap;
use std::sync::Mutex;

use processor::step::handle::{Answer, Handler};
use schemas::{ReasonCode, VerifiedEvent};

/// Fails half of all events once or twice in the life of a process.
#[derive(Default)]
pub struct Flaky(Mutex<HashMap<String, u8>>);

impl Handler for Flaky {
    fn name(&self) -> &str {
        "flaky"
    }

    fn handle(&self, event: &VerifiedEvent<'_>) -> Answer {
        let [hash, ..] = schemas::identity::sha256(event.event_id.as_bytes());
        let wanted = (hash % 4).saturating_sub(1);
        let mut failures = self.0.lock().expect("nobody panics here");
        let failed = failures.entry(event.event_id.to_owned()).or_default();
        if *failed >= wanted {
            return Answer::Emit;
        }
        *failed += 1;
        Answer::Retry { reason: ReasonCode::HandlerFailed, message: "flaky".to_owned(), after_ms: None }
    }
}
