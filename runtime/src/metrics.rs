//! The recorder behind every metric of a process, and the text Prometheus reads.
//!
//! Metrics themselves are declared in each crate's `metrics.rs`; this file has those every process shares.

use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use anyhow::Context;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

use crate::report::Failure;

/// Upper bounds of other histograms, seconds: half a millisecond to 30 s, three a decade.
const BUCKETS_S: [f64; 15] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];
/// Upper bounds of histograms whose name ends like this: how often something was tried.
const ATTEMPTS: &str = "_attempts";
const BUCKETS_ATTEMPTS: [f64; 10] = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 12.0, 20.0, 50.0];
/// How often samples are folded into the histograms when nobody scrapes.
const UPKEEP: Duration = Duration::from_secs(5);

/// Renders the metrics. Cheap to clone.
#[derive(Clone)]
pub struct Exposition {
    handle: PrometheusHandle,
    // Dropped with the last clone, which ends the upkeep thread.
    _upkeep: Arc<SyncSender<()>>,
}

impl Exposition {
    /// Prometheus text format.
    pub fn render(&self) -> String {
        self.handle.render()
    }

    /// Of a recorder that nothing reports to.
    #[cfg(test)]
    pub(crate) fn empty() -> Self {
        let handle = PrometheusBuilder::new().build_recorder().handle();
        Self { handle, _upkeep: Arc::new(sync_channel(0).0) }
    }
}

/// Installs the recorder of this process; a second call in one process fails.
pub fn install() -> Result<Exposition, Failure> {
    let handle = PrometheusBuilder::new()
        .set_buckets(&BUCKETS_S)
        .and_then(|builder| builder.set_buckets_for_metric(Matcher::Suffix(ATTEMPTS.to_owned()), &BUCKETS_ATTEMPTS))
        .and_then(PrometheusBuilder::install_recorder)
        .context("install the metrics recorder")
        .map_err(Failure::internal)?;
    metrics::describe_gauge!("weir_build_info", "1, labelled with the version that runs");
    metrics::gauge!("weir_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    let upkeep = spawn_upkeep(handle.clone()).context("start the metrics upkeep").map_err(Failure::internal)?;
    Ok(Exposition { handle, _upkeep: Arc::new(upkeep) })
}

/// How many of this process's topics would lose events with one disk.
pub(crate) fn weak_topics(count: usize) {
    let count = u32::try_from(count).unwrap_or(u32::MAX);
    metrics::gauge!("weir_topics_weakly_replicated").set(f64::from(count));
}

/// Without it the samples of a histogram pile up until somebody scrapes.
fn spawn_upkeep(handle: PrometheusHandle) -> std::io::Result<SyncSender<()>> {
    let (alive, gone) = sync_channel(0);
    std::thread::Builder::new().name("metrics-upkeep".to_owned()).spawn(move || {
        while gone.recv_timeout(UPKEEP) == Err(RecvTimeoutError::Timeout) {
            handle.run_upkeep();
        }
    })?;
    Ok(alive)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_has_one_recorder_with_buckets_in_seconds() {
        let exposition = install().unwrap();
        metrics::histogram!("test_seconds").record(0.003);
        metrics::histogram!("test_attempts").record(7.0);
        let text = exposition.render();
        assert!(text.contains("test_seconds_bucket{le=\"0.0025\"} 0"), "{text}");
        assert!(text.contains("test_seconds_bucket{le=\"0.005\"} 1"), "{text}");
        assert!(text.contains("test_attempts_bucket{le=\"6\"} 0"), "{text}");
        assert!(text.contains("test_attempts_bucket{le=\"8\"} 1"), "{text}");
        assert!(text.contains("weir_build_info{version="), "{text}");
        assert!(install().is_err());
    }
}
