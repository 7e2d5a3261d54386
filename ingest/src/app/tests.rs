//! The door as a whole, in process: requests in, answers and records out.

use http_body_util::BodyExt;
use schemas::partition;
use serde_json::Value;

use super::*;
use crate::testing::{FakeLog, Mood, Pieces, TOML, WHSEC, config, decode, signed, source, sources};

const PARTITIONS: i32 = 16;

struct Door {
    app: App<Arc<FakeLog>>,
    log: Arc<FakeLog>,
    shutdown: Shutdown,
}

/// What the caller sees.
struct Seen {
    status: u16,
    body: String,
    headers: http::HeaderMap,
}

impl Seen {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).expect("JSON")
    }

    fn reason(&self) -> String {
        self.json()["reason"].as_str().unwrap_or_default().to_owned()
    }
}

impl Door {
    fn new(toml: &str) -> Self {
        let log = Arc::new(FakeLog::new());
        let shutdown = Shutdown::new();
        Self { app: App::new(sources(toml), Arc::clone(&log), PARTITIONS, shutdown.clone()), log, shutdown }
    }

    async fn send(&self, request: Request<Pieces>) -> Seen {
        let Ok(response) = self.app.answer(request).await;
        let (parts, body) = response.into_parts();
        let body = body.collect().await.expect("a body in memory").to_bytes();
        Seen {
            status: parts.status.as_u16(),
            body: String::from_utf8(body.to_vec()).expect("text"),
            headers: parts.headers,
        }
    }

    async fn post(&self, name: &str, headers: http::HeaderMap, body: &[u8]) -> Seen {
        self.send(request(name, headers, body)).await
    }

    /// An authentic request of now.
    async fn authentic(&self, name: &str, body: &[u8]) -> Seen {
        self.post(name, authentic(name, body), body).await
    }
}

fn request(name: &str, headers: http::HeaderMap, body: &[u8]) -> Request<Pieces> {
    let mut request = Request::post(format!("/hooks/{name}")).body(Pieces::new(body.chunks(7))).expect("a request");
    *request.headers_mut() = headers;
    request.headers_mut().insert(header::HOST, HeaderValue::from_static("hooks.example.com"));
    request
}

fn authentic(name: &str, body: &[u8]) -> http::HeaderMap {
    signed(&source(name).0, "msg_1", now_ms() / 1000, body)
}

#[tokio::test]
async fn an_authentic_event_is_one_record_with_everything_a_decision_needs() {
    let door = Door::new(TOML);
    let body = br#"{"id":"evt_1","created":1790000000,"type":"customer.updated","data":{"object":{"id":"cus_1","object":"customer"}}}"#;
    let mut headers = authentic("stripe", body);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
    headers.insert(header::AUTHORIZATION, HeaderValue::from_static("Bearer hush"));
    let before = now_ms();
    let seen = door.post("stripe", headers, body).await;
    assert_eq!(seen.status, 200);
    assert_eq!(seen.headers[header::CONTENT_TYPE], "application/json");
    assert_eq!(seen.json(), serde_json::json!({ "status": "accepted", "event_id": "evt_1" }));
    let schema = serde_json::from_str(include_str!("../../../schemas/json/accepted.json")).expect("JSON");
    assert!(jsonschema::is_valid(&schema, &seen.json()));

    let record = door.log.only();
    assert_eq!(record.key, "stripe|customer|cus_1");
    assert_eq!(record.partition, partition::partition(record.key.as_bytes(), PARTITIONS));
    let event = decode(&record);
    assert_eq!(event.body, body);
    assert_eq!((event.source, event.preset), ("stripe", "stripe"));
    assert_eq!((event.event_id, event.event_type), ("evt_1", "customer.updated"));
    assert_eq!((event.identity_signed, event.assurance), (true, 3));
    assert_eq!(event.identity, schemas::identity::by_id("evt_1"));
    assert_eq!(event.window_ms, 4 * 24 * 3_600_000);
    assert_eq!(event.content_type, "application/json; charset=utf-8");
    assert_eq!((event.defect, event.schema), (None, None));
    assert!((before..=now_ms()).contains(&event.received_at_ms));
    assert!(event.signed_at_ms.is_some_and(|ms| ms <= now_ms()));
    assert!(event.http_headers.iter().any(|(name, _)| name == "stripe-signature"));
    assert!(event.http_headers.iter().all(|(_, value)| !value.ends_with(b"hush")));
}

#[tokio::test]
async fn a_configured_scheme_that_signs_a_time_has_assurance_three_and_one_that_does_not_two() {
    let door = Door::new(TOML);
    assert_eq!(door.authentic("warehouse", br#"{"id":"w1"}"#).await.status, 200);
    let record = door.log.only();
    assert_eq!((decode(&record).assurance, decode(&record).preset), (3, "warehouse"));
    let door = Door::new(TOML);
    assert_eq!(door.authentic("opaque", b"anything").await.status, 200);
    assert_eq!(decode(&door.log.only()).assurance, 2);
}

#[tokio::test]
async fn nothing_authentic_is_refused_for_what_it_contains() {
    let bodies: [&[u8]; 12] = [
        b"",
        b"null",
        b"[]",
        b"{}",
        b"no JSON",
        b"\xff\xfe",
        b"{\"id\":1,\"id\":2}",
        b"{\"id\":1e2}",
        b"{\"id\":{}}",
        b"{\"id\":\"e\",\"created\":\"soon\"}",
        b"{\"id\":\"\\ud800\"}",
        b"\x1f\x8b\x08\x00",
    ];
    for name in ["github", "stripe", "shopify", "slack", "standard", "svix", "warehouse", "opaque", "parts"] {
        for body in bodies {
            let door = Door::new(TOML);
            let seen = door.authentic(name, body).await;
            assert_eq!(seen.status, 200, "{name} {body:?}");
            let record = door.log.only();
            let event = decode(&record);
            assert_eq!(event.body, body);
            assert_eq!(seen.json()["event_id"], event.event_id);
        }
    }
}

#[tokio::test]
async fn a_body_of_exactly_the_limit_passes_and_one_more_byte_does_not() {
    let limit = 4 * 1024;
    let body = |size: usize| format!("{{\"id\":\"w1\",\"x\":\"{}\"}}", "x".repeat(size - 18)).into_bytes();
    for (size, status) in [(limit, 200), (limit + 1, 413)] {
        let door = Door::new(TOML);
        let body = body(size);
        assert_eq!(body.len(), size);
        let seen = door.authentic("warehouse", &body).await;
        assert_eq!(seen.status, status);
        assert_eq!(door.log.records().len(), usize::from(status == 200));
        let mut declared = authentic("warehouse", &body);
        declared.insert(header::CONTENT_LENGTH, HeaderValue::from(size));
        assert_eq!(door.post("warehouse", declared, &body).await.status, status);
    }
}

#[tokio::test]
async fn a_refused_request_leaves_no_trace_in_kafka() {
    let door = Door::new(TOML);
    let body = br#"{"id":"evt_1"}"#;
    let good = || authentic("stripe", body);
    let hour = now_ms() / 1000 - 3600;
    let mut twice = good();
    twice.append("stripe-signature", HeaderValue::from_static("t=1,v1=00"));
    let mut encoded = good();
    encoded.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    let cases = [
        (http::HeaderMap::new(), 401, "signature_invalid"),
        (signed(&source("other").0, "", now_ms() / 1000, body), 401, "signature_invalid"),
        (signed(&source("stripe").0, "", hour, body), 401, "signature_invalid"),
        (authentic("stripe", b"another body"), 401, "signature_invalid"),
        (authentic("github", body), 401, "signature_invalid"),
        (twice, 400, "duplicate_header"),
        (encoded, 415, "unsupported_encoding"),
    ];
    for (headers, status, reason) in cases {
        let seen = door.post("stripe", headers, body).await;
        assert_eq!((seen.status, seen.reason().as_str()), (status, reason));
        assert_eq!(seen.headers[header::CONTENT_TYPE], "application/problem+json");
        assert!(!seen.body.contains("evt_1"));
    }
    let unknown = door.post("nobody", good(), body).await;
    assert_eq!((unknown.status, unknown.reason().as_str()), (404, "unknown_source"));
    let mut get = request("stripe", good(), body);
    *get.method_mut() = http::Method::GET;
    let seen = door.send(get).await;
    assert_eq!((seen.status, seen.reason().as_str()), (405, "method_not_allowed"));
    assert_eq!(seen.headers[header::ALLOW], "POST");
    assert!(door.log.records().is_empty());
}

#[tokio::test]
async fn a_signature_in_the_wrong_place_is_none() {
    let door = Door::new(TOML);
    let body = br#"{"id":"evt_1"}"#;
    let good = authentic("stripe", body)["stripe-signature"].clone();
    for name in ["x-stripe-signature", "cookie", "authorization", "x-hub-signature-256"] {
        let mut headers = http::HeaderMap::new();
        headers.insert(http::HeaderName::try_from(name).expect("a name"), good.clone());
        assert_eq!(door.post("stripe", headers, body).await.status, 401, "{name}");
    }
    let query = format!("stripe?stripe-signature={}", good.to_str().expect("text"));
    assert_eq!(door.post(&query, http::HeaderMap::new(), body).await.status, 401);
}

#[tokio::test]
async fn the_answer_is_given_only_for_what_kafka_took() {
    let door = Door::new(TOML);
    let body = br#"{"id":"evt_1"}"#;
    door.log.set(Mood::Away);
    let seen = door.authentic("stripe", body).await;
    assert_eq!((seen.status, seen.reason().as_str()), (503, "kafka_unavailable"));
    assert!(seen.headers.contains_key(header::RETRY_AFTER));
    door.log.set(Mood::Full);
    let seen = door.authentic("stripe", body).await;
    assert_eq!((seen.status, seen.reason().as_str()), (503, "overloaded"));
    assert!(seen.headers.contains_key(header::RETRY_AFTER));
    assert_eq!(seen.json()["retry"], true);
    door.log.set(Mood::Ack);
    assert_eq!(door.authentic("stripe", body).await.status, 200);
    assert_eq!(door.log.records().len(), 1);
}

#[tokio::test]
async fn at_its_own_deadline_a_source_is_told_to_come_back() {
    let door = Door::new(TOML);
    door.log.set(Mood::Silent);
    // Slack waits 3 s for an answer. On a machine that stalls, both of these do.
    let began = Instant::now();
    let asked = async { (door.authentic("slack", br#"{"event_id":"Ev1"}"#).await, began.elapsed()) };
    let timed = async {
        tokio::time::sleep(Duration::from_millis(2_500)).await;
        began.elapsed()
    };
    let ((seen, took), due) = tokio::join!(asked, timed);
    assert_eq!((seen.status, seen.reason().as_str()), (503, "kafka_unavailable"));
    let bounds = Duration::from_millis(2_400)..due + Duration::from_millis(500);
    assert!(bounds.contains(&took), "{took:?} is not in {bounds:?}");
    assert_eq!(door.log.records().len(), 1, "the record stays in flight");
}

#[tokio::test]
async fn slacks_question_is_answered_when_it_is_authentic() {
    let door = Door::new(TOML);
    let body = br#"{"token":"t","challenge":"3eZbrw1a<b>","type":"url_verification"}"#;
    let seen = door.authentic("slack", body).await;
    assert_eq!((seen.status, seen.body.as_str()), (200, "3eZbrw1a<b>"));
    assert_eq!(seen.headers[header::CONTENT_TYPE], "text/plain; charset=utf-8");
    assert_eq!(seen.headers["x-content-type-options"], "nosniff");
    let seen = door.post("slack", http::HeaderMap::new(), body).await;
    assert_eq!(seen.status, 401);
    assert!(!seen.body.contains("3eZbrw1a"));
    assert!(door.log.records().is_empty());
}

#[tokio::test]
async fn a_process_that_drains_serves_on_and_one_that_is_closed_refuses() {
    let door = Door::new(TOML);
    let body = br#"{"id":"evt_1"}"#;
    assert!(!door.authentic("stripe", body).await.headers.contains_key(header::CONNECTION));
    door.shutdown.trigger();
    let seen = door.authentic("stripe", body).await;
    assert_eq!((seen.status, &seen.headers[header::CONNECTION]), (200, &HeaderValue::from_static("close")));
    door.app.close();
    let seen = door.authentic("stripe", body).await;
    assert_eq!((seen.status, seen.reason().as_str()), (503, "draining"));
    assert_eq!(seen.headers[header::CONNECTION], "close");
    assert!(seen.headers.contains_key(header::RETRY_AFTER));
    assert_eq!(door.log.records().len(), 2);
}

#[tokio::test]
async fn requests_under_way_are_bounded_and_those_beyond_are_told_to_come_back() {
    let limits = Limits { requests: 2, ..Limits::default() };
    let log = Arc::new(FakeLog::new());
    let app = App::limited(sources(TOML), Arc::clone(&log), PARTITIONS, Shutdown::new(), limits);
    let door = Door { app, log, shutdown: Shutdown::new() };
    let body = br#"{"id":"evt_1"}"#;
    let stalled = || {
        let mut request = request("stripe", authentic("stripe", body), b"");
        *request.body_mut() = Pieces::stalled([b"{".as_slice()]);
        Box::pin(door.send(request))
    };
    let (mut first, mut second) = (stalled(), stalled());
    for waiting in [&mut first, &mut second] {
        assert!(tokio::time::timeout(Duration::ZERO, waiting).await.is_err(), "it waits for its body");
    }
    let seen = door.authentic("stripe", body).await;
    assert_eq!((seen.status, seen.reason().as_str()), (503, "overloaded"));
    drop(first);
    assert_eq!(door.authentic("stripe", body).await.status, 200);
}

#[test]
fn a_refused_timestamp_tells_how_far_the_clocks_are_apart() {
    let (config, source) = source("stripe");
    let now_s = 1_790_000_000;
    for (offset_s, reason) in [(-3600, ReasonCode::TimestampTooOld), (600, ReasonCode::TimestampTooNew)] {
        let headers = signed(&config, "", now_s + offset_s, b"{}");
        assert_eq!(verify::verify(&source, &headers, b"{}", now_s), Err(reason));
        assert_eq!(skew_s(&source, &headers, reason, now_s), Some(offset_s));
        assert_eq!(skew_s(&source, &headers, ReasonCode::SignatureMismatch, now_s), None, "nobody vouches for it");
    }
}

#[tokio::test]
async fn replaced_sources_hold_from_the_next_request_on() {
    let door = Door::new(TOML);
    let body = br#"{"id":"evt_1"}"#;
    let rotated = TOML.replace("correct horse battery staple", "a new secret for everybody");
    let new = signed(&config(&rotated).sources[1], "", now_ms() / 1000, body);
    assert_eq!(door.post("stripe", new.clone(), body).await.status, 401);
    door.app.replace(sources(&rotated));
    assert_eq!(door.post("stripe", new, body).await.status, 200);
    assert_eq!(door.authentic("stripe", body).await.status, 401);
    let only_svix = format!("[[source]]\nname = \"svix\"\nprovider = \"svix\"\nsecrets = [{{ value = {WHSEC:?} }}]\n");
    door.app.replace(sources(&only_svix));
    assert_eq!(door.authentic("stripe", body).await.status, 404);
}

#[test]
fn only_so_many_a_second_are_looked_into() {
    let limit = PerSecond::new(3);
    let taken = (0..1000).filter(|_| limit.take()).count();
    // A new second may begin in between, at most twice on a machine that stops for a while.
    assert!((3..=9).contains(&taken), "{taken}");
}
