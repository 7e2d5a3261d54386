//! Reloading the sources: on SIGHUP, and when the file or a file of secrets changed.
//!
//! Only `[[source]]` is taken over. A configuration that cannot be used, or that the topics were not made for, is
//! refused as a whole: the old sources stay and the log says why. Requests under way are not touched.

use std::path::Path;
use std::sync::Arc;

use runtime::config::{self, Config};
use runtime::report;
use schemas::identity::sha256;
use tokio::signal::unix::{SignalKind, signal};

use crate::app::App;
use crate::limits;
use crate::metrics;
use crate::produce::Log;
use crate::source::Sources;

/// Why a configuration is not taken over.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("the file cannot be used")]
    File(#[from] config::Problems),
    #[error(transparent)]
    Source(#[from] crate::source::SourceError),
    #[error("the largest body grew from {running} to {wanted} bytes: run `weir topics apply` and restart the services")]
    Body { running: u64, wanted: u64 },
    #[error("the longest deduplication window grew beyond what the changelog keeps: run `weir topics apply`")]
    Window,
}

/// Reloads until it is dropped.
pub async fn watch<L: Log>(app: Arc<App<L>>, path: &Path, running: Config) {
    let mut state = State { fingerprint: fingerprint(&running), running, complaint: String::new() };
    let mut hangup = match signal(SignalKind::hangup()) {
        Ok(hangup) => Some(hangup),
        Err(error) => {
            tracing::error!(%error, "cannot listen for SIGHUP: the file is still looked at");
            None
        }
    };
    loop {
        let is_asked = tokio::select! {
            () = tokio::time::sleep(limits::RELOAD_PAUSE) => false,
            () = async { match &mut hangup {
                Some(hangup) => drop(hangup.recv().await),
                None => std::future::pending().await,
            }} => true,
        };
        let file = path.to_owned();
        let loaded = tokio::task::spawn_blocking(move || config::load(&file)).await;
        match loaded {
            Ok(loaded) => {
                let loaded = loaded.map(|loaded| loaded.config);
                let is_kept = match &loaded {
                    Ok(config) => state.is_longest_window_kept(config).await,
                    Err(_) => false,
                };
                state.consider(&app, loaded, is_asked, is_kept);
            }
            Err(error) => tracing::error!(%error, "reading the configuration failed"),
        }
    }
}

struct State {
    running: Config,
    fingerprint: [u8; 32],
    /// What was last complained about, so that it is said once and not at every look.
    complaint: String,
}

impl State {
    /// Whether the changelog keeps what the longest window needs: as at the start, or by what the broker says now.
    async fn is_longest_window_kept(&self, wanted: &Config) -> bool {
        if wanted.topics.longest_window_ms <= self.running.topics.longest_window_ms {
            return true;
        }
        let topics =
            schemas::Topics { longest_window_ms: wanted.topics.longest_window_ms, ..self.running.topics.clone() };
        runtime::topics::keep_longest_window(&self.running.kafka, &topics).await.unwrap_or_else(|error| {
            tracing::debug!(error = report::chain(error.as_ref()), "the changelog's retention is unknown");
            false
        })
    }

    /// `is_kept`: the topics were made for its longest window.
    fn consider<L: Log>(
        &mut self,
        app: &App<L>,
        loaded: Result<Config, config::Problems>,
        is_asked: bool,
        is_kept: bool,
    ) {
        let taken = loaded.map_err(Refusal::from).and_then(|config| {
            let fingerprint = fingerprint(&config);
            if fingerprint == self.fingerprint && !is_asked {
                return Ok(None);
            }
            prepare(&self.running, &config, is_kept).map(|sources| Some((config, fingerprint, sources)))
        });
        match taken {
            Ok(None) => {
                if !self.complaint.is_empty() {
                    self.complaint.clear();
                    metrics::reload_unneeded();
                }
            }
            Ok(Some((config, fingerprint, sources))) => {
                if rest(&config) != rest(&self.running) {
                    tracing::warn!("only [[source]] is reloaded: restart for the other changes");
                }
                app.replace(sources);
                metrics::reloaded();
                tracing::info!(sources = config.sources.len(), "sources reloaded");
                // The rest of what runs is still what it was started with.
                self.running.sources = config.sources;
                let kept_ms = self.running.topics.longest_window_ms;
                self.running.topics.longest_window_ms = kept_ms.max(config.topics.longest_window_ms);
                self.fingerprint = fingerprint;
                self.complaint.clear();
            }
            Err(refusal) => {
                let complaint = report::chain(&refusal);
                if complaint != self.complaint || is_asked {
                    tracing::error!(error = complaint, "the new configuration is not used, the old one stays");
                    metrics::reload_failed();
                    self.complaint = complaint;
                }
            }
        }
    }
}

fn prepare(running: &Config, wanted: &Config, is_kept: bool) -> Result<Sources, Refusal> {
    if wanted.topics.body_limit > running.topics.body_limit {
        return Err(Refusal::Body { running: running.topics.body_limit, wanted: wanted.topics.body_limit });
    }
    if !is_kept {
        return Err(Refusal::Window);
    }
    Ok(Sources::new(&wanted.sources)?)
}

/// Stands for the sources with their secrets, which neither print nor compare.
fn fingerprint(config: &Config) -> [u8; 32] {
    let mut text = format!("{:?}", config.sources).into_bytes();
    for secret in config.sources.iter().flat_map(|source| &source.secrets) {
        text.extend_from_slice(&sha256(secret.expose()));
    }
    sha256(&text)
}

/// Everything that is not reloaded, as text to compare.
fn rest(config: &Config) -> String {
    let Config { shutdown_timeout, kafka, topics, ingest, processor: _, retry: _, sources: _ } = config;
    let schemas::Topics { prefix, partitions, replication, retry_delays: _, body_limit: _, longest_window_ms: _ } =
        topics;
    format!("{shutdown_timeout:?} {kafka:?} {ingest:?} {prefix:?} {partitions} {replication}")
}

#[cfg(test)]
mod tests;
