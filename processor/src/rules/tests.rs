//! Handlers of a configuration, asked as the step asks them.

use std::path::Path;

use schemas::verified_event::{EventKind, HttpHeaders, StaleMode};
use schemas::{ReasonCode, VerifiedEvent};

use crate::app;
use crate::call::{Call, Reply};
use crate::step::Past;
use crate::step::handle::{Handled, Handlers, handle};
use crate::step::order::Order;

/// The handlers of a source `s` with these in its configuration.
fn handlers(text: &str) -> Handlers {
    let source = "[[source]]\nname = \"s\"\nprovider = \"github\"\nsecrets = [{ env = \"S\" }]\n";
    let environment = [("S", "secret"), ("TOKEN", "t0ken")].map(|(name, value)| (name.to_owned(), value.to_owned()));
    let loaded = runtime::config::parse(&format!("{source}{text}"), Path::new("weir.toml"), environment);
    let config = loaded.unwrap_or_else(|problems| panic!("{problems}")).config;
    app::handlers(&config, Vec::new())
}

fn event(body: &str) -> VerifiedEvent<'_> {
    VerifiedEvent {
        source: "s",
        preset: "github",
        event_id: "evt/1",
        event_type: "order.paid",
        identity: b"1",
        identity_signed: true,
        window_ms: 1,
        stale: StaleMode::Off,
        kind: EventKind::Other,
        occurred_at_ms: Some(0),
        occurred_at_signed: true,
        signed_at_ms: None,
        received_at_ms: 1_700_000_000_000,
        content_type: "application/json",
        assurance: 2,
        schema: None,
        defect: None,
        http_headers: HttpHeaders::Listed(vec![("X-Tenant", b"acme"), ("x-bytes", b"\xff")]),
        body: body.as_bytes(),
    }
}

fn asked(handlers: &Handlers, body: &str, replies: &[(usize, Reply)]) -> Handled {
    let past = Past { replies, ..Past::default() };
    let order = Order::Pass { advance: None, is_future: false };
    let key = schemas::partition::resource_key("s", "order|x", "o%1");
    handle(&event(body), key.as_bytes(), order, handlers, 0, past).unwrap_or_else(|error| panic!("{error}"))
}

fn dead(handled: Handled) -> (ReasonCode, String) {
    let Handled::Dead { reason, message, .. } = handled else { panic!("{handled:?}") };
    (reason, message)
}

fn call(handled: Handled) -> (usize, Call) {
    let Handled::Call(number, call) = handled else { panic!("{handled:?}") };
    (number, call)
}

fn made(handled: Handled) -> String {
    let Handled::Emit(Some(body)) = handled else { panic!("{handled:?}") };
    String::from_utf8(body).expect("text")
}

fn answered(status: u16, body: &str) -> Reply {
    Reply::Answered { status, headers: Vec::new(), body: body.as_bytes().to_vec() }
}

#[test]
fn a_filter_keeps_discards_or_gives_up() {
    let handlers = handlers("[[source.handlers]]\nkind = \"filter\"\nkeep = \"body.total > 0\"\n");
    assert_eq!(asked(&handlers, r#"{"total": 1}"#, &[]), Handled::Emit(None));
    assert_eq!(asked(&handlers, r#"{"total": 0.5}"#, &[]), Handled::Emit(None));
    assert_eq!(asked(&handlers, r#"{"total": 0}"#, &[]), Handled::Discard);
    for (body, expected) in [
        (r#"{"other": 1}"#, "handlers[0] filter: keep: there is no `total`"),
        (r#"{"total": "hunter2"}"#, "handlers[0] filter: keep: "),
        ("not json", "handlers[0] filter: keep: "),
    ] {
        let (reason, message) = dead(asked(&handlers, body, &[]));
        assert_eq!(reason, ReasonCode::HandlerRejected);
        assert!(message.starts_with(expected) && !message.contains("hunter2"), "{message}");
    }
    let number = self::handlers("[[source.handlers]]\nkind = \"filter\"\nkeep = \"body.total\"\n");
    let (_, message) = dead(asked(&number, r#"{"total": 1}"#, &[]));
    assert_eq!(message, "handlers[0] filter: keep: is neither true nor false, but int");
}

#[test]
fn an_expression_sees_the_event_its_body_and_its_headers() {
    let handlers = handlers(
        r#"
[[source.handlers]]
kind = "map"
[source.handlers.body]
event = "event"
tenant = "headers['x-tenant']"
bytes = "'x-bytes' in headers"
sum = "body.lines.map(l, l.n * 2)"
late = "event.time < event.received"
big = "body.big"
"#,
    );
    let body = made(asked(&handlers, r#"{"lines":[{"n":1},{"n":2}],"big":18446744073709551615}"#, &[]));
    let body: serde_json::Value = serde_json::from_str(&body).expect("JSON");
    let expected = serde_json::json!({
        "event": {
            "id": "evt/1", "type": "order.paid", "source": "s", "preset": "github", "resource": "o%1",
            "resource_type": "order|x", "time": "1970-01-01T00:00:00.000Z", "time_signed": true,
            "received": "2023-11-14T22:13:20.000Z", "content_type": "application/json", "assurance": 2,
        },
        "tenant": "acme", "bytes": false, "sum": [2, 4], "late": true, "big": u64::MAX,
    });
    assert_eq!(body, expected);
}

const FETCH: &str = r#"
[[source.handlers]]
kind = "map"
body = { id = "body.id", kind = "event.type" }

[[source.handlers]]
kind = "fetch"
url = "https://api.example.com/o/{body.id}?e={event.id}"
headers = { authorization = { env = "TOKEN" } }
when = "body.id != 'skip'"
into = "/answer"
body_limit = "1KiB"
timeout = "2s"
"#;

#[test]
fn a_fetch_wants_a_call_and_puts_its_answer_into_the_body_that_others_made() {
    let handlers = handlers(FETCH);
    let body = r#"{"id":"a/b c"}"#;
    let (number, call) = call(asked(&handlers, body, &[]));
    assert_eq!((number, call.url.as_str()), (1, "https://api.example.com/o/a%2Fb%20c?e=evt%2F1"));
    assert_eq!((call.method.as_str(), call.timeout_ms, call.concurrency), ("GET", 2_000, 8));
    assert_eq!((call.body_max, call.may_be_private), (1024, false));
    assert_eq!(call.headers, [("authorization".to_owned(), "t0ken".to_owned())]);
    let body = made(asked(&handlers, body, &[(1, answered(200, r#"{"z": 1.0}"#))]));
    assert_eq!(body, r#"{"id":"a/b c","kind":"order.paid","answer":{"z": 1.0}}"#);
    let skipped = made(asked(&handlers, r#"{"id":"skip"}"#, &[]));
    assert_eq!(skipped, r#"{"id":"skip","kind":"order.paid"}"#);
}

#[test]
fn what_a_fetch_meets_is_named_and_judged() {
    let handlers = handlers(FETCH);
    let body = r#"{"id":1}"#;
    for (reply, reason, expected) in [
        (answered(404, ""), ReasonCode::CallRefused, "handlers[1] fetch: the call was answered with status 404"),
        (answered(200, "<html>"), ReasonCode::HandlerRejected, "handlers[1] fetch: the answer is not JSON: "),
        (answered(204, ""), ReasonCode::HandlerRejected, "handlers[1] fetch: the answer is not JSON: "),
        (
            Reply::Refused { message: "x is private".to_owned() },
            ReasonCode::CallRefused,
            "handlers[1] fetch: x is private",
        ),
    ] {
        let (found, message) = dead(asked(&handlers, body, &[(1, reply)]));
        assert_eq!(found, reason, "{message}");
        assert!(message.starts_with(expected), "{message}");
    }
    for (reply, is_counted) in [
        (answered(503, ""), true),
        (Reply::Failed { message: "gone".to_owned() }, true),
        (Reply::Open { retry_in_ms: 77 }, false),
    ] {
        let Handled::Retry(retry) = asked(&handlers, body, &[(1, reply)]) else { panic!("another try") };
        assert_eq!((retry.reason, retry.is_counted), (ReasonCode::CallFailed, is_counted));
        assert!(retry.message.starts_with("handlers[1] fetch: "), "{}", retry.message);
    }
    for (body, expected) in [
        (r#"{"id":".."}"#, "handlers[1] fetch: url: the address has `.` or `..` as a segment"),
        (r#"{"id":""}"#, "handlers[1] fetch: url: {body.id} is empty"),
        (r#"{"id":[1]}"#, "handlers[1] fetch: url: {body.id}: is no text and no number, but list"),
    ] {
        let (_, message) = dead(asked(&handlers, body, &[]));
        assert!(message.starts_with(expected), "{message}");
    }
}

#[test]
fn two_fetches_are_asked_one_after_the_other() {
    let fetch =
        |name: &str| format!("[[source.handlers]]\nkind = \"fetch\"\nurl = \"https://{name}/\"\ninto = \"/{name}\"\n");
    let handlers = handlers(&[fetch("a"), fetch("b")].concat());
    let first = (0, answered(200, "1"));
    assert_eq!(call(asked(&handlers, "{}", &[])).0, 0);
    assert_eq!(call(asked(&handlers, "{}", std::slice::from_ref(&first))).0, 1);
    assert_eq!(made(asked(&handlers, "{}", &[first, (1, answered(200, "2"))])), r#"{"a":1,"b":2}"#);
}

#[test]
fn a_body_that_finds_no_room_is_dead() {
    let mut handlers = handlers("[[source.handlers]]\nkind = \"map\"\nbody = { a = \"body.a + body.a\" }\n");
    assert_eq!(handlers.body_max, Some(1 << 20), "what the topics were made for");
    handlers.body_max = Some(22);
    assert_eq!(made(asked(&handlers, r#"{"a":"1234567"}"#, &[])), r#"{"a":"12345671234567"}"#);
    let (reason, message) = dead(asked(&handlers, r#"{"a":"123456789"}"#, &[]));
    assert_eq!(reason, ReasonCode::HandlerRejected);
    assert_eq!(message, "handlers[0] map made a body of 26 bytes: 22 find room");
}

#[test]
fn a_body_that_would_grow_beyond_all_bounds_is_dead() {
    let handlers = handlers("[[source.handlers]]\nkind = \"map\"\nbody = { a = \"body.a.map(x, body.a)\" }\n");
    let list = |length: usize| format!("{{\"a\":[{}]}}", vec!["1"; length].join(","));
    assert!(made(asked(&handlers, &list(3), &[])).starts_with(r#"{"a":[[1,1,1],"#));
    let (_, message) = dead(asked(&handlers, &list(2_000), &[]));
    assert_eq!(message, "handlers[0] map: body.a: the value is too large");
}
