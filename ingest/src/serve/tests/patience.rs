//! Peers that are slow, silent, greedy or too many.

use tokio::net::TcpSocket;

use super::*;

/// Limits that a test can wait for.
fn short() -> Limits {
    Limits { head: Duration::from_millis(400), write: Duration::from_millis(400), ..Limits::default() }
}

async fn connect(running: &Running) -> TcpStream {
    TcpStream::connect(running.address).await.expect("a server")
}

fn event(number: usize) -> Vec<u8> {
    wire("stripe", format!(r#"{{"id":"evt_{number}"}}"#).as_bytes(), "")
}

#[tokio::test]
async fn a_head_that_does_not_end_is_cut_off_while_others_are_served() {
    let running = start_with(short()).await;
    let mut slow = connect(&running).await;
    slow.write_all(b"POST /hooks/stripe HTTP/1.1\r\nhos").await.expect("sent");
    let mut preface = connect(&running).await;
    preface.write_all(b"PRI * HT").await.expect("sent");
    let began = Instant::now();
    let answer = say(running.address, &wire("stripe", br#"{"id":"evt_1"}"#, "connection: close\r\n")).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    for stream in [&mut slow, &mut preface] {
        assert!(is_closed(stream).await);
    }
    assert!(began.elapsed() >= short().head / 2, "not at once either");
}

#[tokio::test]
async fn a_connection_that_says_nothing_is_closed_long_before_one_that_was_used() {
    let running = start_with(short()).await;
    let mut used = connect(&running).await;
    assert!(ask(&mut used, &event(1)).await.starts_with("HTTP/1.1 200"));
    let began = Instant::now();
    let mut silent = connect(&running).await;
    assert!(is_closed(&mut silent).await);
    assert!(began.elapsed() >= short().head * 2, "it had time to begin");
    assert!(ask(&mut used, &event(2)).await.starts_with("HTTP/1.1 200"), "longer at rest than the other ever was");
}

#[tokio::test]
async fn an_idle_connection_is_kept_for_its_time_and_then_closed() {
    let limits = Limits { idle: Duration::from_secs(3), ..short() };
    let running = start_with(limits).await;
    let mut stream = connect(&running).await;
    assert!(ask(&mut stream, &event(1)).await.starts_with("HTTP/1.1 200"));
    // Longer than a slow head would live.
    let mut more = [0; 1];
    let idle = tokio::time::timeout(limits.head * 2, stream.read(&mut more)).await;
    assert!(idle.is_err(), "nothing is said and nothing is closed");
    let again = Instant::now();
    assert!(ask(&mut stream, &event(2)).await.starts_with("HTTP/1.1 200"));
    assert!(is_closed(&mut stream).await);
    assert!(again.elapsed() >= limits.idle, "the second request began a time of its own: {:?}", again.elapsed());
}

#[tokio::test]
async fn a_peer_that_does_not_read_its_answers_is_cut_off() {
    let running = start_with(short()).await;
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(4096).expect("a small buffer");
    let mut stream = socket.connect(running.address).await.expect("a server");
    let requests = b"GET /nowhere HTTP/1.1\r\nhost: x\r\n\r\n".repeat(256);
    let began = Instant::now();
    // The server stops reading when nothing more of its answers fits anywhere, and then it is cut off.
    let failed = async {
        loop {
            if let Err(error) = stream.write_all(&requests).await {
                return error;
            }
        }
    };
    let error = tokio::time::timeout(PATIENCE, failed).await.expect("it is cut off");
    assert!(matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe), "{error}");
    assert!(began.elapsed() >= short().write, "a moment without reading is nobody's end");
    wait_for("its place", || running.open.count() == 0).await;
}

#[tokio::test]
async fn a_body_that_stalls_is_answered_408_with_a_document() {
    let limits = Limits { body: Duration::from_millis(200), ..Limits::default() };
    let running = start_with(limits).await;
    let bytes = event(1);
    let answer = say(running.address, &bytes[..bytes.len() - 5]).await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!(answer.contains("application/problem+json") && answer.contains("\"reason\":\"timeout\""), "{answer}");
    assert!(running.log.records().is_empty());
}

#[tokio::test]
async fn a_reset_in_the_middle_of_a_body_leaves_nothing_behind() {
    let running = start().await;
    let bytes = event(1);
    let mut stream = connect(&running).await;
    stream.write_all(&bytes[..bytes.len() - 5]).await.expect("sent");
    wait_for("the connection", || running.open.count() == 1).await;
    // What was not read is thrown away at once, and the peer is told so.
    stream.set_zero_linger().expect("set");
    drop(stream);
    wait_for("its end", || running.open.count() == 0).await;
    assert!(running.log.records().is_empty());
    let answer = say(running.address, &wire("stripe", br#"{"id":"evt_2"}"#, "connection: close\r\n")).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test]
async fn when_there_are_too_many_connections_the_longest_idle_one_makes_room() {
    let limits = Limits { connections: 3, head: Duration::from_secs(8), ..Limits::default() };
    let running = start_with(limits).await;
    let (mut first, mut second) = (connect(&running).await, connect(&running).await);
    for stream in [&mut first, &mut second] {
        assert!(ask(stream, &event(1)).await.starts_with("HTTP/1.1 200"));
    }
    let opened = Instant::now();
    let mut silent = connect(&running).await;
    wait_for("all three", || running.open.is_full()).await;
    let mut more = [0; 1];
    let kept = tokio::time::timeout(limits.head / 4, first.read(&mut more)).await;
    assert!(kept.is_err(), "nobody leaves while nobody waits, however long it has been idle");
    // Who never made a request goes first, then who made none for longest.
    let mut third = connect(&running).await;
    assert!(ask(&mut third, &event(2)).await.starts_with("HTTP/1.1 200"));
    assert!(is_closed(&mut silent).await);
    assert!(opened.elapsed() < limits.head * 2, "its own time was not over");
    assert!(ask(&mut first, &event(3)).await.starts_with("HTTP/1.1 200"));
    let mut fourth = connect(&running).await;
    assert!(ask(&mut fourth, &event(4)).await.starts_with("HTTP/1.1 200"));
    assert!(is_closed(&mut second).await);
    assert!(ask(&mut first, &event(5)).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn a_body_that_comes_after_its_refusal_is_not_taken_for_a_slow_head() {
    let limits = Limits { idle: Duration::from_secs(60), ..short() };
    let running = start_with(limits).await;
    let mut stream = connect(&running).await;
    let (head, body) = ("POST /hooks/nobody HTTP/1.1\r\nhost: x\r\ncontent-length: 20\r\n\r\n", [b'x'; 20]);
    assert!(ask(&mut stream, head.as_bytes()).await.starts_with("HTTP/1.1 404"));
    stream.write_all(&body).await.expect("sent");
    let mut more = [0; 1];
    let kept = tokio::time::timeout(limits.head * 3, stream.read(&mut more)).await;
    assert!(kept.is_err(), "the caller may use it again");
    assert!(ask(&mut stream, &event(1)).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn a_connection_with_a_request_under_way_is_never_closed_for_another() {
    let running = start_with(Limits { connections: 1, ..short() }).await;
    let bytes = event(1);
    let mut busy = connect(&running).await;
    busy.write_all(&bytes[..bytes.len() - 5]).await.expect("sent");
    wait_for("it", || running.open.is_full()).await;
    let mut waiting = connect(&running).await;
    waiting.write_all(&event(2)).await.expect("sent");
    let mut more = [0; 1];
    assert!(tokio::time::timeout(short().head, waiting.read(&mut more)).await.is_err(), "it waits in the backlog");
    assert!(ask(&mut busy, &bytes[bytes.len() - 5..]).await.starts_with("HTTP/1.1 200"));
    // Now the other is idle.
    assert_eq!(tokio::time::timeout(PATIENCE, waiting.read(&mut more)).await.expect("in time").expect("answered"), 1);
}
