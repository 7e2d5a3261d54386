//! `kind = "fetch"`: asks another service about an event, and puts its answer into the body.
//!
//! Only GET: a call is made at least once, and asking twice changes nothing.

use runtime::config;
use runtime::secret::Secret;
use schemas::VerifiedEvent;
use serde_json::value::RawValue;

use super::scope::Scope;
use super::{rejected, splice};
use crate::call::{Call, Reply};
use crate::step::handle::{Answer, Handler, judge};

/// Asks another service.
pub(super) struct Fetch {
    pub(super) name: String,
    pub(super) config: config::Fetch,
}

impl Fetch {
    /// The call to make for an event; `None`: it needs none.
    fn call(&self, event: &VerifiedEvent<'_>, key: &[u8]) -> Result<Option<Call>, String> {
        let config = &self.config;
        let scope = Scope::new(event, key, config.url.expressions().chain(&config.when));
        if let Some(when) = &config.when
            && !scope.truth(when).map_err(|message| format!("when: {message}"))?
        {
            return Ok(None);
        }
        let url = config.url.fill(|expression| scope.text(expression)).map_err(|message| format!("url: {message}"))?;
        // The configuration has checked that these are texts.
        let text = |value: &Secret| String::from_utf8_lossy(value.expose()).into_owned();
        Ok(Some(Call {
            method: "GET".to_owned(),
            url,
            headers: config.headers.iter().map(|(name, value)| (name.clone(), text(value))).collect(),
            body: Vec::new(),
            timeout_ms: u64::try_from(config.timeout.as_millis()).unwrap_or(u64::MAX),
            concurrency: config.concurrency,
            body_max: usize::try_from(config.body_limit).unwrap_or(usize::MAX),
            may_be_private: config.allow_private,
        }))
    }

    fn body_with(&self, event: &VerifiedEvent<'_>, answer: &[u8]) -> Result<Vec<u8>, String> {
        let json: &RawValue =
            serde_json::from_slice(answer).map_err(|error| format!("the answer is not JSON: {error}"))?;
        match &self.config.into {
            None => Ok(answer.to_vec()),
            Some(pointer) => splice::put(event.body, pointer, json).map(String::into_bytes),
        }
    }
}

impl Handler for Fetch {
    fn name(&self) -> &str {
        &self.name
    }

    fn handle(&self, event: &VerifiedEvent<'_>) -> Answer {
        self.handle_keyed(event, b"")
    }

    fn handle_keyed(&self, event: &VerifiedEvent<'_>, key: &[u8]) -> Answer {
        match self.call(event, key) {
            Ok(Some(call)) => Answer::Call(call),
            Ok(None) => Answer::Emit,
            Err(message) => rejected(&self.name, &message),
        }
    }

    fn answered(&self, event: &VerifiedEvent<'_>, reply: &Reply) -> Answer {
        let named = |message: String| format!("{}: {message}", self.name);
        match (judge(reply), reply) {
            (Some(Answer::Dead { reason, message }), _) => Answer::Dead { reason, message: named(message) },
            (Some(Answer::Retry { reason, message, after_ms }), _) => {
                Answer::Retry { reason, message: named(message), after_ms }
            }
            (None, Reply::Answered { body, .. }) => match self.body_with(event, body) {
                Ok(body) => Answer::EmitBody(body),
                Err(message) => rejected(&self.name, &message),
            },
            (Some(other), _) => other,
            (None, Reply::Failed { .. } | Reply::Refused { .. } | Reply::Open { .. }) => Answer::Emit,
        }
    }
}
