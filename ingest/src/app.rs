//! The one place where the four steps of the door meet: accept, verify, open, append.
//!
//! A request ends in exactly one of three ways: an event with its answer 200, a handshake, or a refusal. Each is
//! counted once. No step knows the next one, and none of them can be left out: each needs what the last one gave.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, Version, header};
use http_body_util::Full;
use hyper::body::{Body, Bytes};
use runtime::clock::now_ms;
use runtime::shutdown::Shutdown;
use schemas::ReasonCode;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::accept::{self, Buffered, Room};
use crate::envelope::{self, Content, Envelope};
use crate::limits::{self, Limits};
use crate::metrics;
use crate::produce::{self, Ack, AppendError, Log};
use crate::rejection;
use crate::source::{Source, Sources};
use crate::verify::diagnose::diagnose;
use crate::verify::{self, Verified};

/// Answers requests.
pub struct App<L> {
    sources: ArcSwap<Sources>,
    log: L,
    partitions: i32,
    shutdown: Shutdown,
    is_closed: AtomicBool,
    requests: Semaphore,
    bodies: Room,
    body_timeout: Duration,
    discards: Arc<Semaphore>,
    diagnoses: PerSecond,
}

/// What a request came to.
enum Outcome {
    Accepted(Envelope),
    Handshake(String),
}

impl<L: Log> App<L> {
    /// An app that writes into `log`, whose topic has `partitions` partitions.
    pub fn new(sources: Sources, log: L, partitions: i32, shutdown: Shutdown) -> Self {
        Self::limited(sources, log, partitions, shutdown, Limits::default())
    }

    /// The same with other limits.
    pub fn limited(sources: Sources, log: L, partitions: i32, shutdown: Shutdown, limits: Limits) -> Self {
        Self {
            sources: ArcSwap::from_pointee(sources),
            log,
            partitions,
            shutdown,
            is_closed: AtomicBool::new(false),
            requests: Semaphore::new(limits.requests),
            bodies: Room::new(limits::BODY_BYTES_OWN, limits::BODIES_BYTES_MAX),
            body_timeout: limits.body,
            discards: Arc::new(Semaphore::new(limits::DISCARDS_MAX)),
            diagnoses: PerSecond::new(limits::DIAGNOSES_PER_SECOND),
        }
    }

    /// Replaces the sources. Requests under way keep those they began with.
    pub fn replace(&self, sources: Sources) {
        self.sources.store(Arc::new(sources));
    }

    /// Refuses every request from now on, because the process ends. Before, while it drains, they are served.
    pub fn close(&self) {
        self.is_closed.store(true, Ordering::Relaxed);
    }

    /// The names of the sources as they are now.
    pub fn source_names(&self) -> Vec<String> {
        self.sources.load().iter().map(|source| source.name.clone()).collect()
    }

    /// Answers a request.
    pub async fn answer<B>(&self, request: Request<B>) -> Result<Response<Full<Bytes>>, Infallible>
    where
        B: Body<Data = Bytes> + Unpin + Send + 'static,
    {
        let began = Instant::now();
        let (parts, mut body) = request.into_parts();
        let sources = self.sources.load_full();
        let source = accept::source(&parts, &sources);
        let outcome = match &source {
            Ok(source) => self.receive(&sources, source, &parts, &mut body, began).await,
            Err(reason) => Err(*reason),
        };
        let mut response = match outcome {
            Ok(Outcome::Accepted(envelope)) => accepted(&envelope),
            Ok(Outcome::Handshake(echo)) => echoed(echo),
            Err(reason) => {
                metrics::refused(source.ok().map(|source| source.name.as_str()), reason);
                if !body.is_end_stream() {
                    tokio::spawn(accept::discard(body, Arc::clone(&self.discards)));
                }
                rejection::response(reason)
            }
        };
        if self.shutdown.is_triggered() && parts.version < Version::HTTP_2 {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        Ok(response)
    }

    async fn receive<B>(
        &self,
        sources: &Sources,
        source: &Source,
        parts: &Parts,
        body: &mut B,
        began: Instant,
    ) -> Result<Outcome, ReasonCode>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        if self.is_closed.load(Ordering::Relaxed) {
            return Err(ReasonCode::Draining);
        }
        // One connection may carry many requests: this bounds them over all connections, authentic or not.
        let _place = self.requests.try_acquire().map_err(|_| ReasonCode::Overloaded)?;
        accept::head(parts, source)?;
        // What no body could make authentic is not read.
        source
            .scheme
            .claim(&parts.headers)
            .map(drop)
            .inspect_err(|reason| self.tell(source, &parts.headers, *reason))?;
        let body = accept::body(body, source.body_limit, &self.bodies, self.body_timeout).await?;
        let verified = self.verify(sources, source, parts, &body)?;
        source.metrics.verified(verified.secret());
        let envelope = match envelope::open(source, &parts.headers, &body.bytes, &verified) {
            Content::Event(envelope) => *envelope,
            Content::Handshake(echo) => {
                source.metrics.handshake();
                return Ok(Outcome::Handshake(echo));
            }
        };
        let ack = self.append(source, parts, &body, &envelope, &verified, began).await?;
        source.metrics.accepted(body.bytes.len(), began.elapsed().as_secs_f64(), envelope.defect);
        tracing::debug!(
            source = source.name,
            event_id = ?envelope.event_id,
            partition = ack.partition,
            offset = ack.offset,
            reason = envelope.defect.map(ReasonCode::as_str),
            "event accepted"
        );
        Ok(Outcome::Accepted(envelope))
    }

    fn verify(
        &self,
        sources: &Sources,
        source: &Source,
        parts: &Parts,
        body: &Buffered,
    ) -> Result<Verified, ReasonCode> {
        verify::verify(source, &parts.headers, &body.bytes, now_ms().div_euclid(1000)).map_err(|reason| {
            let reason = if reason == ReasonCode::SignatureMismatch && self.diagnoses.is_free() {
                diagnose(sources, source, &parts.headers, &body.bytes)
            } else {
                reason
            };
            self.tell(source, &parts.headers, reason);
            reason
        })
    }

    /// Tells the operator about a failed authentication: the caller only learns that it failed.
    fn tell(&self, source: &Source, headers: &HeaderMap, reason: ReasonCode) {
        if rejection::is_unauthentic(reason) && self.diagnoses.take() {
            let skew_s = skew_s(source, headers, reason, now_ms().div_euclid(1000));
            tracing::warn!(source = source.name, reason = reason.as_str(), skew_s, "a request was not authentic");
        }
    }

    async fn append(
        &self,
        source: &Source,
        parts: &Parts,
        body: &Buffered,
        envelope: &Envelope,
        verified: &Verified,
        began: Instant,
    ) -> Result<Ack, ReasonCode> {
        let record =
            produce::record(source, &parts.headers, &body.bytes, envelope, verified, now_ms(), self.partitions);
        // At the deadline the provider is told to come back; the record stays in flight.
        let deadline = (began + source.deadline).max(Instant::now() + limits::APPEND_TIMEOUT_MIN);
        match tokio::time::timeout_at(deadline, self.log.append(record)).await {
            Ok(Ok(ack)) => Ok(ack),
            Ok(Err(AppendError::Full)) => Err(ReasonCode::Overloaded),
            Ok(Err(AppendError::Unavailable)) | Err(_) => Err(ReasonCode::KafkaUnavailable),
        }
    }
}

/// How far the provider's clock seems to be ahead of ours, when a request was refused for its timestamp: many that
/// agree are a wrong clock, here or there.
fn skew_s(source: &Source, headers: &HeaderMap, reason: ReasonCode, now_s: i64) -> Option<i64> {
    if !matches!(reason, ReasonCode::TimestampTooOld | ReasonCode::TimestampTooNew) {
        return None;
    }
    let signed_at_s = source.scheme.claim(headers).ok()?.signed_at_s()?;
    Some(signed_at_s.saturating_sub(now_s))
}

fn accepted(envelope: &Envelope) -> Response<Full<Bytes>> {
    let event_id = serde_json::Value::from(envelope.event_id.as_str());
    content("application/json", format!(r#"{{"status":"accepted","event_id":{event_id}}}"#))
}

/// The echo of a handshake: text that no browser shall take for anything else.
fn echoed(echo: String) -> Response<Full<Bytes>> {
    let mut response = content("text/plain; charset=utf-8", echo);
    let options = HeaderName::from_static("x-content-type-options");
    response.headers_mut().insert(options, HeaderValue::from_static("nosniff"));
    response
}

fn content(content_type: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// So many a second, and no more. The second and the count share a word, so that no two threads disagree.
#[derive(Debug)]
struct PerSecond {
    limit: u32,
    state: AtomicU64,
}

impl PerSecond {
    fn new(limit: u32) -> Self {
        Self { limit, state: AtomicU64::new(0) }
    }

    fn now() -> u64 {
        u64::try_from(now_ms().div_euclid(1000)).unwrap_or_default() & 0xffff_ffff
    }

    fn used(state: u64, now: u64) -> u64 {
        if state >> 32 == now { state & 0xffff_ffff } else { 0 }
    }

    /// Whether one is left.
    fn is_free(&self) -> bool {
        Self::used(self.state.load(Ordering::Relaxed), Self::now()) < u64::from(self.limit)
    }

    /// Takes one.
    fn take(&self) -> bool {
        let now = Self::now();
        let limit = u64::from(self.limit);
        let next = |state| Some(Self::used(state, now)).filter(|used| *used < limit).map(|used| now << 32 | (used + 1));
        self.state.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).is_ok()
    }
}

#[cfg(test)]
mod tests;
