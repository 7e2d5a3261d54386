//! Step 1: the request itself. Which source it is for, whether its form is acceptable, and its body in one buffer.
//!
//! Cheap checks come first and nothing is believed: not a length, not an encoding, not a header that stands twice.
//! Until the signature holds a request may cost this much memory and time, and no more.

use std::sync::Arc;
use std::time::Duration;

use http::request::Parts;
use http::{HeaderMap, Method, Version, header};
use http_body_util::BodyExt;
use hyper::body::{Body, Bytes};
use schemas::ReasonCode;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::limits;
use crate::source::{Source, Sources};

/// Where webhooks arrive.
const PATH: &str = "/hooks/";

/// The source a request is for, whatever else is wrong with it.
pub fn source<'a>(parts: &Parts, sources: &'a Sources) -> Result<&'a Arc<Source>, ReasonCode> {
    let path = parts.uri.path();
    let name = path.strip_prefix(PATH).filter(|_| path.len() <= limits::PATH_BYTES_MAX);
    name.and_then(|name| sources.get(name)).ok_or(ReasonCode::UnknownSource)
}

/// Checks everything that can be told from the head of a request.
pub fn head(parts: &Parts, source: &Source) -> Result<(), ReasonCode> {
    if parts.method != Method::POST {
        return Err(ReasonCode::MethodNotAllowed);
    }
    check_size(&parts.headers)?;
    check_host(parts)?;
    let encodings = parts.headers.get_all(header::CONTENT_ENCODING);
    if encodings.iter().any(|value| !value.as_bytes().trim_ascii().eq_ignore_ascii_case(b"identity")) {
        return Err(ReasonCode::UnsupportedEncoding);
    }
    let stands_twice = |name| parts.headers.get_all(name).iter().nth(1).is_some();
    let has_comma = |name| parts.headers.get(name).is_some_and(|value| value.as_bytes().contains(&b','));
    if source.single_headers.iter().any(stands_twice) || source.uncombined_headers.iter().any(has_comma) {
        return Err(ReasonCode::DuplicateHeader);
    }
    match declared_length(&parts.headers)? {
        Some(length) if length > source.body_limit as u64 => Err(ReasonCode::BodyTooLarge),
        Some(_) | None => Ok(()),
    }
}

fn check_size(headers: &HeaderMap) -> Result<(), ReasonCode> {
    let mut total = 0_usize;
    for (name, value) in headers {
        let size = name.as_str().len() + value.len();
        total = total.saturating_add(size);
        if size > limits::HEADER_BYTES_MAX {
            return Err(ReasonCode::HeadersTooLarge);
        }
    }
    if headers.len() > limits::HEADERS_MAX || total > limits::HEADERS_BYTES_MAX {
        return Err(ReasonCode::HeadersTooLarge);
    }
    Ok(())
}

/// RFC 9112: an HTTP/1.1 request has one Host, any other has none or one.
fn check_host(parts: &Parts) -> Result<(), ReasonCode> {
    let hosts = parts.headers.get_all(header::HOST).iter().count();
    let least = usize::from(parts.version == Version::HTTP_11);
    if (least..=1).contains(&hosts) { Ok(()) } else { Err(ReasonCode::BadRequest) }
}

fn declared_length(headers: &HeaderMap) -> Result<Option<u64>, ReasonCode> {
    let Some(value) = headers.get(header::CONTENT_LENGTH) else { return Ok(None) };
    let text = value.to_str().ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    text.and_then(|text| text.parse().ok()).map(Some).ok_or(ReasonCode::BadRequest)
}

/// The memory that bodies may take up before it is known whether they are authentic.
#[derive(Debug, Clone)]
pub struct Room {
    /// What each body has for itself, bytes.
    own: usize,
    /// What all of them share beyond that.
    shared: Arc<Semaphore>,
}

impl Room {
    /// `own` bytes for each body, `shared` for what they have beyond that.
    pub fn new(own: usize, shared: usize) -> Self {
        Self { own, shared: Arc::new(Semaphore::new(shared)) }
    }

    /// Makes what was taken enough for a body of `size` bytes.
    fn take(&self, taken: &mut Option<OwnedSemaphorePermit>, size: usize) -> Result<(), ReasonCode> {
        let held = taken.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let missing = size.saturating_sub(self.own).saturating_sub(held);
        if missing == 0 {
            return Ok(());
        }
        let permits = u32::try_from(missing).map_err(|_| ReasonCode::BodyTooLarge)?;
        let more = Arc::clone(&self.shared).try_acquire_many_owned(permits).map_err(|_| ReasonCode::Overloaded)?;
        match taken {
            Some(taken) => taken.merge(more),
            None => *taken = Some(more),
        }
        Ok(())
    }
}

/// A body, and the room it takes up.
#[derive(Debug)]
pub struct Buffered {
    /// The bytes as they came.
    pub bytes: Bytes,
    _room: Option<OwnedSemaphorePermit>,
}

/// Reads a body of at most `limit` bytes. Room is taken as bytes arrive: a length that is only promised holds none.
pub async fn body<B>(body: &mut B, limit: usize, room: &Room, timeout: Duration) -> Result<Buffered, ReasonCode>
where
    B: Body<Data = Bytes> + Unpin,
{
    tokio::time::timeout(timeout, collect(body, limit, room)).await.unwrap_or(Err(ReasonCode::Timeout))
}

async fn collect<B>(body: &mut B, limit: usize, room: &Room) -> Result<Buffered, ReasonCode>
where
    B: Body<Data = Bytes> + Unpin,
{
    let mut taken: Option<OwnedSemaphorePermit> = None;
    let mut first = Bytes::new();
    let mut rest = Vec::new();
    while let Some(frame) = body.frame().await {
        // Trailers take part in nothing.
        let Ok(data) = frame.map_err(|_| ReasonCode::BadRequest)?.into_data() else { continue };
        if data.is_empty() {
            continue;
        }
        let size = first.len().max(rest.len()).saturating_add(data.len());
        if size > limit {
            return Err(ReasonCode::BodyTooLarge);
        }
        room.take(&mut taken, size)?;
        // Most bodies arrive in one piece, which is kept as it is.
        if first.is_empty() && rest.is_empty() {
            first = data;
            continue;
        }
        if rest.is_empty() {
            let promised = body.size_hint().exact().and_then(|left| usize::try_from(left).ok()).unwrap_or_default();
            rest.reserve_exact(size.saturating_add(promised).min(limit).min(limits::PROMISED_BYTES_MAX).max(size));
            rest.extend_from_slice(&first);
            first = Bytes::new();
        }
        rest.extend_from_slice(&data);
    }
    let bytes = if rest.is_empty() { first } else { Bytes::from(rest) };
    Ok(Buffered { bytes, _room: taken })
}

/// Reads what is left of a refused body and throws it away, within bounds, so that the caller sees the answer.
pub async fn discard<B>(mut body: B, places: Arc<Semaphore>)
where
    B: Body<Data = Bytes> + Unpin,
{
    let Ok(place) = places.try_acquire() else { return };
    let read = async {
        let mut left = limits::DISCARD_BYTES_MAX;
        while let Some(Ok(frame)) = body.frame().await {
            let size = frame.data_ref().map_or(0, Bytes::len);
            match left.checked_sub(size) {
                Some(rest) => left = rest,
                None => break,
            }
        }
    };
    // Whether it ended or ran out of time makes no difference.
    tokio::time::timeout(limits::DISCARD_TIMEOUT, read).await.unwrap_or_default();
    drop(place);
}

#[cfg(test)]
mod tests;
