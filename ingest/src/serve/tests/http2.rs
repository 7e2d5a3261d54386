//! HTTP/2 without TLS, as a proxy in front speaks it: with a client of the library, and with frames by hand.

use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::client::conn::http2::{SendRequest, handshake};

use super::*;

const BODY: &[u8] = br#"{"id":"evt_1"}"#;

/// A connection, and what becomes of it.
struct Client {
    sender: SendRequest<Full<Bytes>>,
    ended: tokio::task::JoinHandle<hyper::Result<()>>,
}

impl Client {
    async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.expect("a server");
        let (sender, connection) =
            handshake(TokioExecutor::new(), TokioIo::new(stream)).await.expect("it speaks HTTP/2");
        Self { sender, ended: tokio::spawn(connection) }
    }

    /// Status and body of the answer to a signed request.
    async fn post(&mut self, more: &[(&str, &str)]) -> (u16, String) {
        let mut request = Request::post("http://x/hooks/stripe").body(Full::from(BODY)).expect("a request");
        *request.headers_mut() = signed(&source("stripe").0, "", now_ms() / 1000, BODY);
        for (name, value) in more {
            let name = http::HeaderName::try_from(*name).expect("a name");
            request.headers_mut().append(name, value.parse().expect("a value"));
        }
        let response = self.sender.send_request(request).await.expect("an answer");
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.expect("all of it").to_bytes();
        (status, String::from_utf8_lossy(&body).into_owned())
    }
}

#[tokio::test]
async fn requests_over_one_connection_become_records() {
    let running = start().await;
    let mut client = Client::connect(running.address).await;
    for _ in 0..3 {
        let (status, body) = client.post(&[]).await;
        assert_eq!((status, body.as_str()), (200, r#"{"status":"accepted","event_id":"evt_1"}"#));
    }
    assert_eq!(running.log.records().len(), 3);
    let (status, body) = client.post(&[("stripe-signature", "t=1,v1=00")]).await;
    assert_eq!((status, body.contains("duplicate_header")), (400, true), "{body}");
}

#[tokio::test]
async fn an_idle_connection_is_closed_in_order() {
    let limits = Limits { idle: Duration::from_millis(600), head: Duration::from_millis(400), ..Limits::default() };
    let running = start_with(limits).await;
    let mut client = Client::connect(running.address).await;
    assert_eq!(client.post(&[]).await.0, 200);
    let began = Instant::now();
    let ended = tokio::time::timeout(PATIENCE, client.ended).await.expect("it is closed").expect("no panic");
    ended.expect("the server said goodbye");
    assert!(began.elapsed() >= limits.idle / 2, "it had its time: {:?}", began.elapsed());
    wait_for("its place", || running.open.count() == 0).await;
}

#[tokio::test]
async fn headers_that_are_too_large_are_refused_and_the_connection_goes_on() {
    let running = start().await;
    let mut client = Client::connect(running.address).await;
    let large = "x".repeat(10 * 1024);
    let four = [("x-a", large.as_str()), ("x-b", &large), ("x-c", &large), ("x-d", &large)];
    let (status, body) = client.post(&four).await;
    assert_eq!((status, body.contains("\"reason\":\"headers_too_large\"")), (431, true), "{body}");
    // The library refuses what it doesn't want to hold, without a document.
    let (status, _) = client.post(&four.repeat(2)).await;
    assert_eq!(status, 431);
    assert!(running.log.records().is_empty());
    assert_eq!(client.post(&[]).await.0, 200);
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("short").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// The first frame of a kind that the server sends: its stream and its payload.
async fn first(stream: &mut TcpStream, kind: u8) -> (u32, Vec<u8>) {
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await.expect("a frame");
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; usize::try_from(length).expect("64 bits")];
        stream.read_exact(&mut payload).await.expect("its payload");
        if head[3] == kind {
            return (u32::from_be_bytes([head[5], head[6], head[7], head[8]]), payload);
        }
    }
}

#[tokio::test]
async fn a_stream_beyond_the_limit_is_refused_and_may_be_repeated() {
    const HEADERS: u8 = 1;
    const RESET: u8 = 3;
    const SETTINGS: u8 = 4;
    const END_HEADERS: u8 = 4;
    const REFUSED_STREAM: [u8; 4] = [0, 0, 0, 7];
    let running = start().await;
    let mut stream = TcpStream::connect(running.address).await.expect("a server");
    // A POST that is authentic as far as its head tells: it waits for its body.
    let signature = signed(&source("stripe").0, "", now_ms() / 1000, BODY)["stripe-signature"].clone();
    let literal = |name: &[u8], value: &[u8]| {
        let short = |text: &[u8]| [&[u8::try_from(text.len()).expect("short")], text].concat();
        [vec![0], short(name), short(value)].concat()
    };
    let head = [
        vec![0x83, 0x86],
        literal(b":path", b"/hooks/stripe"),
        literal(b":authority", b"x"),
        literal(b"stripe-signature", signature.as_bytes()),
    ]
    .concat();
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    bytes.extend(frame(SETTINGS, 0, 0, &[]));
    for number in 0..=limits::STREAMS_MAX {
        bytes.extend(frame(HEADERS, END_HEADERS, 2 * number + 1, &head));
    }
    stream.write_all(&bytes).await.expect("sent");
    let (number, payload) = tokio::time::timeout(PATIENCE, first(&mut stream, RESET)).await.expect("in time");
    assert_eq!((number, payload.as_slice()), (2 * limits::STREAMS_MAX + 1, REFUSED_STREAM.as_slice()));
}
