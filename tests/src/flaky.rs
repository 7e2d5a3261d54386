//! A handler that fails at first, and one that asks another service: which events, and how often, follows from their
//! ids.

use std::collections::HashMap;
use std::sync::Mutex;

use processor::call::Call;
use processor::step::handle::{Answer, Handler};
use schemas::{ReasonCode, VerifiedEvent};

/// The environment variable with the address of the service that is asked; nobody is asked without it.
pub const SERVICE: &str = "FLAKY_SERVICE";
/// How long a call may take, milliseconds.
const TIMEOUT_MS: u64 = 1_000;
/// How many calls a process makes at once.
const CONCURRENCY: u32 = 4;

/// Fails half of all events once or twice in the life of a process, and then asks the service about an eighth of all.
#[derive(Default)]
pub struct Flaky {
    service: Option<String>,
    failures: Mutex<HashMap<String, u8>>,
}

impl Flaky {
    /// As the environment has it.
    pub fn from_environment() -> Self {
        Self { service: std::env::var(SERVICE).ok(), failures: Mutex::default() }
    }
}

impl Handler for Flaky {
    fn name(&self) -> &str {
        "flaky"
    }

    fn handle(&self, event: &VerifiedEvent<'_>) -> Answer {
        let hash = schemas::identity::sha256(event.event_id.as_bytes());
        let [first, second, ..] = hash;
        let wanted = (first % 4).saturating_sub(1);
        let mut failures = self.failures.lock().expect("nobody panics here");
        let failed = failures.entry(event.event_id.to_owned()).or_default();
        if *failed < wanted {
            *failed += 1;
            return Answer::Retry { reason: ReasonCode::HandlerFailed, message: "flaky".to_owned(), after_ms: None };
        }
        match &self.service {
            Some(service) if second % 8 == 0 => Answer::Call(Call {
                method: "GET".to_owned(),
                url: format!("{service}/{}", hex::encode(hash)),
                headers: Vec::new(),
                body: Vec::new(),
                timeout_ms: TIMEOUT_MS,
                concurrency: CONCURRENCY,
                body_max: 1024,
                may_be_private: true,
            }),
            Some(_) | None => Answer::Emit,
        }
    }
}
