//! Every preset against its published vectors, against forgeries, and against random bytes.

use http::HeaderMap;
use proptest::prelude::*;

use super::diagnose::diagnose;
use super::*;
use crate::source::{Source, Sources};
use crate::testing::{NOW_S, SECRET, TOML, config, headers, signed, source, sources, with};

const NAMES: [&str; 9] = ["github", "stripe", "shopify", "slack", "standard", "svix", "warehouse", "opaque", "parts"];

fn pairs(list: &[(&str, &str)]) -> HeaderMap {
    headers(list.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
}

/// A source of a preset with one secret.
fn with_secret(provider: &str, secret: &str) -> Source {
    let toml = format!("[[source]]\nname = \"s\"\nprovider = {provider:?}\nsecrets = [{{ value = {secret:?} }}]\n");
    Source::new(&config(&toml).sources[0]).expect("a source that can be used")
}

#[test]
fn the_published_vectors_hold() {
    let github = with_secret("github", "It's a Secret to Everybody");
    let sent =
        pairs(&[("x-hub-signature-256", "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17")]);
    assert!(verify(&github, &sent, b"Hello, World!", NOW_S).is_ok());

    let body = br#"{"test": 2432232314}"#;
    let message = [("id", "msg_p5jXN8AQM9LWM0D4loKWxJek"), ("timestamp", "1614265330")];
    for provider in ["standard-webhooks", "svix"] {
        let source = with_secret(provider, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
        for family in ["webhook", "svix"] {
            let mut sent =
                headers(message.iter().map(|(name, value)| (format!("{family}-{name}"), (*value).to_owned())));
            sent = with(sent, &format!("{family}-signature"), b"v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
            let verified = verify(&source, &sent, body, 1_614_265_330).expect("the published vector");
            assert_eq!(verified.signed_at_s(), Some(1_614_265_330));
            assert_eq!(verify(&source, &sent, body, NOW_S), Err(ReasonCode::TimestampTooOld));
        }
    }
}

#[test]
fn what_a_source_signs_it_verifies_and_nothing_else_does() {
    let body = br#"{"id":"evt_1","type":"x"}"#;
    for name in NAMES {
        let (config, source) = source(name);
        let sent = signed(&config, "msg_1", NOW_S, body);
        let verified = verify(&source, &sent, body, NOW_S);
        assert!(verified.is_ok(), "{name}: {verified:?}");
        for changed in [&b""[..], b"{}", br#"{"id":"evt_2","type":"x"}"#, br#"{"id":"evt_1","type":"x"} "#] {
            assert_eq!(verify(&source, &sent, changed, NOW_S), Err(ReasonCode::SignatureMismatch), "{name}");
        }
        assert_eq!(verify(&source, &HeaderMap::new(), body, NOW_S), Err(ReasonCode::SignatureMissing), "{name}");
    }
}

#[test]
fn any_of_several_secrets_may_match_and_the_match_is_named() {
    let (mut config, source) = source("github");
    assert_eq!(verify(&source, &signed(&config, "", NOW_S, b"x"), b"x", NOW_S).map(|v| v.secret()), Ok(0));
    config.secrets.remove(0);
    assert_eq!(verify(&source, &signed(&config, "", NOW_S, b"x"), b"x", NOW_S).map(|v| v.secret()), Ok(1));
}

#[test]
fn a_key_that_anybody_knows_opens_nothing() {
    for name in NAMES {
        let (config, source) = source(name);
        for known in ["", "\0", "null", "undefined", "changeme", "whsec_", SECRET] {
            if known == SECRET && !matches!(name, "standard" | "svix") {
                continue;
            }
            let sent = headers(source.scheme.clone().forging(known.as_bytes()).sign("msg_1", NOW_S, b"x"));
            assert_eq!(verify(&source, &sent, b"x", NOW_S), Err(ReasonCode::SignatureMismatch), "{name} {known:?}");
            let own = source.scheme.clone().forging(config.secrets[0].expose());
            assert!(verify(&source, &headers(own.sign("msg_1", NOW_S, b"x")), b"x", NOW_S).is_ok(), "{name}");
        }
    }
}

#[test]
fn every_part_and_every_extension_of_a_signature_is_refused() {
    let body = b"{}";
    for name in NAMES {
        let (config, source) = source(name);
        let sent = signed(&config, "msg_1", NOW_S, body);
        let header = source.scheme.headers().next().expect("a signature header").clone();
        let good = sent[&header].to_str().expect("text").to_owned();
        for end in 0..good.len() {
            let cut = with(sent.clone(), header.as_str(), &good.as_bytes()[..end]);
            assert!(verify(&source, &cut, body, NOW_S).is_err(), "{name} {end}");
        }
        for more in ["0", "=", " ", "ab", "\u{e9}", "\t"] {
            for changed in [format!("{good}{more}"), format!("{more}{good}")] {
                let changed = with(sent.clone(), header.as_str(), changed.as_bytes());
                let judged = verify(&source, &changed, body, NOW_S);
                // Space between items of a list means nothing.
                let is_list = !matches!(name, "github" | "shopify" | "slack" | "opaque" | "parts");
                assert!(judged.is_err() || (is_list && more == " "), "{name} {changed:?}");
            }
        }
        for whole in ["", " ", "sha256=", "v1,", "t=", "v0=", "sha256=sha256=00", "v1=", "t=,v1="] {
            let changed = with(sent.clone(), header.as_str(), whole.as_bytes());
            assert_eq!(verify(&source, &changed, body, NOW_S), Err(ReasonCode::SignatureMalformed), "{name} {whole}");
        }
        let binary = with(sent.clone(), header.as_str(), &[0x80, 0xff, 0xc3]);
        assert_eq!(verify(&source, &binary, body, NOW_S), Err(ReasonCode::SignatureMalformed), "{name}");
    }
}

#[test]
fn other_spellings_of_a_signature_are_not_it_unless_hex_allows_them() {
    let (config, github) = source("github");
    let sent = signed(&config, "", NOW_S, b"x");
    let hex = sent["x-hub-signature-256"].to_str().expect("text").to_owned();
    let upper = format!("sha256={}", hex.trim_start_matches("sha256=").to_uppercase());
    assert!(verify(&github, &pairs(&[("x-hub-signature-256", &upper)]), b"x", NOW_S).is_ok());
    let sha1 = pairs(&[("x-hub-signature", &hex)]);
    assert_eq!(verify(&github, &sha1, b"x", NOW_S), Err(ReasonCode::SignatureMissing));

    let (config, shopify) = source("shopify");
    let body = (0_u32..).map(|n| n.to_string()).find(|body| {
        let sent = signed(&config, "", NOW_S, body.as_bytes());
        sent["x-shopify-hmac-sha256"].as_bytes().contains(&b'/')
    });
    let body = body.expect("some signature holds a slash");
    let sent = signed(&config, "", NOW_S, body.as_bytes());
    let base64 = sent["x-shopify-hmac-sha256"].to_str().expect("text").to_owned();
    for other in [base64.replace('/', "_"), base64.replace('=', ""), format!("{base64}=")] {
        let sent = pairs(&[("x-shopify-hmac-sha256", &other)]);
        assert_eq!(verify(&shopify, &sent, body.as_bytes(), NOW_S), Err(ReasonCode::SignatureMalformed), "{other}");
    }
    // The same signature under the other name that Shopify uses.
    let sent = pairs(&[("shopify-hmac-sha256", &base64)]);
    assert!(verify(&shopify, &sent, body.as_bytes(), NOW_S).is_ok());
}

#[test]
fn a_timestamp_is_signed_fresh_and_plain() {
    for name in ["stripe", "slack", "standard", "svix", "warehouse"] {
        let (config, source) = source(name);
        let judge = |at: i64| verify(&source, &signed(&config, "msg_1", at, b"x"), b"x", NOW_S).map(|_| ());
        for at in [NOW_S, NOW_S - 300, NOW_S + 300] {
            assert_eq!(judge(at), Ok(()), "{name} {at}");
        }
        for at in [NOW_S - 301, 0] {
            assert_eq!(judge(at), Err(ReasonCode::TimestampTooOld), "{name} {at}");
        }
        for at in [NOW_S + 301, NOW_S * 1000, i64::MAX] {
            assert_eq!(judge(at), Err(ReasonCode::TimestampTooNew), "{name} {at}");
        }
        assert_eq!(judge(-1), Err(ReasonCode::SignatureMalformed), "{name}");
    }
    for (name, header) in [("slack", "x-slack-request-timestamp"), ("svix", "svix-timestamp")] {
        let (config, source) = source(name);
        let sent = signed(&config, "msg_1", NOW_S, b"x");
        let mut without = sent.clone();
        without.remove(header);
        assert_eq!(verify(&source, &without, b"x", NOW_S), Err(ReasonCode::TimestampMissing));
        for text in ["", " 1", "+1", "01", "1e9", "1790000000.0"] {
            let changed = with(sent.clone(), header, text.as_bytes());
            assert_eq!(verify(&source, &changed, b"x", NOW_S), Err(ReasonCode::SignatureMalformed), "{text:?}");
        }
        let moved = with(sent, header, (NOW_S + 1).to_string().as_bytes());
        assert_eq!(verify(&source, &moved, b"x", NOW_S), Err(ReasonCode::SignatureMismatch));
    }
}

#[test]
fn stripes_header_is_a_list_and_its_rules_hold() {
    let (config, stripe) = source("stripe");
    let sent = signed(&config, "", NOW_S, b"x");
    let good = sent["stripe-signature"].to_str().expect("text").to_owned();
    let (t, v1) = good.split_once(',').expect("two parts");
    let judge = |text: &str| verify(&stripe, &pairs(&[("stripe-signature", text)]), b"x", NOW_S).map(|_| ());
    let zeros = format!("v1={}", "0".repeat(64));
    assert_eq!(judge(&format!("{v1},{t}")), Ok(()));
    assert_eq!(judge(&format!("{t},{zeros},{v1}")), Ok(()));
    assert_eq!(judge(&format!("{t},v0={},{v1}", "0".repeat(64))), Ok(()));
    assert_eq!(judge(&format!("{t},{}{v1}", format!("{zeros},").repeat(15))), Ok(()));
    assert_eq!(judge(&format!("{t},{}{v1}", format!("{zeros},").repeat(16))), Err(ReasonCode::SignatureMalformed));
    assert_eq!(judge(&format!("{t},{}", v1.replace("v1", "v0"))), Err(ReasonCode::SignatureMalformed));
    assert_eq!(judge(&format!("{t},{t},{v1}")), Err(ReasonCode::SignatureMalformed));
    assert_eq!(judge(v1), Err(ReasonCode::TimestampMissing));
    assert_eq!(judge(&format!("t=0,{v1}")), Err(ReasonCode::SignatureMismatch));
    assert_eq!(judge(&format!("{t},{zeros}")), Err(ReasonCode::SignatureMismatch));
}

#[test]
fn standard_webhooks_takes_any_good_v1_and_ignores_other_versions() {
    let (config, standard) = source("standard");
    let sent = signed(&config, "msg_1", NOW_S, b"x");
    let good = sent["webhook-signature"].to_str().expect("text").to_owned();
    let judge = |text: &str| {
        let sent = with(sent.clone(), "webhook-signature", text.as_bytes());
        verify(&standard, &sent, b"x", NOW_S).map(|_| ())
    };
    let zeros = format!("v1,{}=", "A".repeat(43));
    assert_eq!(judge(&format!("{zeros} {good}")), Ok(()));
    assert_eq!(judge(&format!("v1a,xx v2,yy {good}")), Ok(()));
    assert_eq!(judge(&zeros), Err(ReasonCode::SignatureMismatch));
    for text in [good.replace("v1,", "v2,"), good.replace("v1,", "v1a,"), good.replace("v1,", "")] {
        assert_eq!(judge(&text), Err(ReasonCode::SignatureMalformed), "{text}");
    }
}

#[test]
fn families_of_headers_are_not_mixed() {
    let (config, svix) = source("svix");
    let sent = signed(&config, "msg_1", NOW_S, b"x");
    let renamed = |from: &str, to: &str| {
        let mut sent = sent.clone();
        let value = sent.remove(from).expect("it was there");
        sent.insert(http::HeaderName::try_from(to).expect("a name"), value);
        verify(&svix, &sent, b"x", NOW_S).map(|_| ())
    };
    assert_eq!(renamed("svix-timestamp", "webhook-timestamp"), Err(ReasonCode::TimestampMissing));
    assert_eq!(renamed("svix-id", "webhook-id"), Err(ReasonCode::SignatureMalformed));
    assert_eq!(renamed("svix-signature", "webhook-signature"), Err(ReasonCode::TimestampMissing));
}

#[test]
fn an_id_cannot_borrow_from_what_follows_it() {
    let (config, svix) = source("svix");
    // "a" . "1790000000" . "1790000000.x" signs the same bytes as "a.1790000000" . "1790000000" . "x".
    let body = format!("{NOW_S}.x");
    let mut sent = signed(&config, "a", NOW_S, body.as_bytes());
    assert!(verify(&svix, &sent, body.as_bytes(), NOW_S).is_ok());
    sent = with(sent, "svix-id", format!("a.{NOW_S}").as_bytes());
    assert_eq!(verify(&svix, &sent, b"x", NOW_S), Err(ReasonCode::SignatureMalformed));
    let empty = with(sent, "svix-id", b"");
    assert_eq!(verify(&svix, &empty, body.as_bytes(), NOW_S), Err(ReasonCode::SignatureMalformed));
}

#[test]
fn an_id_cannot_borrow_from_what_stands_before_it() {
    let toml = TOML.to_owned()
        + r#"
[[source]]
name = "behind"
provider = "hmac"
secrets = [{ value = "correct horse battery staple" }]
[source.scheme]
header = "X-Signature"
signed = "{body}.{id}"
id_header = "X-Id"
"#;
    let configured = config(&toml).sources.pop().expect("the last one");
    let source = Source::new(&configured).expect("a source that can be used");
    let sent = signed(&configured, "y", NOW_S, b"x.z");
    assert!(verify(&source, &sent, b"x.z", NOW_S).is_ok());
    // "x.z" . "y" signs the same bytes as "x" . "z.y".
    let moved = with(sent, "x-id", b"z.y");
    assert_eq!(verify(&source, &moved, b"x", NOW_S), Err(ReasonCode::SignatureMalformed));
}

#[test]
fn a_body_need_not_be_text() {
    let (config, github) = source("github");
    for body in [&b""[..], b"\xff\xfe\x00", &[0xed, 0xa0, 0x80]] {
        assert!(verify(&github, &signed(&config, "", NOW_S, body), body, NOW_S).is_ok());
    }
}

#[test]
fn a_source_without_a_usable_secret_or_scheme_cannot_exist() {
    let (mut config, _) = source("github");
    config.secrets.clear();
    assert!(Source::new(&config).is_err());
    config.secrets = vec![runtime::secret::Secret::new(b" \n".to_vec())];
    assert!(Source::new(&config).is_err());
    let (mut config, _) = source("stripe");
    config.scheme.signed = "{body}".to_owned();
    assert!(Source::new(&config).is_err(), "a timestamp that is not signed");
}

#[test]
fn a_mismatch_is_explained_where_the_reason_can_be_found() {
    let all: Sources = sources(TOML);
    let body = br#"{"id":1,"a":"b/c"}"#;
    let (config, stripe) = source("stripe");
    let judge = |sent: &HeaderMap, body: &[u8]| {
        assert_eq!(verify(&stripe, sent, body, NOW_S), Err(ReasonCode::SignatureMismatch));
        diagnose(&all, &stripe, sent, body)
    };
    let (mut other, _) = source("other");
    other.scheme = config.scheme.clone();
    assert_eq!(judge(&signed(&other, "", NOW_S, body), body), ReasonCode::WrongSecret);
    let sent = signed(&config, "", NOW_S, br#"{"id":1,"a":"b\/c"}"#);
    assert_eq!(judge(&sent, body), ReasonCode::BodyModified);
    let sent = signed(&config, "", NOW_S, b"{\"id\": 1, \"a\": \"b/c\"}");
    assert_eq!(judge(&sent, body), ReasonCode::BodyModified);
    let sent = signed(&config, "", NOW_S, b"{\"id\":1,\"a\":\"b/c\"}\n");
    assert_eq!(judge(&sent, body), ReasonCode::BodyModified);
    let sent = signed(&config, "", NOW_S, b"something else");
    assert_eq!(judge(&sent, body), ReasonCode::SignatureMismatch);
    let large = vec![b'1'; 100 * 1024];
    let sent = signed(&config, "", NOW_S, &[large.as_slice(), b"\n"].concat());
    assert_eq!(judge(&sent, &large), ReasonCode::SignatureMismatch);
}

fn any_headers() -> impl Strategy<Value = HeaderMap> {
    let names = prop::sample::select(vec![
        "x-hub-signature-256",
        "stripe-signature",
        "x-shopify-hmac-sha256",
        "x-slack-signature",
        "x-slack-request-timestamp",
        "webhook-id",
        "webhook-timestamp",
        "webhook-signature",
        "svix-id",
        "svix-timestamp",
        "svix-signature",
        "x-warehouse-signature",
        "x-signature",
    ]);
    let values = prop_oneof![
        "[ -~]{0,80}".prop_map(String::into_bytes),
        "(t=[0-9]{0,20},?|v1=[0-9a-f]{0,64},?|v1,[A-Za-z0-9+/=]{0,44} ?|sha256=[0-9a-f]{0,64}){0,4}"
            .prop_map(String::into_bytes),
        "[0-9]{0,20}".prop_map(String::into_bytes),
        prop::collection::vec(0x80_u8..=0xff, 0..20),
    ];
    prop::collection::vec((names, values), 0..8)
        .prop_map(|list| list.into_iter().fold(HeaderMap::new(), |headers, (name, value)| with(headers, name, &value)))
}

proptest! {
    #[test]
    fn no_request_makes_verification_panic_or_succeed_by_chance(
        sent in any_headers(),
        body in prop::collection::vec(any::<u8>(), 0..200),
        now in any::<i64>(),
    ) {
        let all = sources(TOML);
        for source in all.iter() {
            prop_assert!(verify(source, &sent, &body, now).is_err());
            diagnose(&all, source, &sent, &body);
        }
    }

    #[test]
    fn one_flipped_bit_anywhere_is_noticed(
        name in prop::sample::select(NAMES.to_vec()),
        body in prop::collection::vec(any::<u8>(), 1..100),
        place in any::<prop::sample::Index>(),
        bit in 0_u32..8,
    ) {
        let (config, source) = source(name);
        let sent = signed(&config, "msg_1", NOW_S, &body);
        prop_assert!(verify(&source, &sent, &body, NOW_S).is_ok());
        let mut changed = body.clone();
        changed[place.index(body.len())] ^= 1 << bit;
        prop_assert_eq!(verify(&source, &sent, &changed, NOW_S), Err(ReasonCode::SignatureMismatch));

        for (header, value) in &sent {
            let mut bytes = value.as_bytes().to_vec();
            let at = place.index(bytes.len());
            bytes[at] ^= 1 << bit;
            let Ok(flipped) = http::HeaderValue::from_bytes(&bytes) else { continue };
            let mut sent = sent.clone();
            sent.insert(header, flipped);
            let judged = verify(&source, &sent, &body, NOW_S);
            // Hexadecimal may be written in either case: that bit says nothing.
            let is_case = bit == 5 && bytes[at].is_ascii_hexdigit() && value.as_bytes()[at].is_ascii_hexdigit();
            prop_assert!(judged.is_err() || is_case, "{} {:?}", header, bytes);
        }
    }
}
