//! The largest body that is allowed, all the way: one byte more is refused at the door.

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use jiff::Timestamp;
use weir_tests::door;
use weir_tests::event::{Event, Place};
use weir_tests::event::{digest, key};
use weir_tests::pipeline::Pipeline;
use weir_tests::reader;
use weir_tests::run::REST_WITHIN;
use weir_tests::secrets::Age;
use weir_tests::sources::Source;
use weir_tests::wire::{Answer, Client};

const LIMIT: usize = 1024 * 1024;

/// A body of exactly so many bytes, good JSON or not.
fn event(id: &str, bytes: usize, place: Place) -> Event {
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

async fn send(client: &Client, pipeline: &Pipeline, event: &Event) -> Result<Answer> {
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
