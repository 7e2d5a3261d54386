//! The configuration as it is meant: parsed, checked, with every default filled in and every secret loaded.
//!
//! Only this form leaves `config`; a value here cannot be wrong. Secrets print as `***`.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use schemas::presets::{Algorithm, Encoding, Preset, SecretEncoding, TimeUnit};
pub use schemas::topics::Topics;
use schemas::verified_event::StaleMode;

use crate::expression::Expression;
use crate::json_schema::JsonSchema;
use crate::secret::Secret;
use crate::template::Template;

/// Everything in `weir.toml`.
#[derive(Debug, Clone)]
pub struct Config {
    /// Time a process may take to drain.
    pub shutdown_timeout: Duration,
    /// How to reach Kafka.
    pub kafka: Kafka,
    /// Names, counts and limits of the topics.
    pub topics: Topics,
    /// The door.
    pub ingest: Ingest,
    /// The processor.
    pub processor: Processor,
    /// Retry policy.
    pub retry: Retry,
    /// The sources, in the order of the file.
    pub sources: Vec<Source>,
}

/// How to reach Kafka.
#[derive(Clone)]
pub struct Kafka {
    /// `host:port`, comma separated.
    pub brokers: String,
    /// How long to wait for the cluster at start; zero: do not wait.
    pub wait: Duration,
    /// Properties passed through to librdkafka.
    pub client: BTreeMap<String, String>,
}

/// The door.
#[derive(Debug, Clone)]
pub struct Ingest {
    /// Where webhooks arrive.
    pub listen: SocketAddr,
    /// Health and metrics.
    pub admin_listen: SocketAddr,
    /// Largest body, bytes, unless a source says otherwise.
    pub body_limit: u64,
    /// Public address, for schemes that sign it.
    pub public_url: Option<String>,
    /// How long requests are still served after the signal to stop.
    pub linger: Duration,
}

/// The processor.
#[derive(Debug, Clone)]
pub struct Processor {
    /// Consumer group with the topic prefix put before it.
    pub group: String,
    /// Broker's patience with a silent member.
    pub session_timeout: Duration,
    /// Stable name of this process.
    pub instance: String,
    /// Worker threads.
    pub workers: u16,
    /// Where the stores live.
    pub state_dir: PathBuf,
    /// Health and metrics.
    pub admin_listen: SocketAddr,
    /// Longest time a transaction collects.
    pub commit_interval: Duration,
    /// Most events in a transaction.
    pub batch_events: usize,
    /// Most bytes in a transaction.
    pub batch_bytes: usize,
    /// Leave the group on SIGTERM.
    pub leave: bool,
    /// When a worker's producer takes a new epoch.
    pub recycle: Recycle,
}

/// When a worker's producer takes a new epoch, which fences whatever its requests left on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recycle {
    /// After a transaction with trouble.
    AfterTrouble,
    /// After every transaction.
    EveryCommit,
}

/// Retry policy.
#[derive(Debug, Clone)]
pub struct Retry {
    /// Text (names the topic) and length of each tier; strictly rising, never empty.
    pub delays: Vec<(String, Duration)>,
    /// Attempts before an event is dead, the first included.
    pub attempts: u32,
    /// Whether later events of a resource wait for one that failed.
    pub order: RetryOrder,
    /// How the pause grows, unless a source says otherwise.
    pub schedule: Schedule,
    /// How the pause is spread.
    pub jitter: Jitter,
    /// Most events held back for one resource.
    pub parked_per_resource: u64,
    /// Most events held back in one partition.
    pub parked_total: u64,
    /// What happens to an event that finds no room to be held back.
    pub overflow: Overflow,
}

/// Whether later events of a resource wait for one that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetryOrder {
    /// They wait.
    Park,
    /// They pass it by.
    Overtake,
}

/// How the pause grows from attempt to attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Schedule {
    /// The delays in turn; the last one repeats.
    Tiers,
    /// Always the first delay.
    Fixed,
    /// The first delay times the number of failures, at most the last delay.
    Linear,
    /// The first delay, doubled with each further failure, at most the last delay.
    Exponential,
    /// These pauses in turn; the last one repeats. Never empty, each from 1 ms to 1 d.
    Custom(Vec<Duration>),
}

/// How the pause is spread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Jitter {
    /// Not at all.
    None,
    /// From nothing to the whole pause.
    Full,
    /// From half of the pause to the whole.
    Equal,
    /// From the first delay to three times the pause before, at most the last delay.
    Decorrelated,
}

/// What happens to an event that finds no room to be held back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overflow {
    /// It is a dead letter.
    Dead,
    /// Its partition waits for room.
    Stop,
}

/// One configured door.
#[derive(Debug, Clone)]
pub struct Source {
    /// `[a-z0-9-]{1,63}`.
    pub name: String,
    /// What its provider is like (`hmac` is a preset too).
    pub preset: &'static Preset,
    /// How it signs.
    pub scheme: Scheme,
    /// Any of them may match; 1 to 8.
    pub secrets: Vec<Secret>,
    /// What makes two deliveries the same event.
    pub dedup: Dedup,
    /// Deduplication window.
    pub dedup_window: Duration,
    /// What becomes of stale events.
    pub stale: StaleMode,
    /// Where the event id stands.
    pub event_id: Place,
    /// Whether the signature covers `event_id`.
    pub event_id_signed: bool,
    /// Where the type stands.
    pub event_type: Place,
    /// Pointer whose string is appended to the type with a dot.
    pub event_type_suffix: Option<String>,
    /// Pointers or headers of the resource id, tried in order; empty: no order.
    pub resource: Vec<Place>,
    /// The resource's type.
    pub resource_type: Place,
    /// The type ends before this character (`orders/updated` is about `orders`).
    pub resource_type_end: Option<char>,
    /// When it happened, tried in order.
    pub occurred_at: Vec<(Place, TimeUnit)>,
    /// Globs of types that carry the whole state.
    pub snapshots: Vec<String>,
    /// Globs of types that end their resource.
    pub terminal: Vec<String>,
    /// Tolerance of the signed timestamp.
    pub tolerance: Duration,
    /// Largest body, bytes.
    pub body_limit: u64,
    /// JSON Schema of its bodies.
    pub schema: Option<JsonSchema>,
    /// How the pause grows between attempts; `None`: as `[retry]` says.
    pub schedule: Option<Schedule>,
    /// What is done with each event, in order.
    pub handlers: Vec<Handler>,
    /// How long the answer may take.
    pub deadline: Duration,
    /// Pointer to what a handshake echoes.
    pub challenge: Option<String>,
}

/// How a source signs: the preset's scheme, or the one of `[source.scheme]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scheme {
    /// Digest of the HMAC.
    pub algorithm: Algorithm,
    /// How the signature is written.
    pub encoding: Encoding,
    /// How a configured secret becomes the key.
    pub secret_encoding: SecretEncoding,
    /// Signature headers, lower case, tried in order.
    pub headers: Vec<String>,
    /// Grammar of the signature header.
    pub format: String,
    /// The signed text.
    pub signed: String,
    /// Timestamp headers, one for each of `headers`, or empty.
    pub timestamp_headers: Vec<String>,
    /// Id headers, one for each of `headers`, or empty.
    pub id_headers: Vec<String>,
}

/// What is done with each event of a source.
#[derive(Debug, Clone)]
pub enum Handler {
    /// Events for which it is false are left out.
    Filter {
        /// Whether to keep it.
        keep: Expression,
    },
    /// A new body is made.
    Map {
        /// Its fields.
        body: Vec<(String, Expression)>,
    },
    /// Another service is asked.
    Fetch(Box<Fetch>),
}

/// How another service is asked.
#[derive(Debug, Clone)]
pub struct Fetch {
    /// For what.
    pub url: Template,
    /// With these header fields.
    pub headers: Vec<(String, Secret)>,
    /// How long the whole call may take.
    pub timeout: Duration,
    /// Most calls at once to its host.
    pub concurrency: u32,
    /// Longest answer, bytes.
    pub body_limit: u64,
    /// Whether addresses of private networks are called.
    pub allow_private: bool,
    /// Where the answer goes; `None`: it is the new body.
    pub into: Option<String>,
    /// For which events; `None`: for all.
    pub when: Option<Expression>,
}

/// Where a value is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A JSON pointer into the body.
    Pointer(String),
    /// An HTTP header, lower case.
    Header(String),
    /// A constant.
    Constant(String),
}

/// What makes two deliveries the same event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Dedup {
    /// The event id (with the body's hash where the id is not signed).
    Id,
    /// The body alone.
    Body,
    /// Only these parts of the body, by JSON pointer.
    Include(Vec<String>),
    /// Everything but these parts.
    Exclude(Vec<String>),
}

/// Properties may hold passwords: only their names print.
impl std::fmt::Debug for Kafka {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Kafka")
            .field("brokers", &self.brokers)
            .field("wait", &self.wait)
            .field("client", &self.client.keys())
            .finish()
    }
}

impl Processor {
    /// Longest time a transaction may stay open: the broker aborts it after that. Derived from the session,
    /// so that a silent member's transaction is gone before its partitions have a new owner.
    pub fn transaction_timeout(&self) -> Duration {
        Duration::from_secs(10).min(self.session_timeout * 2 / 3)
    }
}

impl Source {
    /// The first part of `ce_type`: the preset's name, or the source's for `hmac`.
    pub fn type_prefix(&self) -> &str {
        if self.preset.name == "hmac" { &self.name } else { self.preset.name }
    }
}
