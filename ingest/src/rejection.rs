//! What a caller is told when it is refused: the only place where a reason becomes an HTTP answer.
//!
//! One body per class, fixed at compile time: nothing of a request is echoed, and all failed authentications look
//! the same. The exact reason goes to the log and the metric.

use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Bytes;
use schemas::ReasonCode;

/// An answer to a class of refusals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Class {
    status: StatusCode,
    body: &'static str,
    retry_after_s: Option<u16>,
}

/// Writes a class down: status, reason, whether to try again, a sentence, and after how many seconds.
macro_rules! class {
    ($status:ident $number:literal, $reason:literal, $retry:literal, $title:literal, $after:expr) => {
        Class {
            status: StatusCode::$status,
            body: concat!(
                "{\"type\":\"urn:weir:problem:",
                $reason,
                "\",\"title\":\"",
                $title,
                "\",\"status\":",
                $number,
                ",\"reason\":\"",
                $reason,
                "\",\"retry\":",
                $retry,
                "}"
            ),
            retry_after_s: $after,
        }
    };
}

const BAD_REQUEST: Class = class!(BAD_REQUEST 400, "bad_request", "false", "The request is not one we accept.", None);
const DUPLICATE: Class =
    class!(BAD_REQUEST 400, "duplicate_header", "false", "A header that has to be single stands twice.", None);
const UNAUTHENTIC: Class =
    class!(UNAUTHORIZED 401, "signature_invalid", "false", "The request could not be authenticated.", None);
const UNKNOWN: Class = class!(NOT_FOUND 404, "unknown_source", "false", "There is nothing here.", None);
const METHOD: Class = class!(METHOD_NOT_ALLOWED 405, "method_not_allowed", "false", "Only POST is accepted.", None);
const TIMEOUT: Class = class!(REQUEST_TIMEOUT 408, "timeout", "true", "The request took too long to arrive.", None);
const BODY: Class = class!(PAYLOAD_TOO_LARGE 413, "body_too_large", "false", "The body is too large.", None);
const ENCODING: Class =
    class!(UNSUPPORTED_MEDIA_TYPE 415, "unsupported_encoding", "false", "The body must not be encoded.", None);
const HEADERS: Class = class!(
    REQUEST_HEADER_FIELDS_TOO_LARGE 431, "headers_too_large", "false", "The headers are too many or too large.", None
);
const LIMITED: Class = class!(TOO_MANY_REQUESTS 429, "rate_limited", "true", "Too many requests.", Some(1));
const OVERLOADED: Class = class!(SERVICE_UNAVAILABLE 503, "overloaded", "true", "Too much is under way.", Some(1));
const KAFKA: Class = class!(
    SERVICE_UNAVAILABLE 503, "kafka_unavailable", "true", "The event could not be stored in time.", Some(5)
);
const DRAINING: Class = class!(SERVICE_UNAVAILABLE 503, "draining", "true", "This process is shutting down.", Some(1));

fn class(reason: ReasonCode) -> Class {
    match reason {
        ReasonCode::BadRequest => BAD_REQUEST,
        ReasonCode::DuplicateHeader => DUPLICATE,
        ReasonCode::UnknownSource => UNKNOWN,
        ReasonCode::MethodNotAllowed => METHOD,
        ReasonCode::Timeout => TIMEOUT,
        ReasonCode::BodyTooLarge => BODY,
        ReasonCode::UnsupportedEncoding => ENCODING,
        ReasonCode::HeadersTooLarge => HEADERS,
        ReasonCode::SignatureInvalid
        | ReasonCode::SignatureMissing
        | ReasonCode::SignatureMalformed
        | ReasonCode::SignatureMismatch
        | ReasonCode::TimestampMissing
        | ReasonCode::TimestampTooOld
        | ReasonCode::TimestampTooNew
        | ReasonCode::WrongSecret
        | ReasonCode::BodyModified => UNAUTHENTIC,
        ReasonCode::RateLimited => LIMITED,
        ReasonCode::Overloaded => OVERLOADED,
        ReasonCode::Draining => DRAINING,
        ReasonCode::KafkaUnavailable
        // An event's defects are no refusals. Should one get here, the provider shall keep the event and try again.
        | ReasonCode::NoIdentity
        | ReasonCode::AmbiguousIdentity
        | ReasonCode::InvalidJson
        | ReasonCode::TooDeep
        | ReasonCode::BadTimestamp
        | ReasonCode::Undecodable
        | ReasonCode::SchemaViolation
        | ReasonCode::HandlerRejected
        | ReasonCode::HandlerPanicked
        | ReasonCode::HandlerFailed
        | ReasonCode::CallFailed
        | ReasonCode::CallRefused
        | ReasonCode::RecordLost
        | ReasonCode::Overtaken
        | ReasonCode::AttemptsExhausted
        | ReasonCode::ParkOverflow
        | ReasonCode::Poison => KAFKA,
    }
}

/// Whether a reason is a failed authentication.
pub fn is_unauthentic(reason: ReasonCode) -> bool {
    class(reason) == UNAUTHENTIC
}

/// The answer to a refused request.
pub fn response(reason: ReasonCode) -> Response<Full<Bytes>> {
    let class = class(reason);
    let mut response = Response::new(Full::new(Bytes::from_static(class.body.as_bytes())));
    *response.status_mut() = class.status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    if let Some(seconds) = class.retry_after_s {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    if class.status == StatusCode::METHOD_NOT_ALLOWED {
        headers.insert(header::ALLOW, HeaderValue::from_static("POST"));
    }
    response
}

/// The same as it goes over the wire, with other fields of the head, for a request that nobody could read.
pub fn on_the_wire(reason: ReasonCode, fields: &str) -> Vec<u8> {
    let Class { status, body, .. } = class(reason);
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\n{fields}content-type: application/problem+json\r\ncontent-length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;
    use serde_json::Value;

    use super::*;

    async fn told(reason: ReasonCode) -> (u16, Value, Response<Full<Bytes>>) {
        let response = response(reason);
        let body = response.body().clone().collect().await.expect("a body in memory").to_bytes();
        (response.status().as_u16(), serde_json::from_slice(&body).expect("JSON"), response)
    }

    #[tokio::test]
    async fn every_refusal_is_a_problem_document_of_its_class() {
        let cases = [
            (ReasonCode::BadRequest, 400, "bad_request"),
            (ReasonCode::DuplicateHeader, 400, "duplicate_header"),
            (ReasonCode::UnknownSource, 404, "unknown_source"),
            (ReasonCode::MethodNotAllowed, 405, "method_not_allowed"),
            (ReasonCode::Timeout, 408, "timeout"),
            (ReasonCode::BodyTooLarge, 413, "body_too_large"),
            (ReasonCode::UnsupportedEncoding, 415, "unsupported_encoding"),
            (ReasonCode::HeadersTooLarge, 431, "headers_too_large"),
            (ReasonCode::SignatureMissing, 401, "signature_invalid"),
            (ReasonCode::SignatureMalformed, 401, "signature_invalid"),
            (ReasonCode::SignatureMismatch, 401, "signature_invalid"),
            (ReasonCode::TimestampMissing, 401, "signature_invalid"),
            (ReasonCode::TimestampTooOld, 401, "signature_invalid"),
            (ReasonCode::TimestampTooNew, 401, "signature_invalid"),
            (ReasonCode::WrongSecret, 401, "signature_invalid"),
            (ReasonCode::BodyModified, 401, "signature_invalid"),
            (ReasonCode::RateLimited, 429, "rate_limited"),
            (ReasonCode::Overloaded, 503, "overloaded"),
            (ReasonCode::KafkaUnavailable, 503, "kafka_unavailable"),
            (ReasonCode::Draining, 503, "draining"),
        ];
        for (reason, status, told_reason) in cases {
            let (told_status, body, response) = told(reason).await;
            assert_eq!(told_status, status, "{reason}");
            assert_eq!(body["status"], status, "{reason}");
            assert_eq!(body["reason"], told_reason, "{reason}");
            assert_eq!(body["retry"], matches!(status, 408 | 429 | 503), "{reason}");
            assert!(body["title"].is_string() && body["type"].is_string(), "{reason}");
            assert_eq!(response.headers()[header::CONTENT_TYPE], "application/problem+json");
            assert_eq!(response.headers().contains_key(header::RETRY_AFTER), matches!(status, 429 | 503), "{reason}");
            assert_eq!(response.headers().contains_key(header::ALLOW), status == 405, "{reason}");
        }
    }

    #[tokio::test]
    async fn all_failed_authentications_look_the_same() {
        let (_, expected, _) = told(ReasonCode::SignatureInvalid).await;
        for reason in ReasonCode::ALL.iter().copied().filter(|reason| is_unauthentic(*reason)) {
            assert_eq!(told(reason).await.1, expected, "{reason}");
        }
    }

    #[test]
    fn nothing_but_load_gives_a_five_hundred() {
        for reason in ReasonCode::ALL {
            let status = response(*reason).status();
            assert!(!status.is_server_error() || status == StatusCode::SERVICE_UNAVAILABLE, "{reason}");
        }
    }
}
