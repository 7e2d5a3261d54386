//! From what is written to what is meant: relations between keys, and the order of things.
//!
//! Single values were checked by `read`; what is checked here needs more than one of them, the
//! environment or the disk.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::time::Duration;

use super::report::Report;
use super::resolved::{Config, Ingest, Kafka, Processor, Recycle, Retry, Source, Topics};
use super::units::format_length;
use super::{OWNED, retry, sensitive, source, written};

/// What a configuration refers to outside itself.
pub(super) struct Outside<'a> {
    /// The configuration file's folder.
    pub(super) folder: &'a Path,
    /// Environment variables.
    pub(super) environment: &'a HashMap<String, String>,
}

/// Window the changelog is planned for while there is no source.
const WINDOW_WITHOUT_SOURCES: Duration = Duration::from_secs(4 * 24 * 60 * 60);

/// The configuration that is meant. Usable only when `report` has no problem.
pub(super) fn resolve(root: written::Root, outside: &Outside<'_>, report: &mut Report) -> Config {
    let kafka = kafka(root.kafka, report);
    let ingest = ingest(root.ingest, report);
    let prefix = root.topics.prefix.clone();
    let processor = processor(root.processor, &prefix, outside, report);
    let retry = retry::resolve(root.retry, report);
    let sources = sources(root.source, ingest.body_limit, &retry, outside, report);
    let topics = topics(&root.topics, &retry, ingest.body_limit, &sources, report);
    Config { shutdown_timeout: root.shutdown_timeout.0, kafka, topics, ingest, processor, retry, sources }
}

fn kafka(written: written::Kafka, report: &mut Report) -> Kafka {
    for (property, value) in &written.client {
        let path = format!("kafka.client.{property}");
        if let Some((_, reason)) = OWNED.iter().find(|(owned, _)| owned == property) {
            report.error(&path, format!("is set by Weir: {reason}"));
        } else if let Some(reason) = crate::kafka::refuses(property, value) {
            let reason = if sensitive::is(property) { "is not taken by librdkafka".to_owned() } else { reason };
            report.error(&path, reason);
        }
    }
    Kafka { brokers: written.brokers, wait: written.wait.0, client: written.client }
}

fn ingest(written: written::Ingest, report: &mut Report) -> Ingest {
    if written.listen == written.admin_listen && written.listen.port() != 0 {
        report.error(
            "ingest.admin_listen",
            format!("{} is already `[ingest] listen`: health and metrics need a port of their own", written.listen),
        );
    }
    Ingest {
        listen: written.listen,
        admin_listen: written.admin_listen,
        body_limit: written.body_limit.0,
        public_url: written.public_url,
        linger: written.linger.0,
    }
}

fn processor(written: written::Processor, prefix: &str, outside: &Outside<'_>, report: &mut Report) -> Processor {
    let instance = written.instance.or_else(|| host_name(outside)).unwrap_or_else(|| {
        report.error(
            "processor.instance",
            "the host has no name that can be used: set one, stable and different for each process",
        );
        String::new()
    });
    let processor = Processor {
        group: format!("{prefix}{}", written.group),
        session_timeout: written.session_timeout.0,
        instance,
        workers: written.workers,
        state_dir: written.state_dir,
        admin_listen: written.admin_listen,
        commit_interval: written.commit_interval.0,
        batch_events: written.batch_events,
        batch_bytes: usize::try_from(written.batch_bytes.0).unwrap_or(usize::MAX),
        leave: written.leave,
        recycle: if written.recycle == "every_commit" { Recycle::EveryCommit } else { Recycle::AfterTrouble },
    };
    let transaction = processor.transaction_timeout();
    if processor.commit_interval > transaction / 3 && !report.is_spoiled("processor.session_timeout") {
        let message = format!(
            "\"{}\" is more than a third of the transaction timeout, which is {} with a session_timeout of {}: \
             shorten it or lengthen session_timeout",
            format_length(processor.commit_interval),
            format_length(transaction),
            format_length(processor.session_timeout),
        );
        report.error("processor.commit_interval", message);
    }
    processor
}

/// The host's name, when it can name a member of the group.
fn host_name(outside: &Outside<'_>) -> Option<String> {
    let from_kernel = std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
    let name = from_kernel.or_else(|| outside.environment.get("HOSTNAME").cloned())?;
    let name = name.trim().to_owned();
    super::form::Form::KafkaName.check(&name).is_ok().then_some(name)
}

fn sources(
    written: Vec<written::Source>,
    body_limit: u64,
    retry: &Retry,
    outside: &Outside<'_>,
    report: &mut Report,
) -> Vec<Source> {
    if written.is_empty() && !report.is_spoiled("source") {
        report.warn("source", "there is no [[source]]: nothing can arrive");
    }
    let mut first: BTreeMap<String, usize> = BTreeMap::new();
    for (position, source) in written.iter().enumerate() {
        let Some(name) = &source.name else { continue };
        if let Some(earlier) = first.get(name) {
            let line = report.line(&format!("source[{earlier}].name"));
            let place = line.map(|line| format!(" on line {line}")).unwrap_or_default();
            report.error(
                &format!("source[{position}].name"),
                format!("\"{name}\" is already taken{place}: names are unique"),
            );
        } else {
            first.insert(name.clone(), position);
        }
    }
    let resolve = |(position, written): (usize, written::Source)| {
        let path = format!("source[{position}]");
        let source = source::resolve(written, &path, body_limit, outside, report)?;
        retry::check_source(retry, &source, &format!("{path}.schedule"), report);
        Some(source)
    };
    written.into_iter().enumerate().filter_map(resolve).collect()
}

fn topics(
    written: &written::Topics,
    retry: &Retry,
    body_limit: u64,
    sources: &[Source],
    report: &mut Report,
) -> Topics {
    if written.replication < 3 {
        report.warn(
            "topics.replication",
            format!("{}: a lost disk loses events; production wants 3 or more", written.replication),
        );
    }
    let windows = sources.iter().map(|source| source.dedup_window);
    let longest = windows.max().unwrap_or(WINDOW_WITHOUT_SOURCES);
    let largest = sources.iter().map(|source| source.body_limit).fold(body_limit, u64::max);
    Topics {
        prefix: written.prefix.clone(),
        partitions: written.partitions,
        replication: written.replication,
        retry_delays: retry.delays.iter().map(|(text, _)| text.clone()).collect(),
        body_limit: largest,
        longest_window_ms: i64::try_from(longest.as_millis()).unwrap_or(i64::MAX),
    }
}
