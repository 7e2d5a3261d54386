//! What HTTP allows and forbids between a request's first byte and its last, and what comes of it here.

use super::*;

const BODY: &[u8] = br#"{"id":"evt_1"}"#;

fn text(more: &str) -> String {
    String::from_utf8(wire("stripe", BODY, more)).expect("text")
}

/// The statuses of all answers, in order.
fn statuses(answer: &str) -> Vec<&str> {
    answer.split("HTTP/1.1 ").skip(1).filter_map(|rest| rest.split(' ').next()).collect()
}

#[tokio::test]
async fn a_body_is_asked_for_and_then_taken() {
    let running = start().await;
    let bytes = text("expect: 100-continue\r\n");
    let head = bytes.strip_suffix(r#"{"id":"evt_1"}"#).expect("the body");
    let mut stream = TcpStream::connect(running.address).await.expect("a server");
    let answer = ask(&mut stream, head.as_bytes()).await;
    assert_eq!(answer, "HTTP/1.1 100 Continue\r\n\r\n");
    assert!(running.log.records().is_empty(), "there is no body yet");
    let answer = ask(&mut stream, BODY).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    assert_eq!(running.log.records().len(), 1);
}

/// The library takes a lone LF for the end of a line. That changes nothing about where a request ends.
#[tokio::test]
async fn a_lone_line_feed_ends_a_line_and_hides_nothing() {
    let running = start().await;
    let lenient = text("connection: close\r\n").replace("\r\n", "\n");
    let answer = say(running.address, lenient.as_bytes()).await;
    assert_eq!(statuses(&answer), ["200"], "{answer}");
    assert_eq!(running.log.records().len(), 1);
    // Nor does it begin a header where a proxy saw a part of another one's value.
    let hidden = text("").replace("host: x", "host: x\r\nx-a: b\ncontent-length: 0");
    let answer = say(running.address, hidden.as_bytes()).await;
    assert_eq!(statuses(&answer), ["400"], "two lengths: {answer}");
    assert_eq!(running.log.records().len(), 1);
}

#[tokio::test]
async fn a_lone_carriage_return_is_refused() {
    let running = start().await;
    let cases = [("host: x\r\n", "host: x\r"), ("host: x", "host: x\rx-a: b"), ("HTTP/1.1\r\n", "HTTP/1.1\r")];
    for (from, to) in cases {
        let answer = say(running.address, text("").replace(from, to).as_bytes()).await;
        assert_eq!(statuses(&answer), ["400"], "{to:?}: {answer}");
    }
    assert!(running.log.records().is_empty());
}

#[tokio::test]
async fn what_stands_between_chunks_or_behind_them_is_bounded() {
    let running = start().await;
    let head = text("connection: close\r\n").replace("content-length: 14", "transfer-encoding: chunked");
    let head = head.strip_suffix(r#"{"id":"evt_1"}"#).expect("the body");
    let padding = "x".repeat(20 * 1024);
    let chunk = r#"{"id":"evt_1"}"#;
    let bodies = [
        ("200", format!("e;a=b\r\n{chunk}\r\n0\r\n\r\n")),
        ("400", format!("e;a={padding}\r\n{chunk}\r\n0\r\n\r\n")),
        ("400", format!("e\r\n{chunk}\r\n0\r\nx-a: {padding}\r\n\r\n")),
        ("400", format!("ffffffffffffffffe\r\n{chunk}\r\n0\r\n\r\n")),
        ("400", format!("-e\r\n{chunk}\r\n0\r\n\r\n")),
    ];
    for (status, body) in bodies {
        let answer = say(running.address, format!("{head}{body}").as_bytes()).await;
        let shown: String = body.chars().take(40).collect();
        assert_eq!(statuses(&answer), [status], "{shown}: {answer}");
    }
    assert_eq!(running.log.records().len(), 1);
}

#[tokio::test]
async fn a_bad_request_in_a_pipeline_is_answered_in_its_place() {
    let running = start().await;
    let good = |number: usize| wire("stripe", format!(r#"{{"id":"evt_{number}"}}"#).as_bytes(), "");
    let forged = text("").replace(r#""evt_1""#, r#""evt_0""#);
    let last = wire("stripe", br#"{"id":"last"}"#, "connection: close\r\n");
    let answer = say(running.address, &[good(1), forged.into_bytes(), good(2), last].concat()).await;
    assert_eq!(statuses(&answer), ["200", "401", "200", "200"], "{answer}");
    assert_eq!(running.log.records().len(), 3);
    // After what is no request nobody knows where the next one begins.
    let broken = text("").replace("content-length: 14", "content-length: x").into_bytes();
    let answer = say(running.address, &[good(3), broken, good(4)].concat()).await;
    assert_eq!(statuses(&answer), ["200", "400"], "{answer}");
    assert_eq!(running.log.records().len(), 4);
}
