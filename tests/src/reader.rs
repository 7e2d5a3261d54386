//! The independent reader: every committed record of the topics, decoded without any of Weir's own code.
//!
//! Avro values are read by the reference implementation from the published schemas. A record that cannot be
//! decoded is an error, because nothing in a run should write one.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use apache_avro::types::Value;
use apache_avro::{GenericSingleObjectReader, Schema};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Headers};
use rdkafka::{Message, Offset, TopicPartitionList};

use crate::cluster::Cluster;
use crate::event::digest;
use crate::observed::{DeadLetter, Emitted, Observed, Position, Verified};

const VERIFIED: &str = include_str!("../../schemas/avro/verified_event.avsc");
const DEAD: &str = include_str!("../../schemas/avro/dead_event.avsc");
/// How long a topic may take to be read.
const PATIENCE: Duration = Duration::from_secs(120);
/// How much of a body is kept for people.
const BEGINNING_BYTES: usize = 400;

/// Reads all that there is now. It blocks.
pub fn read(cluster: &Cluster, prefix: &str) -> Result<Observed> {
    let mut observed = Observed::default();
    let (verified_schema, dead_schema) = (single_object(VERIFIED)?, single_object(DEAD)?);
    each(cluster, &format!("{prefix}verified-events"), |record| {
        observed.verified.push(verified(record, &verified_schema)?);
        Ok(())
    })?;
    each(cluster, &format!("{prefix}clean-events"), |record| {
        observed.clean.push(emitted(record)?);
        Ok(())
    })?;
    each(cluster, &format!("{prefix}stale-events"), |record| {
        observed.stale.push(emitted(record)?);
        Ok(())
    })?;
    each(cluster, &format!("{prefix}dead-events"), |record| {
        observed.dead.push(dead(record, &dead_schema, &verified_schema)?);
        Ok(())
    })?;
    Ok(observed)
}

/// Reads every committed record of one topic that there is now.
pub fn each(cluster: &Cluster, topic: &str, mut take: impl FnMut(&BorrowedMessage<'_>) -> Result<()>) -> Result<()> {
    let ends = cluster.settled_ends(topic)?;
    let consumer = cluster.consumer("weir-tests-reader")?;
    let mut start = TopicPartitionList::new();
    for (partition, (first, _)) in &ends {
        start.add_partition_offset(topic, *partition, Offset::Offset(*first)).context("no such offset")?;
    }
    consumer.assign(&start).with_context(|| format!("cannot read {topic}"))?;
    let mut open: BTreeSet<i32> = ends.keys().copied().collect();
    let deadline = Instant::now() + PATIENCE;
    while !open.is_empty() {
        ensure!(Instant::now() < deadline, "{topic} could not be read within {PATIENCE:?}; {open:?} is left");
        poll(&consumer, topic, &mut open, &mut take)?;
    }
    Ok(())
}

fn poll(
    consumer: &BaseConsumer,
    topic: &str,
    open: &mut BTreeSet<i32>,
    take: &mut impl FnMut(&BorrowedMessage<'_>) -> Result<()>,
) -> Result<()> {
    match consumer.poll(Duration::from_millis(200)) {
        None => Ok(()),
        Some(Ok(record)) => {
            take(&record).with_context(|| format!("{topic}/{}/{}", record.partition(), record.offset()))
        }
        Some(Err(KafkaError::PartitionEOF(partition))) => {
            open.remove(&partition);
            Ok(())
        }
        Some(Err(error)) => Err(error).with_context(|| format!("cannot read {topic}")),
    }
}

fn verified(record: &BorrowedMessage<'_>, schema: &GenericSingleObjectReader) -> Result<Verified> {
    let fields = Fields::read(record.payload(), schema)?;
    Ok(Verified {
        at: at(record),
        appended_ms: record.timestamp().to_millis().context("no timestamp")?,
        key: text(record.key())?,
        source: fields.text("source")?,
        id: fields.text("event_id")?,
        digest: digest(fields.bytes("body")?),
    })
}

fn emitted(record: &BorrowedMessage<'_>) -> Result<Emitted> {
    let value = record.payload().context("no value")?;
    Ok(Emitted {
        at: at(record),
        key: text(record.key())?,
        headers: headers(record)?,
        digest: digest(value),
        beginning: String::from_utf8_lossy(&value[..value.len().min(BEGINNING_BYTES)]).into_owned(),
    })
}

fn dead(
    record: &BorrowedMessage<'_>,
    schema: &GenericSingleObjectReader,
    inner: &GenericSingleObjectReader,
) -> Result<DeadLetter> {
    let fields = Fields::read(record.payload(), schema)?;
    let original = Fields::read(Some(fields.bytes("original_value")?), inner)?;
    let partition = i32::try_from(fields.number("source_partition")?).context("source_partition")?;
    Ok(DeadLetter {
        at: at(record),
        key: text(record.key())?,
        headers: headers(record)?,
        dead_id: fields.text("dead_id")?,
        reason: fields.text("reason")?,
        attempts: fields.number("attempts")?,
        source: fields.text("source")?,
        id: fields.text("event_id")?,
        event_type: fields.text("event_type")?,
        source_topic: fields.text("source_topic")?,
        original: Position { partition, offset: fields.number("source_offset")? },
        received_ms: fields.number("received_at_ms")?,
        original_key: text(Some(fields.bytes("original_key")?))?,
        digest: digest(original.bytes("body")?),
    })
}

/// The fields of an Avro record, null branches taken off.
struct Fields(Vec<(String, Value)>);

impl Fields {
    fn read(value: Option<&[u8]>, schema: &GenericSingleObjectReader) -> Result<Self> {
        let mut value = value.context("no value")?;
        let Value::Record(fields) = schema.read_value(&mut value).context("not of the published schema")? else {
            bail!("not a record");
        };
        ensure!(value.is_empty(), "{} bytes behind the record", value.len());
        Ok(Self(fields))
    }

    fn get(&self, name: &str) -> Result<&Value> {
        let (_, value) = self.0.iter().find(|(known, _)| known == name).with_context(|| format!("no field {name}"))?;
        Ok(match value {
            Value::Union(_, inner) => inner,
            value => value,
        })
    }

    fn text(&self, name: &str) -> Result<String> {
        match self.get(name)? {
            Value::String(text) => Ok(text.clone()),
            other => bail!("{name} is {other:?}"),
        }
    }

    fn bytes(&self, name: &str) -> Result<&[u8]> {
        match self.get(name)? {
            Value::Bytes(bytes) => Ok(bytes),
            other => bail!("{name} is {other:?}"),
        }
    }

    fn number(&self, name: &str) -> Result<i64> {
        match self.get(name)? {
            Value::Long(number) => Ok(*number),
            Value::Int(number) => Ok(i64::from(*number)),
            other => bail!("{name} is {other:?}"),
        }
    }
}

fn single_object(schema: &str) -> Result<GenericSingleObjectReader> {
    let schema = Schema::parse_str(schema).context("the published schema is invalid")?;
    GenericSingleObjectReader::builder().schema(schema).build().context("the published schema cannot be used")
}

fn at(record: &BorrowedMessage<'_>) -> Position {
    Position { partition: record.partition(), offset: record.offset() }
}

fn headers(record: &BorrowedMessage<'_>) -> Result<Vec<(String, String)>> {
    let Some(headers) = record.headers() else { return Ok(Vec::new()) };
    headers.iter().map(|header| Ok((header.key.to_owned(), text(header.value)?))).collect()
}

fn text(bytes: Option<&[u8]>) -> Result<String> {
    String::from_utf8(bytes.context("a key or a header is null")?.to_vec()).context("a key or a header is not UTF-8")
}
