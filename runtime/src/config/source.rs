//! One `[[source]]`: the preset's facts with what is configured over them.

use std::time::Duration;

use schemas::presets::{Location, Preset, SecretEncoding, TimeUnit};
use schemas::verified_event::StaleMode;

use super::read::join;
use super::report::Report;
use super::resolve::Outside;
use super::resolved::{Dedup, Place, Schedule, Scheme, Source};
use super::units::format_length;
use super::written::{self, TextOr};
use super::{handlers, scheme, secrets};
use crate::json_schema::JsonSchema;

/// Tolerance of a configured scheme that signs a timestamp.
const TOLERANCE: Duration = Duration::from_secs(5 * 60);

/// The source that is meant; `None` after a problem that leaves nothing to go on with.
pub(super) fn resolve(
    written: written::Source,
    path: &str,
    body_limit: u64,
    outside: &Outside<'_>,
    report: &mut Report,
) -> Option<Source> {
    let preset = written.provider.as_deref().and_then(Preset::find);
    let scheme = preset.and_then(|preset| scheme_of(preset, written.scheme, path, report));
    // What does not hang on the provider is looked at all the same: all problems are reported at once.
    let encoding = scheme.as_ref().map_or(SecretEncoding::Raw, |scheme| scheme.secret_encoding);
    let secrets = secrets::load(&written.secrets, encoding, &join(path, "secrets"), outside, report);
    let schema = written.schema.and_then(|name| {
        let schema = JsonSchema::load(&name, &outside.folder.join(&name));
        schema.map_err(|error| report.error(&join(path, "schema"), error)).ok()
    });
    let handlers = handlers::resolve(written.handlers, &join(path, "handlers"), outside, report);
    let (preset, scheme) = (preset?, scheme?);
    let dedup = dedup(written.dedup, &join(path, "dedup"), report);
    let dedup_window = written.dedup_window.map_or(Duration::from_secs(preset.window_s.into()), |window| window.0);
    if !report.is_spoiled(&join(path, "dedup")) {
        check_window(preset, &dedup, dedup_window, &join(path, "dedup_window"), report);
    }
    let (event_id, event_id_signed) = event_id(preset, &scheme, written.event_id);
    let tolerance = tolerance(preset, &scheme, written.tolerance.map(|length| length.0), path, report);
    let event_type = written.event_type.map_or_else(|| preset.event_type.into(), Place::from);
    let resource_type = written.resource_type.map_or_else(|| preset.resource_type.into(), resource_type);
    if !preset.retries {
        report.warn(
            &join(path, "provider"),
            format!("{} does not repeat a request that was refused: watch weir-ingest's refusals, and fetch what was missed", preset.title),
        );
    }
    let globs = |written: Option<Vec<String>>, preset: &[&str]| {
        written.unwrap_or_else(|| preset.iter().map(|glob| (*glob).to_owned()).collect())
    };
    let stale = stale(&written.stale);
    Some(Source {
        name: written.name?,
        preset,
        scheme,
        secrets,
        dedup,
        dedup_window,
        stale,
        event_id,
        event_id_signed,
        // What the preset knows about a place goes with the place.
        event_type_suffix: preset
            .event_type_suffix
            .filter(|_| event_type == preset.event_type.into())
            .map(str::to_owned),
        event_type,
        resource: match written.resource {
            Some(places) => places.into_iter().map(Place::from).collect(),
            None => preset.resource.iter().map(|pointer| Place::Pointer((*pointer).to_owned())).collect(),
        },
        resource_type_end: preset.resource_type_end.filter(|_| resource_type == preset.resource_type.into()),
        resource_type,
        occurred_at: occurred_at(preset, written.occurred_at, &join(path, "occurred_at"), report),
        snapshots: globs(written.snapshots, preset.snapshots),
        terminal: globs(written.terminal, preset.terminal),
        tolerance,
        body_limit: written.body_limit.map_or(body_limit, |size| size.0),
        schema,
        schedule: written.schedule.map(Schedule::from),
        handlers,
        deadline: Duration::from_millis(preset.deadline_ms.into()),
        challenge: preset.challenge.map(str::to_owned),
    })
}

impl From<Location> for Place {
    fn from(location: Location) -> Self {
        match location {
            Location::Pointer(pointer) => Self::Pointer(pointer.to_owned()),
            Location::Header(name) => Self::Header(name.to_ascii_lowercase()),
            Location::Constant(text) => Self::Constant(text.to_owned()),
        }
    }
}

impl From<TextOr<written::Place>> for Place {
    fn from(written: TextOr<written::Place>) -> Self {
        match written {
            TextOr::Text(pointer) => Self::Pointer(pointer),
            TextOr::Table(place) => Self::Header(place.header.unwrap_or_default().to_ascii_lowercase()),
        }
    }
}

fn resource_type(written: TextOr<written::Place>) -> Place {
    match written {
        TextOr::Text(text) if !text.starts_with('/') => Place::Constant(text),
        TextOr::Text(_) | TextOr::Table(_) => Place::from(written),
    }
}

/// A preset knows how it signs; `hmac` has to be told.
fn scheme_of(preset: &Preset, written: Option<written::Scheme>, path: &str, report: &mut Report) -> Option<Scheme> {
    let here = join(path, "scheme");
    match (&preset.scheme, written) {
        (Some(known), None) => Some(Scheme::of_preset(known)),
        (None, Some(written)) => scheme::resolve(written, &here, report),
        (Some(known), Some(_)) => {
            report.error(
                &here,
                format!("provider \"{}\" knows how it signs: leave it out, or use provider = \"hmac\"", preset.name),
            );
            Some(Scheme::of_preset(known))
        }
        (None, None) => {
            report.error(
                &here,
                format!("is missing: provider \"{}\" needs [source.scheme] with at least `header`", preset.name),
            );
            None
        }
    }
}

fn dedup(written: TextOr<written::Dedup>, path: &str, report: &mut Report) -> Dedup {
    match written {
        TextOr::Text(text) if text == "body" => Dedup::Body,
        TextOr::Text(_) => Dedup::Id,
        TextOr::Table(parts) => match (parts.include, parts.exclude) {
            (Some(pointers), None) => Dedup::Include(pointers),
            (None, Some(pointers)) => Dedup::Exclude(pointers),
            (Some(_), Some(_)) | (None, None) => {
                if !report.is_spoiled(path) {
                    report.error(path, "takes exactly one of `include` and `exclude`");
                }
                Dedup::Id
            }
        },
    }
}

fn check_window(preset: &Preset, dedup: &Dedup, window: Duration, path: &str, report: &mut Report) {
    let floor = Duration::from_secs(preset.window_floor_s.into());
    match dedup {
        // Not the provider's repetitions are meant here, but what the operator takes for the same.
        Dedup::Include(_) | Dedup::Exclude(_) => {}
        Dedup::Id | Dedup::Body => {
            if window < floor {
                let message = format!(
                    "\"{}\" is shorter than the time in which {} may deliver an event again: at least {}, or it would be emitted twice",
                    format_length(window),
                    preset.title,
                    format_length(floor),
                );
                report.error(path, message);
            }
        }
    }
}

/// Where the id stands and whether the signature covers it: every scheme signs the whole body.
fn event_id(preset: &Preset, scheme: &Scheme, written: Option<TextOr<written::Place>>) -> (Place, bool) {
    let place = match (written, scheme.id_headers.first()) {
        (Some(written), _) => Place::from(written),
        (None, Some(header)) if preset.scheme.is_none() => Place::Header(header.clone()),
        (None, _) => return (preset.event_id.into(), preset.event_id_signed),
    };
    let is_signed = match &place {
        Place::Pointer(_) => true,
        Place::Header(name) => scheme.signs_id() && scheme.id_headers.contains(name),
        Place::Constant(_) => false,
    };
    (place, is_signed)
}

fn tolerance(preset: &Preset, scheme: &Scheme, written: Option<Duration>, path: &str, report: &mut Report) -> Duration {
    if !scheme.signs_timestamp() {
        if written.is_some() {
            report.warn(&join(path, "tolerance"), "has no use: the signature covers no timestamp");
        }
        return Duration::ZERO;
    }
    let of_preset = Duration::from_secs(preset.tolerance_s.into());
    written.unwrap_or(if of_preset.is_zero() { TOLERANCE } else { of_preset })
}

fn stale(written: &str) -> StaleMode {
    match written {
        "off" => StaleMode::Off,
        "flag" => StaleMode::Flag,
        "route" => StaleMode::Route,
        _ => StaleMode::Drop,
    }
}

fn occurred_at(
    preset: &Preset,
    written: Option<Vec<TextOr<written::Time>>>,
    path: &str,
    report: &mut Report,
) -> Vec<(Place, TimeUnit)> {
    let Some(written) = written else {
        return preset.occurred_at.iter().map(|(location, unit)| (Place::from(*location), *unit)).collect();
    };
    let mut times = Vec::new();
    for time in written {
        let table = match time {
            TextOr::Text(pointer) => {
                times.push((Place::Pointer(pointer), TimeUnit::Rfc3339));
                continue;
            }
            TextOr::Table(table) => table,
        };
        let place = match (table.pointer, table.header) {
            (Some(pointer), None) => Place::Pointer(pointer),
            (None, Some(header)) => Place::Header(header.to_ascii_lowercase()),
            (Some(_), Some(_)) | (None, None) => {
                if !report.is_spoiled(path) {
                    report.error(path, "takes exactly one of `pointer` and `header`");
                }
                continue;
            }
        };
        let unit = match table.unit.as_deref() {
            Some("s") => TimeUnit::Seconds,
            Some("ms") => TimeUnit::Milliseconds,
            Some("us") => TimeUnit::Microseconds,
            Some(_) | None => TimeUnit::Rfc3339,
        };
        times.push((place, unit));
    }
    times
}
