//! Where a test event goes, and what a run against a door looks like.

use std::path::Path;
use std::sync::Arc;

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
    let listener = tokio.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let next = Arc::new(std::sync::atomic::AtomicUsize::new(0));
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
                let index = next.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                let status = statuses[index % statuses.len()];
                let body = if status == 200 { "{\"event_id\":\"read\"}" } else { "{\"reason\":\"overloaded\"}" };
                let length = body.len();
                let answer =
                    format!("HTTP/1.1 {status} X\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}");
                stream.write_all(answer.as_bytes()).await.unwrap();
            });
        }
    });
    (url, tokio)
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
fn at_a_rate_every_event_is_answered_once_and_in_order_of_number() {
    let (url, _tokio) = door(&[200]);
    let (result, rows) = printed(&SendArgs { rate: Some(2_000.0), ..options(&url, 50) });
    assert_eq!(result.unwrap(), Exit::Done);
    let numbers: Vec<_> = rows.iter().filter_map(|row| row["n"].as_u64()).collect();
    assert_eq!(numbers, (1..=50).collect::<Vec<u64>>());
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
