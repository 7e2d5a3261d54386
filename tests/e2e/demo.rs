//! The demo itself, small: it exits 0 when the books balance, and it can tell when they do not.

use std::process::{Command, Output};

use anyhow::{Context, Result, ensure};
use weir_tests::cluster::Cluster;
use weir_tests::{broker, place, ports};

const DELIVERIES: &str = "400";

/// Plays a small demo of a seed; its folder is its own, so that several can run at once.
fn play(name: &str, seed: u32, arguments: &[&str], control: Option<&str>) -> Result<Output> {
    let mut command = Command::new(place::program("weir-demo")?);
    command.arg("play").args(arguments);
    command.env("KAFKA_BROKERS", broker::shared()).env("DELIVERIES", DELIVERIES);
    command.env("INGEST_PORT", ports::free()?.to_string());
    command.env("DEMO_DIR", place::root().join("target/e2e").join(name));
    command.env("SEED", seed.to_string());
    command.env_remove("CONTROL").env_remove("KEEP");
    command.envs(control.map(|control| ("CONTROL", control)));
    command.output().context("cannot run the demo")
}

/// What the demo said, standard output and then standard error.
fn said(output: &Output) -> String {
    [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes)).join("\n")
}

#[test]
fn the_demo_balances_and_leaves_nothing_behind() -> Result<()> {
    let seed = rand::random();
    let output = play("demo", seed, &[], None)?;
    let said = said(&output);
    ensure!(output.status.success(), "{said}");
    for words in ["The books balance", "killed the processor", "out of order"] {
        ensure!(said.contains(words), "no {words:?} in:\n{said}");
    }
    let left = Cluster::new(broker::shared()).ends(&format!("demo-{seed}-clean-events"))?;
    ensure!(left.is_none(), "its topics are still there");
    Ok(())
}

#[test]
fn the_demo_names_the_event_that_the_reader_lost() -> Result<()> {
    let output = play("lose-one", rand::random(), &["--control", "lose-one"], None)?;
    refuses(&output, "is lost: it is not in clean-events")
}

#[test]
fn the_demo_names_the_event_that_the_reader_saw_twice() -> Result<()> {
    let output = play("double-one", rand::random(), &[], Some("double-one"))?;
    refuses(&output, "is doubled: it is in clean-events 2 times")
}

fn refuses(output: &Output, complaint: &str) -> Result<()> {
    let said = said(output);
    ensure!(output.status.code() == Some(1), "exit {:?}:\n{said}", output.status.code());
    ensure!(said.contains("The books do not balance"), "{said}");
    ensure!(said.contains(complaint), "{said}");
    Ok(())
}

#[test]
fn a_control_that_does_not_exist_is_a_usage_error() -> Result<()> {
    let output = Command::new(place::program("weir-demo")?).args(["play", "--control", "lose-none"]).output()?;
    ensure!(output.status.code() == Some(64), "{}", said(&output));
    Ok(())
}

#[test]
fn a_port_that_is_taken_is_named_before_anything_starts() -> Result<()> {
    let port = ports::free()?;
    let _taken = std::net::TcpListener::bind(("127.0.0.1", port))?;
    let mut command = Command::new(place::program("weir-demo")?);
    command.arg("play").env("INGEST_PORT", port.to_string()).env("KAFKA_BROKERS", "127.0.0.1:1");
    let output = command.output()?;
    let said = said(&output);
    ensure!(output.status.code() == Some(1), "{said}");
    ensure!(said.contains(&format!("port {port} is taken by pid {}", std::process::id())), "{said}");
    Ok(())
}
