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
use schemas::Topic;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::app::App;
use crate::limits;
use crate::metrics;
use crate::produce::kafka::KafkaLog;
use crate::reload;
use crate::serve::Server;
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
    let findings = Arc::new(ArcSwap::from_pointee(vec!["the topics have not been looked at yet".to_owned()]));
    let ready = readiness(&log, &findings);
    let app = Arc::new(App::new(sources, Arc::clone(&log), config.topics.partitions, shutdown.clone()));
    let _admin = Aborted(tokio::spawn(admin::serve(admin_listener, ready, exposition, shutdown.clone())));
    let _supervisor = Aborted(tokio::spawn(Arc::clone(&log).supervise()));
    let (reloaded, watched, running) = (Arc::clone(&app), path.to_owned(), config.clone());
    let _reload = Aborted(tokio::spawn(async move { reload::watch(reloaded, &watched, running).await }));

    tracing::info!(address = %config.ingest.listen, sources = config.sources.len(), "listening");
    let server = Server::new(listener);
    let stop = shutdown.clone();
    tokio::select! {
        () = server.serve(&app, async move { stop.wait().await }) => {}
        failure = check_topics(&config, &findings, &shutdown) => return Err(failure),
    }
    drain(server, &app, &log, config.shutdown_timeout).await;
    Ok(Exit::Done)
}

/// A task that ends when this is dropped.
struct Aborted(JoinHandle<()>);

impl Drop for Aborted {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn readiness(log: &Arc<KafkaLog>, findings: &Arc<ArcSwap<Vec<String>>>) -> Ready {
    let (log, findings) = (Arc::clone(log), Arc::clone(findings));
    Arc::new(move || {
        let mut reasons = findings.load().as_ref().clone();
        reasons.extend(log.complaints());
        Readiness { reasons, warnings: Vec::new() }
    })
}

/// Waits for the cluster, then looks at the topics until nothing is wrong with them. Returns only what ends the
/// process; otherwise it waits for ever.
async fn check_topics(config: &Config, findings: &ArcSwap<Vec<String>>, shutdown: &Shutdown) -> Failure {
    if let Err(failure) = runtime::kafka::await_cluster(&config.kafka, shutdown).await {
        return failure;
    }
    let mut said = Vec::new();
    loop {
        let reasons = match runtime::topics::check(&config.kafka, &config.topics, &[Topic::Verified]).await {
            Ok(found) => {
                if let Some(fatal) = found.iter().find(|finding| finding.is_fatal) {
                    return Failure::usage(anyhow!("topic {}: {}", fatal.topic, fatal.message));
                }
                found.iter().map(|finding| format!("topic {}: {}", finding.topic, finding.message)).collect()
            }
            Err(error) => vec![format!("the topics cannot be looked at: {error:#}")],
        };
        if reasons != said {
            for reason in &reasons {
                tracing::warn!(reason, "not ready");
            }
            said.clone_from(&reasons);
        }
        let is_clean = reasons.is_empty();
        findings.store(Arc::new(reasons));
        if is_clean {
            tracing::info!("the topics are as they should be");
            return std::future::pending().await;
        }
        tokio::time::sleep(TOPICS_PAUSE).await;
    }
}

/// Answers latecomers with 503 for a moment, lets what is under way finish, and delivers what was taken.
async fn drain(server: Server, app: &Arc<App<Arc<KafkaLog>>>, log: &KafkaLog, timeout: Duration) {
    let end = Instant::now() + timeout;
    let left = || end.saturating_duration_since(Instant::now());
    server.serve(app, tokio::time::sleep(limits::LINGER.min(timeout))).await;
    server.close(left()).await;
    log.flush(left()).await;
    tracing::info!("drained");
}
