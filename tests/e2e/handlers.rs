//! Handlers of the configuration: what is left out, made anew and asked elsewhere, through the real processes.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use weir_tests::fetch_target::{self, FetchTarget, Plan, Response};
use weir_tests::pipeline::Pipeline;
use weir_tests::wait::wait_until;

use crate::PATIENCE;

/// Calls to the busy service that fail; its breaker opens with the last of them.
const BUSY_CALLS: u32 = 5;
/// Events that want that service.
const BUSY_EVENTS: u32 = 20;

/// Three sources: one whose calls are allowed, one whose calls are not, one whose service is busy.
fn sources(target: &str, busy: &str) -> String {
    let source = |name: &str, handlers: &str| {
        format!(
            "[[source]]\nname = \"{name}\"\nprovider = \"hmac\"\nsecrets = [{{ value = \"a secret\" }}]\n\
             event_id = \"/id\"\nevent_type = \"/kind\"\nresource = \"/order\"\nresource_type = \"order\"\n\
             [source.scheme]\nheader = \"X-Signature\"\n{handlers}\n"
        )
    };
    let fetch = |url: &str, more: &str| {
        format!("[[source.handlers]]\nkind = \"fetch\"\nurl = \"{url}/v1/{{body.order}}\"\n{more}\n")
    };
    let rules = "[[source.handlers]]\nkind = \"filter\"\nkeep = \"event.type != 'ping'\"\n\
                 [[source.handlers]]\nkind = \"map\"\n\
                 body = { id = \"body.id\", order = \"body.order\", gross = \"body.net * 2\" }\n";
    let allowed = format!("{rules}{}", fetch(target, "into = \"/customer\"\nallow_private = true\ntimeout = \"2s\""));
    [
        "[retry]\ndelays = [\"1s\"]\nattempts = 4\n".to_owned(),
        source("orders", &allowed),
        source("closed", &fetch(target, "")),
        source("busy", &fetch(busy, "allow_private = true\nconcurrency = 1")),
    ]
    .concat()
}

/// Runs `weir`: whether it ended well, and what it said.
pub fn weir(pipeline: &Pipeline, arguments: &[&str]) -> Result<(bool, String)> {
    let output = pipeline.command("weir")?.args(arguments).output()?;
    let said = [output.stdout, output.stderr].concat();
    Ok((output.status.success(), String::from_utf8_lossy(&said).into_owned()))
}

/// Sends one event.
pub fn send(pipeline: &Pipeline, source: &str, id: &str, kind: &str, order: &str) -> Result<()> {
    let path = pipeline.folder().join("body.json");
    fs::write(&path, json!({"id": id, "kind": kind, "order": order, "net": 21}).to_string())?;
    let (is_done, said) = weir(pipeline, &["send", "--source", source, "--body", &path.display().to_string()])?;
    ensure!(is_done, "{said}");
    Ok(())
}

/// Clean events of a source by resource, in order, once there are so many: id, attempt and body.
pub async fn clean(
    pipeline: &Pipeline,
    source: &str,
    count: usize,
) -> Result<BTreeMap<String, Vec<(String, String, Value)>>> {
    let list = || weir(pipeline, &["tail", "clean", "--source", source, "--from", "beginning", "-o", "jsonl"]);
    wait_until("the clean events", PATIENCE, || async {
        let (_, said) = list().map_err(|error| error.to_string())?;
        if said.lines().count() >= count { Ok(()) } else { Err(said) }
    })
    .await?;
    let mut events: BTreeMap<String, Vec<(String, String, Value)>> = BTreeMap::new();
    let (_, said) = list()?;
    for line in said.lines() {
        let event: Value = serde_json::from_str(line).with_context(|| line.to_owned())?;
        let header = |name: &str| event["headers"][name].as_str().unwrap_or_default().to_owned();
        let body = serde_json::from_str(event["body"].as_str().unwrap_or_default())?;
        events.entry(header("ce_subject")).or_default().push((header("ce_id"), header("ce_attempt"), body));
    }
    Ok(events)
}

/// Why an event died, as `weir dead show` tells it.
pub async fn death(pipeline: &Pipeline, source: &str, reason: &str) -> Result<String> {
    let list = || weir(pipeline, &["dead", "list", "--source", source, "--reason", reason, "-o", "jsonl"]);
    wait_until("a dead letter", PATIENCE, || async {
        let (_, said) = list().map_err(|error| error.to_string())?;
        if said.contains("\"id\"") { Ok(()) } else { Err(said) }
    })
    .await?;
    let letter: Value = serde_json::from_str(list()?.1.lines().next().unwrap_or_default())?;
    let (_, said) = weir(pipeline, &["dead", "show", letter["id"].as_str().context("an id")?, "-o", "json"])?;
    Ok(said)
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_left_out_made_anew_and_completed_by_a_service_that_fails_at_first() -> Result<()> {
    let plan: Plan = Arc::new(|order, call| match (order, call) {
        ("gone", _) => Response::Status(404),
        ("o-1", 0..2) => Response::Status(503),
        (_, _) => Response::Good,
    });
    let target = FetchTarget::start(plan).await?;
    let calls = AtomicU32::new(0);
    let busy: Plan = Arc::new(move |_, _| match calls.fetch_add(1, Ordering::Relaxed) {
        call if call < BUSY_CALLS => Response::Busy(8),
        _ => Response::Good,
    });
    let busy = FetchTarget::start(busy).await?;

    let mut pipeline = Pipeline::configure(crate::setup("handlers")?)?;
    let config = fs::read_to_string(pipeline.config())?;
    fs::write(pipeline.config(), format!("{config}\n{}", sources(&target.url(), &busy.url())))?;
    pipeline.create_topics().await?;
    pipeline.start_ingest()?;
    pipeline.start_processor("a")?;
    pipeline.ready().await?;

    for (id, kind, order) in [
        ("evt_1", "paid", "o-1"),
        ("evt_2", "paid", "o-1"),
        ("evt_3", "ping", "o-1"),
        ("evt_4", "paid", "o-2"),
        ("evt_5", "paid", "gone"),
        ("evt_6", "paid", "o-1"),
    ] {
        send(&pipeline, "orders", id, kind, order)?;
    }
    send(&pipeline, "closed", "evt_7", "paid", "o-3")?;

    let said = death(&pipeline, "orders", "call_refused").await?;
    ensure!(said.contains("handlers[2] fetch: the call was answered with status 404"), "{said}");
    let said = death(&pipeline, "closed", "call_refused").await?;
    ensure!(said.contains("handlers[0] fetch: 127.0.0.1 is not called: 127.0.0.1 is not a public address"), "{said}");
    ensure!(said.contains("allow_private is not set"), "{said}");

    let events = clean(&pipeline, "orders", 4).await?;
    let body = |id: &str, order: &str| {
        let customer: Value = serde_json::from_str(&fetch_target::answer(order)).expect("JSON");
        json!({"id": id, "order": order, "gross": 42, "customer": customer})
    };
    let event = |id: &str, attempt: &str, order: &str| (id.to_owned(), attempt.to_owned(), body(id, order));
    let expected: BTreeMap<String, Vec<(String, String, Value)>> = [
        (
            "order|o-1".to_owned(),
            vec![event("evt_1", "3", "o-1"), event("evt_2", "1", "o-1"), event("evt_6", "1", "o-1")],
        ),
        ("order|o-2".to_owned(), vec![event("evt_4", "1", "o-2")]),
    ]
    .into();
    ensure!(events == expected, "{events:#?}");
    let asked = target.asked();
    ensure!(asked == [("gone", 1), ("o-1", 5), ("o-2", 1)].map(|(id, n)| (id.to_owned(), n)).into(), "{asked:?}");

    breaker(&pipeline, &busy).await?;

    let metrics = pipeline.processor_metrics().await?;
    let outcomes = |source: &str, outcome: &str| {
        metrics.sum("weir_processor_events_total", &[("source", source), ("outcome", outcome)])
    };
    ensure!((outcomes("orders", "clean"), outcomes("orders", "discarded")) == (4, 1), "{metrics:?}");
    let dead = |source: &str| metrics.sum("weir_processor_dead", &[("source", source)]);
    ensure!((dead("orders"), dead("closed"), dead("busy")) == (1, 1, 0), "{metrics:?}");
    ensure!(pipeline.log_errors()?.is_empty(), "{:?}", pipeline.log_errors()?);
    pipeline.retire().await
}

/// A service that is busy is left alone: its events wait without using up an attempt, and come through.
async fn breaker(pipeline: &Pipeline, busy: &FetchTarget) -> Result<()> {
    let deliver = |mut numbers: std::ops::Range<u32>| {
        numbers.try_for_each(|n| send(pipeline, "busy", &format!("evt_b{n}"), "paid", &format!("b-{n}")))
    };
    // Enough of them to open it, and the others when it has been seen.
    deliver(0..BUSY_CALLS)?;
    let host = busy.url();
    wait_until("an open breaker", PATIENCE, || async {
        let metrics = pipeline.processor_metrics().await.map_err(|error| error.to_string())?;
        match metrics.sum("weir_processor_breaker_state", &[("host", &host)]) {
            2 => Ok(()),
            state => Err(format!("its state is {state}")),
        }
    })
    .await?;
    deliver(BUSY_CALLS..BUSY_EVENTS)?;
    let events = clean(pipeline, "busy", BUSY_EVENTS as usize).await?;
    let mut attempts: BTreeMap<String, u32> = BTreeMap::new();
    for (_, attempt, _) in events.values().flatten() {
        *attempts.entry(attempt.clone()).or_default() += 1;
    }
    let expected = [("1", BUSY_EVENTS - BUSY_CALLS), ("2", BUSY_CALLS)].map(|(attempt, n)| (attempt.to_owned(), n));
    ensure!(attempts == expected.into(), "{attempts:?}");
    let metrics = pipeline.processor_metrics().await?;
    let calls = |outcome: &str| metrics.sum("weir_processor_calls_total", &[("host", &host), ("outcome", outcome)]);
    ensure!((calls("failed"), calls("success")) == (BUSY_CALLS.into(), BUSY_EVENTS.into()), "{metrics:?}");
    ensure!(metrics.sum("weir_processor_breaker_state", &[("host", &host)]) == 0, "it closes again");
    Ok(())
}
