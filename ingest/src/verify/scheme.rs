//! A source's scheme, ready to use: grammar and template parsed, header names checked, secrets keyed.
//!
//! The algorithm, the headers and the signed text come from the configuration alone. Nothing a request says can
//! choose among them, except which of the scheme's families of headers it uses, and then it has to use one whole.

use http::{HeaderMap, HeaderName};
use runtime::config;
use schemas::ReasonCode;
use schemas::presets::{Algorithm, Encoding};

use super::digest::{Digest, Key};
use super::grammar::{Grammar, SIGNATURES_MAX};
use super::template::Template;
use super::timestamp;
use super::{SchemeError, Verified};

/// How a source signs.
#[derive(Debug, Clone)]
pub struct Scheme {
    families: Vec<Family>,
    algorithm: Algorithm,
    encoding: Encoding,
    grammar: Grammar,
    template: Template,
    keys: Vec<Key>,
}

/// Headers that belong together (`webhook-*`, `svix-*`).
#[derive(Debug, Clone)]
struct Family {
    signature: HeaderName,
    timestamp: Option<HeaderName>,
    id: Option<HeaderName>,
}

/// What a request claims: its signatures, and what they are said to cover beside the body.
#[derive(Clone, Copy)]
pub struct Claim<'a> {
    family: usize,
    signatures: [Digest; SIGNATURES_MAX],
    count: usize,
    timestamp: Option<(&'a str, i64)>,
    id: &'a [u8],
}

impl Claim<'_> {
    /// The timestamp it is said to be signed with, seconds since the epoch.
    pub fn signed_at_s(&self) -> Option<i64> {
        self.timestamp.map(|(_, seconds)| seconds)
    }
}

impl Scheme {
    /// Prepares a scheme and its secrets.
    pub fn new<'a>(scheme: &config::Scheme, secrets: impl Iterator<Item = &'a [u8]>) -> Result<Self, SchemeError> {
        let grammar = Grammar::parse(&scheme.format)?;
        let template = Template::parse(&scheme.signed)?;
        let own_timestamp = !scheme.timestamp_headers.is_empty();
        if template.has_timestamp() != (own_timestamp || grammar.has_timestamp()) {
            return Err(SchemeError::Timestamp);
        }
        if template.has_id() == scheme.id_headers.is_empty() {
            return Err(SchemeError::Id);
        }
        let mut families = Vec::with_capacity(scheme.headers.len());
        for (number, signature) in scheme.headers.iter().enumerate() {
            families.push(Family {
                signature: header(signature)?,
                timestamp: scheme.timestamp_headers.get(number).map(|name| header(name)).transpose()?,
                id: scheme.id_headers.get(number).map(|name| header(name)).transpose()?,
            });
        }
        let keys: Option<Vec<Key>> = secrets.map(|secret| Key::new(scheme.algorithm, secret)).collect();
        let keys = keys.filter(|keys| !keys.is_empty()).ok_or(SchemeError::Secret)?;
        if families.is_empty() {
            return Err(SchemeError::Headers);
        }
        Ok(Self { families, algorithm: scheme.algorithm, encoding: scheme.encoding, grammar, template, keys })
    }

    /// Whether the signature covers a timestamp.
    pub fn signs_timestamp(&self) -> bool {
        self.template.has_timestamp()
    }

    /// Whether the signature covers this header.
    pub fn signs_header(&self, name: &HeaderName) -> bool {
        let is_signed_id = |family: &Family| self.template.has_id() && family.id.as_ref() == Some(name);
        self.families.iter().any(|family| is_signed_id(family) || family.timestamp.as_ref() == Some(name))
    }

    /// The headers that take part in the signature.
    pub fn headers(&self) -> impl Iterator<Item = &HeaderName> {
        let families = self.families.iter();
        families.flat_map(|family| [Some(&family.signature), family.timestamp.as_ref(), family.id.as_ref()]).flatten()
    }

    /// The headers in which a comma can only come from two headers joined into one on the way.
    pub fn headers_without_comma(&self) -> impl Iterator<Item = &HeaderName> {
        let signatures = self.families.iter().map(|family| &family.signature);
        let timestamps = self.families.iter().filter_map(|family| family.timestamp.as_ref());
        signatures.filter(|_| self.grammar.has_no_comma()).chain(timestamps)
    }

    /// Reads what a request claims from its headers alone: it may be refused before its body is read.
    pub fn claim<'a>(&self, headers: &'a HeaderMap) -> Result<Claim<'a>, ReasonCode> {
        let present = |family: &(usize, &Family)| headers.contains_key(&family.1.signature);
        let (number, family) = self.families.iter().enumerate().find(present).ok_or(ReasonCode::SignatureMissing)?;
        let text = text_of(headers, &family.signature).ok_or(ReasonCode::SignatureMalformed)?;
        let items = self.grammar.read(text).map_err(|_| ReasonCode::SignatureMalformed)?;

        let mut claim =
            Claim { family: number, signatures: [Digest::EMPTY; SIGNATURES_MAX], count: 0, timestamp: None, id: b"" };
        let decoded = items.signatures().iter().filter_map(|s| Digest::decode(s, self.algorithm, self.encoding));
        for (place, digest) in claim.signatures.iter_mut().zip(decoded) {
            *place = digest;
            claim.count += 1;
        }
        if claim.count == 0 {
            return Err(ReasonCode::SignatureMalformed);
        }
        if self.template.has_timestamp() {
            let text = match &family.timestamp {
                Some(name) if !headers.contains_key(name) => None,
                Some(name) => Some(text_of(headers, name).ok_or(ReasonCode::SignatureMalformed)?),
                None => items.timestamp,
            };
            let text = text.ok_or(ReasonCode::TimestampMissing)?;
            let seconds = timestamp::parse(text).ok_or(ReasonCode::SignatureMalformed)?;
            claim.timestamp = Some((text, seconds));
        }
        if let Some(name) = family.id.as_ref().filter(|_| self.template.has_id()) {
            claim.id = headers.get(name).map(|value| value.as_bytes()).unwrap_or_default();
            let crosses = self.template.id_bounds().any(|bound| claim.id.contains(&bound));
            if claim.id.is_empty() || crosses {
                return Err(ReasonCode::SignatureMalformed);
            }
        }
        Ok(claim)
    }

    /// Finds the secret under which one of the claimed signatures is that of the body.
    pub fn find(&self, claim: &Claim<'_>, body: &[u8]) -> Option<Verified> {
        let secret = self.keys.iter().position(|key| self.matches(key, claim, body))?;
        Some(Verified { family: claim.family, secret, signed_at_s: claim.signed_at_s() })
    }

    /// Whether one of the claimed signatures is that of the body under some key.
    pub fn matches(&self, key: &Key, claim: &Claim<'_>, body: &[u8]) -> bool {
        let timestamp = claim.timestamp.map(|(text, _)| text.as_bytes()).unwrap_or_default();
        let digest = key.digest(self.template.pieces(timestamp, claim.id, body));
        let claimed = claim.signatures.get(..claim.count).unwrap_or_default();
        let found = claimed.iter().fold(subtle::Choice::from(0), |found, one| found | one.matches(&digest));
        bool::from(found)
    }

    /// The keyed secrets, in the order of the configuration.
    pub fn keys(&self) -> &[Key] {
        &self.keys
    }

    /// The same with a key that no configuration could set, for forgeries.
    #[cfg(test)]
    pub fn forging(mut self, secret: &[u8]) -> Self {
        self.keys = vec![Key::of_any(self.algorithm, secret)];
        self
    }

    /// The algorithm; a key of another scheme fits only when it is the same.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Header names and values that authenticate a body under the first secret, as the provider would send them.
    pub fn sign(&self, id: &str, timestamp_s: i64, body: &[u8]) -> Vec<(String, String)> {
        let (Some(family), Some(key)) = (self.families.first(), self.keys.first()) else {
            return Vec::new();
        };
        let timestamp = timestamp_s.to_string();
        let digest = key.digest(self.template.pieces(timestamp.as_bytes(), id.as_bytes(), body));
        let signature = self.grammar.write(&timestamp, &digest.encode(self.encoding));
        let mut headers = Vec::with_capacity(3);
        headers.extend(family.id.as_ref().map(|name| (name.to_string(), id.to_owned())));
        headers.extend(family.timestamp.as_ref().map(|name| (name.to_string(), timestamp)));
        headers.push((family.signature.to_string(), signature));
        headers
    }
}

fn header(name: &str) -> Result<HeaderName, SchemeError> {
    HeaderName::try_from(name).map_err(|_| SchemeError::HeaderName(name.to_owned()))
}

/// A header's text, when it is visible ASCII.
fn text_of<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}
