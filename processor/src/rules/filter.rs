//! `kind = "filter"`: leaves out the events for which an expression is false.

use runtime::expression::Expression;
use schemas::VerifiedEvent;

use super::rejected;
use super::scope::Scope;
use crate::step::handle::{Answer, Handler};

/// Keeps some events.
pub(super) struct Filter {
    pub(super) name: String,
    pub(super) keep: Expression,
}

impl Handler for Filter {
    fn name(&self) -> &str {
        &self.name
    }

    fn handle(&self, event: &VerifiedEvent<'_>) -> Answer {
        self.handle_keyed(event, b"")
    }

    fn handle_keyed(&self, event: &VerifiedEvent<'_>, key: &[u8]) -> Answer {
        match Scope::new(event, key, [&self.keep]).truth(&self.keep) {
            Ok(true) => Answer::Emit,
            Ok(false) => Answer::Discard,
            Err(message) => rejected(&self.name, &format!("keep: {message}")),
        }
    }
}
