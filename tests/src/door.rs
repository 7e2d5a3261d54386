//! One delivery at the door: the request as its provider sends it, and the answer it must get.
//!
//! A timestamp is signed when the request is made, so every attempt makes its own.

use bytes::Bytes;
use serde_json::{Value, json};

use crate::event::Event;
use crate::forge::{DoorCase, Forgery};
use crate::plan::{Delivery, Plan};
use crate::secrets::{Age, Secrets};
use crate::sources::Source;
use crate::wire::{Answer, Request};

/// One in so many deliveries is signed with the secret that is being retired.
const OLD_SECRET_EVERY: usize = 9;

/// The answer a delivery must get.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expected {
    /// 200 with this event id.
    Accepted(String),
    /// 200 with Slack's challenge in it.
    Challenge(String),
    /// A refusal with this status and reason.
    Refused(u16, &'static str),
}

/// The source whose address a delivery goes to; none when there is no such source.
pub fn source(plan: &Plan, delivery: Delivery) -> Option<Source> {
    match delivery {
        Delivery::Event { event, .. } | Delivery::Forged { event, .. } => Some(plan.events[event].source),
        Delivery::Challenge => Some(Source::Slack),
        Delivery::Door(DoorCase::UnknownSource) => None,
        Delivery::Door(DoorCase::Get | DoorCase::Encoded | DoorCase::TooLarge) => Some(Source::Github),
    }
}

/// The answer that delivery `number` must get.
pub fn expected(plan: &Plan, number: usize) -> Expected {
    match plan.deliveries[number] {
        Delivery::Event { event, .. } => Expected::Accepted(plan.events[event].id.clone()),
        Delivery::Forged { forgery, .. } => {
            let (status, reason) = forgery.answer();
            Expected::Refused(status, reason)
        }
        Delivery::Door(case) => {
            let (status, reason) = case.answer();
            Expected::Refused(status, reason)
        }
        Delivery::Challenge => Expected::Challenge(challenge(plan.seed, number)),
    }
}

/// Delivery `number` as it goes out at `now_s`.
pub fn request(plan: &Plan, secrets: &Secrets, body_limit: usize, number: usize, now_s: i64) -> Request {
    match plan.deliveries[number] {
        Delivery::Event { event, .. } => {
            let age = if number.is_multiple_of(OLD_SECRET_EVERY) { Age::Old } else { Age::New };
            authentic(&plan.events[event], &secrets.key(plan.events[event].source, age), now_s)
        }
        Delivery::Forged { event, forgery } => forged(&plan.events[event], forgery, secrets, now_s),
        Delivery::Door(case) => strange(case, secrets, body_limit, now_s),
        Delivery::Challenge => {
            let body = json!({
                "token": "Jhj5dZrVaK7ZwHHjRyZWjbDl",
                "challenge": challenge(plan.seed, number),
                "type": "url_verification",
            });
            let headers = vec![("Content-Type", "application/json".to_owned())];
            let request = post(Source::Slack, headers, body.to_string().into());
            sign(request, Source::Slack, &secrets.key(Source::Slack, Age::New), "", now_s)
        }
    }
}

/// An event as its provider sends it.
pub fn authentic(event: &Event, key: &[u8], now_s: i64) -> Request {
    let request = post(event.source, event.headers.clone(), event.body.clone());
    sign(request, event.source, key, &event.id, now_s)
}

/// Compares an answer with what it must be. What is wrong with it, if anything.
pub fn complaint(expected: &Expected, answer: &Answer) -> Option<String> {
    let (status, is_right) = match expected {
        Expected::Accepted(id) => {
            let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
            (200, body["status"] == "accepted" && body["event_id"] == id.as_str())
        }
        Expected::Challenge(challenge) => (200, answer.text().contains(challenge)),
        Expected::Refused(status, reason) => (*status, is_problem(answer, *status, reason)),
    };
    if answer.status == status && is_right {
        return None;
    }
    let text: String = answer.text().chars().take(200).collect();
    Some(format!("answered {} {text:?}, expected {expected:?}", answer.status))
}

/// The reason that an answer gives for its refusal.
pub fn reason(answer: &Answer) -> Option<String> {
    let body: Value = serde_json::from_slice(&answer.body).ok()?;
    body["reason"].as_str().map(str::to_owned)
}

/// The contract's refusal: problem+json with five members and nothing else.
fn is_problem(answer: &Answer, status: u16, reason: &str) -> bool {
    let Ok(Value::Object(body)) = serde_json::from_slice(&answer.body) else { return false };
    let mut names: Vec<&str> = body.keys().map(String::as_str).collect();
    names.sort_unstable();
    answer.header("content-type").is_some_and(|value| value.starts_with("application/problem+json"))
        && names == ["reason", "retry", "status", "title", "type"]
        && body["status"] == status
        && body["reason"] == reason
        && body["retry"] == false
}

fn sign(mut request: Request, source: Source, key: &[u8], id: &str, now_s: i64) -> Request {
    request.headers.extend(source.scheme().sign(key, id, now_s, &request.body));
    request
}

fn forged(event: &Event, forgery: Forgery, secrets: &Secrets, now_s: i64) -> Request {
    let other = match event.source {
        Source::Github => Source::Stripe,
        _ => Source::Github,
    };
    let (key, other) = (secrets.key(event.source, Age::New), secrets.key(other, Age::New));
    let (signature, body) = forgery.commit(event, &key, &other, now_s);
    let mut request = post(event.source, event.headers.clone(), body.into());
    request.headers.extend(signature);
    request
}

fn strange(case: DoorCase, secrets: &Secrets, body_limit: usize, now_s: i64) -> Request {
    let headers = vec![
        ("Content-Type", "application/json".to_owned()),
        ("X-GitHub-Event", "ping".to_owned()),
        ("X-GitHub-Delivery", format!("door-{now_s}")),
    ];
    let key = secrets.key(Source::Github, Age::New);
    let request = post(Source::Github, headers, Bytes::from_static(b"{\"zen\":\"Keep it logically awesome.\"}"));
    let mut request = match case {
        DoorCase::TooLarge => {
            let body = vec![b' '; body_limit + 1].into();
            sign(Request { body, ..request }, Source::Github, &key, "", now_s)
        }
        DoorCase::UnknownSource | DoorCase::Get | DoorCase::Encoded => sign(request, Source::Github, &key, "", now_s),
    };
    match case {
        DoorCase::UnknownSource => request.path = "/hooks/nobody".to_owned(),
        DoorCase::Get => {
            request.method = "GET";
            request.body = Bytes::new();
        }
        DoorCase::Encoded => request.headers.push(("Content-Encoding", "gzip".to_owned())),
        DoorCase::TooLarge => {}
    }
    request
}

fn post(source: Source, headers: Vec<(&'static str, String)>, body: Bytes) -> Request {
    Request { method: "POST", path: format!("/hooks/{}", source.name()), headers, body }
}

fn challenge(seed: u64, number: usize) -> String {
    format!("3eZbrw1aBm2rZgRNFdxV2595E9CY3gmdALWMmHkvFXO7tYXAYM{seed}x{number}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payloads::Payloads;

    fn answer(status: u16, content_type: &str, body: &str) -> Answer {
        let headers = vec![("content-type".to_owned(), content_type.to_owned())];
        Answer { status, headers, body: body.as_bytes().to_vec() }
    }

    #[test]
    fn only_the_answer_of_the_contract_is_right() {
        let accepted = Expected::Accepted("evt_1".to_owned());
        let good = r#"{"status":"accepted","event_id":"evt_1"}"#;
        assert_eq!(complaint(&accepted, &answer(200, "application/json", good)), None);
        for (status, body) in
            [(202, good), (200, r#"{"status":"accepted","event_id":"evt_2"}"#), (200, "ok"), (500, "")]
        {
            assert!(complaint(&accepted, &answer(status, "application/json", body)).is_some(), "{status} {body}");
        }
        let refused = Expected::Refused(401, "signature_invalid");
        let problem = |reason: &str, more: &str| {
            format!(r#"{{"type":"a","title":"b","status":401,"reason":"{reason}","retry":false{more}}}"#)
        };
        let kind = "application/problem+json";
        let good = problem("signature_invalid", "");
        assert_eq!(complaint(&refused, &answer(401, kind, &good)), None);
        let talkative = problem("signature_invalid", r#","expected":"9f86""#);
        let exact = problem("signature_mismatch", "");
        for (status, kind, body) in
            [(403, kind, &good), (401, "application/json", &good), (401, kind, &talkative), (401, kind, &exact)]
        {
            assert!(complaint(&refused, &answer(status, kind, body)).is_some(), "{status} {kind} {body}");
        }
    }

    #[test]
    fn every_attempt_signs_its_own_time() {
        let plan = Plan::new(3, 400, 1_790_000_000_000, &Payloads::own("test"));
        let secrets = Secrets::new(3);
        for number in 0..plan.deliveries.len() {
            let Delivery::Event { event, .. } = plan.deliveries[number] else { continue };
            let (first, later) =
                (request(&plan, &secrets, 1000, number, 100), request(&plan, &secrets, 1000, number, 200));
            assert_eq!(first.body, later.body);
            let has_timestamp = plan.events[event].source.scheme().has_timestamp();
            assert_eq!(first.headers != later.headers, has_timestamp, "{}", plan.events[event].name());
        }
    }
}
