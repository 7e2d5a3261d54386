//! `weir providers`: what Weir knows about each provider, straight from the presets.

use std::time::Duration;

use anyhow::anyhow;
use runtime::report::{Exit, Failure};
use schemas::presets::{Algorithm, Encoding, Location, Preset, SecretEncoding, TimeUnit};
use serde::Serialize;

use crate::args::ProvidersCommand;
use crate::output::{Output, Row};

/// Runs a subcommand.
pub fn run(command: &ProvidersCommand, out: &mut Output<'_>) -> Result<Exit, Failure> {
    match command {
        ProvidersCommand::List(_) => {
            let rows: Vec<Listed> = Preset::all().iter().map(listed).collect();
            out.list(&rows)?;
            Ok(Exit::Done)
        }
        ProvidersCommand::Show { name, .. } => match Preset::find(name) {
            Some(preset) => {
                out.one(&shown(preset))?;
                Ok(Exit::Done)
            }
            None => Err(not_found(name)),
        },
    }
}

fn not_found(name: &str) -> Failure {
    let known: Vec<&str> = Preset::all().iter().map(|preset| preset.name).collect();
    let error = anyhow!("no provider is called {name:?}; there are: {}", known.join(", "));
    Failure { exit: Exit::No, error }
}

/// A preset in the list.
#[derive(Debug, Serialize)]
struct Listed {
    name: &'static str,
    title: &'static str,
    assurance: String,
    signature: String,
    event_id: String,
    window: String,
    retries: bool,
}

impl Row for Listed {
    const COLUMNS: &'static [&'static str] =
        &["name", "title", "assurance", "signature", "event_id", "window", "retries"];
}

fn listed(preset: &Preset) -> Listed {
    let header = preset.scheme.and_then(|scheme| scheme.headers.first().copied());
    Listed {
        name: preset.name,
        title: preset.title,
        assurance: format!("a{}", preset.assurance),
        signature: header.unwrap_or("configured").to_owned(),
        event_id: place(&preset.event_id),
        window: seconds(preset.window_s),
        retries: preset.retries,
    }
}

/// Everything about a preset.
#[derive(Debug, Serialize)]
struct Shown {
    name: &'static str,
    title: &'static str,
    assurance: String,
    signature: Vec<&'static str>,
    algorithm: String,
    format: Option<&'static str>,
    signed: Option<&'static str>,
    secret: Option<&'static str>,
    tolerance: Option<String>,
    event_id: String,
    event_id_signed: bool,
    event_type: String,
    resource_type: String,
    resource: Vec<&'static str>,
    occurred_at: Vec<String>,
    snapshots: &'static [&'static str],
    terminal: &'static [&'static str],
    window: String,
    window_floor: String,
    deadline: String,
    retries: bool,
    handshake: Option<&'static str>,
    reference: &'static str,
    example: String,
}

impl Row for Shown {
    const COLUMNS: &'static [&'static str] = &[
        "name",
        "title",
        "assurance",
        "signature",
        "algorithm",
        "format",
        "signed",
        "secret",
        "tolerance",
        "event_id",
        "event_id_signed",
        "event_type",
        "resource_type",
        "resource",
        "occurred_at",
        "snapshots",
        "terminal",
        "window",
        "window_floor",
        "deadline",
        "retries",
        "handshake",
        "reference",
        "example",
    ];
}

fn shown(preset: &Preset) -> Shown {
    let scheme = preset.scheme;
    let algorithm =
        |scheme: schemas::presets::Scheme| format!("hmac-{}, {}", digest(scheme.algorithm), encoding(scheme.encoding));
    let event_type = match preset.event_type_suffix {
        Some(pointer) => format!("{} + {pointer}", place(&preset.event_type)),
        None => place(&preset.event_type),
    };
    Shown {
        name: preset.name,
        title: preset.title,
        assurance: format!("a{}", preset.assurance),
        signature: scheme.map(|scheme| scheme.headers.to_vec()).unwrap_or_default(),
        algorithm: scheme.map_or_else(|| "[source.scheme]".to_owned(), algorithm),
        format: scheme.map(|scheme| scheme.format),
        signed: scheme.map(|scheme| scheme.signed),
        secret: scheme.map(|scheme| secret(scheme.secret_encoding)),
        tolerance: (preset.tolerance_s > 0).then(|| seconds(preset.tolerance_s)),
        event_id: place(&preset.event_id),
        event_id_signed: preset.event_id_signed,
        event_type,
        resource_type: place(&preset.resource_type),
        resource: preset.resource.to_vec(),
        occurred_at: preset.occurred_at.iter().map(|(at, how)| format!("{}, {}", place(at), unit(*how))).collect(),
        snapshots: preset.snapshots,
        terminal: preset.terminal,
        window: seconds(preset.window_s),
        window_floor: seconds(preset.window_floor_s),
        deadline: humantime::format_duration(Duration::from_millis(preset.deadline_ms.into())).to_string(),
        retries: preset.retries,
        handshake: preset.challenge,
        reference: preset.reference,
        example: example(preset),
    }
}

/// A source that works once its secret is there.
fn example(preset: &Preset) -> String {
    let variable = format!("{}_SECRET", preset.name.replace('-', "_").to_uppercase());
    let mut lines = vec![
        "[[source]]".to_owned(),
        format!("name = \"{}\"", preset.name),
        format!("provider = \"{}\"", preset.name),
        format!("secrets = [{{ env = \"{variable}\" }}]"),
    ];
    if preset.scheme.is_none() {
        let scheme = ["[source.scheme]", "header = \"X-Signature\"", "format = \"{signature}\"", "signed = \"{body}\""];
        lines.extend(scheme.map(str::to_owned));
    }
    lines.join("\n")
}

fn place(location: &Location) -> String {
    match location {
        Location::Pointer(pointer) => (*pointer).to_owned(),
        Location::Header(header) => format!("header {header}"),
        Location::Constant(text) => format!("\"{text}\""),
    }
}

fn seconds(seconds: u32) -> String {
    humantime::format_duration(Duration::from_secs(seconds.into())).to_string().replace("days", "d").replace("day", "d")
}

fn unit(unit: TimeUnit) -> &'static str {
    match unit {
        TimeUnit::Rfc3339 => "RFC 3339",
        TimeUnit::Seconds => "seconds",
        TimeUnit::Milliseconds => "milliseconds",
        TimeUnit::Microseconds => "microseconds",
    }
}

fn digest(algorithm: Algorithm) -> &'static str {
    match algorithm {
        Algorithm::Sha1 => "sha1",
        Algorithm::Sha256 => "sha256",
        Algorithm::Sha512 => "sha512",
    }
}

fn encoding(encoding: Encoding) -> &'static str {
    match encoding {
        Encoding::Hex => "hex",
        Encoding::Base64 => "base64",
    }
}

fn secret(encoding: SecretEncoding) -> &'static str {
    match encoding {
        SecretEncoding::Raw => "used as it is written",
        SecretEncoding::Base64 => "base64, after whsec_ if it has one",
        SecretEncoding::Hex => "hexadecimal",
    }
}

#[cfg(test)]
mod tests;
