//! Every metric of ingest. Labels come from closed lists: configured sources, reason codes, positions of secrets.
//!
//! A request is counted once: as an event, as refused, or as a handshake.

use metrics::{
    Counter, Gauge, Histogram, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};
use schemas::ReasonCode;

const EVENTS: &str = "weir_ingest_events_total";
const REFUSED: &str = "weir_ingest_refused_total";
const DEFECTS: &str = "weir_ingest_defects_total";
const HANDSHAKES: &str = "weir_ingest_handshakes_total";
const BODY_BYTES: &str = "weir_ingest_body_bytes_total";
const SECRETS: &str = "weir_ingest_secret_matches_total";
const DURATION: &str = "weir_ingest_duration_seconds";
const IN_FLIGHT_RECORDS: &str = "weir_ingest_in_flight_records";
const IN_FLIGHT_BYTES: &str = "weir_ingest_in_flight_bytes";
const LATE: &str = "weir_ingest_late_deliveries_total";
const CONNECTIONS: &str = "weir_ingest_connections";
const EVICTED: &str = "weir_ingest_connections_evicted_total";
const KAFKA_UP: &str = "weir_ingest_kafka_up";
const SKEW: &str = "weir_ingest_clock_skew_seconds";
const REPLACED: &str = "weir_ingest_producer_replacements_total";
const RELOADS: &str = "weir_ingest_reloads_total";
const RELOAD_FAILED: &str = "weir_ingest_reload_failed";

/// The results of a reload.
const RELOADED: &str = "ok";
const NOT_RELOADED: &str = "failed";

/// Refusals of a source that alerts wait for.
const WATCHED: [ReasonCode; 3] = [ReasonCode::SignatureMismatch, ReasonCode::KafkaUnavailable, ReasonCode::Overloaded];

/// What a request to no source of ours is counted under. No source can have this name.
const UNKNOWN: &str = "(unknown)";

/// Tells the recorder what each of them means.
pub fn describe() {
    describe_counter!(EVENTS, "events in verified-events that a provider was answered 200 for");
    describe_counter!(REFUSED, "requests that were refused, by exact reason");
    describe_counter!(DEFECTS, "accepted events that carry a defect into dead-events, by reason");
    describe_counter!(HANDSHAKES, "handshakes that were answered");
    describe_counter!(BODY_BYTES, "bytes of the bodies of accepted events");
    describe_counter!(SECRETS, "verified requests by the position of the secret that matched, from 1");
    describe_histogram!(DURATION, "time from a request's head to the answer 200");
    describe_gauge!(IN_FLIGHT_RECORDS, "records that wait for Kafka");
    describe_gauge!(IN_FLIGHT_BYTES, "bytes of the records that wait for Kafka");
    describe_counter!(LATE, "records whose delivery became known after their request was answered");
    describe_gauge!(CONNECTIONS, "open connections");
    describe_counter!(EVICTED, "idle connections that were closed because there were too many");
    describe_gauge!(KAFKA_UP, "1 while Kafka takes records, else 0");
    describe_gauge!(SKEW, "the broker's clock minus ours, beyond what the delivery itself explains");
    describe_counter!(REPLACED, "producers that broke or gave a record up, and were replaced");
    describe_counter!(RELOADS, "reloads of the sources, by result");
    describe_gauge!(RELOAD_FAILED, "1 while the configuration file cannot be used and the old one is kept");
    // Those that an alert may wait for exist from the start.
    counter!(LATE).increment(0);
    counter!(EVICTED).increment(0);
    for result in [RELOADED, NOT_RELOADED] {
        counter!(RELOADS, "result" => result).increment(0);
    }
    counter!(REPLACED).increment(0);
    gauge!(RELOAD_FAILED).set(0.0);
}

/// The counters of one source, looked up once.
#[derive(Debug)]
pub struct SourceMetrics {
    source: String,
    events: Counter,
    body_bytes: Counter,
    handshakes: Counter,
    duration: Histogram,
    first_secret: Counter,
}

impl SourceMetrics {
    /// The counters of a source; they exist at zero from now on.
    pub fn new(source: &str) -> Self {
        let metrics = Self {
            source: source.to_owned(),
            events: counter!(EVENTS, "source" => source.to_owned()),
            body_bytes: counter!(BODY_BYTES, "source" => source.to_owned()),
            handshakes: counter!(HANDSHAKES, "source" => source.to_owned()),
            duration: histogram!(DURATION, "source" => source.to_owned()),
            first_secret: counter!(SECRETS, "source" => source.to_owned(), "secret" => "1"),
        };
        metrics.events.increment(0);
        for reason in WATCHED {
            counter!(REFUSED, "source" => source.to_owned(), "reason" => reason.as_str()).increment(0);
        }
        metrics
    }

    /// An event was accepted.
    pub fn accepted(&self, body_bytes: usize, seconds: f64, defect: Option<ReasonCode>) {
        self.events.increment(1);
        self.body_bytes.increment(body_bytes as u64);
        self.duration.record(seconds);
        if let Some(reason) = defect {
            counter!(DEFECTS, "source" => self.source.clone(), "reason" => reason.as_str()).increment(1);
        }
    }

    /// A handshake was answered.
    pub fn handshake(&self) {
        self.handshakes.increment(1);
    }

    /// A request was verified under the secret at this position, from 0.
    pub fn verified(&self, secret: usize) {
        if secret == 0 {
            self.first_secret.increment(1);
        } else {
            let position = (secret + 1).to_string();
            counter!(SECRETS, "source" => self.source.clone(), "secret" => position).increment(1);
        }
    }
}

/// A request was refused. `None`: it named no source of ours.
pub fn refused(source: Option<&str>, reason: ReasonCode) {
    let source = source.unwrap_or(UNKNOWN).to_owned();
    counter!(REFUSED, "source" => source, "reason" => reason.as_str()).increment(1);
}

/// What waits for Kafka.
#[derive(Debug, Clone)]
pub struct InFlight {
    records: Gauge,
    bytes: Gauge,
}

impl InFlight {
    /// The gauges, looked up once.
    pub fn new() -> Self {
        Self { records: gauge!(IN_FLIGHT_RECORDS), bytes: gauge!(IN_FLIGHT_BYTES) }
    }

    /// A record waits for Kafka.
    pub fn more(&self, bytes: usize) {
        self.records.increment(1.0);
        self.bytes.increment(bytes as f64);
    }

    /// A record waits no more.
    pub fn less(&self, bytes: usize) {
        self.records.decrement(1.0);
        self.bytes.decrement(bytes as f64);
    }
}

impl Default for InFlight {
    fn default() -> Self {
        Self::new()
    }
}

/// A delivery became known after its request had been answered.
pub fn late_delivery() {
    counter!(LATE).increment(1);
}

/// A connection was opened.
pub fn connected() {
    gauge!(CONNECTIONS).increment(1.0);
}

/// A connection was closed.
pub fn disconnected() {
    gauge!(CONNECTIONS).decrement(1.0);
}

/// An idle connection has to make room for another.
pub fn connection_evicted() {
    counter!(EVICTED).increment(1);
}

/// Whether Kafka takes records.
pub fn kafka_up(is_up: bool) {
    gauge!(KAFKA_UP).set(if is_up { 1.0 } else { 0.0 });
}

/// How far the clocks differ.
pub fn clock_skew(milliseconds: i64) {
    gauge!(SKEW).set(milliseconds as f64 / 1000.0);
}

/// A producer was replaced.
pub fn producer_replaced() {
    counter!(REPLACED).increment(1);
}

/// The sources were reloaded.
pub fn reloaded() {
    counter!(RELOADS, "result" => RELOADED).increment(1);
    gauge!(RELOAD_FAILED).set(0.0);
}

/// The file changed and cannot be used.
pub fn reload_failed() {
    counter!(RELOADS, "result" => NOT_RELOADED).increment(1);
    gauge!(RELOAD_FAILED).set(1.0);
}

/// The file can be used again and says what is running.
pub fn reload_unneeded() {
    gauge!(RELOAD_FAILED).set(0.0);
}
