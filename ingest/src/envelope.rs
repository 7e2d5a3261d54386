//! Step 3: what happened? An authentic request in, the event's id, type, key, time and identity out.
//!
//! Pure, and total: there is no body and no header that it refuses. What cannot be understood is an event with a
//! defect, known by the hash of its bytes. The body is parsed once, here; its bytes are never changed.

pub mod pointer;
pub mod json;
pub mod glob;
pub mod form;
pub mod time;
pub mod identity;
pub mod parts;
pub mod plan;

use std::borrow::Cow;

use http::{HeaderMap, header};
use schemas::ReasonCode;
use schemas::identity as bytes;
use schemas::partition;
use schemas::verified_event::EventKind;

use self::json::{Flaw, Found, look_up};
use self::plan::{Plan, Sameness};
use crate::source::Source;
use crate::verify::Verified;

/// Longest text of a handshake that is echoed, bytes.
const ECHO_BYTES_MAX: usize = 1024;

/// What an authentic request is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// Something that happened.
    Event(Box<Envelope>),
    /// The provider asks whether the address is ours; this is to be echoed.
    Handshake(String),
}

/// What is known of an event beside its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// The provider's id, or `sha256:<hex of the body>`.
    pub event_id: String,
    /// The provider's type; may be empty.
    pub event_type: String,
    /// The resource key.
    pub key: String,
    /// What makes two deliveries the same event.
    pub identity: Vec<u8>,
    /// Whether one id with two bodies is a conflict.
    pub identity_signed: bool,
    /// What the type means for the stale rule.
    pub kind: EventKind,
    /// When it happened.
    pub occurred_at_ms: Option<i64>,
    /// Whether the signature covers `occurred_at_ms`.
    pub occurred_at_signed: bool,
    /// What could not be understood.
    pub defect: Option<ReasonCode>,
}

/// Opens an authentic request.
pub fn open(source: &Source, headers: &HeaderMap, body: &[u8], verified: &Verified) -> Content {
    let plan = &source.plan;
    let text = text_of(plan, headers, body);
    let looked_up = text.as_deref().ok_or(Flaw::Invalid).and_then(|text| look_up(text, &plan.pointers));
    let (found, flaw) = match looked_up {
        Ok(found) => (found, None),
        Err(flaw) => (Vec::new(), plan.needs_json.then_some(ReasonCode::from(flaw))),
    };
    if let Some(echo) = handshake(plan, &found) {
        return Content::Handshake(echo);
    }
    let view = View { plan, found: &found, headers, family: verified.family() };
    let event_type = view.event_type();
    let known = match flaw {
        Some(reason) => Err(reason),
        None => view.identify(text.as_deref().unwrap_or_default(), body),
    };
    Content::Event(Box::new(match known {
        Ok(known) => view.complete(source, event_type, known),
        Err(defect) => broken(source, event_type, body, defect),
    }))
}

/// The Content-Type that stands there as text: of two, nobody knows which is meant.
pub fn content_type(headers: &HeaderMap) -> Option<&str> {
    let mut all = headers.get_all(header::CONTENT_TYPE).iter();
    let only = all.next().filter(|_| all.next().is_none());
    only.and_then(|value| value.to_str().ok())
}

/// The text that pointers point into: the body, or the field of a form that stands for it.
fn text_of<'a>(plan: &Plan, headers: &HeaderMap, body: &'a [u8]) -> Option<Cow<'a, str>> {
    let content_type = content_type(headers);
    match plan.form_field {
        Some(name) if content_type.is_some_and(form::is_form) => {
            form::field(body, name).and_then(|value| String::from_utf8(value).ok()).map(Cow::Owned)
        }
        Some(_) | None => std::str::from_utf8(body).ok().map(Cow::Borrowed),
    }
}

fn handshake(plan: &Plan, found: &[Found<'_>]) -> Option<String> {
    let challenge = plan.challenge.as_ref()?;
    if let Some((slot, expected)) = &challenge.when {
        found.get(*slot).and_then(identity::name).filter(|text| text == expected)?;
    }
    match found.get(challenge.echo)? {
        Found::Text(echo) if echo.len() <= ECHO_BYTES_MAX => Some(echo.clone().into_owned()),
        Found::Text(_) | Found::Number(_) | Found::Absent | Found::Null | Found::Other | Found::Twice => None,
    }
}

/// An event that cannot be understood: its bytes are its name, and it is ordered with nothing.
fn broken(source: &Source, event_type: String, body: &[u8], defect: ReasonCode) -> Envelope {
    let event_id = identity::by_hash(body);
    Envelope {
        key: partition::event_key(&source.name, &event_id),
        event_id,
        event_type,
        identity: bytes::by_body(body),
        identity_signed: false,
        kind: EventKind::Other,
        occurred_at_ms: None,
        occurred_at_signed: false,
        defect: Some(defect),
    }
}

/// An event's name.
struct Known {
    event_id: String,
    identity: Vec<u8>,
    identity_signed: bool,
}

/// One request under one plan.
struct View<'a> {
    plan: &'a Plan,
    found: &'a [Found<'a>],
    headers: &'a HeaderMap,
    family: usize,
}

impl View<'_> {
    fn find<'a>(&'a self, locator: &'a plan::Locator) -> Found<'a> {
        locator.find(self.found, self.headers, self.family)
    }

    fn event_type(&self) -> String {
        let found = self.find(&self.plan.event_type);
        let mut event_type = identity::name(&found).unwrap_or_default().to_owned();
        match self.plan.event_type_suffix.and_then(|slot| self.found.get(slot)) {
            Some(suffix @ Found::Text(_)) => {
                if let Some(suffix) = identity::name(suffix) {
                    event_type.push('.');
                    event_type.push_str(suffix);
                }
            }
            Some(Found::Number(_) | Found::Absent | Found::Null | Found::Other | Found::Twice) | None => {}
        }
        event_type
    }

    fn identify(&self, text: &str, body: &[u8]) -> Result<Known, ReasonCode> {
        let found = self.find(&self.plan.event_id);
        let id = identity::event_id(&found);
        let (identity, identity_signed) = match &self.plan.sameness {
            Sameness::SignedId => (bytes::by_id(id?), true),
            Sameness::IdAndBody => (bytes::by_id_and_body(id?, body), false),
            Sameness::Body => (bytes::by_body(body), false),
            Sameness::Parts(parts) => {
                let canonical = parts.canonical(text)?.ok_or(ReasonCode::NoIdentity)?;
                (bytes::by_parts(&canonical), false)
            }
        };
        // Where the id is not what decides, an event may lack one.
        let event_id = match id {
            Ok(id) => id.to_owned(),
            Err(ReasonCode::NoIdentity) => identity::by_hash(body),
            Err(defect) => return Err(defect),
        };
        Ok(Known { event_id, identity, identity_signed })
    }

    fn complete(&self, source: &Source, event_type: String, known: Known) -> Envelope {
        let (occurred_at, mut defect) = match self.occurred_at() {
            Ok(occurred_at) => (occurred_at, None),
            Err(defect) => (None, Some(defect)),
        };
        let key = self.key(source).unwrap_or_else(|ambiguous| {
            defect = defect.or(ambiguous);
            partition::event_key(&source.name, &known.event_id)
        });
        Envelope {
            kind: self.plan.kind(&event_type),
            event_id: known.event_id,
            event_type,
            key,
            identity: known.identity,
            identity_signed: known.identity_signed,
            occurred_at_ms: occurred_at.map(|(ms, _)| ms),
            occurred_at_signed: occurred_at.is_some_and(|(_, is_signed)| is_signed),
            defect,
        }
    }

    /// The key of the resource; none when there is no resource, a defect when there are two.
    fn key(&self, source: &Source) -> Result<String, Option<ReasonCode>> {
        for locator in &self.plan.resource {
            let found = self.find(locator);
            if found == Found::Twice {
                return Err(Some(ReasonCode::AmbiguousIdentity));
            }
            let Some(resource) = identity::name(&found) else { continue };
            let kind = self.find(&self.plan.resource_type);
            let kind = identity::name(&kind).unwrap_or("resource");
            let kind = match self.plan.resource_type_end {
                Some(end) => kind.split(end).next().unwrap_or(kind),
                None => kind,
            };
            return Ok(partition::resource_key(&source.name, kind, resource));
        }
        Err(None)
    }

    /// The first time that is one; a defect when something stands there and nothing of it is a time.
    fn occurred_at(&self) -> Result<Option<(i64, bool)>, ReasonCode> {
        let mut defect = None;
        for (locator, unit, is_signed) in &self.plan.occurred_at {
            let found = self.find(locator);
            if matches!(found, Found::Absent | Found::Null) {
                continue;
            }
            match time::millis(&found, *unit) {
                Some(ms) => return Ok(Some((ms, *is_signed))),
                None => defect = Some(ReasonCode::BadTimestamp),
            }
        }
        defect.map_or(Ok(None), Err)
    }
}

#[cfg(test)]
mod tests;
