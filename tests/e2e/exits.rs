//! How processes end: when they cannot start, are told once under load or twice, or somebody holds on to them.

use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use jiff::Timestamp;
use runtime::shutdown::Shutdown;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use weir_tests::door;
use weir_tests::event::Place;
use weir_tests::pipeline::Pipeline;
use weir_tests::place;
use weir_tests::scrape::readiness;
use weir_tests::secrets::Age;
use weir_tests::sources::Source;
use weir_tests::wait::wait_until;
use weir_tests::wire::Client;

use crate::{PATIENCE, limits};

/// Bad configuration or usage; a dependency that is missing and not waited for.
const USAGE: i32 = 64;
const UNAVAILABLE: i32 = 69;

const SOURCE: &str = "[[source]]\nname = \"a\"\nprovider = \"github\"\nsecrets = [{ value = \"0123456789abcdef\" }]\n";
/// Port 1 of this machine: nothing listens there.
const NO_KAFKA: &str = "[kafka]\nbrokers = \"127.0.0.1:1\"\nwait = \"0s\"\n";

#[test]
fn whatever_keeps_a_program_from_its_work_is_told_and_decides_its_exit_code() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let own = "[ingest]\nlisten = \"127.0.0.1:0\"\nadmin_listen = \"127.0.0.1:0\"\n\
        [processor]\nadmin_listen = \"127.0.0.1:0\"\n";
    let write = |name: &str, text: &str| -> Result<String> {
        let path = folder.path().join(name);
        std::fs::write(&path, text)?;
        Ok(path.display().to_string())
    };
    let alone = write("alone.toml", &format!("{NO_KAFKA}{own}{SOURCE}"))?;
    let typo = write("typo.toml", &format!("{NO_KAFKA}{own}{SOURCE}secret = \"x\"\n"))?;
    let nowhere = folder.path().join("nowhere.toml").display().to_string();
    let (services, all) = (["weir-ingest", "weir-processor"], ["weir-ingest", "weir-processor", "weir"]);
    let mut started = Vec::new();
    for (programs, argument, config, code, words) in [
        (&all[..], "--no-such-flag", &alone, USAGE, "--no-such-flag"),
        (&services[..], "", &nowhere, USAGE, "nowhere.toml: cannot be read"),
        (&services[..], "", &typo, USAGE, "secret: is not a key"),
        (&services[..], "", &alone, UNAVAILABLE, "no Kafka broker answers at 127.0.0.1:1"),
    ] {
        for program in programs {
            let mut command = Command::new(place::program(program)?);
            for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("WEIR_")) {
                command.env_remove(name);
            }
            command.args(Some(argument).filter(|argument| !argument.is_empty()));
            command.env("WEIR_CONFIG", config).env("WEIR__PROCESSOR__STATE_DIR", folder.path().join("state"));
            command.stdout(Stdio::piped()).stderr(Stdio::piped());
            started.push((program, code, words, command.spawn()?));
        }
    }
    for (program, code, words, child) in started {
        let output = child.wait_with_output()?;
        let text = [&output.stdout[..], &output.stderr].map(String::from_utf8_lossy).concat();
        ensure!(output.status.code() == Some(code), "{program}, not {code} but {}: {text}", output.status);
        ensure!(text.contains(words), "{program} does not say {words:?}: {text}");
    }
    Ok(())
}

/// An ingest that drains, and a request that is never finished.
async fn held_up(test: &str, environment: [(&str, &str); 2]) -> Result<(Pipeline, TcpStream)> {
    let mut setup = crate::setup(test)?;
    setup.environment.extend(environment.map(|(name, value)| (name.to_owned(), value.to_owned())));
    let mut pipeline = Pipeline::start(setup, &[]).await?;
    // The door reads a body only if its head could be authentic, and waits 10 s for it.
    let mut held = TcpStream::connect(pipeline.door()).await?;
    let signature = "0".repeat(64);
    let head = format!("POST /hooks/github HTTP/1.1\r\nHost: a\r\nX-Hub-Signature-256: sha256={signature}\r\n");
    held.write_all(format!("{head}Content-Length: 10\r\n\r\n12345").as_bytes()).await?;
    wait_until("a request under way", PATIENCE, || async {
        let metrics = pipeline.ingest_metrics().await.map_err(|error| format!("{error:#}"))?;
        match metrics.sum("weir_ingest_connections", &[]) {
            0 => Err("no connection".to_owned()),
            _ => Ok(()),
        }
    })
    .await?;
    pipeline.ingest()?.signal("TERM")?;
    Ok((pipeline, held))
}

/// Waits until an ingest says that it drains.
pub async fn until_draining(admin: SocketAddr) -> Result<()> {
    wait_until("draining", PATIENCE, || drains(admin)).await
}

/// Whether an ingest says that it drains; if not, what it says.
async fn drains(admin: SocketAddr) -> Result<(), String> {
    match readiness(admin).await {
        Ok(()) => Err("it is still ready".to_owned()),
        Err(reasons) if reasons.contains("draining") => Ok(()),
        Err(reasons) => Err(reasons),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_leaves_at_once() -> Result<()> {
    // Longer than anybody waits here.
    let patient = [("WEIR__SHUTDOWN_TIMEOUT", "10m"), ("WEIR__INGEST__LINGER", "3m")];
    for (signal, code) in [("TERM", 143), ("INT", 130)] {
        let (mut pipeline, held) = held_up(&format!("twice-{}", signal.to_lowercase()), patient).await?;
        until_draining(pipeline.ingest_admin()?).await?;
        let process = pipeline.ingest()?;
        process.signal(signal)?;
        let status = process.wait(PATIENCE).await.context("it does not leave")?;
        ensure!(status.code() == Some(code), "{status:?}, not {code}: {}", process.last_words());
        drop(held);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_can_hold_a_process_for_longer_than_its_shutdown_timeout() -> Result<()> {
    let brief = [("WEIR__SHUTDOWN_TIMEOUT", "3s"), ("WEIR__INGEST__LINGER", "1s")];
    let (mut pipeline, held) = held_up("held", brief).await?;
    let process = pipeline.ingest()?;
    let status = process.wait(PATIENCE).await.context("it is held")?;
    ensure!(status.success(), "{status:?}: {}", process.last_words());
    drop(held);
    let log = std::fs::read_to_string(pipeline.folder().join("ingest.log"))?;
    ensure!(log.contains("connections were cut at the end of the drain"), "{log}");
    Ok(())
}

/// Callers come through a balancer that looks once a second: none of them sees that an ingest is stopped.
#[tokio::test(flavor = "multi_thread")]
async fn behind_a_balancer_no_caller_sees_that_an_ingest_is_stopped() -> Result<()> {
    let mut setup = crate::setup("balanced")?;
    setup.environment.push(("WEIR__INGEST__LINGER".to_owned(), "6s".to_owned()));
    let mut pipeline = Pipeline::start(setup, &[]).await?;
    let (stops, answered) = (Shutdown::new(), Arc::new(AtomicU32::new(0)));
    let calls = |caller: u32| {
        let (client, key) = (Client::new(pipeline.door()), pipeline.secrets.key(Source::Stripe, Age::New));
        let (stops, answered) = (stops.clone(), Arc::clone(&answered));
        async move {
            for number in 0.. {
                let event = limits::event(&format!("evt_{caller}_{number}"), 1_000, Place::Clean { flagged: false });
                let answer = client.send(&door::authentic(&event, &key, Timestamp::now().as_second())).await?;
                ensure!(answer.status == 200, "{} {}", answer.status, answer.text());
                answered.fetch_add(1, Ordering::Relaxed);
                if stops.is_triggered() {
                    break;
                }
            }
            Ok(())
        }
    };
    let mut callers: JoinSet<Result<()>> = (0..8).map(calls).collect();
    let count = |wanted: u32| {
        let answered = answered.load(Ordering::Relaxed);
        std::future::ready(if answered >= wanted { Ok(()) } else { Err(format!("{answered} answers")) })
    };
    wait_until("load", PATIENCE, || count(200)).await?;
    let admin = pipeline.ingest_admin()?;
    pipeline.ingest()?.signal("TERM")?;
    let balancer = async {
        while drains(admin).await.is_err() {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    tokio::time::timeout(PATIENCE, balancer).await.context("the balancer never saw that it drains")?;
    stops.trigger();
    while let Some(caller) = callers.join_next().await {
        caller.context("a caller panicked")??;
    }
    let status = pipeline.ingest()?.wait(PATIENCE).await?;
    ensure!(status.success(), "{status:?}: {}", pipeline.ingest()?.last_words());
    Ok(())
}
