//! What the tests of this crate share: sources from TOML, requests, bodies in pieces, and a log that obeys.
//!
//! Nothing here is part of the product.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::path::Path;
use std::pin::Pin;
use std::sync::Mutex;
use std::task::{Context, Poll};

use http::{HeaderMap, HeaderName, HeaderValue};
use hyper::body::{Body, Bytes, Frame};
use runtime::config::{self, Config};
use schemas::VerifiedEvent;

use crate::produce::{Ack, AppendError, Log, Record};
use crate::source::{Source, Sources};

/// A time that all tests agree on.
pub const NOW_S: i64 = 1_790_000_000;

/// Secrets of the sources below, as they stand in the configuration.
pub const SECRET: &str = "correct horse battery staple";
pub const WHSEC: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// One source of each preset, and a few that set more themselves.
pub const TOML: &str = r#"
[[source]]
name = "github"
provider = "github"
secrets = [{ value = "correct horse battery staple" }, { value = "the secret before that one" }]
[[source]]
name = "stripe"
provider = "stripe"
secrets = [{ value = "correct horse battery staple" }]
[[source]]
name = "shopify"
provider = "shopify"
secrets = [{ value = "correct horse battery staple" }]
[[source]]
name = "slack"
provider = "slack"
secrets = [{ value = "correct horse battery staple" }]
[[source]]
name = "standard"
provider = "standard-webhooks"
secrets = [{ value = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw" }]
[[source]]
name = "svix"
provider = "svix"
secrets = [{ value = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw" }]
[[source]]
name = "warehouse"
provider = "hmac"
secrets = [{ value = "correct horse battery staple" }]
body_limit = "4KiB"
resource = "/parcel/number"
resource_type = "parcel"
occurred_at = { pointer = "/at", unit = "ms" }
[source.scheme]
header = "X-Warehouse-Signature"
format = "t={timestamp},v1={signature}"
signed = "{timestamp}.{body}"
[[source]]
name = "opaque"
provider = "hmac"
secrets = [{ value = "correct horse battery staple" }]
dedup = "body"
[source.scheme]
header = "X-Signature"
format = "{signature}"
signed = "{body}"
[[source]]
name = "parts"
provider = "hmac"
secrets = [{ value = "correct horse battery staple" }]
dedup = { include = ["/order", "/state"] }
dedup_window = "1s"
[source.scheme]
algorithm = "sha512"
encoding = "base64"
header = "X-Signature"
format = "{signature}"
signed = "{body}"
[[source]]
name = "other"
provider = "stripe"
secrets = [{ value = "a secret of somebody else" }]
"#;

/// A configuration with these sources.
pub fn config(toml: &str) -> Config {
    let loaded = config::parse(toml, Path::new("weir.toml"), std::iter::empty());
    loaded.unwrap_or_else(|problems| panic!("{problems}")).config
}

/// The sources of a configuration.
pub fn sources(toml: &str) -> Sources {
    Sources::new(&config(toml).sources).expect("sources that can be used")
}

/// One of the sources of [`TOML`], configured and prepared.
pub fn source(name: &str) -> (config::Source, Source) {
    let config = config(TOML).sources.into_iter().find(|source| source.name == name).expect("a source of ours");
    let source = Source::new(&config).expect("a source that can be used");
    (config, source)
}

/// Headers that authenticate a body.
pub fn signed(source: &config::Source, id: &str, at_s: i64, body: &[u8]) -> HeaderMap {
    headers(crate::sign::sign(source, id, at_s, body))
}

/// A header map of pairs.
pub fn headers(pairs: impl IntoIterator<Item = (String, String)>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        let value = HeaderValue::from_bytes(value.as_bytes()).expect("a header value");
        headers.append(HeaderName::try_from(name).expect("a header name"), value);
    }
    headers
}

/// Sets a header.
pub fn with(mut headers: HeaderMap, name: &str, value: &[u8]) -> HeaderMap {
    let value = HeaderValue::from_bytes(value).expect("a header value");
    headers.insert(HeaderName::try_from(name).expect("a header name"), value);
    headers
}

/// A body that arrives in pieces, and may never end.
pub struct Pieces {
    pieces: VecDeque<Bytes>,
    is_endless: bool,
}

impl Pieces {
    /// These pieces, and then the end.
    pub fn new<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Self {
        Self { pieces: pieces.into_iter().map(Bytes::copy_from_slice).collect(), is_endless: false }
    }

    /// These pieces, and then nothing for ever.
    pub fn stalled<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Self {
        Self { is_endless: true, ..Self::new(pieces) }
    }
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.pieces.pop_front() {
            Some(piece) => Poll::Ready(Some(Ok(Frame::data(piece)))),
            None if self.is_endless => Poll::Pending,
            None => Poll::Ready(None),
        }
    }
}

/// How the log answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    Ack,
    Full,
    Away,
    Silent,
}

/// A log in memory.
#[derive(Debug)]
pub struct FakeLog {
    mood: Mutex<Mood>,
    records: Mutex<Vec<Record>>,
}

impl FakeLog {
    /// A log that takes everything.
    pub fn new() -> Self {
        Self { mood: Mutex::new(Mood::Ack), records: Mutex::new(Vec::new()) }
    }

    /// Changes how it answers.
    pub fn set(&self, mood: Mood) {
        *self.mood.lock().expect("not poisoned") = mood;
    }

    /// What it took.
    pub fn records(&self) -> Vec<Record> {
        self.records.lock().expect("not poisoned").clone()
    }

    /// The one thing it took.
    pub fn only(&self) -> Record {
        let mut records = self.records();
        assert_eq!(records.len(), 1, "{} records", records.len());
        records.remove(0)
    }
}

impl Log for FakeLog {
    async fn append(&self, record: Record) -> Result<Ack, AppendError> {
        let mood = *self.mood.lock().expect("not poisoned");
        match mood {
            Mood::Full => Err(AppendError::Full),
            Mood::Away => Err(AppendError::Unavailable),
            Mood::Ack | Mood::Silent => {
                let ack = {
                    let mut records = self.records.lock().expect("not poisoned");
                    records.push(record.clone());
                    Ack { partition: record.partition, offset: records.len() as i64 - 1 }
                };
                if mood == Mood::Silent {
                    std::future::pending::<()>().await;
                }
                Ok(ack)
            }
        }
    }
}

/// Reads a record back.
pub fn decode(record: &Record) -> VerifiedEvent<'_> {
    VerifiedEvent::decode(&record.value).expect("a record of ours")
}
