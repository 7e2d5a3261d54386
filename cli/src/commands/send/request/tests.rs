//! What a test event of each provider looks like, and what of a given body is changed.

use std::path::Path;

use schemas::presets::Preset;
use serde_json::Value;

use super::*;

const NOW_MS: i64 = 1_790_000_000_123;
const OWN: &str = "[source.scheme]\nheader = \"X-Signature\"\nformat = \"t={timestamp},v1={signature}\"\n\
                   signed = \"{timestamp}.{body}\"\n";

fn source(provider: &str, more: &str) -> Source {
    let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".to_owned();
    let scheme = if provider == "hmac" { OWN } else { "" };
    let text =
        format!("[[source]]\nname = \"s\"\nprovider = \"{provider}\"\nsecrets = [{{ env = \"S\" }}]\n{more}\n{scheme}");
    let loaded = runtime::config::parse(&text, Path::new("weir.toml"), [("S".to_owned(), secret)]);
    loaded.unwrap().config.sources.remove(0)
}

fn wish(source: &Source) -> Wish<'_> {
    Wish { source, body: None, id: None, event_type: None, count: 1 }
}

fn turn(number: u64) -> Turn {
    Turn { number, now_ms: NOW_MS, random: u128::from(number) << 32 }
}

fn header<'a>(request: &'a Request, name: &str) -> Option<&'a str> {
    let mut found = request.headers.iter().filter(|(other, _)| other.eq_ignore_ascii_case(name));
    let first = found.next().map(|(_, value)| value.as_str());
    assert!(found.next().is_none(), "{name} stands twice: {:?}", request.headers);
    first
}

fn json(request: &Request) -> Value {
    serde_json::from_slice(&request.body).unwrap()
}

#[test]
fn every_preset_makes_an_event_with_an_id_a_resource_and_the_time() {
    for preset in Preset::all() {
        let source = source(preset.name, "");
        let request = make(&wish(&source), turn(1)).unwrap();
        let id = request.event_id.clone().unwrap();
        match &source.event_id {
            Place::Pointer(pointer) => assert_eq!(json(&request).pointer(pointer), Some(&Value::from(id))),
            Place::Header(name) => assert_eq!(header(&request, name), Some(id.as_str())),
            Place::Constant(_) => {}
        }
        if let Some((Place::Pointer(pointer), unit)) = source.occurred_at.first() {
            let at = json(&request).pointer(pointer).map(Value::to_string);
            assert_eq!(at, Some(moment(NOW_MS, *unit)), "{}", preset.name);
        }
        let name = source.scheme.headers.first().unwrap();
        assert!(header(&request, name).is_some(), "{} is not signed", preset.name);
    }
}

#[test]
fn two_events_of_a_run_differ_in_id_and_body() {
    for preset in Preset::all() {
        let source = source(preset.name, "");
        let wish = Wish { count: 2, ..wish(&source) };
        let (one, two) = (make(&wish, turn(1)).unwrap(), make(&wish, turn(2)).unwrap());
        assert_ne!(one.event_id, two.event_id, "{}", preset.name);
        assert_ne!(one.body, two.body, "{}", preset.name);
    }
}

#[test]
fn with_an_id_every_event_of_a_run_is_the_same_delivery() {
    for preset in Preset::all() {
        let source = source(preset.name, "");
        let wish = Wish { count: 2, id: Some("id-1"), ..wish(&source) };
        assert_eq!(make(&wish, turn(1)).unwrap(), make(&wish, turn(1)).unwrap());
        assert_eq!(make(&wish, turn(1)).unwrap().body, make(&wish, turn(2)).unwrap().body);
    }
}

#[test]
fn a_given_body_goes_out_byte_for_byte() {
    let body = b"{ \"id\" : \"evt_9\", \"n\": 1.0 }";
    let source = source("stripe", "");
    let request = make(&Wish { body: Some(body), ..wish(&source) }, turn(1)).unwrap();
    assert_eq!(request.body, body);
    assert_eq!(request.event_id.as_deref(), Some("evt_9"));
    let changed = make(&Wish { body: Some(body), id: Some("x"), ..wish(&source) }, turn(1)).unwrap();
    assert_eq!(changed.body, b"{ \"id\" : \"x\", \"n\": 1.0 }");
}

#[test]
fn a_body_that_is_no_json_can_be_sent_where_nothing_has_to_be_set_in_it() {
    let github = source("github", "");
    let request = make(&Wish { body: Some(b"payload=%7B%7D"), count: 3, ..wish(&github) }, turn(1)).unwrap();
    assert_eq!(request.body, b"payload=%7B%7D");
    let stripe = source("stripe", "");
    let refused = make(&Wish { body: Some(b"a=1"), id: Some("x"), ..wish(&stripe) }, turn(1));
    assert!(format!("{:#}", refused.unwrap_err()).contains("--id: the body is not JSON"));
}

#[test]
fn a_type_stands_where_the_provider_writes_it() {
    let github = source("github", "");
    let request = make(&Wish { event_type: Some("issues.closed"), ..wish(&github) }, turn(1)).unwrap();
    assert_eq!(header(&request, "x-github-event"), Some("issues"));
    assert_eq!(json(&request)["action"], "closed");
    let request = make(&Wish { event_type: Some("push"), ..wish(&github) }, turn(1)).unwrap();
    assert_eq!(header(&request, "x-github-event"), Some("push"));
    assert_eq!(json(&request).get("action"), None);

    let stripe = source("stripe", "");
    let request = make(&Wish { event_type: Some("invoice.updated"), ..wish(&stripe) }, turn(1)).unwrap();
    assert_eq!(json(&request)["type"], "invoice.updated");
}

#[test]
fn a_given_body_keeps_its_own_action() {
    let github = source("github", "");
    let body = b"{\"action\":\"deleted\"}";
    let request = make(&Wish { body: Some(body), ..wish(&github) }, turn(1)).unwrap();
    assert_eq!(request.body, body);
    assert!(header(&request, "x-github-event").is_some());
}

#[test]
fn a_source_of_ones_own_gets_what_it_is_configured_to_look_at() {
    let source = source(
        "hmac",
        "event_id = \"/meta/id\"\nevent_type = { header = \"X-Event\" }\nresource = \"/parcel/number\"\n\
         resource_type = \"parcel\"\noccurred_at = { pointer = \"/at\", unit = \"ms\" }",
    );
    let request = make(&wish(&source), turn(1)).unwrap();
    let body = json(&request);
    assert_eq!(body["meta"]["id"].as_str(), request.event_id.as_deref());
    assert_eq!(body["at"], NOW_MS);
    assert!(body["parcel"]["number"].is_string());
    assert_eq!(header(&request, "x-event"), Some("example.created"));
    let signature = header(&request, "x-signature").unwrap_or_default();
    assert!(signature.starts_with("t=1790000000,v1="), "{signature}");
}

#[test]
fn a_number_stays_a_number_when_the_id_is_one() {
    let source = source("hmac", "");
    let body: &[u8] = b"{\"id\":7}";
    let sent = |id| make(&Wish { body: Some(body), id: Some(id), ..wish(&source) }, turn(1)).unwrap().body;
    assert_eq!(sent("8"), b"{\"id\":8}");
    assert_eq!(sent("a8"), b"{\"id\":\"a8\"}");
}

#[test]
fn the_door_takes_what_is_sent_and_reads_the_same_id_and_type() {
    for preset in Preset::all() {
        let source = source(preset.name, "");
        let request = make(&wish(&source), turn(1)).unwrap();
        let mut headers = http::HeaderMap::new();
        for (name, value) in &request.headers {
            let name: http::HeaderName = name.parse().unwrap();
            headers.append(name, value.parse().unwrap());
        }
        let door = ingest::source::Source::new(&source).unwrap();
        let verified = ingest::verify::verify(&door, &headers, &request.body, NOW_MS / 1000);
        let verified = verified.unwrap_or_else(|reason| panic!("{}: {reason}", preset.name));
        let ingest::envelope::Content::Event(envelope) =
            ingest::envelope::open(&door, &headers, &request.body, &verified)
        else {
            panic!("{}: taken for a handshake", preset.name);
        };
        assert_eq!(envelope.defect, None, "{}", preset.name);
        assert_eq!(Some(envelope.event_id), request.event_id, "{}", preset.name);
        assert_eq!(envelope.event_type, example::of(preset.name).event_type);
        if !source.occurred_at.is_empty() {
            assert_eq!(envelope.occurred_at_ms.map(|ms| ms / 1000), Some(NOW_MS / 1000), "{}", preset.name);
        }
        let is_ordered = !envelope.key.starts_with("s|event|");
        assert_eq!(is_ordered, !source.resource.is_empty(), "{}: {}", preset.name, envelope.key);
    }
}
