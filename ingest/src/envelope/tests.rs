//! What becomes of authentic requests, well formed or not: never a refusal, always one event.

use proptest::prelude::*;
use schemas::identity::{by_body, by_id, by_id_and_body};

use super::*;
use crate::testing::{NOW_S, TOML, config, headers, signed, source, sources, with};
use crate::verify::verify;

fn github(event: &str, delivery: &str) -> HeaderMap {
    headers([
        ("x-github-event".to_owned(), event.to_owned()),
        ("x-github-delivery".to_owned(), delivery.to_owned()),
        ("content-type".to_owned(), "application/json".to_owned()),
    ])
}

/// What a request to a source is, when it is signed with these headers beside.
fn opened(name: &str, beside: HeaderMap, id: &str, body: &[u8]) -> Content {
    let (config, source) = source(name);
    let mut sent = signed(&config, id, NOW_S, body);
    sent.extend(beside);
    let verified = verify(&source, &sent, body, NOW_S).expect("authentic");
    open(&source, &sent, body, &verified)
}

fn event(name: &str, beside: HeaderMap, id: &str, body: &[u8]) -> Envelope {
    match opened(name, beside, id, body) {
        Content::Event(envelope) => *envelope,
        Content::Handshake(echo) => panic!("a handshake: {echo}"),
    }
}

fn plain(name: &str, body: &str) -> Envelope {
    event(name, HeaderMap::new(), "msg_1", body.as_bytes())
}

#[track_caller]
fn assert_broken(envelope: &Envelope, source: &str, body: &[u8], reason: ReasonCode) {
    let id = identity::by_hash(body);
    assert_eq!(envelope.defect, Some(reason), "{}", String::from_utf8_lossy(body));
    assert_eq!(envelope.event_id, id);
    assert_eq!(envelope.key, format!("{source}|event|{id}"));
    assert_eq!(envelope.identity, by_body(body));
    assert!(!envelope.identity_signed);
    assert_eq!(envelope.occurred_at_ms, None);
    assert_eq!(envelope.kind, EventKind::Other);
}

#[test]
fn a_github_event_is_known_by_its_delivery_and_its_body() {
    let body = br#"{"action":"edited","repository":{"id":514203211,"updated_at":"2026-09-21T14:13:20Z"}}"#;
    let envelope = event("github", github("repository", "72d3162e-cc78-11e3-81ab-4c9367dc0958"), "", body);
    assert_eq!(envelope.event_id, "72d3162e-cc78-11e3-81ab-4c9367dc0958");
    assert_eq!(envelope.event_type, "repository.edited");
    assert_eq!(envelope.key, "github|repository|514203211");
    assert_eq!(envelope.identity, by_id_and_body(&envelope.event_id, body));
    assert!(!envelope.identity_signed && envelope.occurred_at_signed);
    assert_eq!(envelope.kind, EventKind::Snapshot);
    assert_eq!(envelope.occurred_at_ms, Some(1_790_000_000_000));
    assert_eq!(envelope.defect, None);

    let deleted = event("github", github("repository", "d"), "", br#"{"action":"deleted","repository":{"id":1}}"#);
    assert_eq!(deleted.kind, EventKind::Terminal);
    let push = event("github", github("push", "d"), "", br#"{"action":7,"repository":{"id":1}}"#);
    assert_eq!((push.event_type.as_str(), push.kind), ("push", EventKind::Other));
    let member = event("github", github("organization", "d"), "", br#"{"action":"member_added"}"#);
    assert_eq!((member.key.as_str(), member.defect), ("github|event|d", None));
}

#[test]
fn a_github_form_is_looked_into_and_kept_as_it_came() {
    let json = br#"{"action":"opened","repository":{"id":7}}"#;
    let body = b"payload=%7B%22action%22%3A%22opened%22%2C%22repository%22%3A%7B%22id%22%3A7%7D%7D";
    let form = with(github("issues", "d"), "content-type", b"application/x-www-form-urlencoded");
    let envelope = event("github", form.clone(), "", body);
    assert_eq!(envelope.event_type, "issues.opened");
    assert_eq!(envelope.key, "github|repository|7");
    assert_eq!(envelope.identity, by_id_and_body("d", body));
    assert_eq!(envelope.defect, None);
    for broken in [&b"x=1"[..], b"payload=%7B&payload=%7B", b"payload=nonsense", json] {
        assert_broken(&event("github", form.clone(), "", broken), "github", broken, ReasonCode::InvalidJson);
    }
}

#[test]
fn a_stripe_event_is_known_by_its_signed_id() {
    let body = r#"{"id":"evt_1","created":1790000000,"type":"customer.updated",
                   "data":{"object":{"id":"cus_1","object":"customer"}}}"#;
    let envelope = plain("stripe", body);
    assert_eq!(envelope.event_id, "evt_1");
    assert_eq!(envelope.key, "stripe|customer|cus_1");
    assert_eq!(envelope.identity, by_id("evt_1"));
    assert!(envelope.identity_signed);
    assert_eq!(envelope.kind, EventKind::Snapshot);
    assert_eq!((envelope.occurred_at_ms, envelope.occurred_at_signed), (Some(1_790_000_000_000), true));

    let thin = r#"{"id":"evt_2","created":"2026-09-21T14:13:20.123Z","type":"v2.core.account.updated",
                   "related_object":{"id":"acct_1"}}"#;
    let envelope = plain("stripe", thin);
    assert_eq!(envelope.key, "stripe|resource|acct_1");
    assert_eq!((envelope.occurred_at_ms, envelope.defect), (Some(1_790_000_000_123), None));
}

#[test]
fn a_shopify_event_is_ordered_by_what_its_topic_is_about() {
    let beside = |topic: &str| {
        headers([
            ("x-shopify-webhook-id".to_owned(), "w1".to_owned()),
            ("x-shopify-topic".to_owned(), topic.to_owned()),
        ])
    };
    let body = br#"{"id":820982911946154500,"updated_at":"2026-09-21T10:13:20-04:00"}"#;
    let envelope = event("shopify", beside("orders/updated"), "", body);
    assert_eq!(envelope.event_type, "orders/updated");
    assert_eq!(envelope.key, "shopify|orders|820982911946154500");
    assert_eq!(envelope.identity, by_id_and_body("w1", body));
    assert_eq!((envelope.kind, envelope.occurred_at_ms), (EventKind::Snapshot, Some(1_790_000_000_000)));
    let gone = event("shopify", beside("orders/delete"), "", br#"{"id":820982911946154500}"#);
    assert_eq!((gone.key, gone.kind), (envelope.key, EventKind::Terminal));
}

#[test]
fn a_slack_event_is_ordered_by_its_channel_wherever_that_stands() {
    for event in [
        r#"{"type":"m","channel":"C1"}"#,
        r#"{"type":"m","channel":{"id":"C1"}}"#,
        r#"{"type":"m","item":{"channel":"C1"}}"#,
    ] {
        let envelope = plain("slack", &format!(r#"{{"event_id":"Ev1","event_time":1790000000,"event":{event}}}"#));
        assert_eq!(envelope.key, "slack|channel|C1", "{event}");
        assert_eq!((envelope.event_type.as_str(), envelope.defect), ("m", None));
    }
}

#[test]
fn slacks_challenge_is_echoed_and_only_in_its_own_shape() {
    let ask = br#"{"token":"t","challenge":"3eZbrw1aBm","type":"url_verification"}"#;
    let echo = opened("slack", HeaderMap::new(), "", ask);
    assert_eq!(echo, Content::Handshake("3eZbrw1aBm".to_owned()));
    let others = [
        r#"{"challenge":"x","type":"event_callback","event_id":"Ev1"}"#.to_owned(),
        r#"{"challenge":"x","event_id":"Ev1"}"#.to_owned(),
        r#"{"challenge":7,"type":"url_verification"}"#.to_owned(),
        r#"{"challenge":"a","challenge":"b","type":"url_verification"}"#.to_owned(),
        format!(r#"{{"challenge":"{}","type":"url_verification"}}"#, "x".repeat(1025)),
    ];
    for body in others {
        assert!(matches!(opened("slack", HeaderMap::new(), "", body.as_bytes()), Content::Event(_)), "{body}");
    }
    let stripe = opened("stripe", HeaderMap::new(), "", ask);
    assert!(matches!(stripe, Content::Event(_)), "only Slack has this handshake");
}

#[test]
fn the_id_of_standard_webhooks_is_that_of_the_verified_family() {
    let body = br#"{"type":"invoice.paid","timestamp":"2026-09-21T14:13:20Z","data":{"id":"in|1%"}}"#;
    let stranger = headers([("svix-id".to_owned(), "msg_other".to_owned())]);
    let envelope = event("standard", stranger, "msg_1", body);
    assert_eq!(envelope.event_id, "msg_1");
    assert_eq!(envelope.identity, by_id("msg_1"));
    assert!(envelope.identity_signed);
    assert_eq!(envelope.key, "standard|invoice|in%7C1%25");
    let svix = event(
        "svix",
        HeaderMap::new(),
        "msg_2",
        br#"{"type":"user.deleted","timestamp":1790000000123,"data":{"id":"u"}}"#,
    );
    assert_eq!((svix.event_id.as_str(), svix.key.as_str()), ("msg_2", "svix|user|u"));
    assert_eq!((svix.kind, svix.occurred_at_ms), (EventKind::Terminal, Some(1_790_000_000_123)));
}

#[test]
fn an_unsigned_time_is_said_to_be_unsigned() {
    let toml =
        TOML.replace("name = \"shopify\"", "name = \"shopify\"\noccurred_at = { header = \"X-Shopify-Triggered-At\" }");
    let config = config(&toml).sources.into_iter().find(|source| source.name == "shopify").expect("one");
    let source = Source::new(&config).expect("usable");
    let mut sent = signed(&config, "", NOW_S, b"{\"id\":1}");
    sent = with(sent, "x-shopify-webhook-id", b"w");
    sent = with(sent, "x-shopify-triggered-at", b"2026-09-21T14:13:20Z");
    let verified = verify(&source, &sent, b"{\"id\":1}", NOW_S).expect("authentic");
    let Content::Event(envelope) = open(&source, &sent, b"{\"id\":1}", &verified) else { panic!("an event") };
    assert_eq!((envelope.occurred_at_ms, envelope.occurred_at_signed), (Some(1_790_000_000_000), false));
}

#[test]
fn what_is_no_json_is_an_event_known_by_its_bytes() {
    let almost: [&[u8]; 14] = [
        b"",
        b" ",
        b"this is no JSON",
        b"{\"id\":\"evt_1\"",
        b"{\"id\":\"evt_1\"}\xff\xfe",
        b"\xef\xbb\xbf{\"id\":\"e\"}",
        b"{\"id\":\"e\"}{}",
        b"{\"id\":\"e\",}",
        b"{'id':'e'}",
        b"{\"id\":NaN}",
        b"{\"id\":0x1}",
        b"{\"id\":\"\xed\xa0\x80\"}",
        b"<?xml version=\"1.0\"?>",
        b"payload=%7B%7D",
    ];
    for name in ["stripe", "slack", "warehouse"] {
        for body in almost {
            let envelope = event(name, HeaderMap::new(), "", body);
            assert_broken(&envelope, name, body, ReasonCode::InvalidJson);
        }
    }
    let envelope = event("github", github("push", "d"), "", b"not JSON");
    assert_broken(&envelope, "github", b"not JSON", ReasonCode::InvalidJson);
    assert_eq!(envelope.event_type, "push", "what the headers say is still known");
}

#[test]
fn json_without_an_id_is_an_event_known_by_its_bytes() {
    let bodies = ["null", "true", "0", "\"\"", "[]", "{}", r#"{"id":null}"#, r#"{"id":""}"#, r#"{"ID":"evt_1"}"#];
    for body in bodies {
        assert_broken(&plain("stripe", body), "stripe", body.as_bytes(), ReasonCode::NoIdentity);
    }
    let body = br#"{"repository":{"id":1}}"#;
    let without = headers([("x-github-event".to_owned(), "push".to_owned())]);
    assert_broken(&event("github", without, "", body), "github", body, ReasonCode::NoIdentity);
}

#[test]
fn an_id_that_could_be_two_is_an_event_known_by_its_bytes() {
    let long = "x".repeat(257);
    let values = [
        "true",
        "1e2",
        "100.0",
        "1E400",
        "[]",
        "{}",
        "[1]",
        r#""\ud800""#,
        &format!("\"{long}\""),
        &format!("1{}", "0".repeat(300)),
    ];
    for value in values {
        let body = format!(r#"{{"id":{value}}}"#);
        assert_broken(&plain("stripe", &body), "stripe", body.as_bytes(), ReasonCode::AmbiguousIdentity);
    }
    for body in [r#"{"id":1,"id":2}"#, r#"{"id":"a","id":"a"}"#, r#"{"id":"a","\u0069d":"b"}"#] {
        assert_broken(&plain("stripe", body), "stripe", body.as_bytes(), ReasonCode::AmbiguousIdentity);
    }
}

#[test]
fn an_id_is_taken_as_it_is_written() {
    let ids = [
        ("100", "100"),
        ("9007199254740993", "9007199254740993"),
        ("18446744073709551617", "18446744073709551617"),
        ("-0", "-0"),
        (r#""a\u0000b""#, "a\0b"),
        (r#"" a ""#, " a "),
        (r#""\u00e9""#, "\u{e9}"),
        (r#""e\u0301""#, "e\u{301}"),
        (r#""\u202e""#, "\u{202e}"),
    ];
    for (written, id) in ids {
        let envelope = plain("stripe", &format!(r#"{{"id":{written}}}"#));
        assert_eq!((envelope.event_id.as_str(), envelope.defect), (id, None), "{written}");
    }
}

#[test]
fn a_body_that_nests_too_deep_is_an_event_known_by_its_bytes() {
    for (open, close) in [("[", "]"), (r#"{"a":"#, "}")] {
        for depth in [64, 129, 100_000] {
            let body = format!(r#"{{"id":"e","deep":{}1{}}}"#, open.repeat(depth), close.repeat(depth));
            assert_broken(&plain("stripe", &body), "stripe", body.as_bytes(), ReasonCode::TooDeep);
        }
        let body = format!(r#"{{"id":"e","deep":{}1{}}}"#, open.repeat(63), close.repeat(63));
        assert_eq!(plain("stripe", &body).defect, None);
    }
}

#[test]
fn a_time_that_is_none_is_a_defect_and_the_rest_stays_known() {
    for time in ["\"soon\"", "-1", "true", "[]", "1e9", "1531420618042000000000", "\"\"", "\"1 \""] {
        let body = format!(r#"{{"id":"w1","at":{time},"parcel":{{"number":"PX-1"}}}}"#);
        let envelope = plain("warehouse", &body);
        assert_eq!(envelope.defect, Some(ReasonCode::BadTimestamp), "{time}");
        assert_eq!((envelope.event_id.as_str(), envelope.key.as_str()), ("w1", "warehouse|parcel|PX-1"));
        assert_eq!(envelope.occurred_at_ms, None);
    }
    let twice = plain("warehouse", r#"{"id":"w1","at":1,"at":2}"#);
    assert_eq!(twice.defect, Some(ReasonCode::BadTimestamp));
    for without in [r#"{"id":"w1"}"#, r#"{"id":"w1","at":null}"#] {
        let envelope = plain("warehouse", without);
        assert_eq!((envelope.occurred_at_ms, envelope.defect), (None, None));
    }
}

#[test]
fn a_resource_that_cannot_be_a_key_leaves_the_event_ordered_with_nothing() {
    for number in ["null", "true", "[]", "{}", "\"\"", &format!("\"{}\"", "x".repeat(257))] {
        let envelope = plain("warehouse", &format!(r#"{{"id":"w1","parcel":{{"number":{number}}}}}"#));
        assert_eq!((envelope.key.as_str(), envelope.defect), ("warehouse|event|w1", None), "{number}");
    }
    let twice = plain("warehouse", r#"{"id":"w1","parcel":{"number":"a"},"parcel":{"number":"b"}}"#);
    assert_eq!((twice.key.as_str(), twice.defect), ("warehouse|event|w1", Some(ReasonCode::AmbiguousIdentity)));
}

#[test]
fn a_source_that_knows_events_by_their_bytes_takes_any_bytes() {
    for body in [&b"\x00\xff random"[..], b"<xml/>", b"", br#"{"no":"id"}"#] {
        let envelope = event("opaque", HeaderMap::new(), "", body);
        assert_eq!(envelope.defect, None);
        assert_eq!(envelope.event_id, identity::by_hash(body));
        assert_eq!(envelope.identity, by_body(body));
    }
    let named = plain("opaque", r#"{"id":"o1","type":"t"}"#);
    assert_eq!((named.event_id.as_str(), named.event_type.as_str()), ("o1", "t"));
    assert!(!named.identity_signed, "two ids with one body are no conflict here");
}

#[test]
fn a_source_that_knows_events_by_parts_ignores_the_rest() {
    let one = plain("parts", r#"{"id":"1","order":{"n":1,"x":[1,2]},"state":"new","sent":1}"#);
    let again = plain("parts", r#"{ "state": "new", "sent": 2, "order": {"x":[1, 2],"n":1}, "id":"2"}"#);
    let other = plain("parts", r#"{"id":"1","order":{"n":1,"x":[2,1]},"state":"new"}"#);
    assert_eq!(one.identity, again.identity);
    assert_ne!(one.identity, other.identity);
    assert_eq!(again.event_id, "2");
    let body = r#"{"id":"1"}"#;
    assert_broken(&plain("parts", body), "parts", body.as_bytes(), ReasonCode::NoIdentity);
}

#[test]
fn names_that_mean_something_elsewhere_mean_nothing_here() {
    let body = r##"{"__proto__":{"id":"x"},"$ref":"#/id","@type":"t","ce_id":"forged","id":"e1","constructor":1}"##;
    let beside = headers([
        ("ce_id".to_owned(), "forged".to_owned()),
        ("weir-src".to_owned(), "0:0".to_owned()),
        ("x-forwarded-for".to_owned(), "1.2.3.4".to_owned()),
    ]);
    let envelope = event("stripe", beside, "", body.as_bytes());
    assert_eq!((envelope.event_id.as_str(), envelope.defect), ("e1", None));
}

proptest! {
    #[test]
    fn every_authentic_body_becomes_exactly_one_event(body in prop::collection::vec(any::<u8>(), 0..200)) {
        for source in sources(TOML).iter() {
            let first = opened(&source.name, HeaderMap::new(), "msg_1", &body);
            let second = opened(&source.name, HeaderMap::new(), "msg_1", &body);
            prop_assert_eq!(&first, &second);
            let Content::Event(envelope) = first else { continue };
            prop_assert!((1..=256).contains(&envelope.event_id.len()));
            let prefix = format!("{}|", source.name);
            prop_assert!(envelope.key.starts_with(&prefix));
        }
    }
}
