//! The admin server over a real socket.

use std::sync::Mutex;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::report::Exit;

struct Served {
    address: SocketAddr,
    readiness: Arc<Mutex<Readiness>>,
    shutdown: Shutdown,
}

async fn serving() -> Served {
    let listener = bind("tests", "127.0.0.1:0".parse().unwrap()).await.unwrap();
    let address = listener.local_addr().unwrap();
    let readiness = Arc::new(Mutex::new(Readiness::default()));
    let shutdown = Shutdown::new();
    let asked = Arc::clone(&readiness);
    let ready: Ready = Arc::new(move || asked.lock().unwrap().clone());
    tokio::spawn(serve(listener, ready, Exposition::empty(), shutdown.clone()));
    Served { address, readiness, shutdown }
}

/// Sends the bytes and reads until the server closes.
async fn exchange(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    String::from_utf8(answer).unwrap()
}

/// Status code and body of a GET.
async fn get(address: SocketAddr, path: &str) -> (u16, String) {
    let answer = exchange(address, &format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n")).await;
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    (status, answer.split_once("\r\n\r\n").unwrap().1.to_owned())
}

#[tokio::test]
async fn readiness_gives_its_reasons_and_draining_is_one() {
    let served = serving().await;
    let (status, body) = get(served.address, "/readyz").await;
    assert_eq!((status, body.as_str()), (200, "{\"ready\":true,\"reasons\":[]}\n"));
    served.readiness.lock().unwrap().reasons.push("kafka is away".to_owned());
    let (status, body) = get(served.address, "/readyz").await;
    assert_eq!((status, body.as_str()), (503, "{\"ready\":false,\"reasons\":[\"kafka is away\"]}\n"));
    served.shutdown.trigger();
    let (status, body) = get(served.address, "/readyz").await;
    assert_eq!((status, body.as_str()), (503, "{\"ready\":false,\"reasons\":[\"kafka is away\",\"draining\"]}\n"));
    assert_eq!(get(served.address, "/healthz").await, (200, "ok\n".to_owned()), "alive while draining");
}

#[tokio::test]
async fn a_warning_changes_nothing_about_being_ready() {
    let served = serving().await;
    served.readiness.lock().unwrap().warnings.push("11 dead letters".to_owned());
    let (status, body) = get(served.address, "/readyz").await;
    let expected = "{\"ready\":true,\"reasons\":[],\"warnings\":[\"11 dead letters\"]}\n";
    assert_eq!((status, body.as_str()), (200, expected));
}

#[tokio::test]
async fn only_the_three_paths_exist_and_only_for_get() {
    let served = serving().await;
    assert_eq!(get(served.address, "/metrics").await.0, 200);
    assert_eq!(get(served.address, "/metrics?a=b").await.0, 200);
    assert_eq!(get(served.address, "/").await.0, 404);
    let posted = exchange(served.address, "POST /healthz HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n").await;
    assert!(posted.starts_with("HTTP/1.1 405 "), "{posted}");
}

#[tokio::test]
async fn a_head_that_is_too_large_is_refused() {
    let served = serving().await;
    let many: String = (0..100).map(|n| format!("x-{n}: a\r\n")).collect();
    let answer = exchange(served.address, &format!("GET /healthz HTTP/1.1\r\n{many}\r\n")).await;
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
}

#[tokio::test]
async fn an_address_that_is_taken_is_named_with_who_took_it() {
    let served = serving().await;
    let failure = bind("tests", served.address).await.unwrap_err();
    assert_eq!(failure.exit, Exit::Unavailable);
    let text = failure.to_string();
    let expected = format!("cannot listen on {} for tests: process {} (", served.address, std::process::id());
    assert!(text.starts_with(&expected), "{text}");
}
