//! What three readers saw of the outputs, in a form in which it can be compared.
//!
//! The witness reads during the run, librdkafka reads when all is over, and so does Kafka's own Java client, which
//! shares no line with it. All read committed records only.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Headers};
use rdkafka::{Message, Offset, TopicPartitionList};

use crate::cluster::Cluster;
use crate::event::digest;
use crate::observed::{Observed, Position};
use crate::place;

/// The topics that the processor writes for others, without the prefix.
pub const OUTPUTS: [&str; 3] = ["clean-events", "stale-events", "dead-events"];
/// Topics whose values are the provider's bytes.
const BODIES: [&str; 2] = ["clean-events", "stale-events"];

/// What lies where: topic and position, then key, headers and the hash of the body.
pub type View = BTreeMap<(&'static str, Position), String>;

/// Between the fields of a record that the Java client prints, between records, and between headers. None of them
/// stands in a text of ours.
const FIELD: char = '\u{1f}';
const RECORD: char = '\u{1e}';
const HEADER: char = '\u{1d}';
/// How long the Java client waits for more, or for its first record while others start beside it.
const JAVA_PATIENCE_MS: &str = "20000";
/// How long the cluster may take to say what topics there are.
const METADATA_WITHIN: Duration = Duration::from_secs(30);
/// How long nothing new may come until the witness believes that it has seen all: longer than its client waits before
/// it connects again.
const QUIET: Duration = Duration::from_secs(12);

fn line<'a>(key: &str, headers: impl Iterator<Item = (&'a str, &'a str)>, body: Option<&[u8; 32]>) -> String {
    let headers: Vec<String> = headers.map(|(name, value)| format!("{name}:{value}")).collect();
    format!("{key} {} {}", headers.join(" "), body.map(hex::encode).unwrap_or_default())
}

/// The view of the reader that the check uses.
pub fn of_observed(observed: &Observed) -> View {
    let mut view = View::new();
    for (topic, records) in [("clean-events", &observed.clean), ("stale-events", &observed.stale)] {
        for record in records {
            view.insert((topic, record.at), line(&record.key, pairs(&record.headers), Some(&record.digest)));
        }
    }
    for letter in &observed.dead {
        view.insert(("dead-events", letter.at), line(&letter.key, pairs(&letter.headers), None));
    }
    view
}

fn pairs(headers: &[(String, String)]) -> impl Iterator<Item = (&str, &str)> {
    headers.iter().map(|(name, value)| (name.as_str(), value.as_str()))
}

/// A reader of committed records that looks on while everything happens.
#[derive(Debug)]
pub struct Witness {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<View>>,
}

impl Witness {
    /// Begins to read all outputs. They must exist.
    pub fn start(cluster: &Cluster, prefix: &str) -> Result<Self> {
        let consumer = cluster.consumer("weir-torture-witness")?;
        let mut start = TopicPartitionList::new();
        let metadata = consumer.fetch_metadata(None, METADATA_WITHIN).context("the cluster does not answer")?;
        for topic in OUTPUTS {
            let name = format!("{prefix}{topic}");
            let found = metadata.topics().iter().find(|found| found.name() == name);
            for partition in found.with_context(|| format!("there is no topic {name}"))?.partitions() {
                start.add_partition_offset(&name, partition.id(), Offset::Offset(0)).context("no such offset")?;
            }
        }
        consumer.assign(&start).context("cannot read the outputs")?;
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, prefix) = (Arc::clone(&stop), prefix.to_owned());
        let thread = std::thread::spawn(move || watch(&consumer, &prefix, &stopped));
        Ok(Self { stop, thread })
    }

    /// Reads the rest, and tells what it saw.
    pub fn finish(self) -> Result<View> {
        self.stop.store(true, Ordering::SeqCst);
        self.thread.join().map_err(|_| anyhow::anyhow!("the witness panicked"))?
    }
}

fn watch(consumer: &BaseConsumer, prefix: &str, stop: &AtomicBool) -> Result<View> {
    let mut view = View::new();
    let mut last = Instant::now();
    while !stop.load(Ordering::SeqCst) || last.elapsed() < QUIET {
        match consumer.poll(Duration::from_millis(200)) {
            Some(Ok(record)) => {
                last = Instant::now();
                let (at, line) = seen(&record, prefix)?;
                if let Some(before) = view.insert(at, line.clone()) {
                    ensure!(before == line, "{} at {} is now {line}, and was {before}", at.0, at.1);
                }
            }
            Some(Err(KafkaError::MessageConsumptionFatal(error))) => bail!("the witness cannot go on: {error}"),
            // Brokers come and go.
            Some(Err(_)) | None => {}
        }
    }
    Ok(view)
}

fn seen(record: &BorrowedMessage<'_>, prefix: &str) -> Result<((&'static str, Position), String)> {
    let name = record.topic().strip_prefix(prefix).unwrap_or_default();
    let topic = OUTPUTS.into_iter().find(|topic| *topic == name).context("not an output")?;
    let at = Position { partition: record.partition(), offset: record.offset() };
    let text = |bytes: Option<&[u8]>| String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned();
    let headers = record.headers().map(|headers| headers.iter()).into_iter().flatten();
    let headers: Vec<(String, String)> = headers.map(|header| (header.key.to_owned(), text(header.value))).collect();
    let body = BODIES.contains(&topic).then(|| digest(record.payload().unwrap_or_default()));
    Ok(((topic, at), line(&text(record.key()), pairs(&headers), body.as_ref())))
}

/// Reads all outputs with the Java client: `kafka-console-consumer`, in other words. It blocks.
pub fn by_java(brokers: &str, prefix: &str) -> Result<View> {
    let jars = Command::new(place::script("kafka/jars")).output().context("cannot run scripts/kafka/jars")?;
    ensure!(jars.status.success(), "{}", String::from_utf8_lossy(&jars.stderr));
    let classes = format!("{}/*", String::from_utf8_lossy(&jars.stdout).trim());
    let mut view = View::new();
    // Side by side: each waits most of its time for records that do not come.
    let views = std::thread::scope(|scope| {
        let readers = OUTPUTS.map(|topic| scope.spawn(|| console(&classes, brokers, prefix, topic)));
        readers.map(|reader| reader.join().map_err(|_| anyhow::anyhow!("a reader panicked"))?)
    });
    for part in views {
        view.extend(part?);
    }
    Ok(view)
}

fn console(classes: &str, brokers: &str, prefix: &str, topic: &'static str) -> Result<View> {
    let has_body = BODIES.contains(&topic);
    let mut command = Command::new("java");
    command.args(["-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", classes]);
    command.args(["-Dorg.slf4j.simpleLogger.defaultLogLevel=error"]);
    command.args(["org.apache.kafka.tools.consumer.ConsoleConsumer", "--bootstrap-server", brokers]);
    command.args(["--topic", &format!("{prefix}{topic}"), "--from-beginning"]);
    command.args(["--isolation-level", "read_committed", "--timeout-ms", JAVA_PATIENCE_MS]);
    for (name, value) in [
        ("print.partition", "true"),
        ("print.offset", "true"),
        ("print.headers", "true"),
        ("print.key", "true"),
        ("print.value", if has_body { "true" } else { "false" }),
        ("key.separator", &FIELD.to_string()),
        ("headers.separator", &HEADER.to_string()),
        ("line.separator", &RECORD.to_string()),
    ] {
        command.args(["--property", &format!("{name}={value}")]);
    }
    let output = command.stdin(Stdio::null()).output().context("cannot start Java")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(said.contains("Processed a total of"), "the Java client failed on {topic}: {said}");
    let mut view = View::new();
    for record in output.stdout.split(|byte| *byte == RECORD as u8).filter(|record| !record.is_empty()) {
        let (at, line) = printed(record, has_body)
            .with_context(|| format!("{topic}: cannot read {:?}", String::from_utf8_lossy(record)))?;
        view.insert((topic, at), line);
    }
    Ok(view)
}

/// A record as the Java client prints it: partition, offset, headers, key and, where there is one, the body.
fn printed(record: &[u8], has_body: bool) -> Result<(Position, String)> {
    let mut fields = record.splitn(5, |byte| *byte == FIELD as u8);
    let mut field = || fields.next().context("a field is missing");
    let partition = std::str::from_utf8(field()?)?.strip_prefix("Partition:").context("no partition")?.parse()?;
    let offset = std::str::from_utf8(field()?)?.strip_prefix("Offset:").context("no offset")?.parse()?;
    let headers = String::from_utf8_lossy(field()?).into_owned();
    let key = String::from_utf8_lossy(field()?).into_owned();
    let body = if has_body { Some(digest(field()?)) } else { None };
    let headers = headers.split(HEADER).map(|header| header.split_once(':').unwrap_or((header, "")));
    Ok((Position { partition, offset }, line(&key, headers, body.as_ref())))
}

/// What one view has and another has not, or has otherwise.
pub fn differences(name: &str, view: &View, last: &View) -> Vec<String> {
    let mut found = Vec::new();
    for ((topic, at), line) in view {
        match last.get(&(*topic, *at)) {
            None => found.push(format!("{topic} at {at}: {name} saw {line}; now it is not there")),
            Some(other) if other != line => found.push(format!("{topic} at {at}: {name} saw {line}, not {other}")),
            Some(_) => {}
        }
    }
    found
}

/// Whether a reader has not come to the end: one that saw nothing would agree with everybody.
pub fn unseen(name: &str, view: &View, last: &View) -> Vec<String> {
    let missing = last.keys().filter(|at| !view.contains_key(*at)).count();
    let text = || format!("{name} did not see {missing} of {} records", last.len());
    (missing > 0).then(text).into_iter().collect()
}

/// Records that a reader must have passed over: behind it in the log there are some that it saw.
pub fn passed_over(name: &str, view: &View, last: &View) -> Vec<String> {
    let mut ends: BTreeMap<(&str, i32), i64> = BTreeMap::new();
    for (topic, at) in view.keys() {
        let end = ends.entry((topic, at.partition)).or_default();
        *end = at.offset.max(*end);
    }
    let is_passed = |(topic, at): &&(&'static str, Position)| {
        let end = ends.get(&(*topic, at.partition)).copied().unwrap_or(-1);
        at.offset <= end && !view.contains_key(&(*topic, *at))
    };
    let passed = last.keys().filter(is_passed);
    passed.map(|(topic, at)| format!("{topic} at {at}: came to light after {name} had passed it")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(records: &[(i64, &str)]) -> View {
        let at = |offset: i64| ("clean-events", Position { partition: 0, offset });
        records.iter().map(|(offset, line)| (at(*offset), (*line).to_owned())).collect()
    }

    #[test]
    fn what_vanishes_changes_or_appears_late_is_noticed() {
        let early = view(&[(1, "a"), (3, "c")]);
        assert_eq!(differences("it", &early, &view(&[(1, "a"), (3, "c"), (5, "e")])).len(), 0);
        assert_eq!(differences("it", &early, &view(&[(1, "a")])).len(), 1);
        assert_eq!(differences("it", &early, &view(&[(1, "a"), (3, "x")])).len(), 1);
        assert_eq!(passed_over("it", &early, &view(&[(1, "a"), (3, "c"), (5, "e")])).len(), 0);
        assert_eq!(passed_over("it", &early, &view(&[(1, "a"), (2, "b"), (3, "c")])).len(), 1);
        assert_eq!(unseen("it", &early, &early).len(), 0);
        assert_eq!(unseen("it", &View::new(), &early), ["it did not see 2 of 2 records"]);
    }

    #[test]
    fn a_printed_record_is_read_as_it_was_written() {
        let text = "Partition:3\u{1f}Offset:7\u{1f}ce_id:a:b\u{1d}ce_type:c\u{1f}key|1\u{1f}{\n}";
        let (at, line) = printed(text.as_bytes(), true).expect("readable");
        assert_eq!((at.partition, at.offset), (3, 7));
        let headers = [("ce_id".to_owned(), "a:b".to_owned()), ("ce_type".to_owned(), "c".to_owned())];
        assert_eq!(line, super::line("key|1", pairs(&headers), Some(&digest(b"{\n}"))));
    }
}
