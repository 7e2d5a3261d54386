//! How processes begin and end: ready when they can do their job, one owner for a state, an orderly end.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use weir_tests::event::Place;
use weir_tests::pipeline::Pipeline;
use weir_tests::ports;
use weir_tests::process::Process;
use weir_tests::scrape::readiness;
use weir_tests::wait::wait_until;
use weir_tests::wire::{Client, Request};

use crate::exits::until_draining;
use crate::{PATIENCE, limits};

/// The state directory's lock is held.
const LOCKED: i32 = 78;

#[tokio::test(flavor = "multi_thread")]
async fn a_second_processor_on_the_same_state_exits_78_and_the_first_goes_on() -> Result<()> {
    let mut pipeline = Pipeline::start(crate::setup("locked")?, &["a"]).await?;
    let command = pipeline.processor_command("a", (Ipv4Addr::LOCALHOST, ports::free()?).into())?;
    let log = pipeline.folder().join("second.log");
    let mut second = Process::start("the second processor", command, &log)?;
    let status = second.wait(PATIENCE).await?;
    ensure!(status.code() == Some(LOCKED), "{status:?}: {}", second.last_words());
    ensure!(second.last_words().contains("state-a"), "it does not name the folder: {}", second.last_words());
    pipeline.ready().await?;
    pipeline.retire().await
}

/// One name on two machines: they fence each other, and whoever is fenced twice gives way.
#[tokio::test(flavor = "multi_thread")]
async fn of_two_processors_of_one_name_one_exits_78_and_the_other_goes_on() -> Result<()> {
    let mut pipeline = Pipeline::start(crate::setup("rivals")?, &["a"]).await?;
    let admin = SocketAddr::from((Ipv4Addr::LOCALHOST, ports::free()?));
    let mut command = pipeline.processor_command("a", admin)?;
    command.env("WEIR__PROCESSOR__STATE_DIR", pipeline.state_dir("elsewhere"));
    let mut second = Process::start("the second processor", command, &pipeline.folder().join("second.log"))?;
    let mut found = None;
    let mut look = || -> Result<bool> {
        found = match pipeline.processor("a")?.ended()? {
            Some(status) => Some((status, admin)),
            None => second.ended()?.map(|status| (status, pipeline.processor_admins()[0])),
        };
        Ok(found.is_some())
    };
    let one_ended = || {
        let ended = look().map_err(|error| format!("{error:#}"));
        std::future::ready(ended.and_then(|has| if has { Ok(()) } else { Err("both still run".to_owned()) }))
    };
    wait_until("one of two ends", PATIENCE, one_ended).await?;
    let (ended, other) = found.context("none has ended")?;
    ensure!(ended.code() == Some(LOCKED), "{ended:?}: {}", second.last_words());
    wait_until("the other ready", PATIENCE, || async { readiness(other).await }).await
}

/// Services never create topics: they wait, say what is missing, and go on by themselves when it is there.
#[tokio::test(flavor = "multi_thread")]
async fn services_without_topics_are_alive_and_not_ready_until_the_topics_exist() -> Result<()> {
    let mut pipeline = Pipeline::configure(crate::setup("topics")?)?;
    pipeline.start_ingest()?;
    pipeline.start_processor("a")?;
    let mut admins = pipeline.processor_admins();
    admins.push(pipeline.ingest_admin()?);
    for admin in &admins {
        wait_until("not ready", PATIENCE, || async { says_what_is_missing(*admin).await }).await?;
        let health = Client::new(*admin).send(&Request::get("/healthz")).await?;
        ensure!(health.status == 200, "/healthz of {admin} answered {}", health.status);
    }
    pipeline.check_alive()?;
    // Whoever reads the plan leaves before its first word: the topics are made all the same.
    let (reader, writer) = std::io::pipe()?;
    drop(reader);
    let mut apply = pipeline.command("weir")?;
    let applied = apply.args(["topics", "apply", "--yes"]).stdout(writer).status()?;
    ensure!(applied.success(), "{applied:?}");
    pipeline.ready().await?;
    pipeline.retire().await
}

async fn says_what_is_missing(admin: SocketAddr) -> Result<(), String> {
    match readiness(admin).await {
        Ok(()) => Err("it is ready".to_owned()),
        Err(reasons) if reasons.contains("verified-events") => Ok(()),
        Err(reasons) => Err(reasons),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_ingest_says_that_it_drains_and_exits_0() -> Result<()> {
    let mut setup = crate::setup("drain")?;
    setup.environment.push(("WEIR__INGEST__LINGER".to_owned(), "5s".to_owned()));
    let mut pipeline = Pipeline::start(setup, &[]).await?;
    // An alert sees the first increase only of what was there before.
    let metrics = pipeline.ingest_metrics().await?;
    ensure!(metrics.values("weir_ingest_reloads_total", "result") == ["failed", "ok"]);
    ensure!(metrics.values("weir_ingest_refused_total", "reason").contains(&"signature_mismatch"));
    let admin = pipeline.ingest_admin()?;
    // A request that is not finished keeps it from ending at once.
    let mut slow = tokio::net::TcpStream::connect(pipeline.door()).await?;
    let head = "POST /hooks/github HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n12345";
    tokio::io::AsyncWriteExt::write_all(&mut slow, head.as_bytes()).await?;
    let told = Instant::now();
    pipeline.ingest()?.signal("TERM")?;
    until_draining(admin).await?;
    // A load balancer that has not looked yet still sends.
    let late = limits::event("evt_late", 1_000, Place::Clean { flagged: false });
    let answer = limits::send(&Client::new(pipeline.door()), &pipeline, &late).await?;
    ensure!(answer.status == 200, "{} {}", answer.status, answer.text());
    let closes = answer.headers.iter().any(|(name, value)| name == "connection" && value == "close");
    ensure!(closes, "the caller is not asked to connect elsewhere: {:?}", answer.headers);
    // Who connects anew for each request is not there in between.
    drop(slow);
    let status = pipeline.ingest()?.wait(PATIENCE).await?;
    ensure!(status.success(), "{status:?}: {}", pipeline.ingest()?.last_words());
    ensure!(told.elapsed() >= Duration::from_secs(5), "it was gone after {:?}", told.elapsed());
    Ok(())
}
