//! A handler that does what an event's id says, and the service it calls: `fails-…` fails every time, `twice-…` the
//! first two times in the life of a process, `rejected-…` is given up, `refused-<status>-…` asks a service that answers
//! with that status. Everything else passes, and so does all of it once the trouble is mended.

use std::collections::HashMap;
use std::sync::Mutex;

use processor::call::{Call, Caller, Reply, Ticket};
use processor::step::handle::{Answer, Handler};
use schemas::{ReasonCode, VerifiedEvent};

/// Set in the environment of a stepper: its events follow their script. [`MENDED`]: they pass.
pub const SCRIPT: &str = "WEIR_STEPPER_SCRIPT";
/// The value of [`SCRIPT`] with which every event passes.
pub const MENDED: &str = "mended";

/// The handler.
#[derive(Default)]
pub struct Script {
    is_mended: bool,
    handled: Mutex<HashMap<String, u32>>,
}

impl Script {
    /// Of a stepper with that value of [`SCRIPT`].
    pub fn new(value: &str) -> Self {
        Self { is_mended: value == MENDED, ..Self::default() }
    }
}

impl Handler for Script {
    fn name(&self) -> &str {
        "script"
    }

    fn handle(&self, event: &VerifiedEvent<'_>) -> Answer {
        let times = {
            let mut handled = self.handled.lock().expect("nobody panics here");
            let times = handled.entry(event.event_id.to_owned()).or_default();
            *times += 1;
            *times
        };
        let failed =
            || Answer::Retry { reason: ReasonCode::HandlerFailed, message: "by script".to_owned(), after_ms: None };
        let mut words = event.event_id.split('-');
        match words.next() {
            Some(_) if self.is_mended => Answer::Emit,
            Some("fails") => failed(),
            Some("twice") if times <= 2 => failed(),
            Some("rejected") => Answer::Dead { reason: ReasonCode::HandlerRejected, message: "by script".to_owned() },
            Some("refused") => Answer::Call(call(words.next().unwrap_or_default())),
            Some(_) | None => Answer::Emit,
        }
    }
}

fn call(status: &str) -> Call {
    Call {
        method: "POST".to_owned(),
        url: format!("http://service.test/{status}"),
        headers: Vec::new(),
        body: Vec::new(),
        timeout_ms: 1000,
        concurrency: 1,
        body_max: 1024,
        may_be_private: false,
    }
}

/// The service: answers with the status that its address names.
#[derive(Debug, Default)]
pub struct Service(Vec<(Ticket, Reply)>);

impl Caller for Service {
    fn call(&mut self, ticket: Ticket, call: Call) {
        let status = call.url.rsplit('/').next().and_then(|status| status.parse().ok());
        let reply = match status {
            Some(status) => Reply::Answered { status, headers: Vec::new(), body: Vec::new() },
            None => Reply::Failed { message: "no status".to_owned() },
        };
        self.0.push((ticket, reply));
    }

    fn replies(&mut self) -> Vec<(Ticket, Reply)> {
        std::mem::take(&mut self.0)
    }
}
