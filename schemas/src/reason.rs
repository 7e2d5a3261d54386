//! Every reason code, spelled once: HTTP answers, metrics, dead letters and the documentation use these words.
//!
//! A closed list: a new refusal or a new way to die is a new line here and in `docs/reasons.md`.

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// Why something was refused, set aside or given up.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum ReasonCode { $($(#[$doc])* $name,)* }

        impl ReasonCode {
            /// Every reason, in the order of this file.
            pub const ALL: &'static [ReasonCode] = &[$(ReasonCode::$name,)*];

            /// The code as it is written everywhere.
            pub const fn as_str(self) -> &'static str {
                match self { $(ReasonCode::$name => $text,)* }
            }
        }
    };
}

reasons! {
    // At the door, before anything is known about the caller.
    /// The request cannot be parsed as HTTP we accept.
    BadRequest = "bad_request",
    /// A header that takes part in the signature or the identity stands twice.
    DuplicateHeader = "duplicate_header",
    /// No source of that name.
    UnknownSource = "unknown_source",
    /// Not POST.
    MethodNotAllowed = "method_not_allowed",
    /// The request took longer than its deadline.
    Timeout = "timeout",
    /// The body is larger than the source allows.
    BodyTooLarge = "body_too_large",
    /// A Content-Encoding other than identity.
    UnsupportedEncoding = "unsupported_encoding",
    /// More or larger headers than allowed.
    HeadersTooLarge = "headers_too_large",

    // Authentication. Outside they are all `signature_invalid`.
    /// What a caller is told of every failed authentication.
    SignatureInvalid = "signature_invalid",
    /// The signature header is absent.
    SignatureMissing = "signature_missing",
    /// The signature header does not follow the scheme's grammar.
    SignatureMalformed = "signature_malformed",
    /// The signature is well formed and does not match.
    SignatureMismatch = "signature_mismatch",
    /// The scheme signs a timestamp and there is none.
    TimestampMissing = "timestamp_missing",
    /// The signed timestamp is further in the past than the tolerance.
    TimestampTooOld = "timestamp_too_old",
    /// The signed timestamp is further in the future than the tolerance.
    TimestampTooNew = "timestamp_too_new",
    /// The signature matches under a secret of another source.
    WrongSecret = "wrong_secret",
    /// The signature matches a changed form of the body (re-serialised, trimmed).
    BodyModified = "body_modified",

    // After authentication.
    /// The source's own rate limit.
    RateLimited = "rate_limited",
    /// The bound on events in flight is reached.
    Overloaded = "overloaded",
    /// Kafka did not take the event in time.
    KafkaUnavailable = "kafka_unavailable",
    /// This process is shutting down.
    Draining = "draining",

    // Defects of an authentic event: accepted, then dead-lettered.
    /// No event id where the preset says there is one.
    NoIdentity = "no_identity",
    /// The id stands twice in the body, or is not a string or a whole number of at most 256 bytes.
    AmbiguousIdentity = "ambiguous_identity",
    /// The body is not JSON where the preset needs JSON.
    InvalidJson = "invalid_json",
    /// The body nests deeper than 64 levels.
    TooDeep = "too_deep",
    /// The occurred-at field is not a time in the declared unit.
    BadTimestamp = "bad_timestamp",

    // In the processor.
    /// The record is not a VerifiedEvent this build can read.
    Undecodable = "undecodable",
    /// The body does not satisfy the source's JSON Schema.
    SchemaViolation = "schema_violation",
    /// A handler gave the event up.
    HandlerRejected = "handler_rejected",
    /// A handler panicked.
    HandlerPanicked = "handler_panicked",
    /// A handler failed, and may succeed later.
    HandlerFailed = "handler_failed",
    /// A call to another service failed in a way that may pass: no connection, no answer in time, 408, 429, 5xx.
    CallFailed = "call_failed",
    /// Another service refused a call for good: 400, 401, 403, 404, 410, 422.
    CallRefused = "call_refused",
    /// Every attempt failed.
    AttemptsExhausted = "attempts_exhausted",
    /// Too many events are parked.
    ParkOverflow = "park_overflow",
    /// The record of an event that waited is not in its topic any more.
    RecordLost = "record_lost",
    /// A torn transaction had ended it without emitting it, and had emitted a later event of its resource.
    Overtaken = "overtaken",
    /// Processing this record killed the process again and again.
    Poison = "poison",
}

impl ReasonCode {
    /// The reason of that spelling.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|reason| reason.as_str() == text)
    }
}

impl std::fmt::Display for ReasonCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_unique_and_reads_back() {
        for reason in ReasonCode::ALL {
            assert_eq!(ReasonCode::parse(reason.as_str()), Some(*reason));
        }
    }
}
