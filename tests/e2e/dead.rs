//! Dead letters: seen, fixed, sent again or given up, by the operator's tool against the real processor.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use weir_tests::pipeline::Pipeline;
use weir_tests::scrape;
use weir_tests::wait::wait_until;

use crate::PATIENCE;

/// What a command said.
struct Said {
    code: Option<i32>,
    rows: Vec<Value>,
    text: String,
}

fn run(mut command: Command, arguments: &[&str]) -> Result<Said> {
    let output = command.args(arguments).output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let rows = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let text = format!("{arguments:?}: {:?}\n{text}{}", output.status, String::from_utf8_lossy(&output.stderr));
    Ok(Said { code: output.status.code(), rows, text })
}

fn weir_command(pipeline: &Pipeline) -> Result<Command> {
    let mut command = pipeline.command("weir")?;
    command.env("WEIR_DRAFTS", pipeline.folder().join("drafts"));
    Ok(command)
}

fn weir(pipeline: &Pipeline, arguments: &[&str]) -> Result<Said> {
    run(weir_command(pipeline)?, arguments)
}

/// The exit code of a command whose reader left before its first word.
fn unheard(pipeline: &Pipeline, arguments: &[&str]) -> Result<Option<i32>> {
    let (reader, writer) = std::io::pipe()?;
    drop(reader);
    let mut command = weir_command(pipeline)?;
    Ok(command.args(arguments).stdout(writer.try_clone()?).stderr(writer).status()?.code())
}

fn drafts(pipeline: &Pipeline) -> Result<usize> {
    Ok(fs::read_dir(pipeline.folder().join("drafts"))?.count())
}

/// A parcel's event; without a station the source's JSON Schema rejects it.
fn parcel(id: &str, number: u32, station: Option<&str>) -> String {
    let mut body =
        json!({"id": id, "event": "parcel.scanned", "at": 1, "parcel": {"number": format!("PX-{number}"), "grams": 5}});
    if let Some(station) = station {
        body["parcel"]["station"] = json!(station);
    }
    body.to_string()
}

fn send(pipeline: &Pipeline, body: &str) -> Result<()> {
    let path = pipeline.folder().join("body.json");
    fs::write(&path, body)?;
    let said = weir(pipeline, &["send", "--source", "warehouse", "--body", &path.display().to_string()])?;
    ensure!(said.code == Some(0), "{}", said.text);
    Ok(())
}

/// The dead letters of a state, once there are so many.
async fn letters(pipeline: &Pipeline, state: &str, count: usize) -> Result<Vec<Value>> {
    let list = || weir(pipeline, &["dead", "list", "--state", state, "-o", "jsonl"]);
    wait_until("the dead letters", PATIENCE, || async {
        let said = list().map_err(|error| error.to_string())?;
        if said.rows.len() == count { Ok(()) } else { Err(said.text) }
    })
    .await?;
    Ok(list()?.rows)
}

fn id_of(letter: &Value) -> Result<String> {
    Ok(letter["id"].as_str().context("an id")?.to_owned())
}

/// Clean events of the warehouse, in order.
fn clean(pipeline: &Pipeline) -> Result<Vec<Value>> {
    Ok(weir(pipeline, &["tail", "clean", "--source", "warehouse", "--from", "beginning", "-o", "jsonl"])?.rows)
}

fn header<'a>(event: &'a Value, name: &str) -> &'a str {
    event["headers"][name].as_str().unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_is_fixed_and_redriven_once_however_often_it_is_asked_for() -> Result<()> {
    let mut pipeline = Pipeline::start(crate::setup("dead")?, &["a"]).await?;
    send(&pipeline, &parcel("evt_1", 7, None))?;
    send(&pipeline, &parcel("evt_2", 7, Some("B")))?;
    send(&pipeline, &parcel("evt_3", 8, None))?;
    send(&pipeline, &parcel("evt_4", 9, None))?;
    let dead = letters(&pipeline, "dead", 3).await?;
    let of = |event_id: &str| {
        let found = dead.iter().find(|letter| letter["event_id"] == event_id);
        id_of(found.with_context(|| format!("{event_id} is not dead"))?)
    };
    let (first, second, third) = (of("evt_1")?, of("evt_3")?, of("evt_4")?);
    ensure!(dead.iter().all(|letter| letter["reason"] == "schema_violation" && letter["attempts"] == 1), "{dead:?}");

    // Fixed, and sent again by two people at once.
    let fixed = pipeline.folder().join("fixed.json");
    fs::write(&fixed, parcel("evt_1", 7, Some("A")))?;
    let said = weir(&pipeline, &["dead", "edit", &first, "--body", &fixed.display().to_string()])?;
    ensure!(said.code == Some(0), "{}", said.text);
    let redrive = ["dead", "redrive", &first, "--note", "the station was missing", "--yes", "-o", "jsonl"];
    let both = std::thread::scope(|scope| {
        let run = || scope.spawn(|| weir(&pipeline, &redrive));
        [run(), run()].map(|handle| handle.join().expect("no panic"))
    });
    let [one, other] = both;
    let (one, other) = (one?, other?);
    let results = [&one, &other].map(|said| said.rows.first().map(|row| row["result"].clone()));
    ensure!(results.contains(&Some(json!("redriven"))), "{}\n{}", one.text, other.text);

    // Without the fix it dies again, under a new id.
    let said = weir(&pipeline, &["dead", "redrive", &second, "--note", "hope", "--yes", "-o", "jsonl"])?;
    ensure!(said.code == Some(1) && said.rows[0]["result"] == "dead", "{}", said.text);
    let again = said.rows[0]["new_dead_id"].as_str().context("a new id")?.to_owned();
    ensure!(again == second.trim_end_matches('0').to_owned() + "1", "{again} after {second}");

    // Given up, it is given up for good: the provider's redelivery is a copy.
    pipeline.kill_processor("a")?;
    pipeline.start_processor("a")?;
    pipeline.ready().await?;
    let discard = ["dead", "discard", &third, "--note", "a test parcel", "--yes", "-o", "jsonl"];
    let said = weir(&pipeline, &discard)?;
    ensure!(said.code == Some(0) && said.rows[0]["result"] == "discarded", "{}", said.text);
    send(&pipeline, &parcel("evt_4", 9, None))?;
    let said = weir(&pipeline, &["dead", "discard", &third, "--note", "again", "--yes"])?;
    ensure!(said.code == Some(1), "a letter is discarded twice: {}", said.text);

    // A redelivery of a dead event that passes is let through: here the body is another, so only its schema is mended.
    let dead = letters(&pipeline, "dead", 1).await?;
    ensure!(id_of(&dead[0])? == again && dead[0]["attempts"] == 2, "{dead:?}");
    pipeline.rest(PATIENCE, |_| {}).await?;

    let events = clean(&pipeline)?;
    let told: Vec<_> = events
        .iter()
        .map(|event| (header(event, "ce_id"), header(event, "ce_origin"), header(event, "ce_attempt")))
        .collect();
    ensure!(told == [("evt_2", "live", "1"), ("evt_1", "redrive", "2")], "{told:?}");
    ensure!(events[1]["body"].as_str().is_some_and(|body| body.contains("\"A\"")), "{}", events[1]);

    let said = weir(&pipeline, &["find", "evt_1", "-o", "jsonl"])?;
    ensure!(said.text.contains("the station was missing"), "{}", said.text);
    let said = weir(&pipeline, &["dead", "show", &again, "-o", "json"])?;
    ensure!(said.code == Some(0) && said.text.matches("schema_violation").count() >= 2, "{}", said.text);
    pipeline.retire().await
}

/// Nobody reads what it says, Ctrl-C comes while an editor runs: neither changes what is done.
#[tokio::test(flavor = "multi_thread")]
async fn what_changes_something_is_done_whether_or_not_anybody_listens() -> Result<()> {
    let pipeline = Pipeline::start(crate::setup("dead-deaf")?, &["a"]).await?;
    for number in 1..=3 {
        send(&pipeline, &parcel(&format!("evt_{number}"), 7, None))?;
    }
    let dead = letters(&pipeline, "dead", 3).await?;
    let (first, second) = (id_of(&dead[0])?, id_of(&dead[1])?);

    let edit = |editor: &str| {
        let mut command = weir_command(&pipeline)?;
        command.env("VISUAL", editor);
        run(command, &["dead", "edit", &first])
    };
    let said = edit("kill -INT $PPID; sed -i s/5/6/")?;
    ensure!(said.code == Some(64) && said.text.contains("would die again"), "{}", said.text);
    let said = edit("kill -INT $PPID; sed -i 's/\"grams\"/\"station\": \"A\", \"grams\"/'")?;
    ensure!(said.code == Some(0) && said.text.contains("going on with what was refused"), "{}", said.text);
    ensure!(drafts(&pipeline)? == 1);

    // Exit codes are the answer, as if somebody had read it: one letter dies again, the other is given up.
    let redrive = ["dead", "redrive", &second, "--note", "hope", "--yes", "-o", "jsonl"];
    ensure!(unheard(&pipeline, &redrive)? == Some(1));
    ensure!(unheard(&pipeline, &["dead", "discard", &first, "--note", "a test parcel", "--yes"])? == Some(0));
    letters(&pipeline, "discarded", 1).await?;
    letters(&pipeline, "dead", 2).await?;
    ensure!(drafts(&pipeline)? == 0, "the draft of a letter that was given up is still there");
    ensure!(unheard(&pipeline, &["send", "--source", "warehouse", "--url", "http://127.0.0.1:1"])? == Some(69));
    ensure!(unheard(&pipeline, &["dead", "list"])? == Some(0), "what only reads ends quietly");

    // Nothing is an array, too.
    for nothing in
        [&["find", "evt_9", "-o", "json"][..], &["dead", "redrive", &first, "--note", "n", "--yes", "-o", "json"]]
    {
        let said = weir(&pipeline, nothing)?;
        ensure!(said.code == Some(1) && said.rows.first() == Some(&json!([])), "{}", said.text);
    }
    pipeline.retire().await
}

/// Waits until the processor, ready all the while, warns of so many things.
async fn warned(pipeline: &Pipeline, count: usize) -> Result<Vec<String>> {
    let admin = *pipeline.processor_admins().first().context("a processor runs")?;
    wait_until("the warnings", PATIENCE, || async {
        let warnings = scrape::warnings(admin).await?;
        if warnings.len() == count { Ok(()) } else { Err(format!("{warnings:?}")) }
    })
    .await?;
    scrape::warnings(admin).await.map_err(anyhow::Error::msg)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_processor_with_many_open_dead_letters_is_ready_and_says_so_until_they_are_dealt_with() -> Result<()> {
    let mut pipeline = Pipeline::start(crate::setup("dead-many")?, &["a"]).await?;
    for number in 1..=10 {
        send(&pipeline, &parcel(&format!("evt_{number}"), 7, None))?;
    }
    letters(&pipeline, "dead", 10).await?;
    pipeline.rest(PATIENCE, |_| {}).await?;
    warned(&pipeline, 0).await?;
    send(&pipeline, &parcel("evt_11", 7, None))?;
    let warnings = warned(&pipeline, 1).await?;
    ensure!(warnings[0].ends_with("has 11 open dead letters, more than 10"), "{warnings:?}");

    // It is state, and survives the process.
    pipeline.kill_processor("a")?;
    pipeline.start_processor("a")?;
    pipeline.ready().await?;
    ensure!(warned(&pipeline, 1).await? == warnings);
    let metrics = pipeline.processor_metrics().await?;
    ensure!(metrics.sum("weir_processor_dead_depth", &[]) == 11);

    let one = id_of(&letters(&pipeline, "dead", 11).await?[0])?;
    let said = weir(&pipeline, &["dead", "discard", &one, "--note", "a test parcel", "--yes"])?;
    ensure!(said.code == Some(0) && said.text.contains("discard 1 dead letter;"), "{}", said.text);
    warned(&pipeline, 0).await?;
    pipeline.retire().await
}
