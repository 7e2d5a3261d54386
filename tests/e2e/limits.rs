//! The largest body that is allowed, all the way, and one byte more; and a door that may open no more files.

use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use jiff::Timestamp;
use tokio::net::TcpStream;
use weir_tests::door;
use weir_tests::event::{Event, Place};
use weir_tests::event::{digest, key};
use weir_tests::pipeline::Pipeline;
use weir_tests::reader;
use weir_tests::run::REST_WITHIN;
use weir_tests::secrets::Age;
use weir_tests::sources::Source;
use weir_tests::usage;
use weir_tests::wait::wait_until;
use weir_tests::wire::{Answer, Client};

const LIMIT: usize = 1024 * 1024;

/// A body of exactly so many bytes, good JSON or not.
pub fn event(id: &str, bytes: usize, place: Place) -> Event {
    let begin = format!("{{\"id\":\"{id}\",\"type\":\"blob\",\"pad\":\"");
    let end = if matches!(place, Place::Dead(_)) { "\"" } else { "\"}" };
    let body = [begin.as_bytes(), &vec![b'x'; bytes - begin.len() - end.len()], end.as_bytes()].concat();
    Event {
        source: Source::Stripe,
        id: id.to_owned(),
        event_type: "blob".to_owned(),
        key: key("stripe", "event", id),
        occurred_ms: None,
        digest: digest(&body),
        body: Bytes::from(body),
        headers: vec![("Content-Type", "application/json".to_owned())],
        place,
    }
}

/// Sends it as its provider would.
pub async fn send(client: &Client, pipeline: &Pipeline, event: &Event) -> Result<Answer> {
    let key = pipeline.secrets.key(event.source, Age::New);
    client.send(&door::authentic(event, &key, Timestamp::now().as_second())).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_of_exactly_the_limit_passes_and_one_byte_more_is_413() -> Result<()> {
    let mut setup = crate::setup("limits")?;
    setup.body_limit = LIMIT;
    let mut pipeline = Pipeline::start(setup, &["a"]).await?;
    let client = Client::new(pipeline.door());

    let largest = event("evt_largest", LIMIT, Place::Clean { flagged: false });
    let poison = event("evt_poison", LIMIT, Place::Dead("invalid_json"));
    let too_large = event("evt_too_large", LIMIT + 1, Place::Refused);
    for (event, status) in [(&largest, 200), (&poison, 200), (&too_large, 413)] {
        let answer = send(&client, &pipeline, event).await?;
        ensure!(answer.status == status, "{}: {} {}", event.name(), answer.status, answer.text());
    }

    pipeline.rest(REST_WITHIN, |_| {}).await?;
    let (cluster, prefix) = (pipeline.cluster.clone(), pipeline.setup.prefix.clone());
    let observed = tokio::task::spawn_blocking(move || reader::read(&cluster, &prefix)).await??;
    ensure!(observed.verified.len() == 2, "{} records in verified-events", observed.verified.len());
    let clean = observed.clean.first().context("the largest body is not in clean-events")?;
    ensure!(clean.digest == largest.digest, "the largest body was changed");
    let dead = observed.dead.first().context("the poison is not in dead-events")?;
    ensure!(dead.digest == poison.digest && dead.reason == "invalid_json", "the poison was changed: {}", dead.reason);
    pipeline.retire().await
}

/// Somebody lowers a topic's limit under a running ingest: what is too large now fails, and nothing else does.
#[tokio::test(flavor = "multi_thread")]
async fn a_topic_whose_limit_was_lowered_refuses_large_events_alone() -> Result<()> {
    let mut setup = crate::setup("lowered")?;
    // Nothing of a body of one letter would be left.
    setup.environment.push(("WEIR__KAFKA__CLIENT__COMPRESSION_TYPE".to_owned(), "none".to_owned()));
    let pipeline = Pipeline::start(setup, &[]).await?;
    let client = Client::new(pipeline.door());
    let clean = || Place::Clean { flagged: false };
    let before = send(&client, &pipeline, &event("evt_before", 100_000, clean())).await?;
    ensure!(before.status == 200, "{} {}", before.status, before.text());

    pipeline.cluster.configure(&pipeline.topic("verified-events"), "max.message.bytes", "32768").await?;
    // The brokers hear of it in a moment.
    wait_until("a large event refused", crate::PATIENCE, || async {
        let answer = send(&client, &pipeline, &event("evt_large", 100_000, clean())).await;
        let answer = answer.map_err(|error| format!("{error:#}"))?;
        if answer.status == 503 { Ok(()) } else { Err(format!("{} {}", answer.status, answer.text())) }
    })
    .await?;
    for number in 0..20 {
        let (large, small) =
            (event(&format!("evt_l{number}"), 100_000, clean()), event(&format!("evt_s{number}"), 1_000, clean()));
        let refused = send(&client, &pipeline, &large).await?;
        ensure!(refused.status == 503, "{} {}", refused.status, refused.text());
        let accepted = send(&client, &pipeline, &small).await?;
        ensure!(accepted.status == 200, "{} {}", accepted.status, accepted.text());
    }
    let metrics = pipeline.ingest_metrics().await?;
    let replaced = metrics.sum("weir_ingest_producer_replacements_total", &[]);
    ensure!(replaced == 0, "the producer was replaced {replaced} times");
    pipeline.retire().await
}

/// Many more connections than file descriptors: whoever waits idly makes room, and nothing spins.
#[tokio::test(flavor = "multi_thread")]
async fn a_door_without_file_descriptors_serves_on_and_does_not_spin() -> Result<()> {
    let mut pipeline = Pipeline::start(crate::setup("descriptors")?, &[]).await?;
    let id = pipeline.ingest()?.id();
    let limited = Command::new("prlimit").args(["--pid", &id.to_string(), "--nofile=256:256"]).status()?;
    ensure!(limited.success(), "prlimit: {limited}");
    let (began, before) = (Instant::now(), usage::of(id)?.cpu_s);
    let mut idle = Vec::new();
    for _ in 0..300 {
        idle.push(TcpStream::connect(pipeline.door()).await?);
    }
    let log = pipeline.folder().join("ingest.log");
    wait_until("no descriptor is left", crate::PATIENCE, || async {
        let text = std::fs::read_to_string(&log).map_err(|error| error.to_string())?;
        if text.contains("cannot accept a connection") {
            Ok(())
        } else {
            Err("every connection is accepted".to_owned())
        }
    })
    .await?;
    let event = |id: &str| event(id, 1_000, Place::Clean { flagged: false });
    let answer = send(&Client::new(pipeline.door()), &pipeline, &event("evt_crowded")).await?;
    ensure!(answer.status == 200, "{} {}", answer.status, answer.text());
    let (used, time) = (usage::of(id)?.cpu_s - before, began.elapsed().as_secs_f64());
    ensure!(used < time / 2.0, "it used {used} of {time} s");
    drop(idle);
    let answer = send(&Client::new(pipeline.door()), &pipeline, &event("evt_alone")).await?;
    ensure!(answer.status == 200, "{} {}", answer.status, answer.text());
    let text = std::fs::read_to_string(&log)?;
    let refusals = text.matches("cannot accept a connection").count();
    ensure!(refusals < 500, "{refusals} times it could not accept");
    pipeline.retire().await
}
