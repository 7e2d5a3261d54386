//! `weir dead` with many dead letters: how long each command takes, and the most memory it holds.
//!
//! The letters are a real processor's: every event has a defect. One that is redriven as it is dies again, which
//! takes the same commands, answers and memory as one that passes. Redrive and discard take one letter in ten: they
//! go as fast as the processor answers, which is not what is asked here.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use schemas::Topic;
use serde_json::json;
use weir_tests::memory::{self, Watched};
use weir_tests::place;
use weir_tests::wait::wait_until;

use crate::args::Settings;
use crate::broker::BenchBroker;
use crate::events::{SOURCE, Shape};
use crate::processor_bench::shape;
use crate::series::{Figure, Series, figure, report};
use crate::weir::{STOP_WITHIN, Weir};
use crate::{load, machine, topics};

const FIGURES: [Figure; 4] = [
    figure("letters", "letters", 0),
    figure("seconds", "s", 2),
    figure("letters_per_s", "letters/s", 0),
    figure("rss_peak_mib", "peak RSS MiB", 0),
];
/// Resources; redrive and discard take the letters of one each.
const RESOURCES: u64 = 10;
/// How long the processor may take with all of them.
const PATIENCE: Duration = Duration::from_secs(900);

/// Measures every command once and reports.
pub async fn run(settings: &Settings) -> Result<()> {
    let broker = BenchBroker::start().await?;
    let topics = topics::contract(&broker.prefix, settings.partitions);
    topics::create(&broker, &topics).await?;
    let facts = machine::facts(broker.brokers(), broker.is_own());
    println!("{}", machine::shown(&facts));
    let weir = Weir::new(&broker, settings, "dead")?;
    let shape = Shape {
        events: settings.letters,
        duplicates: 0,
        resources: RESOURCES,
        defect: Some("no_identity"),
        ..shape(settings)
    };
    let input = topics.name(&Topic::Verified);
    load::load(&broker, &input, settings.partitions, &shape)?;
    let service = weir.processor("bench")?;
    wait_until("every event is dead", PATIENCE, || {
        std::future::ready(match broker.cluster.lag(&weir.group(), &input) {
            Ok(0) => Ok(()),
            Ok(lag) => Err(format!("{lag} are left")),
            Err(error) => Err(format!("{error:#}")),
        })
    })
    .await?;
    let mut series = Series::of_situations(format!("weir dead, {} letters", settings.letters), &FIGURES);
    let resource = |n: u64| format!("customer|cus_{n:010}");
    let (one, another) = (resource(1), resource(2));
    let yes = ["--note", "bench", "--rate", "1000000", "--yes"];
    let commands: [(&str, Vec<&str>); 6] = [
        ("list", vec!["list"]),
        ("list --counts", vec!["list", "--counts"]),
        (
            "list with four filters",
            vec!["list", "--source", SOURCE, "--type", "*.updated", "--resource", &one, "--state", "dead"],
        ),
        ("redrive --dry-run", vec!["redrive", "--all", "--note", "bench", "--dry-run"]),
        ("redrive of a tenth", [&["redrive", "--resource", &one], &yes[..]].concat()),
        ("discard of a tenth", [&["discard", "--resource", &another], &yes[..]].concat()),
    ];
    for (name, arguments) in commands {
        let (watched, rows) = watch(&weir, name, &arguments)?;
        // What a command is about: all letters, unless it acts.
        let letters = if name.ends_with("tenth") { rows as f64 } else { settings.letters as f64 };
        if name == "list" {
            ensure!(rows == settings.letters, "{rows} letters are listed");
        }
        series.add(name, "letters", letters);
        series.add(name, "seconds", watched.seconds);
        series.add(name, "letters_per_s", letters / watched.seconds);
        series.add(name, "rss_peak_mib", watched.peak as f64 / (1024.0 * 1024.0));
    }
    service.process.stop(STOP_WITHIN).await?;
    let settings = json!({ "seed": settings.seed, "letters": settings.letters, "partitions": settings.partitions });
    report("dead", &facts, &settings, &[series])?;
    topics::clean_up(&broker).await
}

/// Runs `weir dead …`; how many rows it printed.
fn watch(weir: &Weir, name: &str, arguments: &[&str]) -> Result<(Watched, u64)> {
    let output = place::target("bench")?.join("dead.out");
    let mut command = weir.command("weir")?;
    command.arg("dead").args(arguments).args(["-o", "jsonl"]);
    let watched = memory::watch(command, &output)?;
    // What is redriven dies again: 1.
    ensure!(matches!(watched.code, Some(0 | 1)), "weir dead {name} ended with {:?}", watched.code);
    let bytes = std::fs::read(&output).context("cannot read what it printed")?;
    std::fs::remove_file(&output).context("cannot remove what it printed")?;
    Ok((watched, bytes.iter().filter(|byte| **byte == b'\n').count() as u64))
}
