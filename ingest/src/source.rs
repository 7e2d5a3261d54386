//! A source as a request meets it: everything that can be worked out before the first request is.
//!
//! Built from the configuration at start and at every reload, then shared and never changed. Looking a source up
//! and judging a request parses no template, no pointer and no secret.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;
use runtime::config;

use crate::envelope::plan::{Plan, PlanError};
use crate::metrics::SourceMetrics;
use crate::verify::SchemeError;
use crate::verify::scheme::Scheme;

/// A source that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("source {name:?} cannot be used")]
pub struct SourceError {
    name: String,
    source: Cause,
}

/// What is wrong with it.
#[derive(Debug, thiserror::Error)]
enum Cause {
    #[error(transparent)]
    Scheme(#[from] SchemeError),
    #[error(transparent)]
    Plan(#[from] PlanError),
}

/// One door.
#[derive(Debug)]
pub struct Source {
    /// `[a-z0-9-]{1,63}`.
    pub name: String,
    /// First part of `ce_type`.
    pub type_prefix: String,
    /// How it signs.
    pub scheme: Scheme,
    /// Where everything stands in a request.
    pub plan: Plan,
    /// Tolerance of the signed timestamp, seconds.
    pub tolerance_s: i64,
    /// Largest body, bytes.
    pub body_limit: usize,
    /// How long the answer may take.
    pub deadline: Duration,
    /// 2: the signature covers the body; 3: and a timestamp.
    pub assurance: u8,
    /// Deduplication window, milliseconds.
    pub window_ms: i64,
    /// What becomes of stale events.
    pub stale: schemas::verified_event::StaleMode,
    /// Name of the JSON Schema.
    pub schema: Option<String>,
    /// Headers that may not stand twice.
    pub single_headers: Vec<HeaderName>,
    /// Headers in which a comma means that two were joined.
    pub uncombined_headers: Vec<HeaderName>,
    /// Its counters.
    pub metrics: SourceMetrics,
}

impl Source {
    /// Prepares a configured source.
    pub fn new(source: &config::Source) -> Result<Self, SourceError> {
        let failed = |cause: Cause| SourceError { name: source.name.clone(), source: cause };
        let secrets = source.secrets.iter().map(|secret| secret.expose());
        let scheme = Scheme::new(&source.scheme, secrets).map_err(|error| failed(error.into()))?;
        let plan = Plan::new(source, &scheme).map_err(|error| failed(error.into()))?;
        let mut single_headers: Vec<HeaderName> = scheme.headers().chain(plan.headers()).cloned().collect();
        single_headers.sort_by(|a, b| a.as_str().cmp(b.as_str()));
        single_headers.dedup();
        let uncombined_headers = scheme.headers_without_comma().chain(plan.unsigned_id_headers()).cloned().collect();
        Ok(Self {
            name: source.name.clone(),
            type_prefix: source.type_prefix().to_owned(),
            tolerance_s: seconds(source.tolerance),
            body_limit: usize::try_from(source.body_limit).unwrap_or(usize::MAX),
            deadline: source.deadline,
            assurance: if scheme.signs_timestamp() { 3 } else { 2 },
            window_ms: i64::try_from(source.dedup_window.as_millis()).unwrap_or(i64::MAX),
            stale: source.stale,
            schema: source.schema.as_ref().map(|schema| schema.name().to_owned()),
            single_headers,
            uncombined_headers,
            metrics: SourceMetrics::new(&source.name),
            scheme,
            plan,
        })
    }
}

fn seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}

/// Every source, by name.
#[derive(Debug, Default)]
pub struct Sources {
    by_name: HashMap<String, Arc<Source>>,
    in_order: Vec<Arc<Source>>,
}

impl Sources {
    /// Prepares all of them, or none.
    pub fn new(sources: &[config::Source]) -> Result<Self, SourceError> {
        let in_order: Vec<Arc<Source>> =
            sources.iter().map(|source| Source::new(source).map(Arc::new)).collect::<Result<_, _>>()?;
        let by_name = in_order.iter().map(|source| (source.name.clone(), Arc::clone(source))).collect();
        Ok(Self { by_name, in_order })
    }

    /// The source of that name.
    pub fn get(&self, name: &str) -> Option<&Arc<Source>> {
        self.by_name.get(name)
    }

    /// All of them, in the order of the configuration.
    pub fn iter(&self) -> impl Iterator<Item = &Source> {
        self.in_order.iter().map(AsRef::as_ref)
    }
}
