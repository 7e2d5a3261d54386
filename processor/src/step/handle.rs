//! Step 8: the place where a source's own rules, and users' own code, judge an event.
//!
//! A handler is pure and immediate: it sees the event and answers. It must not block, read clocks or keep state
//! between events: after a crash the same event is handled again and must get the same answer. Who needs another
//! service answers with a call, and is asked again about the reply.

use std::borrow::Cow;
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use schemas::verified_event::StaleMode;
use schemas::{ReasonCode, VerifiedEvent};

use super::order::Order;
use super::{Past, Retry, Undecided};
use crate::call::{Call, Reply};
use crate::retry::classify::{self, Verdict};
use crate::retry::policy::Policies;

/// What a handler wants done with an event.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Answer {
    /// Let it pass to `clean-events`.
    Emit,
    /// Let it pass with another body, which later handlers see as well.
    EmitBody(Vec<u8>),
    /// Make this call first; [`Handler::answered`] is asked about the reply. Calls are made at least once.
    Call(Call),
    /// It failed, and may succeed later.
    Retry {
        /// Reason code.
        reason: ReasonCode,
        /// Why, for a person.
        message: String,
        /// How long to wait, milliseconds; without it the schedule says.
        after_ms: Option<u64>,
    },
    /// Leave it out: nobody downstream wants it. It counts as discarded.
    Discard,
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

    /// Judges one event, knowing its record's key as well. Only who needs the key says something here.
    fn handle_keyed(&self, event: &VerifiedEvent<'_>, _key: &[u8]) -> Answer {
        self.handle(event)
    }

    /// Judges what came of the call it wanted. Unless it says otherwise, a success lets the event pass, and whether a
    /// failure is worth another try is what its status says.
    fn answered(&self, _event: &VerifiedEvent<'_>, reply: &Reply) -> Answer {
        judge(reply).unwrap_or(Answer::Emit)
    }
}

/// What a reply that is no success makes of an event.
pub fn judge(reply: &Reply) -> Option<Answer> {
    let retry = |message: String, after_ms| Answer::Retry { reason: ReasonCode::CallFailed, message, after_ms };
    match reply {
        Reply::Answered { status, headers, .. } => {
            let message = format!("the call was answered with status {status}");
            match classify::classify(*status) {
                Verdict::Success => None,
                Verdict::Transient | Verdict::Unknown => Some(retry(message, classify::retry_after_ms(headers))),
                Verdict::Permanent => Some(Answer::Dead { reason: ReasonCode::CallRefused, message }),
            }
        }
        Reply::Failed { message } => Some(retry(message.clone(), None)),
        Reply::Refused { message } => Some(Answer::Dead { reason: ReasonCode::CallRefused, message: message.clone() }),
        Reply::Open { retry_in_ms } => Some(retry(
            "its host takes no calls now: it has failed too often of late, or too many wait for it".to_owned(),
            Some(*retry_in_ms),
        )),
    }
}

/// Every handler of this process.
#[derive(Default)]
pub struct Handlers {
    /// JSON Schemas by the name that travels in the event.
    pub schemas: HashMap<String, Box<dyn Handler>>,
    /// Handlers of each source's configuration, asked in order.
    pub configured: HashMap<String, Vec<Box<dyn Handler>>>,
    /// Users' own handlers, asked after them in order.
    pub own: Vec<Box<dyn Handler>>,
    /// When a failure is tried again.
    pub retries: Policies,
    /// Longest body that a handler may make: a longer one finds no room in `clean-events`. `None`: nobody minds.
    pub body_max: Option<usize>,
}

impl std::fmt::Debug for Handlers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let own: Vec<&str> = self.own.iter().map(|handler| handler.name()).collect();
        f.debug_struct("Handlers")
            .field("schemas", &self.schemas.keys())
            .field("configured", &self.configured.keys())
            .field("own", &own)
            .finish_non_exhaustive()
    }
}

/// What the handlers made of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Handled {
    /// Nobody objected, or nobody was asked. With another body, if one made it.
    Emit(Option<Vec<u8>>),
    /// It failed, and is tried again.
    Retry(Retry),
    /// The handler of this number wants a call made.
    Call(usize, Call),
    /// Nobody wants it.
    Discard,
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

/// Asks the handlers about an event; the first that does not emit decides. A stale event that is set aside is not
/// handled: it carries nothing new.
pub fn handle(
    event: &VerifiedEvent<'_>,
    key: &[u8],
    order: Order,
    handlers: &Handlers,
    draw: u64,
    past: Past<'_>,
) -> Result<Handled, Undecided> {
    if let Some(defect) = event.defect {
        let reason = ReasonCode::parse(defect).unwrap_or(ReasonCode::Undecodable);
        let message = format!("ingest accepted it with the defect {defect}");
        return Ok(Handled::Dead { reason, message, stage: "envelope" });
    }
    if matches!(order, Order::Stale(StaleMode::Drop | StaleMode::Route)) {
        return Ok(Handled::Emit(None));
    }
    let schema = match event.schema {
        Some(name) => Some(handlers.schemas.get(name).ok_or_else(|| Undecided::UnknownSchema {
            event_source: event.source.to_owned(),
            schema: name.to_owned(),
        })?),
        None => None,
    };
    let configured = handlers.configured.get(event.source).map(Vec::as_slice).unwrap_or_default();
    let all = schema.into_iter().chain(configured).chain(&handlers.own);
    let mut body = Cow::Borrowed(event.body);
    for (number, handler) in all.enumerate() {
        let reply = past.replies.iter().find(|(of, _)| *of == number).map(|(_, reply)| reply);
        let answer = ask(handler.as_ref(), &VerifiedEvent { body: &body, ..event.clone() }, key, reply);
        match answer {
            Answer::Emit => {}
            Answer::EmitBody(new) => {
                if let Some(most) = handlers.body_max.filter(|most| new.len() > *most) {
                    let message = format!("{} made a body of {} bytes: {most} find room", handler.name(), new.len());
                    return Ok(Handled::Dead { reason: ReasonCode::HandlerRejected, message, stage: "handle" });
                }
                body = Cow::Owned(new);
            }
            Answer::Call(call) => return Ok(Handled::Call(number, call)),
            Answer::Discard => return Ok(Handled::Discard),
            Answer::Retry { reason, message, after_ms } => {
                // Whoever was not even called has not failed.
                let is_counted = !matches!(reply, Some(Reply::Open { .. }));
                return Ok(handlers.retries.of(event.source).judge(past, draw, reason, message, after_ms, is_counted));
            }
            Answer::Dead { reason, message } => {
                let stage = if reason == ReasonCode::SchemaViolation { "schema" } else { "handle" };
                return Ok(Handled::Dead { reason, message, stage });
            }
        }
    }
    match body {
        Cow::Borrowed(_) => Ok(Handled::Emit(None)),
        Cow::Owned(new) => Ok(Handled::Emit(Some(new))),
    }
}

/// Asks one handler. A panic is a failure of this event alone: the handler keeps no state that could be left half
/// done. It is tried again, for what the handler looked at may change.
fn ask(handler: &dyn Handler, event: &VerifiedEvent<'_>, key: &[u8], reply: Option<&Reply>) -> Answer {
    let asked = catch_unwind(AssertUnwindSafe(|| match reply {
        Some(reply) => handler.answered(event, reply),
        None => handler.handle_keyed(event, key),
    }));
    asked.unwrap_or_else(|_| Answer::Retry {
        reason: ReasonCode::HandlerPanicked,
        message: format!("handler {} panicked", handler.name()),
        after_ms: None,
    })
}
