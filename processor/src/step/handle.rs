//! Step 8: the place where a source's own rules, and users' own code, judge an event.
//!
//! A handler is pure and immediate: it sees the event and answers. It must not block, read clocks or keep state
//! between events: after a crash the same event is handled again and must get the same answer.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use schemas::{ReasonCode, VerifiedEvent};

use super::Undecided;
use super::order::Order;

/// What a handler wants done with an event.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Answer {
    /// Let it pass to `clean-events`.
    Emit,
    /// Try again later. Without retry tiers in this version the event becomes a dead letter at once.
    RetryAfter {
        /// How long to wait.
        delay_ms: u64,
        /// Why, for a person.
        message: String,
    },
    /// Give it up.
    Dead {
        /// Reason code.
        reason: ReasonCode,
        /// Why, for a person.
        message: String,
    },
}

/// A rule that judges events.
pub trait Handler: Send + Sync {
    /// Its name in logs and dead letters.
    fn name(&self) -> &str;
    /// Judges one event.
    fn handle(&self, event: &VerifiedEvent<'_>) -> Answer;
}

/// Every handler of this process.
#[derive(Default)]
pub struct Handlers {
    /// JSON Schemas by the name that travels in the event.
    pub schemas: HashMap<String, Box<dyn Handler>>,
    /// Users' own handlers, asked in order; the first that does not emit decides.
    pub own: Vec<Box<dyn Handler>>,
}

impl std::fmt::Debug for Handlers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let own: Vec<&str> = self.own.iter().map(|handler| handler.name()).collect();
        f.debug_struct("Handlers").field("schemas", &self.schemas.keys()).field("own", &own).finish()
    }
}

/// What the handlers made of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Handled {
    /// Nobody objected, or nobody was asked.
    Emit,
    /// It is given up.
    Dead {
        /// Reason code.
        reason: ReasonCode,
        /// Why, for a person.
        message: String,
        /// Where it died.
        stage: &'static str,
    },
}

/// Asks the handlers about an event. A stale event is not handled: it carries nothing new.
pub fn handle(event: &VerifiedEvent<'_>, order: Order, handlers: &Handlers) -> Result<Handled, Undecided> {
    if let Some(defect) = event.defect {
        let reason = ReasonCode::parse(defect).unwrap_or(ReasonCode::Undecodable);
        let message = format!("ingest accepted it with the defect {defect}");
        return Ok(Handled::Dead { reason, message, stage: "envelope" });
    }
    if matches!(order, Order::Stale(_)) {
        return Ok(Handled::Emit);
    }
    if let Some(schema) = event.schema {
        let Some(handler) = handlers.schemas.get(schema) else {
            return Err(Undecided::UnknownSchema { event_source: event.source.to_owned(), schema: schema.to_owned() });
        };
        match ask(handler.as_ref(), event) {
            Handled::Emit => {}
            dead @ Handled::Dead { .. } => return Ok(dead),
        }
    }
    for handler in &handlers.own {
        match ask(handler.as_ref(), event) {
            Handled::Emit => {}
            dead @ Handled::Dead { .. } => return Ok(dead),
        }
    }
    Ok(Handled::Emit)
}

fn ask(handler: &dyn Handler, event: &VerifiedEvent<'_>) -> Handled {
    // A panic is a failure of this event alone; the handler keeps no state that could be left half done.
    let answer = catch_unwind(AssertUnwindSafe(|| handler.handle(event)));
    let stage = "handle";
    match answer {
        Ok(Answer::Emit) => Handled::Emit,
        Ok(Answer::RetryAfter { message, .. }) => {
            Handled::Dead { reason: ReasonCode::AttemptsExhausted, message, stage }
        }
        Ok(Answer::Dead { reason: ReasonCode::SchemaViolation, message }) => {
            Handled::Dead { reason: ReasonCode::SchemaViolation, message, stage: "schema" }
        }
        Ok(Answer::Dead { reason, message }) => Handled::Dead { reason, message, stage },
        Err(_) => {
            let message = format!("handler {} panicked", handler.name());
            Handled::Dead { reason: ReasonCode::HandlerPanicked, message, stage }
        }
    }
}
