//! A record of any of our topics, as people and programs get to see it.
//!
//! Pure: decodes what it is given. What cannot be decoded is still shown, with its bytes.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rdkafka::message::{Headers, Message};
use schemas::{Command, DeadEvent, Resolution, Topic, VerifiedEvent, headers, time};
use serde::Serialize;

use crate::output::Line;

/// How much of a body the line for a person shows, in characters.
const PREVIEW: usize = 72;

/// A record, decoded as far as it can be.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Seen {
    /// Time of the record, RFC 3339.
    pub time: String,
    /// Full name of its topic.
    pub topic: String,
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// Its key: the resource.
    pub key: Option<String>,
    /// Source of the event.
    pub source: Option<String>,
    /// Type of the event, `<preset>.<type>`.
    #[serde(rename = "type")]
    pub event_type: Option<String>,
    /// The provider's event id.
    pub event_id: Option<String>,
    /// When it happened.
    pub occurred_at: Option<String>,
    /// Why it is dead, or what was wrong with it at the door.
    pub reason: Option<String>,
    /// Only of dead events.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dead: Option<Dead>,
    /// Only of commands about dead letters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<Commanded>,
    /// Record headers.
    pub headers: BTreeMap<String, String>,
    /// The body when it is JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// The body when it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body_base64: Option<String>,
    /// Time of the record, for sorting.
    #[serde(skip)]
    pub at_ms: i64,
}

/// What a dead event adds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Dead {
    /// Its id.
    pub id: String,
    /// A sentence for a person.
    pub message: String,
    /// Where it died.
    pub stage: String,
    /// How many times it was handled.
    pub attempts: i64,
    /// First failure.
    pub first_failed: String,
    /// Last failure.
    pub last_failed: String,
    /// `<partition>:<offset>` in the topic it came from.
    pub came_from: String,
}

/// What a command says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Commanded {
    /// `redrive` or `discard`.
    pub verb: &'static str,
    /// Tells it from every other.
    pub id: String,
    /// Which dead letter.
    pub dead_id: String,
    /// Who sent it.
    pub operator: String,
    /// Why.
    pub note: String,
    /// Whether it may be stale.
    pub as_is: bool,
}

impl Seen {
    /// Reads a record of a topic.
    pub fn of(topic: &Topic, message: &impl Message) -> Self {
        let at_ms = message.timestamp().to_millis().unwrap_or_default();
        let mut seen = Self {
            time: time::rfc3339(at_ms),
            at_ms,
            topic: message.topic().to_owned(),
            partition: message.partition(),
            offset: message.offset(),
            key: message.key().map(text),
            headers: headers_of(message),
            ..Self::default()
        };
        let value = message.payload().unwrap_or_default();
        match topic {
            Topic::Verified => seen.take_verified(value),
            Topic::Retry(_) => {
                seen.command = command_of(message);
                seen.take_verified(value);
            }
            Topic::Dead => seen.take_dead(value),
            Topic::Clean | Topic::Stale => seen.take_headers(value),
            Topic::Resolutions | Topic::Quarantine | Topic::Changelog => seen.take_body(value),
        }
        seen
    }

    fn take_verified(&mut self, value: &[u8]) {
        let Ok(event) = VerifiedEvent::decode(value) else {
            return self.take_body(value);
        };
        self.take_event(&event);
        self.reason = event.defect.map(str::to_owned);
        self.take_body(event.body);
    }

    fn take_event(&mut self, event: &VerifiedEvent<'_>) {
        self.source = Some(event.source.to_owned());
        self.event_type = Some(join_type(event.preset, event.event_type));
        self.event_id = Some(event.event_id.to_owned());
        self.occurred_at = event.occurred_at_ms.map(time::rfc3339);
    }

    fn take_dead(&mut self, value: &[u8]) {
        let Ok(dead) = DeadEvent::decode(value) else {
            return self.take_body(value);
        };
        self.source = dead.source.map(str::to_owned);
        self.event_type = dead.event_type.map(str::to_owned);
        self.event_id = dead.event_id.map(str::to_owned);
        self.reason = Some(dead.reason.to_owned());
        self.dead = Some(Dead {
            id: dead.dead_id.to_owned(),
            message: dead.message.to_owned(),
            stage: dead.stage.to_owned(),
            attempts: dead.attempts,
            first_failed: time::rfc3339(dead.first_failed_ms),
            last_failed: time::rfc3339(dead.last_failed_ms),
            came_from: format!("{}:{}", dead.source_partition, dead.source_offset),
        });
        let original = dead.original_value.unwrap_or_default();
        match VerifiedEvent::decode(original) {
            Ok(event) => {
                self.take_event(&event);
                self.take_body(event.body);
            }
            Err(_) => self.take_body(original),
        }
    }

    fn take_headers(&mut self, value: &[u8]) {
        let header = |name: &str| self.headers.get(name).cloned();
        self.event_id = header(headers::ID);
        self.event_type = header(headers::TYPE);
        self.occurred_at = header(headers::TIME);
        let source = header(headers::SOURCE);
        self.source = source.map(|source| source.strip_prefix("/hooks/").unwrap_or(&source).to_owned());
        self.take_body(value);
    }

    fn take_body(&mut self, body: &[u8]) {
        match json_text(body) {
            Some(text) => self.body = Some(text.to_owned()),
            None => self.body_base64 = Some(STANDARD.encode(body)),
        }
    }

    /// `<partition>:<offset>` in `verified-events` that a record came from.
    pub fn came_from(&self) -> Option<&str> {
        let of_dead = self.dead.as_ref().map(|dead| dead.came_from.as_str());
        of_dead.or_else(|| self.headers.get(headers::WEIR_SRC).map(String::as_str))
    }
}

impl Line for Seen {
    fn pretty(&self) -> String {
        let or_dash = |field: &Option<String>| field.clone().unwrap_or_else(|| "-".to_owned());
        let body = self.body.as_ref().or(self.body_base64.as_ref());
        let mut preview: String = body.iter().flat_map(|body| body.chars()).take(PREVIEW).collect();
        if body.is_some_and(|body| body.chars().nth(PREVIEW).is_some()) {
            preview.push('…');
        }
        let why = self.reason.as_ref().map(|reason| format!("{reason}  ")).unwrap_or_default();
        format!(
            "{}  {:>3}:{:<8}  {:<28}  {:<36}  {:<36}  {why}{preview}",
            self.time,
            self.partition,
            self.offset,
            or_dash(&self.event_type),
            or_dash(&self.key),
            or_dash(&self.event_id),
        )
    }
}

/// Whether a record is of the event with that id. Cheap: most records of a search are not.
pub fn is_of(topic: &Topic, message: &impl Message, event_id: &str) -> bool {
    let value = message.payload().unwrap_or_default();
    match topic {
        Topic::Verified | Topic::Retry(_) => VerifiedEvent::decode(value).is_ok_and(|event| event.event_id == event_id),
        Topic::Dead => DeadEvent::decode(value).is_ok_and(|dead| dead.event_id == Some(event_id)),
        Topic::Clean | Topic::Stale => message.headers().is_some_and(|all| {
            let mut all = all.iter();
            all.any(|header| header.key == headers::ID && header.value == Some(event_id.as_bytes()))
        }),
        Topic::Resolutions | Topic::Quarantine | Topic::Changelog => false,
    }
}

fn command_of(message: &impl Message) -> Option<Commanded> {
    let all: Vec<(&str, Option<&[u8]>)> = message.headers()?.iter().map(|header| (header.key, header.value)).collect();
    let command = Command::read(&all)?;
    Some(Commanded {
        verb: command.verb.as_str(),
        id: command.id.to_owned(),
        dead_id: command.dead_id.to_string(),
        operator: command.operator.to_owned(),
        note: command.note.to_owned(),
        as_is: command.is_as_is,
    })
}

/// `<preset>.<type>`, or the preset alone.
fn join_type(preset: &str, event_type: &str) -> String {
    if event_type.is_empty() { preset.to_owned() } else { format!("{preset}.{event_type}") }
}

fn headers_of(message: &impl Message) -> BTreeMap<String, String> {
    let headers = message.headers().into_iter().flat_map(|headers| headers.iter());
    headers.map(|header| (header.key.to_owned(), text(header.value.unwrap_or_default()))).collect()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The text of a body that is JSON.
fn json_text(body: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(body).ok()?;
    serde_json::from_str::<&serde_json::value::RawValue>(text).ok().map(|_| text)
}

/// A resolution for a person.
pub fn sentence(resolution: &Resolution) -> String {
    let mut text = format!("{} at {}", resolution.result.as_str(), resolution.at);
    let mut add = |before: &str, part: &Option<String>| {
        if let Some(part) = part {
            text.push_str(before);
            text.push_str(part);
        }
    };
    add(" by ", &resolution.operator);
    add(" by event ", &resolution.by);
    add(" as ", &resolution.new_dead_id);
    add(": ", &resolution.note);
    text
}

#[cfg(test)]
mod tests;
