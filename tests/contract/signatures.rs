//! The vectors that providers publish, and values worked out from the documents of those that publish none.
//!
//! Each runs through the configuration as an operator writes it. A vector is evidence from outside: none of them was
//! made with the code it tests.

use std::path::Path;

use ingest::HeaderMap;
use ingest::source::Source;
use ingest::verify::verify;
use schemas::ReasonCode;

/// A request with a known signature.
struct Vector {
    what: &'static str,
    /// `[[source]]` without its name.
    source: &'static str,
    headers: &'static [(&'static str, &'static str)],
    body: &'static str,
    /// When it was sent, where the scheme signs a time.
    at_s: i64,
}

const SLACK_BODY: &str = "token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&\
    channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&\
    response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&\
    trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c";

const VECTORS: [Vector; 14] = [
    Vector {
        what: "GitHub, from its page on validating deliveries",
        source: r#"provider = "github"
                   secrets = [{ value = "It's a Secret to Everybody" }]"#,
        headers: &[("X-Hub-Signature-256", "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17")],
        body: "Hello, World!",
        at_s: 0,
    },
    Vector {
        what: "Slack, from its page on verifying requests",
        source: r#"provider = "slack"
                   secrets = [{ value = "8f742231b10e8888abcd99yyyzzz85a5" }]"#,
        headers: &[
            ("X-Slack-Signature", "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503"),
            ("X-Slack-Request-Timestamp", "1531420618"),
        ],
        body: SLACK_BODY,
        at_s: 1_531_420_618,
    },
    Vector {
        what: "Svix, from its libraries",
        source: r#"provider = "svix"
                   secrets = [{ value = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw" }]"#,
        headers: &[
            ("svix-id", "msg_p5jXN8AQM9LWM0D4loKWxJek"),
            ("svix-timestamp", "1614265330"),
            ("svix-signature", "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="),
        ],
        body: r#"{"test": 2432232314}"#,
        at_s: 1_614_265_330,
    },
    Vector {
        what: "Standard Webhooks: the same message, a list of signatures, no prefix on the secret",
        source: r#"provider = "standard-webhooks"
                   secrets = [{ value = "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw" }]"#,
        headers: &[
            ("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek"),
            ("webhook-timestamp", "1614265330"),
            (
                "webhook-signature",
                "v1,Ceo5qEr07ixe2NLpvHk3FH9bwy/WavXrAFQ/9tdO6mc= v2,xxx \
                 v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
            ),
        ],
        body: r#"{"test": 2432232314}"#,
        at_s: 1_614_265_330,
    },
    Vector {
        what: "Stripe, worked out from its page on signatures",
        source: r#"provider = "stripe"
                   secrets = [{ value = "whsec_test_secret" }]"#,
        headers: &[(
            "Stripe-Signature",
            "t=1531420618,v1=f97d72d608a00528866549034c8fb7a9222458c3650e5a8e805b3f7c6d016431",
        )],
        body: r#"{"id":"evt_test","object":"event"}"#,
        at_s: 1_531_420_618,
    },
    Vector {
        what: "Shopify, worked out from its page on verifying deliveries",
        source: r#"provider = "shopify"
                   secrets = [{ value = "shpss_test_secret" }]"#,
        headers: &[("X-Shopify-Hmac-SHA256", "oY49JNjtw5E+Vsd0Kbe+ECXhE4YcI/SkMtsX2DWREyA=")],
        body: r#"{"id":788032119674292922}"#,
        at_s: 0,
    },
    Vector {
        what: "Paddle, from its SDK's tests, through the generic scheme",
        source: r#"provider = "hmac"
                   secrets = [{ value = "VALID_SECRET" }]
                   tolerance = "5s"
                   [source.scheme]
                   header = "Paddle-Signature"
                   format = "ts={timestamp};h1={signature}"
                   signed = "{timestamp}:{body}""#,
        headers: &[(
            "Paddle-Signature",
            "ts=1698796800;h1=a300428748dce5c70e4da19bffd60769591ea969c99dea3105d0ec9612cf43f9",
        )],
        body: r#"{"data": ["1", "2"]}"#,
        at_s: 1_698_796_800,
    },
    Vector {
        what: "LINE, from its SDK's tests, through the generic scheme",
        source: r#"provider = "hmac"
                   secrets = [{ value = "channel_secret" }]
                   [source.scheme]
                   encoding = "base64"
                   header = "X-Line-Signature"
                   format = "{signature}"
                   signed = "{body}""#,
        headers: &[("X-Line-Signature", "/gg9a+LvFevTH1sd7XCQycD7tsWclCsInj7MhBHxN7k=")],
        body: "bodybodybodybody",
        at_s: 0,
    },
    Vector {
        what: "Adyen's HMAC of a notification, a key in hexadecimal, through the generic scheme",
        source: r#"provider = "hmac"
                   secrets = [{ value = "44782DEF547AAA06C910C43932B1EB0C71FC68D9D0C057550C48EC2ACF6BA056" }]
                   [source.scheme]
                   encoding = "base64"
                   secret_encoding = "hex"
                   header = "HmacSignature"
                   format = "{signature}"
                   signed = "{body}""#,
        headers: &[("HmacSignature", "coqCmt/IZ4E3CzPvMY8zTjQVL5hYJUiBRg8UU+iCWo0=")],
        body: "7914073381342284::TestMerchant:TestPayment-1407325143704:1130:EUR:AUTHORISATION:true",
        at_s: 0,
    },
    Vector {
        what: "Square, from its SDK's README: a fixed address before the body",
        source: r#"provider = "hmac"
                   secrets = [{ value = "asdf1234" }]
                   [source.scheme]
                   encoding = "base64"
                   header = "x-square-hmacsha256-signature"
                   format = "{signature}"
                   signed = "https://example.com/webhook{body}""#,
        headers: &[("x-square-hmacsha256-signature", "2kRE5qRU2tR+tBGlDwMEw2avJ7QM4ikPYD/PJ3bd9Og=")],
        body: r#"{"hello":"world"}"#,
        at_s: 0,
    },
    Vector {
        what: "Square, from its SDK's integration tests",
        source: r#"provider = "hmac"
                   secrets = [{ value = "Ibxx_5AKakO-3qeNVR61Dw" }]
                   [source.scheme]
                   encoding = "base64"
                   header = "x-square-hmacsha256-signature"
                   format = "{signature}"
                   signed = "https://webhook.site/679a4f3a-dcfa-49ee-bac5-9d0edad886b9{body}""#,
        headers: &[("x-square-hmacsha256-signature", "GF4YkrJgGBDZ9NIYbNXBnMzqb2HoL4RW/S6vkZ9/2N4=")],
        body: r#"{"merchant_id":"MLEFBHHSJGVHD","type":"webhooks.test_notification","event_id":"ac3ac95b-f97d-458c-a6e6-18981597e05f","created_at":"2022-07-13T20:30:59.037339943Z","data":{"type":"webhooks","id":"bc368e64-01aa-407e-b46e-3231809b1129"}}"#,
        at_s: 0,
    },
    Vector {
        what: "RFC 4231, case 2, with SHA-512",
        source: r#"provider = "hmac"
                   secrets = [{ value = "Jefe" }]
                   [source.scheme]
                   algorithm = "sha512"
                   header = "X-Signature"
                   format = "{signature}"
                   signed = "{body}""#,
        headers: &[(
            "X-Signature",
            "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea2505549758bf75c05a994a6d034f65f8f0e6fd\
             caeab1a34d4a6b4b636e070a38bce737",
        )],
        body: "what do ya want for nothing?",
        at_s: 0,
    },
    Vector {
        what: "RFC 2202, case 2, with SHA-1 and a prefix",
        source: r#"provider = "hmac"
                   secrets = [{ value = "Jefe" }]
                   [source.scheme]
                   algorithm = "sha1"
                   header = "X-Hub-Signature"
                   format = "sha1={signature}"
                   signed = "{body}""#,
        headers: &[("X-Hub-Signature", "sha1=effcdf6ae5eb2fa2d27416d5f184df9c259a7c79")],
        body: "what do ya want for nothing?",
        at_s: 0,
    },
    Vector {
        what: "Svix's message through the generic scheme with an id header",
        source: r#"provider = "hmac"
                   secrets = [{ value = "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw" }]
                   [source.scheme]
                   encoding = "base64"
                   secret_encoding = "base64"
                   header = "webhook-signature"
                   timestamp_header = "webhook-timestamp"
                   id_header = "webhook-id"
                   format = "v1,{signature}"
                   signed = "{id}.{timestamp}.{body}""#,
        headers: &[
            ("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek"),
            ("webhook-timestamp", "1614265330"),
            ("webhook-signature", "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="),
        ],
        body: r#"{"test": 2432232314}"#,
        at_s: 1_614_265_330,
    },
];

fn prepared(what: &str, source: &str) -> Source {
    let toml = format!("[[source]]\nname = \"vector\"\n{source}\n");
    let loaded = runtime::config::parse(&toml, Path::new("weir.toml"), std::iter::empty());
    let config = loaded.unwrap_or_else(|problems| panic!("{what}: {problems}")).config;
    Source::new(&config.sources[0]).unwrap_or_else(|error| panic!("{what}: {error:?}"))
}

impl Vector {
    fn source(&self) -> Source {
        prepared(self.what, self.source)
    }

    fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in self.headers {
            headers.insert(*name, value.parse().expect("a header value"));
        }
        headers
    }
}

#[test]
fn every_published_signature_is_verified() {
    for vector in &VECTORS {
        let verified = verify(&vector.source(), &vector.headers(), vector.body.as_bytes(), vector.at_s);
        assert!(verified.is_ok(), "{}: {verified:?}", vector.what);
    }
}

#[test]
fn no_published_signature_holds_for_another_body() {
    for vector in &VECTORS {
        let changed = format!("{} ", vector.body);
        for body in [changed.as_str(), vector.body.trim_end_matches(['}', 'y', 'e', '?', '!', 'c']), ""] {
            let judged = verify(&vector.source(), &vector.headers(), body.as_bytes(), vector.at_s);
            assert_eq!(judged, Err(ReasonCode::SignatureMismatch), "{}", vector.what);
        }
    }
}

#[test]
fn no_published_signature_holds_under_another_secret() {
    for vector in &VECTORS {
        // Four zeros more are another secret, whether it is text, hexadecimal or base64.
        let other = vector.source.replace("\"whsec_M", "\"M").replace("value = \"", "value = \"0000");
        let source = prepared(vector.what, &other);
        let judged = verify(&source, &vector.headers(), vector.body.as_bytes(), vector.at_s);
        assert_eq!(judged, Err(ReasonCode::SignatureMismatch), "{}", vector.what);
    }
}

#[test]
fn a_signed_time_is_judged_by_the_sources_own_tolerance() {
    for (vector, tolerance) in VECTORS
        .iter()
        .filter(|vector| vector.at_s > 0)
        .map(|vector| (vector, if vector.source.contains("tolerance = \"5s\"") { 5 } else { 300 }))
    {
        let source = vector.source();
        let judge = |now_s| verify(&source, &vector.headers(), vector.body.as_bytes(), now_s).map(|_| ());
        assert_eq!(judge(vector.at_s + tolerance), Ok(()), "{}", vector.what);
        assert_eq!(judge(vector.at_s - tolerance), Ok(()), "{}", vector.what);
        assert_eq!(judge(vector.at_s + tolerance + 1), Err(ReasonCode::TimestampTooOld), "{}", vector.what);
        assert_eq!(judge(vector.at_s - tolerance - 1), Err(ReasonCode::TimestampTooNew), "{}", vector.what);
    }
}
