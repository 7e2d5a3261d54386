//! Kafka goes away in the middle of a day and comes back.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use weir_tests::broker::Broker;
use weir_tests::door;
use weir_tests::pipeline::{Pipeline, Setup};
use weir_tests::place;
use weir_tests::run::{Ingest, REST_WITHIN, Run};
use weir_tests::seed::seed;
use weir_tests::torture::nodes::Nodes;
use weir_tests::wait::wait_until;

use crate::PATIENCE;

/// What "at once" means on a busy machine of two cores.
const AT_ONCE: Duration = Duration::from_millis(800);
/// How long the door may take to notice: no delivery report for 3 s, and some slack.
const NOTICED_WITHIN: Duration = Duration::from_secs(15);

#[tokio::test(flavor = "multi_thread")]
async fn without_kafka_the_door_says_503_at_once_and_everything_recovers_by_itself() -> Result<()> {
    let broker = tokio::task::block_in_place(|| Broker::start("outage"))?;
    let setup = Setup::test("outage", broker.brokers(), seed())?;
    let stop = async || tokio::task::block_in_place(|| broker.stop());
    let start_again = async || tokio::task::block_in_place(|| broker.start_again());
    a_day_with_an_outage(setup, stop, start_again).await
}

/// Of three brokers one is left: it leads, and has fewer replicas in sync than an acknowledgement takes.
#[tokio::test(flavor = "multi_thread")]
async fn with_one_broker_of_three_nothing_is_acknowledged_and_everything_recovers_by_itself() -> Result<()> {
    let folder = place::root().join("target/kafka/test-two-away");
    let nodes = tokio::task::block_in_place(|| Nodes::start(&folder))?;
    let mut setup = Setup::test("two-away", &nodes.direct, seed())?;
    setup.environment.push(("WEIR__TOPICS__REPLICATION".to_owned(), "3".to_owned()));
    let stop = async || {
        nodes.stop(1).await?;
        nodes.stop(2).await
    };
    a_day_with_an_outage(setup, stop, async || nodes.start_again().await).await?;
    nodes.remove()
}

async fn a_day_with_an_outage(
    setup: Setup,
    stop: impl AsyncFnOnce() -> Result<()>,
    start_again: impl AsyncFnOnce() -> Result<()>,
) -> Result<()> {
    let plan = crate::day(&setup, 800);
    let mut run = Run::new(Pipeline::start(setup, &["a"]).await?, plan);
    let playing = run.play();

    run.until(40).await?;
    stop().await?;
    let probe = async || {
        let (answer, took) = run.probe().await.map_err(|error| format!("{error:#}"))?;
        let is_at_once = answer.status == 503 && took < AT_ONCE;
        if is_at_once { Ok(answer) } else { Err(format!("{} after {took:?}", answer.status)) }
    };
    // Once may be luck.
    let twice = || async {
        probe().await?;
        probe().await
    };
    let answer = wait_until("503 at once", NOTICED_WITHIN, twice).await?;
    ensure!(door::reason(&answer).as_deref() == Some("kafka_unavailable"), "{}", answer.text());
    ensure!(answer.header("retry-after").is_some(), "no Retry-After: {:?}", answer.headers);

    start_again().await?;
    tokio::time::timeout(PATIENCE, playing).await.context("the providers did not get rid of their events")??;
    run.pipeline.ready().await?;
    run.pipeline.rest(REST_WITHIN, |_| {}).await?;
    let mut books = run.books(Ingest::RanOnce, None).await?;
    // A missing broker is worth an ERROR line.
    books.errors.clear();
    books.require_balance()?;
    run.pipeline.stop().await
}
