//! Real connections: what a client on the wire sees, and what a slow or broken one may do.

mod http2;
mod patience;
mod wire;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use runtime::clock::now_ms;
use runtime::shutdown::Shutdown;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

use super::*;
use crate::testing::{FakeLog, TOML, signed, source, sources};

/// How long something may take that is not measured.
const PATIENCE: Duration = Duration::from_secs(20);

struct Running {
    address: SocketAddr,
    log: Arc<FakeLog>,
    open: Arc<Open>,
    shutdown: Shutdown,
    task: tokio::task::JoinHandle<()>,
}

async fn start() -> Running {
    start_with(Limits::default()).await
}

async fn start_with(limits: Limits) -> Running {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    let (log, shutdown) = (Arc::new(FakeLog::new()), Shutdown::new());
    let app = Arc::new(App::limited(sources(TOML), Arc::clone(&log), 16, shutdown.clone(), limits));
    let server = Server::limited(listener, limits);
    let (stop, open) = (shutdown.clone(), Arc::clone(server.open()));
    let task = tokio::spawn(async move {
        server.serve(&app, stop.wait()).await;
        app.close();
        server.close(Duration::from_secs(5)).await;
    });
    Running { address, log, open, shutdown, task }
}

/// Waits for a condition.
async fn wait_for(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}: not within {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Whether the peer closes the connection, or resets it, and says nothing more.
async fn is_closed(stream: &mut TcpStream) -> bool {
    let mut more = [0; 64];
    let read = tokio::time::timeout(PATIENCE, stream.read(&mut more)).await.expect("it is closed");
    !matches!(read, Ok(1..))
}

/// One answer of a connection that stays open.
async fn ask(stream: &mut TcpStream, bytes: &[u8]) -> String {
    stream.write_all(bytes).await.expect("sent");
    let mut answer = vec![0; 4096];
    let read = tokio::time::timeout(PATIENCE, stream.read(&mut answer)).await.expect("in time").expect("answered");
    String::from_utf8_lossy(&answer[..read]).into_owned()
}

/// A request as it goes over the wire.
fn wire(name: &str, body: &[u8], more: &str) -> Vec<u8> {
    let headers = signed(&source(name).0, "msg_1", now_ms() / 1000, body);
    let mut head = format!("POST /hooks/{name} HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n{more}", body.len());
    for (name, value) in &headers {
        head.push_str(&format!("{name}: {}\r\n", value.to_str().expect("text")));
    }
    [head.as_bytes(), b"\r\n", body].concat()
}

/// Everything the server says until it closes.
async fn say(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.expect("a server");
    stream.write_all(bytes).await.expect("sent");
    let mut answer = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut answer)).await;
    read.expect("the server closes").ok();
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn a_signed_request_on_the_wire_becomes_a_record() {
    let running = start().await;
    let answer = say(running.address, &wire("stripe", br#"{"id":"evt_1"}"#, "connection: close\r\n")).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    assert!(answer.ends_with(r#"{"status":"accepted","event_id":"evt_1"}"#), "{answer}");
    assert_eq!(running.log.records().len(), 1);
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let running = start().await;
    let mut bytes = Vec::new();
    for number in 0..50 {
        bytes.extend(wire("stripe", format!(r#"{{"id":"evt_{number}"}}"#).as_bytes(), ""));
    }
    bytes.extend(wire("stripe", br#"{"id":"last"}"#, "connection: close\r\n"));
    let answer = say(running.address, &bytes).await;
    let places: Vec<_> = (0..50).map(|number| answer.find(&format!("\"evt_{number}\""))).collect();
    assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{places:?}");
    assert_eq!(running.log.records().len(), 51);
}

#[tokio::test]
async fn what_is_no_http_is_refused_and_nothing_gets_through() {
    let running = start().await;
    let good = wire("stripe", br#"{"id":"evt_1"}"#, "");
    let text = String::from_utf8(good.clone()).expect("text");
    let cases = [
        b"garbage\r\n\r\n".to_vec(),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".repeat(8),
        b"GET /hooks/stripe\r\n\r\n".to_vec(),
        text.replace("content-length: 14", "content-length: +14").into_bytes(),
        text.replace("content-length: 14", "content-length: 14\r\ncontent-length: 15").into_bytes(),
        text.replace("content-length: 14", "transfer-encoding: xchunked").into_bytes(),
        text.replace("content-length: 14", "transfer-encoding: chunked, identity").into_bytes(),
        text.replace("host: x", "host : x").into_bytes(),
        text.replace("HTTP/1.1", "HTTP/1.7").into_bytes(),
        text.replace("host: x", "a: b\0c").into_bytes(),
        text.replace("content-length: 14", "transfer-encoding: chunked").replace("HTTP/1.1", "HTTP/1.0").into_bytes(),
        text.replace("host: x", "host: x\r\n folded").into_bytes(),
        text.replace("content-length: 14", "content-length: 18446744073709551616").into_bytes(),
    ];
    for bytes in cases {
        let shown = String::from_utf8_lossy(&bytes).into_owned();
        let answer = say(running.address, &bytes).await;
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 4") || answer.starts_with("HTTP/1.0 4"),
            "{shown} {answer}"
        );
    }
    assert!(running.log.records().is_empty());
}

#[tokio::test]
async fn a_smuggled_second_request_is_not_seen() {
    let running = start().await;
    let inner = wire("stripe", br#"{"id":"smuggled"}"#, "");
    let mut outer =
        b"POST /hooks/stripe HTTP/1.1\r\nhost: x\r\ncontent-length: 500\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"
            .to_vec();
    outer.extend(inner);
    let answer = say(running.address, &outer).await;
    assert!(answer.matches("HTTP/1.1").count() <= 1, "{answer}");
    assert!(running.log.records().is_empty());
}

#[tokio::test]
async fn a_caller_that_closes_its_half_still_gets_its_answer() {
    let running = start().await;
    let mut stream = TcpStream::connect(running.address).await.expect("a server");
    stream.write_all(&wire("stripe", br#"{"id":"evt_1"}"#, "")).await.expect("sent");
    stream.shutdown().await.expect("half closed");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.expect("answered and closed");
    assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
}

#[tokio::test]
async fn a_body_in_chunks_is_one_body_and_trailers_sign_nothing() {
    let running = start().await;
    let body = br#"{"id":"evt_1"}"#;
    let text = String::from_utf8(wire("stripe", body, "connection: close\r\n")).expect("text");
    let head = text.replace("content-length: 14", "transfer-encoding: chunked");
    let head = head.strip_suffix(r#"{"id":"evt_1"}"#).expect("the body");
    let chunks: String = body.iter().map(|byte| format!("1\r\n{}\r\n", char::from(*byte))).collect();
    let answer = say(running.address, format!("{head}{chunks}0\r\n\r\n").as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");

    let (signature, rest): (Vec<&str>, Vec<&str>) =
        head.split("\r\n").partition(|line| line.starts_with("stripe-signature"));
    let (unsigned, trailer) = (rest.join("\r\n"), signature.join(""));
    let answer = say(running.address, format!("{unsigned}{chunks}0\r\n{trailer}\r\n\r\n").as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
    assert_eq!(running.log.records().len(), 1);
}

#[tokio::test]
async fn a_refused_large_body_is_answered_and_not_reset() {
    let running = start().await;
    let mut bytes =
        b"POST /hooks/stripe HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 3000000\r\n\r\n".to_vec();
    bytes.extend(vec![b'x'; 3_000_000]);
    let answer = say(running.address, &bytes).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    assert!(answer.contains("body_too_large"), "{answer}");
}

#[tokio::test]
async fn a_body_is_asked_for_only_when_the_head_is_acceptable() {
    let running = start().await;
    let expecting =
        |head: &str| format!("{head}expect: 100-continue\r\nconnection: close\r\ncontent-length: 5\r\n\r\n");
    let unsigned = expecting("POST /hooks/stripe HTTP/1.1\r\nhost: x\r\n");
    let answer = say(running.address, unsigned.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
}

#[tokio::test]
async fn too_many_headers_get_their_own_answer() {
    let running = start().await;
    let headers: String = (0..70).map(|number| format!("x-{number}: 1\r\n")).collect();
    let head =
        format!("POST /hooks/stripe HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{headers}content-length: 0\r\n\r\n");
    let answer = say(running.address, head.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 431 ") && answer.contains("headers_too_large"), "{answer}");
}

#[tokio::test]
async fn what_is_no_request_at_all_gets_a_document_too() {
    let running = start().await;
    let head = |more: &str| format!("POST /hooks/stripe HTTP/1.1\r\nhost: x\r\n{more}\r\n");
    let many: String = (0..200).map(|number| format!("x-{number}: 1\r\n")).collect();
    let cases = [
        (431, head(&many)),
        (431, head(&format!("a: {}\r\n", "a".repeat(1024 * 1024)))),
        (400, head("content-length: 1\r\ncontent-length: 2\r\n")),
        (400, head("content-length: -1\r\n")),
        (400, head("transfer-encoding: gzip\r\n")),
        (400, "POST /hooks/stripe HTTP/3.0\r\nhost: x\r\n\r\n".to_owned()),
        (400, "\u{1}\u{2}\u{3}\r\n\r\n".to_owned()),
    ];
    for (status, request) in cases {
        let answer = say(running.address, request.as_bytes()).await;
        let reason = if status == 431 { "headers_too_large" } else { "bad_request" };
        let what: String = request.chars().take(80).collect();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{what}: {answer}");
        assert!(answer.contains("application/problem+json") && answer.contains(reason), "{what}: {answer}");
    }
}

#[tokio::test]
async fn a_drain_finishes_what_is_under_way_and_closes_what_is_idle() {
    let running = start().await;
    let mut idle = TcpStream::connect(running.address).await.expect("a server");
    idle.write_all(&wire("stripe", br#"{"id":"evt_1"}"#, "")).await.expect("sent");
    let mut answer = vec![0; 4096];
    assert!(idle.read(&mut answer).await.expect("answered") > 0);
    let body = br#"{"id":"evt_2"}"#;
    let bytes = wire("stripe", body, "");
    let mut under_way = TcpStream::connect(running.address).await.expect("a server");
    under_way.write_all(&bytes[..bytes.len() - 5]).await.expect("sent");
    // Under way once its head has been read: another connection's answer tells that the server has run since.
    let probe = say(running.address, &wire("stripe", br#"{"id":"evt_3"}"#, "connection: close\r\n")).await;
    assert!(probe.starts_with("HTTP/1.1 200"));
    running.shutdown.trigger();
    assert_eq!(idle.read(&mut answer).await.expect("closed"), 0);
    under_way.write_all(&bytes[bytes.len() - 5..]).await.expect("sent");
    let mut rest = Vec::new();
    under_way.read_to_end(&mut rest).await.expect("answered and closed");
    assert!(rest.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&rest));
    running.task.await.expect("the server ended");
    assert!(TcpStream::connect(running.address).await.is_err(), "nobody listens any more");
}
