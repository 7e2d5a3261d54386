//! The process around the door: start, readiness, drain.
//!
//! The listener opens first and answers 503 until Kafka is there, so that nobody has to start things in an order.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::anyhow;
use arc_swap::ArcSwap;
use runtime::admin::{self, Readiness, Ready};
use runtime::config::Config;
use runtime::report::{Exit, Failure};
use runtime::shutdown::Shutdown;
use runtime::topics::Finding;
use schemas::Topic;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::app::App;
use crate::metrics;
use crate::produce::kafka::KafkaLog;
use crate::reload;
use crate::serve::Server;
use crate::serve::open::Open;
use crate::source::Sources;

/// How often the topics are looked at until nothing is wrong with them.
const TOPICS_PAUSE: Duration = Duration::from_secs(5);

/// Runs until it is told to stop, and drains.
pub async fn run(path: &Path, config: Config) -> Result<Exit, Failure> {
    let exposition = runtime::metrics::install()?;
    metrics::describe();
    let shutdown = Shutdown::new();
    shutdown.listen();
    let sources = Sources::new(&config.sources).map_err(Failure::usage)?;
    let listener = admin::bind("webhooks", config.ingest.listen).await?;
    let admin_listener = admin::bind("health and metrics", config.ingest.admin_listen).await?;

    let log = Arc::new(KafkaLog::new(&config.kafka, &config.topics).map_err(Failure::usage)?);
    let findings = Arc::new(Findings::new());
    let server = Server::new(listener);
    let ready = readiness(&log, &findings, server.open());
    let app = Arc::new(App::new(sources, Arc::clone(&log), config.topics.partitions, shutdown.clone()));
    let _admin = Aborted(tokio::spawn(admin::serve(admin_listener, ready, exposition, shutdown.clone())));
    let _supervisor = Aborted(tokio::spawn(Arc::clone(&log).supervise()));
    let (reloaded, watched, running) = (Arc::clone(&app), path.to_owned(), config.clone());
    let _reload = Aborted(tokio::spawn(async move { reload::watch(reloaded, &watched, running).await }));

    tracing::info!(address = %config.ingest.listen, sources = config.sources.len(), "listening");
    let stop = shutdown.clone();
    tokio::select! {
        () = server.serve(&app, async move { stop.wait().await }) => {}
        failure = check_topics(&config, &findings, &shutdown) => return Err(failure),
    }
    drain(server, &app, &log, &config).await;
    Ok(Exit::Done)
}

/// A task that ends when this is dropped.
struct Aborted(JoinHandle<()>);

impl Drop for Aborted {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What is wrong with the topics.
struct Findings {
    /// Until nothing was wrong with them: why no record may be taken.
    reasons: ArcSwap<Vec<String>>,
    /// After that: what changed under us. Records are taken as long as Kafka takes them.
    warnings: ArcSwap<Vec<String>>,
}

impl Findings {
    fn new() -> Self {
        let unknown = vec!["the topics have not been looked at yet".to_owned()];
        Self { reasons: ArcSwap::from_pointee(unknown), warnings: ArcSwap::default() }
    }
}

fn readiness(log: &Arc<KafkaLog>, findings: &Arc<Findings>, open: &Arc<Open>) -> Ready {
    let (log, findings, open) = (Arc::clone(log), Arc::clone(findings), Arc::clone(open));
    Arc::new(move || {
        let mut reasons = findings.reasons.load().as_ref().clone();
        reasons.extend(log.complaints());
        let mut warnings = findings.warnings.load().as_ref().clone();
        if open.is_full() {
            warnings
                .push("there are as many connections as there may be: idle ones are closed, others wait".to_owned());
        }
        Readiness { reasons, warnings }
    })
}

/// Waits for the cluster, then looks at the topics until nothing is wrong with them, and now and then after that.
/// Returns only what ends the process.
async fn check_topics(config: &Config, findings: &Findings, shutdown: &Shutdown) -> Failure {
    if let Err(failure) = runtime::kafka::await_cluster(&config.kafka, shutdown).await {
        return failure;
    }
    loop {
        let reasons = match runtime::topics::check(&config.kafka, &config.topics, &[Topic::Verified]).await {
            Ok(found) => {
                if let Some(fatal) = found.iter().find(|finding| finding.is_fatal) {
                    return Failure::usage(anyhow!("{fatal}"));
                }
                shown(&found)
            }
            Err(error) => vec![format!("the topics cannot be looked at: {error:#}")],
        };
        let is_clean = reasons.is_empty();
        note(&findings.reasons, reasons, "not ready");
        if is_clean {
            let look = || runtime::topics::check(&config.kafka, &config.topics, &[Topic::Verified]);
            match runtime::topics::watch(look, |found| findings.warnings.store(Arc::new(found))).await {}
        }
        tokio::time::sleep(TOPICS_PAUSE).await;
    }
}

fn shown(found: &[Finding]) -> Vec<String> {
    found.iter().map(ToString::to_string).collect()
}

/// Keeps what was found, and logs it when it is not what was known.
fn note(known: &ArcSwap<Vec<String>>, found: Vec<String>, message: &'static str) {
    if **known.load() != found {
        for reason in &found {
            tracing::warn!(reason, "{message}");
        }
        if found.is_empty() {
            tracing::info!("the topics are as they should be");
        }
        known.store(Arc::new(found));
    }
}

/// Serves on while the load balancer still sends, lets what is under way finish, and delivers what was taken.
async fn drain(server: Server, app: &Arc<App<Arc<KafkaLog>>>, log: &KafkaLog, config: &Config) {
    let end = Instant::now() + config.shutdown_timeout;
    let left = || end.saturating_duration_since(Instant::now());
    // All of it, also while nobody is connected: a load balancer may connect anew for each request.
    let linger = config.ingest.linger.min(config.shutdown_timeout / 3);
    server.serve(app, tokio::time::sleep(linger)).await;
    app.close();
    server.close(left()).await;
    log.flush(left()).await;
    tracing::info!("drained");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_found_later_stands_beside_what_keeps_the_service_from_being_ready() {
        let findings = Findings::new();
        assert_eq!(findings.reasons.load().len(), 1, "nothing is known yet");
        note(&findings.reasons, Vec::new(), "not ready");
        let found = [Finding { topic: "verified-events".to_owned(), message: "is gone".to_owned(), is_fatal: true }];
        note(&findings.warnings, shown(&found), "a topic was changed");
        assert!(findings.reasons.load().is_empty());
        assert_eq!(**findings.warnings.load(), ["topic verified-events: is gone"]);
        note(&findings.warnings, Vec::new(), "a topic was changed");
        assert!(findings.warnings.load().is_empty(), "it was mended");
    }
}
