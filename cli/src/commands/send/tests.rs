//! Where a test event goes, and what a run against a door looks like.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use runtime::report::Exit;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::output::Form;

const CONFIG: &str = "[[source]]\nname = \"gh\"\nprovider = \"github\"\nsecrets = [{ env = \"S\" }]\n";

fn config() -> Config {
    let environment = [("S".to_owned(), "It's a Secret to Everybody".to_owned())];
    runtime::config::parse(CONFIG, Path::new("weir.toml"), environment).unwrap().config
}

fn options(url: &str, count: u64) -> SendArgs {
    SendArgs {
        source: "gh".to_owned(),
        event_type: None,
        body: None,
        id: None,
        count,
        rate: None,
        url: Some(url.to_owned()),
        dry_run: false,
        output: crate::args::OutputArgs::default(),
    }
}

fn printed(options: &SendArgs) -> (Result<Exit, Failure>, Vec<Value>) {
    let mut bytes = Vec::new();
    let mut out = Output::new(Box::new(&mut bytes), Some(Form::Jsonl), false, false);
    let result = run(&config(), options, &mut out);
    drop(out);
    let lines = String::from_utf8(bytes).unwrap();
    (result, lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
}

/// A door that answers every request with the next of some statuses, and closes.
fn door(statuses: &'static [u16]) -> (String, tokio::runtime::Runtime) {
    let tokio = crate::commands::tokio_runtime().unwrap();
    let (url, _) = tokio.block_on(door_on(tokio.handle(), statuses));
    (url, tokio)
}

/// The same on a runtime that is there, and how many requests it has seen.
async fn door_on(tokio: &tokio::runtime::Handle, statuses: &'static [u16]) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let seen = Arc::new(AtomicUsize::new(0));
    let next = seen.clone();
    tokio.spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let next = next.clone();
            tokio::spawn(async move {
                let mut seen = Vec::new();
                let mut buffer = [0_u8; 4096];
                while !is_whole(&seen) {
                    let count = stream.read(&mut buffer).await.unwrap();
                    seen.extend_from_slice(&buffer[..count]);
                }
                let index = next.fetch_add(1, Ordering::SeqCst);
                let status = statuses[index % statuses.len()];
                let body = if status == 200 { "{\"event_id\":\"read\"}" } else { "{\"reason\":\"overloaded\"}" };
                let length = body.len();
                let answer =
                    format!("HTTP/1.1 {status} X\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}");
                stream.write_all(answer.as_bytes()).await.unwrap();
            });
        }
    });
    (url, seen)
}

fn is_whole(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request).to_lowercase();
    let Some((head, _)) = text.split_once("\r\n\r\n") else {
        return false;
    };
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap_or("0");
    request.len() >= head.len() + 4 + length.parse::<usize>().unwrap()
}

#[test]
fn every_answer_is_a_row_and_a_refusal_is_exit_1() {
    let (url, _tokio) = door(&[200, 503, 200]);
    let (result, rows) = printed(&options(&url, 3));
    assert_eq!(result.unwrap(), Exit::No);
    let statuses: Vec<_> = rows.iter().map(|row| row["status"].as_u64()).collect();
    assert_eq!(statuses, [Some(200), Some(503), Some(200)]);
    assert_eq!((rows[0]["event_id"].as_str(), rows[1]["reason"].as_str()), (Some("read"), Some("overloaded")));
}

#[test]
fn at_a_rate_every_event_is_answered_once() {
    let (url, _tokio) = door(&[200]);
    let (result, rows) = printed(&SendArgs { rate: Some(2_000.0), ..options(&url, 50) });
    assert_eq!(result.unwrap(), Exit::Done);
    let mut numbers: Vec<_> = rows.iter().filter_map(|row| row["n"].as_u64()).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=50).collect::<Vec<u64>>());
}

/// A pipe whose reader has gone.
struct Gone;

impl std::io::Write for Gone {
    fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
        Err(std::io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_reader_who_leaves_changes_neither_what_is_sent_nor_the_exit_code() {
    for (statuses, expected) in [(&[200, 200, 503][..], Exit::No), (&[200], Exit::Done)] {
        let (url, _tokio) = door(statuses);
        let mut out = Output::new(Box::new(Gone), Some(Form::Jsonl), false, false);
        assert!(run(&config(), &options(&url, 3), &mut out).is_err(), "the control: a reader ends with its reader");
        let (url, _tokio) = door(statuses);
        let mut out = Output::new(Box::new(Gone), Some(Form::Jsonl), false, false);
        out.bear_deafness();
        assert_eq!(run(&config(), &options(&url, 3), &mut out).unwrap(), expected);
    }
}

#[tokio::test]
async fn after_a_stop_nothing_more_is_sent_and_what_was_answered_is_told() {
    for rate in [None, Some(0.001)] {
        let (url, seen) = door_on(&tokio::runtime::Handle::current(), &[200]).await;
        let config = config();
        let wish = Wish { source: &config.sources[0], body: None, id: None, event_type: None, count: 1_000_000 };
        let shutdown = Shutdown::new();
        let delivery = Delivery { poster: Poster::to(url.parse().unwrap()), wish: &wish, rate, shutdown: &shutdown };
        let mut bytes = Vec::new();
        let mut out = Output::new(Box::new(&mut bytes), Some(Form::Json), false, false);
        let mut teller = Teller::new(&mut out, wish.count);
        let first = make(&wish, 1).unwrap();
        // As soon as the door has answered one; the second is an hour away, or under way.
        let stop = async {
            while seen.load(Ordering::SeqCst) == 0 {
                tokio::task::yield_now().await;
            }
            shutdown.trigger();
        };
        let limit = std::time::Duration::from_secs(20);
        let run = tokio::time::timeout(limit, async { tokio::join!(delivery.run(first, &mut teller), stop) });
        run.await.expect("it ends long before the millionth").0.unwrap();
        let summary = teller.end().unwrap();
        assert!(!summary.is_all_accepted() && summary.text().contains(" not sent; "), "{}", summary.text());
        drop(out);
        let rows: Vec<Value> = serde_json::from_slice(&bytes).unwrap();
        assert!(!rows.is_empty() && rows.len() < 1000, "{}", rows.len());
    }
}

#[test]
fn an_id_or_a_type_that_no_header_can_hold_is_wrong_usage_before_anything_is_sent() {
    for (id, event_type) in [(Some("a\nb"), None), (None, Some("push\r\nx: y")), (Some("a "), None)] {
        for dry_run in [false, true] {
            let (url, _tokio) = door(&[200]);
            let given = |text: Option<&str>| text.map(str::to_owned);
            let wrong = SendArgs { id: given(id), event_type: given(event_type), dry_run, ..options(&url, 1) };
            let (result, rows) = printed(&wrong);
            let failure = result.unwrap_err();
            assert_eq!((failure.exit, rows.len()), (Exit::Usage, 0), "{failure}");
            assert!(failure.to_string().contains("--id, --type: the header x-github-"), "{failure}");
        }
    }
    let (url, _tokio) = door(&[200]);
    let other = SendArgs { id: Some("größe".to_owned()), ..options(&url, 1) };
    assert_eq!(printed(&other).0.unwrap(), Exit::Done, "the control");
}

#[test]
fn a_door_that_is_not_there_is_exit_69_with_the_way_out() {
    let (result, rows) = printed(&options("http://127.0.0.1:1", 3));
    let failure = result.unwrap_err();
    assert_eq!(failure.exit, Exit::Unavailable);
    assert!(failure.to_string().contains("start weir-ingest"), "{failure}");
    assert!(rows.is_empty());
}

#[test]
fn a_dry_run_sends_nothing_and_shows_the_request() {
    let (result, rows) = printed(&SendArgs { dry_run: true, ..options("http://127.0.0.1:1", 1) });
    assert_eq!(result.unwrap(), Exit::Done);
    assert_eq!(rows[0]["url"], "http://127.0.0.1:1/hooks/gh");
    let headers = rows[0]["headers"].to_string();
    assert!(headers.contains("x-hub-signature-256: sha256=") && headers.contains("x-github-event: issues"));
    assert!(!headers.contains("Secret"));
}

#[test]
fn an_unknown_source_is_refused_with_the_names_there_are() {
    let (result, _) = printed(&SendArgs { source: "hub".to_owned(), ..options("http://127.0.0.1:1", 1) });
    let failure = result.unwrap_err();
    assert_eq!(failure.exit, Exit::Usage);
    assert!(failure.to_string().contains("there are: gh"), "{failure}");
}

#[test]
fn an_address_without_a_path_gets_that_of_the_source() {
    let listen: SocketAddr = "0.0.0.0:8080".parse().unwrap();
    let to = |url| address(url, listen, "gh").map(|uri| uri.to_string());
    assert_eq!(to(None).unwrap(), "http://127.0.0.1:8080/hooks/gh");
    assert_eq!(to(Some("http://a:1")).unwrap(), "http://a:1/hooks/gh");
    assert_eq!(to(Some("http://a:1/")).unwrap(), "http://a:1/hooks/gh");
    assert_eq!(to(Some("http://a:1/other")).unwrap(), "http://a:1/other");
    for bad in ["https://a", "a:1", "nonsense", "http://"] {
        assert_eq!(to(Some(bad)).unwrap_err().exit, Exit::Usage, "{bad}");
    }
}
