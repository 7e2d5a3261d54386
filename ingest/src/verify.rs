//! Step 2: is this request from who it claims to be from? Scheme data in, verdict out.
//!
//! Pure: no clock, no Kafka, no log. Every way to fail is a rejection; there is no outcome between the two, and a
//! [`Verified`] can be made nowhere else.

pub mod grammar;
pub mod template;
pub mod digest;
pub mod timestamp;
pub mod scheme;
pub mod diagnose;

use http::HeaderMap;
use schemas::ReasonCode;

use crate::source::Source;

/// The proof that a body is authentic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub struct Verified {
    family: usize,
    secret: usize,
    signed_at_s: Option<i64>,
}

impl Verified {
    /// Which of the scheme's families of headers was used.
    pub fn family(&self) -> usize {
        self.family
    }

    /// Which secret matched, from 0.
    pub fn secret(&self) -> usize {
        self.secret
    }

    /// The timestamp inside the signature, seconds since the epoch.
    pub fn signed_at_s(&self) -> Option<i64> {
        self.signed_at_s
    }
}

/// A scheme that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SchemeError {
    /// The signature header's grammar.
    #[error("`format = {0:?}` must hold {{signature}} once and {{timestamp}} at most once, with text between them")]
    Format(String),
    /// The signed text.
    #[error("`signed = {0:?}` must hold {{body}} once, and beside it only text, {{timestamp}} and {{id}}")]
    Signed(String),
    /// Timestamp given but not signed, or signed but not given.
    #[error("{{timestamp}} must stand in `signed`, and in `format` or a `timestamp_header`, or nowhere")]
    Timestamp,
    /// Id given but not signed, or signed but not given.
    #[error("{{id}} in `signed` and an `id_header` need each other")]
    Id,
    /// No signature header.
    #[error("there is no signature header")]
    Headers,
    /// A name that no header can have.
    #[error("{0:?} is not a header name")]
    HeaderName(String),
    /// No secret, or an empty one.
    #[error("there is no secret, or an empty one")]
    Secret,
}

/// Judges a request: its headers, its raw body, and the time.
pub fn verify(source: &Source, headers: &HeaderMap, body: &[u8], now_s: i64) -> Result<Verified, ReasonCode> {
    let claim = source.scheme.claim(headers)?;
    let verified = source.scheme.find(&claim, body).ok_or(ReasonCode::SignatureMismatch)?;
    // After the signature: only an authentic request is told to be late.
    if let Some(signed_at_s) = verified.signed_at_s {
        timestamp::check(signed_at_s, now_s, source.tolerance_s)?;
    }
    Ok(verified)
}

#[cfg(test)]
mod tests;
