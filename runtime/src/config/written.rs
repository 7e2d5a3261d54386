//! The configuration as it is written, after `read` has checked every single value.
//!
//! Only `resolve` and its neighbours look at these. None of them prints: secrets stand in them as text.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::net::SocketAddr;
use std::path::PathBuf;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::units::{Length, Size};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Root {
    pub(super) shutdown_timeout: Length,
    pub(super) kafka: Kafka,
    pub(super) topics: Topics,
    pub(super) ingest: Ingest,
    pub(super) processor: Processor,
    pub(super) retry: Retry,
    pub(super) source: Vec<Source>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Kafka {
    pub(super) brokers: String,
    pub(super) wait: Length,
    pub(super) client: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Topics {
    pub(super) prefix: String,
    pub(super) partitions: i32,
    pub(super) replication: i32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Ingest {
    pub(super) listen: SocketAddr,
    pub(super) admin_listen: SocketAddr,
    pub(super) body_limit: Size,
    pub(super) public_url: Option<String>,
    pub(super) linger: Length,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Processor {
    pub(super) group: String,
    pub(super) session_timeout: Length,
    pub(super) instance: Option<String>,
    pub(super) workers: u16,
    pub(super) state_dir: PathBuf,
    pub(super) admin_listen: SocketAddr,
    pub(super) commit_interval: Length,
    pub(super) batch_events: usize,
    pub(super) batch_bytes: Size,
    pub(super) leave: bool,
    pub(super) recycle: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Retry {
    pub(super) delays: Vec<String>,
    pub(super) attempts: u32,
    pub(super) order: String,
    pub(super) schedule: Schedule,
    pub(super) jitter: String,
    pub(super) parked_per_resource: u64,
    pub(super) parked_total: u64,
    pub(super) overflow: String,
}

/// `"tiers"` or `["1s", "5s"]`.
#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum Schedule {
    Named(String),
    Listed(Vec<Length>),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Source {
    pub(super) name: Option<String>,
    pub(super) provider: Option<String>,
    #[serde(default)]
    pub(super) secrets: Vec<Secret>,
    pub(super) dedup: TextOr<Dedup>,
    pub(super) dedup_window: Option<Length>,
    pub(super) stale: String,
    pub(super) event_id: Option<TextOr<Place>>,
    pub(super) event_type: Option<TextOr<Place>>,
    pub(super) resource: Option<Vec<TextOr<Place>>>,
    pub(super) resource_type: Option<TextOr<Place>>,
    pub(super) occurred_at: Option<Vec<TextOr<Time>>>,
    pub(super) snapshots: Option<Vec<String>>,
    pub(super) terminal: Option<Vec<String>>,
    pub(super) tolerance: Option<Length>,
    pub(super) body_limit: Option<Size>,
    pub(super) schema: Option<String>,
    pub(super) schedule: Option<Schedule>,
    pub(super) scheme: Option<Scheme>,
    #[serde(default)]
    pub(super) handlers: Vec<Handler>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Handler {
    pub(super) kind: Option<String>,
    pub(super) keep: Option<String>,
    pub(super) body: Option<BTreeMap<String, String>>,
    pub(super) url: Option<String>,
    pub(super) headers: Option<BTreeMap<String, TextOr<Secret>>>,
    pub(super) timeout: Option<Length>,
    pub(super) concurrency: Option<u32>,
    pub(super) body_limit: Option<Size>,
    pub(super) allow_private: Option<bool>,
    pub(super) into: Option<String>,
    pub(super) when: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Secret {
    pub(super) env: Option<String>,
    pub(super) file: Option<PathBuf>,
    pub(super) value: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Dedup {
    pub(super) include: Option<Vec<String>>,
    pub(super) exclude: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Place {
    pub(super) header: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Time {
    pub(super) pointer: Option<String>,
    pub(super) header: Option<String>,
    pub(super) unit: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Scheme {
    pub(super) algorithm: String,
    pub(super) encoding: String,
    pub(super) header: Option<String>,
    pub(super) format: String,
    pub(super) signed: String,
    pub(super) timestamp_header: Option<String>,
    pub(super) id_header: Option<String>,
    pub(super) secret_encoding: String,
}

/// `"text"` or `{ … }`.
pub(super) enum TextOr<T> {
    Text(String),
    Table(T),
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for TextOr<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextOrVisitor(PhantomData))
    }
}

struct TextOrVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for TextOrVisitor<T> {
    type Value = TextOr<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text or a table")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(TextOr::Text(text.to_owned()))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map)).map(TextOr::Table)
    }
}
