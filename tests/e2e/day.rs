//! A smaller day with everything that can end a process in it.

use anyhow::Result;
use weir_tests::pipeline::Pipeline;
use weir_tests::run::{Ingest, REST_WITHIN, Run};

/// Two processors share the partitions. One is killed, the ingest is killed, then both are restarted in order.
#[tokio::test(flavor = "multi_thread")]
async fn a_day_of_crashes_and_restarts_balances() -> Result<()> {
    let setup = crate::setup("day")?;
    let plan = crate::day(&setup, 3000);
    let mut run = Run::new(Pipeline::start(setup, &["a", "b"]).await?, plan);
    let playing = run.play();

    run.until(15).await?;
    run.pipeline.kill_processor("a")?;
    run.pipeline.start_processor("a")?;
    run.until(35).await?;
    run.pipeline.kill_ingest()?;
    run.pipeline.start_ingest()?;
    run.until(55).await?;
    run.pipeline.stop_processor("b").await?;
    run.pipeline.start_processor("b")?;
    run.until(75).await?;
    run.pipeline.stop_ingest().await?;
    run.pipeline.start_ingest()?;

    playing.await?;
    run.pipeline.ready().await?;
    run.pipeline.rest(REST_WITHIN, |_| {}).await?;
    run.books(Ingest::WasRestarted, None).await?.require_balance()?;
    run.pipeline.retire().await
}

/// The state of a processor that is gone for good is rebuilt elsewhere: no event comes out a second time.
#[tokio::test(flavor = "multi_thread")]
async fn another_machine_takes_over_without_the_first_ones_disk() -> Result<()> {
    let setup = crate::setup("takeover")?;
    let plan = crate::day(&setup, 900);
    let mut run = Run::new(Pipeline::start(setup, &["a"]).await?, plan);
    let playing = run.play();

    run.until(50).await?;
    run.pipeline.kill_processor("a")?;
    run.pipeline.start_processor("b")?;

    playing.await?;
    run.pipeline.ready().await?;
    run.pipeline.rest(REST_WITHIN, |_| {}).await?;
    run.books(Ingest::RanOnce, None).await?.require_balance()?;
    run.pipeline.retire().await
}
