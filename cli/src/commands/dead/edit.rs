//! `weir dead edit`: another body for the next redrive of a dead letter.
//!
//! Writes nothing to Kafka: the edit waits as a draft on this machine, the original stays in `dead-events`.

use std::path::Path;

use anyhow::anyhow;
use runtime::config::Config;
use runtime::report::{Exit, Failure};
use serde::Serialize;

use super::content::{Content, is_json};
use super::drafts::Drafts;
use super::editor::Editor;
use super::letters::{Letter, Letters};
use super::states::state_of;
use super::{diff, layout};
use crate::args::dead::{EditArgs, State};
use crate::ask;
use crate::commands::read_body;
use crate::output::{Form, Output, Row, harmless};
use crate::record::sentence;

/// What was edited.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Edited {
    id: String,
    event_id: Option<String>,
    draft: Option<String>,
    bytes_before: usize,
    bytes_after: usize,
    diff: Vec<String>,
}

impl Row for Edited {
    const COLUMNS: &'static [&'static str] = &["id", "event_id", "draft", "bytes_before", "bytes_after"];
}

/// Edits one letter's body; exit 1 if nothing changed.
pub fn run(config: &Config, options: &EditArgs, out: &mut Output<'_>) -> Result<Exit, Failure> {
    let letters = Letters::open(config)?;
    let (offset, value) = letters.one(options.id)?;
    let letter = Letter::read(offset, &value).ok_or_else(|| letters.no_such(options.id))?;
    may_edit(&letters, options)?;
    let drafts = Drafts::open(&options.drafts)?;
    let path = drafts.path(options.id, &letter.event);
    let content = Content::of(&letter.event);
    let before = drafts.read(options.id, &letter.event)?.unwrap_or_else(|| content.body().to_vec());
    // What was not changed is not judged: it is what it was.
    let is_fine = |body: &[u8]| options.no_check || body == before || body == content.body();
    let check = |body: &[u8]| if is_fine(body) { Ok(()) } else { check(config, &content, body) };
    let after = match &options.body {
        Some(file) => {
            let body = read_body(file)?;
            check(&body)?;
            body
        }
        None => in_editor(&Editor::of_environment()?, &drafts, &path, &before, &check)?,
    };
    if after == before {
        ask::say(&format!("{}: nothing changed\n", options.id))?;
        return Ok(Exit::No);
    }
    if after == content.body() {
        return take_back(options, &path);
    }
    if !options.dry_run {
        drafts.write(&path, &after)?;
    }
    let edited = Edited {
        id: options.id.to_string(),
        event_id: letter.event.event_id.map(str::to_owned),
        draft: (!options.dry_run).then(|| path.display().to_string()),
        bytes_before: content.body().len(),
        bytes_after: after.len(),
        diff: diff::lines(content.body(), &after),
    };
    print(&edited, out)?;
    Ok(Exit::Done)
}

/// Nobody edits for nothing: a letter that is resolved is not sent again.
fn may_edit(letters: &Letters, options: &EditArgs) -> Result<(), Failure> {
    let Some(resolution) = letters.resolution(options.id)? else {
        return Ok(());
    };
    let state = match state_of(resolution.result) {
        State::Discarded => "discarded",
        State::Dead | State::Redriven => "redriven",
    };
    let error = anyhow!("{} is {state} already ({})", options.id, sentence(&resolution));
    Err(Failure { exit: Exit::No, error })
}

fn take_back(options: &EditArgs, path: &Path) -> Result<Exit, Failure> {
    if !options.dry_run {
        Drafts::remove(path)?;
    }
    ask::say(&format!("{}: the original body again, so there is no draft any more\n", options.id))?;
    Ok(Exit::Done)
}

fn print(edited: &Edited, out: &mut Output<'_>) -> Result<(), Failure> {
    out.one(edited)?;
    if out.form() == Form::Table {
        let lines: String = edited.diff.iter().map(|line| format!(" {}\n", harmless(line))).collect();
        out.text(&format!("\n{lines}"))?;
    }
    if edited.draft.is_some() {
        ask::say(&format!("send it: weir dead redrive {} --note TEXT\n", edited.id))?;
    }
    Ok(())
}

/// The body after an editor worked on it. What fails the check is kept, until something takes its place: somebody typed it.
fn in_editor(
    editor: &Editor,
    drafts: &Drafts,
    path: &Path,
    before: &[u8],
    check: &dyn Fn(&[u8]) -> Result<(), Failure>,
) -> Result<Vec<u8>, Failure> {
    let sheet = Sheet::of(before);
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let name = format!("{name}.edit{}", sheet.ending);
    let refused = drafts.unfinished(&name)?;
    let file = match &refused {
        Some(_) => {
            ask::say("going on with what was refused last time\n")?;
            drafts.beside(&name)
        }
        None => drafts.create(&name, &sheet.text)?,
    };
    let written = match editor.edit(&file) {
        Ok(written) => written,
        Err(failure) => {
            // The editor may have written before it failed.
            match &refused {
                Some(text) => drafts.create(&name, text).map(drop)?,
                None => Drafts::remove(&file)?,
            }
            return Err(failure);
        }
    };
    let after = sheet.body(before, refused.as_deref().unwrap_or(&sheet.text), written);
    if let Err(Failure { exit, error }) = check(&after) {
        let kept = format!("nothing was changed; what you wrote is in {}, mend it with another edit", file.display());
        return Err(Failure { exit, error: error.context(kept) });
    }
    Drafts::remove(&file)?;
    Ok(after)
}

/// A body as an editor shows it.
struct Sheet {
    text: Vec<u8>,
    ending: &'static str,
    is_compact: bool,
}

impl Sheet {
    /// JSON on one line is laid out for the editor.
    fn of(body: &[u8]) -> Self {
        let Some(json) = std::str::from_utf8(body).ok().filter(|_| is_json(body)) else {
            return Self { text: body.to_vec(), ending: "", is_compact: false };
        };
        let is_compact = !json.trim().contains('\n');
        let text = if is_compact { layout::pretty(json).into_bytes() } else { body.to_vec() };
        Self { text, ending: ".json", is_compact }
    }

    /// The body that was meant: what was on one line is on one line again, and what was not touched is not changed.
    /// `shown`: what the editor began with.
    fn body(&self, before: &[u8], shown: &[u8], mut written: Vec<u8>) -> Vec<u8> {
        // Most editors end the last line, whoever wrote the text.
        if !shown.ends_with(b"\n") && written.ends_with(b"\n") {
            written.pop();
        }
        if written == self.text {
            return before.to_vec();
        }
        match std::str::from_utf8(&written) {
            Ok(json) if self.is_compact && is_json(&written) => layout::compact(json).into_bytes(),
            Ok(_) | Err(_) => written,
        }
    }
}

/// Whether a redrive with this body could succeed, as far as that can be known here.
fn check(config: &Config, content: &Content<'_>, body: &[u8]) -> Result<(), Failure> {
    let event = content.event();
    let source = event.and_then(|event| config.sources.iter().find(|source| source.name == event.source));
    let limit = source.map_or(config.topics.body_limit, |source| source.body_limit);
    if u64::try_from(body.len()).unwrap_or(u64::MAX) > limit {
        return Err(refused(anyhow!("it has {} bytes, body_limit is {limit}", body.len())));
    }
    if content.must_be_json()
        && let Err(error) = serde_json::from_slice::<&serde_json::value::RawValue>(body)
    {
        return Err(refused(anyhow!(error).context("it is not JSON")));
    }
    let Some(name) = event.and_then(|event| event.schema) else {
        return Ok(());
    };
    let mut known = config.sources.iter().filter_map(|source| source.schema.as_ref());
    match known.find(|schema| schema.name() == name) {
        Some(schema) => {
            schema.check(body).map_err(|violation| refused(anyhow!("it fails {name}: {}", violation.shown())))
        }
        None => ask::say(&format!("no [[source]] has the JSON Schema {name}: the body was not checked against it\n")),
    }
}

fn refused(error: anyhow::Error) -> Failure {
    Failure::usage(error.context("the new body would die again (--no-check keeps it all the same)"))
}

#[cfg(test)]
mod tests;
