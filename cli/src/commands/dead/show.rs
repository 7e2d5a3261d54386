//! `weir dead show`: everything about one dead letter, or the provider's bytes alone.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use runtime::config::Config;
use runtime::report::{Exit, Failure};
use schemas::{DeadEvent, DeadId, Resolution, time};
use serde::Serialize;

use super::content::{Content, is_json};
use super::drafts::Drafts;
use super::letters::{Letter, Letters};
use super::list::resource;
use super::states::state_of;
use super::{diff, layout};
use crate::args::dead::{ShowArgs, State};
use crate::output::{Form, Output, Row, harmless};
use crate::record::sentence;

/// One failure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Failed {
    at: String,
    attempt: i64,
    reason: String,
    message: String,
}

/// A body: as a text when it is JSON, else in Base64.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
struct Body {
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body_base64: Option<String>,
}

/// What a redrive would send instead.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Edited {
    #[serde(flatten)]
    body: Body,
    diff: Vec<String>,
}

/// Everything about a letter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Shown {
    id: String,
    event_id: Option<String>,
    source: Option<String>,
    #[serde(rename = "type")]
    event_type: Option<String>,
    resource: Option<String>,
    reason: String,
    message: String,
    stage: String,
    attempts: i64,
    first_failed: String,
    last_failed: String,
    received: String,
    came_from: String,
    state: State,
    resolution: Option<Resolution>,
    history: Vec<Failed>,
    headers: BTreeMap<String, String>,
    http_headers: BTreeMap<String, String>,
    #[serde(flatten)]
    body: Body,
    edited: Option<Edited>,
}

impl Row for Shown {
    const COLUMNS: &'static [&'static str] = &[
        "id",
        "event_id",
        "source",
        "type",
        "resource",
        "reason",
        "message",
        "stage",
        "attempts",
        "first_failed",
        "last_failed",
        "received",
        "came_from",
        "state",
    ];
}

/// Prints one letter.
pub fn run(config: &Config, options: &ShowArgs, out: &mut Output<'_>) -> Result<Exit, Failure> {
    let letters = Letters::open(config)?;
    let (offset, value) = letters.one(options.id)?;
    // It was one when it was found.
    let letter = Letter::read(offset, &value).ok_or_else(|| letters.no_such(options.id))?;
    let content = Content::of(&letter.event);
    if options.body {
        out.bytes(content.body())?;
        return Ok(Exit::Done);
    }
    let resolution = letters.resolution(options.id)?;
    let draft = Drafts::existing(&options.drafts)?.read(options.id, &letter.event)?;
    let shown = shown(options.id, &letter.event, &content, resolution, draft.as_deref());
    out.one(&shown)?;
    if out.form() == Form::Table {
        out.text(&told(&shown, content.body(), draft.as_deref()))?;
    }
    Ok(Exit::Done)
}

fn shown(
    id: DeadId,
    dead: &DeadEvent<'_>,
    content: &Content<'_>,
    resolution: Option<Resolution>,
    draft: Option<&[u8]>,
) -> Shown {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let http_headers = content.event().into_iter().flat_map(|event| event.http_headers.iter());
    let edited = |draft| Edited { body: body(draft), diff: diff::lines(content.body(), draft) };
    Shown {
        id: id.to_string(),
        event_id: dead.event_id.map(str::to_owned),
        source: dead.source.map(str::to_owned),
        event_type: dead.event_type.map(str::to_owned),
        resource: resource(dead),
        reason: dead.reason.to_owned(),
        message: dead.message.to_owned(),
        stage: dead.stage.to_owned(),
        attempts: dead.attempts,
        first_failed: time::rfc3339(dead.first_failed_ms),
        last_failed: time::rfc3339(dead.last_failed_ms),
        received: time::rfc3339(dead.received_at_ms),
        came_from: format!("{}:{} of {}", dead.source_partition, dead.source_offset, dead.source_topic),
        state: resolution.as_ref().map_or(State::Dead, |resolution| state_of(resolution.result)),
        resolution,
        history: dead
            .history
            .iter()
            .map(|failure| Failed {
                at: time::rfc3339(failure.at_ms),
                attempt: failure.attempt,
                reason: failure.reason.to_owned(),
                message: failure.message.to_owned(),
            })
            .collect(),
        headers: dead
            .original_headers
            .iter()
            .map(|(name, value)| ((*name).to_owned(), text(value.unwrap_or_default())))
            .collect(),
        http_headers: http_headers.map(|(name, value)| (name.to_owned(), text(value))).collect(),
        body: body(content.body()),
        edited: draft.map(edited),
    }
}

fn body(bytes: &[u8]) -> Body {
    if is_json(bytes) {
        Body { body: Some(String::from_utf8_lossy(bytes).into_owned()), body_base64: None }
    } else {
        Body { body: None, body_base64: Some(STANDARD.encode(bytes)) }
    }
}

/// What follows the table: resolution, history, headers, body, edit.
fn told(shown: &Shown, body: &[u8], draft: Option<&[u8]>) -> String {
    let mut text = String::new();
    if let Some(resolution) = &shown.resolution {
        section(&mut text, "resolution", std::iter::once(sentence(resolution)));
    }
    let history = shown.history.iter();
    let failure =
        |failed: &Failed| format!("{}  attempt {}: {}: {}", failed.at, failed.attempt, failed.reason, failed.message);
    section(&mut text, "history", history.map(failure));
    let header = |(name, value): (&String, &String)| format!("{name}: {value}");
    section(&mut text, "record headers", shown.headers.iter().map(header));
    section(&mut text, "request headers", shown.http_headers.iter().map(header));
    let lines = |bytes| readable(bytes).lines().map(str::to_owned).collect::<Vec<_>>();
    section(&mut text, &format!("body, {} bytes", body.len()), lines(body).into_iter());
    if let (Some(draft), Some(edited)) = (draft, &shown.edited) {
        section(&mut text, &format!("edited body, {} bytes", draft.len()), lines(draft).into_iter());
        section(&mut text, "what the edit changes", edited.diff.iter().cloned());
    }
    text
}

/// A title and its lines; nothing where there is nothing.
fn section(text: &mut String, title: &str, lines: impl Iterator<Item = String>) {
    let mut lines = lines.peekable();
    if lines.peek().is_none() {
        return;
    }
    text.push_str(&format!("\n {title}\n"));
    for line in lines {
        text.push_str(&format!("   {}\n", harmless(&line)));
    }
}

/// JSON laid out, other text as it is, other bytes in Base64.
fn readable(body: &[u8]) -> String {
    match std::str::from_utf8(body) {
        Ok(text) if is_json(body) => layout::pretty(text),
        Ok(text) => text.to_owned(),
        Err(_) => format!("base64 {}", STANDARD.encode(body)),
    }
}

#[cfg(test)]
mod tests {
    use schemas::resolution::Outcome;

    use super::*;
    use crate::samples;

    const ID: DeadId = DeadId { partition: 3, offset: 17, generation: 0 };

    fn resolution() -> Resolution {
        Resolution {
            dead_id: ID.to_string(),
            result: Outcome::Dead,
            at: "2026-11-24T12:00:00.000Z".to_owned(),
            by: None,
            command_id: Some("c0ffee".to_owned()),
            operator: Some("ann".to_owned()),
            note: Some("fixed\u{1b}[2J".to_owned()),
            new_dead_id: Some("3-17-1".to_owned()),
        }
    }

    fn show(body: &[u8], draft: Option<&[u8]>) -> (Shown, String) {
        let original = samples::encoded(&samples::verified(body));
        let dead = samples::around("3-17-0", &original);
        let content = Content::of(&dead);
        let shown = shown(ID, &dead, &content, Some(resolution()), draft);
        let told = told(&shown, body, draft);
        (shown, told)
    }

    #[test]
    fn a_program_gets_everything_with_the_body_as_it_came() {
        let (shown, _) = show(b"{ \"a\":1 }", Some(b"{\"a\":2}"));
        let value = serde_json::to_value(&shown).unwrap();
        let at = |pointer: &str| value.pointer(pointer).and_then(|value| value.as_str()).unwrap_or("nothing");
        for (pointer, expected) in [
            ("/id", "3-17-0"),
            ("/type", "issues.opened"),
            ("/came_from", "3:17 of verified-events"),
            ("/state", "redriven"),
            ("/resolution/operator", "ann"),
            ("/resolution/new_dead_id", "3-17-1"),
            ("/history/0/message", "no number"),
            ("/headers/traceparent", "00-1"),
            ("/http_headers/x-github-event", "issues"),
            ("/body", "{ \"a\":1 }"),
            ("/edited/body", "{\"a\":2}"),
            ("/edited/diff/2", "-  \"a\": 1"),
        ] {
            assert_eq!(at(pointer), expected, "{pointer} in {value}");
        }
    }

    #[test]
    fn a_person_sees_who_did_what_and_the_body_laid_out() {
        let (_, told) = show(b"{\"a\":1}", Some(b"{\"a\":2}"));
        let resolved = "dead at 2026-11-24T12:00:00.000Z by ann as 3-17-1: fixed\\u{1b}[2J";
        for expected in [resolved, "attempt 2: schema_violation: no number", "\n     \"a\": 1\n", "\n   +  \"a\": 2\n"]
        {
            assert!(told.contains(expected), "{expected} in {told}");
        }
        assert!(!told.contains('\u{1b}'));
    }

    #[test]
    fn a_body_that_is_not_json_is_base64_for_programs_and_bytes_cannot_reach_a_terminal() {
        let (shown, told) = show(b"\xff\x1b[2J", None);
        assert_eq!(shown.body, Body { body: None, body_base64: Some("/xtbMko=".to_owned()) });
        assert!(told.contains("base64 /xtbMko=") && !told.contains("edited"), "{told}");
    }
}
