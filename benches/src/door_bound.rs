//! Bounds of the door: the smallest servers that do one part of what weir-ingest does, one part more each.
//!
//! Same HTTP library, same two threads, same producer settings that matter. What Weir has over the last of them is
//! the price of envelope, identity, limits and metrics. Runs until it is killed.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use hmac::{Hmac, Mac};
use rdkafka::config::ClientConfig;
use rdkafka::producer::{FutureProducer, FutureRecord, Producer};
use sha2::Sha256;

use crate::args::{Door, Part};
use crate::bodies;

const TIMEOUT: Duration = Duration::from_secs(10);

struct Bound {
    part: Part,
    key: Hmac<Sha256>,
    producer: Option<FutureProducer>,
    topic: String,
    partitions: i32,
}

/// Runs until it is killed.
pub fn run(args: &Door) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.context("cannot start a runtime")?.block_on(serve(args))
}

async fn serve(args: &Door) -> Result<()> {
    let is_producing = matches!(args.part, Part::Kafka | Part::KafkaKeyed);
    let producer = is_producing.then(|| producer(args)).transpose()?;
    let mut partitions = 1;
    if let Some(producer) = &producer {
        // Also brings the connection up before the first request.
        let metadata = producer.client().fetch_metadata(Some(&args.topic), TIMEOUT).context("no answer from Kafka")?;
        let count = metadata.topics().first().map_or(1, |topic| topic.partitions().len());
        partitions = i32::try_from(count).context("too many partitions")?;
    }
    let bound = Bound { part: args.part, key: bodies::key(), producer, topic: args.topic.clone(), partitions };
    let app = Router::new().route("/hooks/github", post(hook)).with_state(Arc::new(bound));
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, args.port)).await;
    axum::serve(listener.context("cannot listen")?, app).await.context("cannot serve")
}

fn producer(args: &Door) -> Result<FutureProducer> {
    ClientConfig::new()
        .set("bootstrap.servers", &args.brokers)
        .set("log_level", "0")
        .set("enable.idempotence", "true")
        .set("acks", "all")
        .set("linger.ms", args.linger_ms.to_string())
        .set("compression.type", "lz4")
        .create()
        .context("cannot make a producer")
}

async fn hook(State(bound): State<Arc<Bound>>, headers: HeaderMap, body: Bytes) -> StatusCode {
    if bound.part == Part::Body {
        return StatusCode::OK;
    }
    let signature = headers.get("x-hub-signature-256").and_then(|value| value.as_bytes().strip_prefix(b"sha256="));
    let Some(signature) = signature else { return StatusCode::UNAUTHORIZED };
    let mut wanted = [0_u8; 32];
    let mut mac = bound.key.clone();
    mac.update(&body);
    if hex::decode_to_slice(signature, &mut wanted).is_err() || mac.verify_slice(&wanted).is_err() {
        return StatusCode::UNAUTHORIZED;
    }
    let Some(producer) = &bound.producer else { return StatusCode::OK };
    let mut record = FutureRecord::<[u8], [u8]>::to(&bound.topic).payload(&body);
    if bound.part == Part::KafkaKeyed {
        // Spreads as resource keys would; finding the key is Weir's own work.
        let spread = i32::from(wanted[0]) % bound.partitions;
        record = record.key(&wanted[1..9]).partition(spread);
    }
    match producer.send(record, TIMEOUT).await {
        Ok(_) => StatusCode::OK,
        Err(_) => StatusCode::SERVICE_UNAVAILABLE,
    }
}
