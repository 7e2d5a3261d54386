//! From envelope to record: key, partition, and the bytes of a `VerifiedEvent`.

use http::{HeaderMap, HeaderName};
use schemas::VerifiedEvent;
use schemas::partition;
use schemas::sizes::STORED_HTTP_HEADERS_BYTES;

use crate::envelope::{self, Envelope};
use crate::source::Source;
use crate::verify::Verified;

/// Longest Content-Type that is passed on, bytes.
const CONTENT_TYPE_BYTES_MAX: usize = 256;
/// A header whose name holds one of these may carry a credential, and is not kept unless the source names it.
const CREDENTIALS: [&str; 11] =
    ["auth", "cookie", "token", "secret", "passw", "key", "credential", "session", "cert", "jwt", "bearer"];
/// Names with one of those words in them that carry none.
const NO_CREDENTIALS: [&str; 2] = ["idempotency-key", "event-key"];
/// Marks that headers were left out because of their size.
const TRUNCATED: &str = "weir-truncated";

/// A record of `verified-events`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The resource key.
    pub key: String,
    /// Its partition.
    pub partition: i32,
    /// The encoded event.
    pub value: Vec<u8>,
}

/// Writes an event down as a record.
pub fn record(
    source: &Source,
    headers: &HeaderMap,
    body: &[u8],
    envelope: &Envelope,
    verified: &Verified,
    received_at_ms: i64,
    partitions: i32,
) -> Record {
    let http_headers = kept(headers, &source.single_headers);
    let headers_bytes: usize = http_headers.iter().map(|(name, value)| name.len() + value.len() + 8).sum();
    let mut value = Vec::with_capacity(body.len() + envelope.identity.len() + headers_bytes + 1024);
    VerifiedEvent {
        source: &source.name,
        preset: &source.type_prefix,
        event_id: &envelope.event_id,
        event_type: &envelope.event_type,
        identity: &envelope.identity,
        identity_signed: envelope.identity_signed,
        window_ms: source.window_ms,
        stale: source.stale,
        kind: envelope.kind,
        occurred_at_ms: envelope.occurred_at_ms,
        occurred_at_signed: envelope.occurred_at_signed,
        signed_at_ms: verified.signed_at_s().and_then(|seconds| seconds.checked_mul(1000)),
        received_at_ms,
        content_type: content_type(headers),
        assurance: source.assurance,
        schema: source.schema.as_deref(),
        defect: envelope.defect.map(|reason| reason.as_str()),
        http_headers: schemas::verified_event::HttpHeaders::Listed(http_headers),
        body,
    }
    .encode(&mut value);
    Record { partition: partition::partition(envelope.key.as_bytes(), partitions), key: envelope.key.clone(), value }
}

fn content_type(headers: &HeaderMap) -> &str {
    envelope::content_type(headers).filter(|text| text.len() <= CONTENT_TYPE_BYTES_MAX).unwrap_or_default()
}

/// The headers that are kept for inspection and for handlers: no credentials, and no more than fit. `named`: those the
/// source reads something from, which are identities and signatures.
fn kept<'a>(headers: &'a HeaderMap, named: &[HeaderName]) -> Vec<(&'a str, &'a [u8])> {
    let mut kept = Vec::with_capacity(headers.len());
    let mut room = STORED_HTTP_HEADERS_BYTES;
    for (name, value) in headers {
        if is_credential(name.as_str()) && !named.contains(name) {
            continue;
        }
        let name = name.as_str();
        let size = name.len() + value.len();
        if size > room {
            kept.push((TRUNCATED, b"true".as_slice()));
            break;
        }
        room -= size;
        kept.push((name, value.as_bytes()));
    }
    kept
}

fn is_credential(name: &str) -> bool {
    let has = |words: &[&str]| words.iter().any(|word| name.contains(word));
    has(&CREDENTIALS) && !has(&NO_CREDENTIALS)
}

#[cfg(test)]
mod tests {
    use http::header;

    use super::*;

    #[test]
    fn credentials_are_not_kept() {
        let mut headers = HeaderMap::new();
        let credentials = [
            "authorization",
            "proxy-authorization",
            "x-auth-key",
            "cookie",
            "x-gitlab-token",
            "x-api-key",
            "x-access-key",
            "x-signing-key",
            "x-session-id",
            "x-password",
            "x-passwd",
            "x-forwarded-client-cert",
        ];
        for name in credentials {
            headers.insert(name, http::HeaderValue::from_static("hush"));
        }
        assert_eq!(kept(&headers, &[]), []);
        let named = HeaderName::from_static("x-auth-key");
        assert_eq!(kept(&headers, &[named]), [("x-auth-key", b"hush".as_slice())], "the source says what it is");
    }

    #[test]
    fn what_tells_about_an_event_is_kept() {
        let names = [
            "content-type",
            "user-agent",
            "traceparent",
            "tracestate",
            "idempotency-key",
            "x-event-key",
            "x-request-id",
            "x-github-event",
            "x-github-delivery",
            "x-github-hook-id",
            "x-hub-signature-256",
            "stripe-signature",
            "x-shopify-webhook-id",
            "x-shopify-triggered-at",
            "x-shopify-shop-domain",
            "x-slack-request-timestamp",
            "x-slack-retry-reason",
            "webhook-id",
            "svix-timestamp",
        ];
        let mut headers = HeaderMap::new();
        for name in names {
            headers.insert(name, http::HeaderValue::from_static("told"));
        }
        assert_eq!(kept(&headers, &[]).len(), names.len());
    }

    #[test]
    fn headers_are_cut_at_their_budget_and_say_so() {
        let mut headers = HeaderMap::new();
        let value = http::HeaderValue::from_bytes(&[0xff; 8 * 1024]).expect("a value");
        for number in 0..60 {
            let name = http::HeaderName::try_from(format!("x-{number}")).expect("a name");
            headers.insert(name, value.clone());
        }
        let kept = kept(&headers, &[]);
        assert_eq!(kept.last(), Some(&(TRUNCATED, b"true".as_slice())));
        let size: usize = kept.iter().map(|(name, value)| name.len() + value.len()).sum();
        assert!(size <= STORED_HTTP_HEADERS_BYTES + 32, "{size}");
    }

    #[test]
    fn a_long_or_binary_content_type_is_left_out() {
        let of = |bytes: &[u8]| {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, http::HeaderValue::from_bytes(bytes).expect("a value"));
            content_type(&headers).to_owned()
        };
        assert_eq!(of(b"application/json; charset=utf-8"), "application/json; charset=utf-8");
        assert_eq!(of(b"text/\xff"), "");
        assert_eq!(of("x".repeat(300).as_bytes()), "");
        let mut twice = HeaderMap::new();
        twice.append(header::CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
        assert_eq!(content_type(&twice), "application/json");
        twice.append(header::CONTENT_TYPE, http::HeaderValue::from_static("text/plain"));
        assert_eq!(content_type(&twice), "", "the first is not better than the second");
    }
}
