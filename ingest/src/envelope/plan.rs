//! Where a source's values stand, worked out once: pointers in one tree, header names checked, globs parsed.

use http::{HeaderMap, HeaderName};
use runtime::config::{self, Dedup, Place};
use schemas::presets::{Preset, TimeUnit};
use schemas::verified_event::EventKind;

use super::glob::Glob;
use super::json::Found;
use super::parts::Parts;
use super::pointer::{PointerError, Pointers};
use crate::verify::scheme::Scheme;

/// A source whose values cannot be looked up.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// A pointer.
    #[error(transparent)]
    Pointer(#[from] PointerError),
    /// A header's name.
    #[error("{0:?} is not a header name")]
    HeaderName(String),
}

/// Where a value is looked up.
#[derive(Debug, Clone)]
pub enum Locator {
    /// In the body; the pointer's slot.
    Body(usize),
    /// In a header: one name for each family of headers, or one for all.
    Header(Vec<HeaderName>),
    /// Nowhere: it is always the same.
    Constant(String),
}

/// What makes two deliveries the same event.
#[derive(Debug, Clone)]
pub enum Sameness {
    /// The id, which the signature covers.
    SignedId,
    /// The id and the body, because anybody can write the id.
    IdAndBody,
    /// The body.
    Body,
    /// Parts of the body.
    Parts(Parts),
}

/// What to echo, and when.
#[derive(Debug, Clone)]
pub struct Challenge {
    /// Slot of what is echoed.
    pub echo: usize,
    /// Slot and text that tell a handshake from an event.
    pub when: Option<(usize, String)>,
}

/// Where everything stands.
#[derive(Debug, Clone)]
pub struct Plan {
    /// What is looked up in the body.
    pub pointers: Pointers,
    /// The event's id.
    pub event_id: Locator,
    /// Whether the signature covers it.
    pub is_id_signed: bool,
    /// What makes two deliveries the same.
    pub sameness: Sameness,
    /// The event's type.
    pub event_type: Locator,
    /// Slot of what is appended to the type.
    pub event_type_suffix: Option<usize>,
    /// The resource's id, the first that is there.
    pub resource: Vec<Locator>,
    /// The resource's type.
    pub resource_type: Locator,
    /// Where the resource's type ends.
    pub resource_type_end: Option<char>,
    /// When it happened; the last part says whether the signature covers it.
    pub occurred_at: Vec<(Locator, TimeUnit, bool)>,
    /// Handshakes.
    pub challenge: Option<Challenge>,
    /// Field of a form that holds the JSON.
    pub form_field: Option<&'static str>,
    /// Whether a body that is not JSON is a defect.
    pub needs_json: bool,
    snapshots: Vec<Glob>,
    terminal: Vec<Glob>,
}

impl Plan {
    /// Works out a source's plan.
    pub fn new(source: &config::Source, scheme: &Scheme) -> Result<Self, PlanError> {
        let preset = source.preset;
        let mut pointers = Pointers::default();
        let mut locate = |place: &Place| locator(place, preset, &mut pointers);
        let event_id = locate(&source.event_id)?;
        let event_type = locate(&source.event_type)?;
        let resource = source.resource.iter().map(&mut locate).collect::<Result<Vec<_>, _>>()?;
        let resource_type = locate(&source.resource_type)?;
        let mut occurred_at = Vec::with_capacity(source.occurred_at.len());
        for (place, unit) in &source.occurred_at {
            let locator = locate(place)?;
            let is_signed = is_signed(&locator, scheme);
            occurred_at.push((locator, *unit, is_signed));
        }
        let is_id_signed = is_signed(&event_id, scheme);
        let sameness = match &source.dedup {
            Dedup::Id if is_id_signed => Sameness::SignedId,
            Dedup::Id => Sameness::IdAndBody,
            Dedup::Body => Sameness::Body,
            Dedup::Include(pointers) => Sameness::Parts(Parts::include(pointers)?),
            Dedup::Exclude(pointers) => Sameness::Parts(Parts::exclude(pointers)?),
        };
        let in_body = |locator: &Locator| matches!(locator, Locator::Body(_));
        let needs_json = match sameness {
            Sameness::SignedId | Sameness::IdAndBody => in_body(&event_id),
            Sameness::Parts(_) => true,
            Sameness::Body => false,
        };
        let needs_json =
            needs_json || resource.iter().any(in_body) || occurred_at.iter().any(|(locator, _, _)| in_body(locator));
        let suffix = source.event_type_suffix.as_deref();
        let event_type_suffix = suffix.map(|pointer| pointers.add(pointer)).transpose()?;
        let challenge = challenge(source, &mut pointers)?;
        let globs = |patterns: &[String]| patterns.iter().map(|pattern| Glob::new(pattern)).collect();
        Ok(Self {
            event_id,
            is_id_signed,
            sameness,
            event_type,
            event_type_suffix,
            resource,
            resource_type,
            resource_type_end: source.resource_type_end,
            occurred_at,
            challenge,
            form_field: preset.form_field,
            needs_json,
            snapshots: globs(&source.snapshots),
            terminal: globs(&source.terminal),
            pointers,
        })
    }

    /// The headers that something is looked up in.
    pub fn headers(&self) -> impl Iterator<Item = &HeaderName> {
        let times = self.occurred_at.iter().map(|(locator, _, _)| locator);
        let all = [&self.event_id, &self.event_type, &self.resource_type].into_iter().chain(&self.resource);
        all.chain(times).flat_map(|locator| match locator {
            Locator::Header(names) => names.as_slice(),
            Locator::Body(_) | Locator::Constant(_) => &[],
        })
    }

    /// Headers of ids that no signature covers: two of them joined into one would pass as a third id.
    pub fn unsigned_id_headers(&self) -> impl Iterator<Item = &HeaderName> {
        let names = match &self.event_id {
            Locator::Header(names) if !self.is_id_signed => names.as_slice(),
            Locator::Header(_) | Locator::Body(_) | Locator::Constant(_) => &[],
        };
        names.iter()
    }

    /// What a type means for the stale rule. An end is an end, whatever else fits.
    pub fn kind(&self, event_type: &str) -> EventKind {
        let fits = |globs: &[Glob]| globs.iter().any(|glob| glob.matches(event_type));
        if fits(&self.terminal) {
            EventKind::Terminal
        } else if fits(&self.snapshots) {
            EventKind::Snapshot
        } else {
            EventKind::Other
        }
    }
}

impl Locator {
    /// What stands there, given what was found in the body and which family of headers was verified.
    pub fn find<'a>(&'a self, body: &[Found<'a>], headers: &'a HeaderMap, family: usize) -> Found<'a> {
        match self {
            Self::Body(slot) => body.get(*slot).cloned().unwrap_or(Found::Absent),
            Self::Constant(text) => Found::Text(text.into()),
            Self::Header(names) => match names.get(family).or(names.first()).and_then(|name| headers.get(name)) {
                None => Found::Absent,
                Some(value) => match std::str::from_utf8(value.as_bytes()) {
                    Ok(text) => Found::Text(text.into()),
                    Err(_) => Found::Other,
                },
            },
        }
    }
}

fn locator(place: &Place, preset: &Preset, pointers: &mut Pointers) -> Result<Locator, PlanError> {
    Ok(match place {
        Place::Pointer(pointer) => Locator::Body(pointers.add(pointer)?),
        Place::Constant(text) => Locator::Constant(text.clone()),
        Place::Header(name) => {
            let name = name.to_ascii_lowercase();
            let names = family_of(&name, preset).unwrap_or(&[]);
            let names = if names.is_empty() { vec![name.as_str()] } else { names.to_vec() };
            let parse = |name: &str| HeaderName::try_from(name).map_err(|_| PlanError::HeaderName(name.to_owned()));
            Locator::Header(names.into_iter().map(parse).collect::<Result<_, _>>()?)
        }
    })
}

/// The names that a header has in the other families of its scheme.
fn family_of(name: &str, preset: &Preset) -> Option<&'static [&'static str]> {
    let scheme = preset.scheme.as_ref()?;
    let lists = [scheme.headers, scheme.timestamp_headers, scheme.id_headers];
    lists.into_iter().chain(scheme.aliases.iter().copied()).find(|names| names.contains(&name))
}

/// Whether the signature covers what stands there.
fn is_signed(locator: &Locator, scheme: &Scheme) -> bool {
    match locator {
        Locator::Body(_) => true,
        Locator::Header(names) => names.iter().all(|name| scheme.signs_header(name)),
        Locator::Constant(_) => false,
    }
}

fn challenge(source: &config::Source, pointers: &mut Pointers) -> Result<Option<Challenge>, PlanError> {
    let Some(echo) = &source.challenge else { return Ok(None) };
    let echo = pointers.add(echo)?;
    let when = match source.preset.challenge_when {
        Some((pointer, text)) => Some((pointers.add(pointer)?, text.to_owned())),
        None => None,
    };
    Ok(Some(Challenge { echo, when }))
}
