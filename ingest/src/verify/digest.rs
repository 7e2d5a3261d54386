//! Keyed digests and their text: HMAC with SHA-1, SHA-256 or SHA-512, written in hexadecimal or base64.
//!
//! Comparison is in constant time and only between digests of full length: a prefix of a signature is no signature.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use runtime::secret::is_blank;
use schemas::presets::{Algorithm, Encoding};
use sha1::Sha1;
use sha2::{Sha256, Sha512};
use subtle::{Choice, ConstantTimeEq};

/// The longest digest, in bytes.
const BYTES_MAX: usize = 64;

/// A digest of 20, 32 or 64 bytes.
#[derive(Clone, Copy)]
pub struct Digest {
    bytes: [u8; BYTES_MAX],
    length: usize,
}

impl Digest {
    /// Zeros, to be overwritten.
    pub const EMPTY: Digest = Digest { bytes: [0; BYTES_MAX], length: 0 };

    fn new(bytes: &[u8]) -> Self {
        let mut digest = Self { length: bytes.len().min(BYTES_MAX), ..Self::EMPTY };
        for (to, from) in digest.bytes.iter_mut().zip(bytes) {
            *to = *from;
        }
        digest
    }

    fn as_slice(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }

    /// Whether both are the same; the time it takes does not depend on where they differ.
    pub fn matches(&self, other: &Digest) -> Choice {
        self.as_slice().ct_eq(other.as_slice())
    }

    /// Reads a digest's text: exactly as many bytes as the algorithm gives, canonical, nothing around it.
    pub fn decode(text: &str, algorithm: Algorithm, encoding: Encoding) -> Option<Self> {
        let length = length(algorithm);
        // A longer text cannot be one; this bounds the work.
        if text.len() > 2 * BYTES_MAX {
            return None;
        }
        let mut bytes = [0_u8; 2 * BYTES_MAX];
        let decoded = match encoding {
            Encoding::Hex => {
                let target = bytes.get_mut(..text.len() / 2)?;
                hex::decode_to_slice(text, target).ok().map(|()| text.len() / 2)?
            }
            Encoding::Base64 => STANDARD.decode_slice(text, &mut bytes).ok()?,
        };
        (decoded == length).then(|| Self::new(bytes.get(..length).unwrap_or_default()))
    }

    /// Writes a digest's text.
    pub fn encode(&self, encoding: Encoding) -> String {
        match encoding {
            Encoding::Hex => hex::encode(self.as_slice()),
            Encoding::Base64 => STANDARD.encode(self.as_slice()),
        }
    }
}

fn length(algorithm: Algorithm) -> usize {
    match algorithm {
        Algorithm::Sha1 => 20,
        Algorithm::Sha256 => 32,
        Algorithm::Sha512 => 64,
    }
}

/// A secret that has already gone through the key schedule, so that a request pays for its body alone.
/// It never prints.
#[derive(Clone)]
pub enum Key {
    /// HMAC-SHA1.
    Sha1(Box<Hmac<Sha1>>),
    /// HMAC-SHA256.
    Sha256(Box<Hmac<Sha256>>),
    /// HMAC-SHA512.
    Sha512(Box<Hmac<Sha512>>),
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

impl Key {
    /// Prepares a secret. `None` for one that is blank: what is signed with it proves nothing.
    pub fn new(algorithm: Algorithm, secret: &[u8]) -> Option<Self> {
        (!is_blank(secret)).then(|| Self::of_any(algorithm, secret))
    }

    /// Prepares whatever is given.
    pub(super) fn of_any(algorithm: Algorithm, secret: &[u8]) -> Self {
        match algorithm {
            Algorithm::Sha1 => Self::Sha1(keyed(secret)),
            Algorithm::Sha256 => Self::Sha256(keyed(secret)),
            Algorithm::Sha512 => Self::Sha512(keyed(secret)),
        }
    }

    /// The digest of the parts, one after the other.
    pub fn digest<'a>(&self, parts: impl Iterator<Item = &'a [u8]>) -> Digest {
        match self {
            Self::Sha1(mac) => compute((**mac).clone(), parts),
            Self::Sha256(mac) => compute((**mac).clone(), parts),
            Self::Sha512(mac) => compute((**mac).clone(), parts),
        }
    }
}

fn keyed<M: Mac + KeyInit>(secret: &[u8]) -> Box<M> {
    Box::new(<M as KeyInit>::new_from_slice(secret).expect("an HMAC takes a key of any length"))
}

fn compute<'a, M: Mac>(mut mac: M, parts: impl Iterator<Item = &'a [u8]>) -> Digest {
    for part in parts {
        mac.update(part);
    }
    Digest::new(&mac.finalize().into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_those_of_rfc_4231_and_rfc_2202() {
        let cases = [
            (Algorithm::Sha1, "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79"),
            (Algorithm::Sha256, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"),
            (
                Algorithm::Sha512,
                "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea2505549758bf75c05a994a6d034f65f8f0e6fd\
                 caeab1a34d4a6b4b636e070a38bce737",
            ),
        ];
        for (algorithm, expected) in cases {
            let key = Key::new(algorithm, b"Jefe").expect("a secret");
            let digest = key.digest([b"what do ya want ".as_slice(), b"for nothing?"].into_iter());
            assert_eq!(digest.encode(Encoding::Hex), expected);
        }
    }

    #[test]
    fn an_empty_or_blank_secret_is_none() {
        for secret in ["", " ", "\n", " \t\r\n", "\0", "\0\0\0\0", "\0 \0"] {
            assert!(Key::new(Algorithm::Sha256, secret.as_bytes()).is_none());
        }
        assert!(Key::new(Algorithm::Sha256, b"\0a").is_some());
    }

    #[test]
    fn only_the_whole_canonical_text_is_a_digest() {
        let digest = Digest::new(&[7; 32]);
        let hex = digest.encode(Encoding::Hex);
        let base64 = digest.encode(Encoding::Base64);
        let decode = |text: &str, encoding| Digest::decode(text, Algorithm::Sha256, encoding);
        assert!(decode(&hex, Encoding::Hex).is_some_and(|d| bool::from(d.matches(&digest))));
        assert!(decode(&hex.to_uppercase(), Encoding::Hex).is_some_and(|d| bool::from(d.matches(&digest))));
        assert!(decode(&base64, Encoding::Base64).is_some_and(|d| bool::from(d.matches(&digest))));
        for (text, encoding) in [(&hex, Encoding::Hex), (&base64, Encoding::Base64)] {
            for end in 0..text.len() {
                assert!(decode(text.get(..end).unwrap_or_default(), encoding).is_none(), "{end}");
            }
            for wrong in ["00", "0", " ", "\n", "=", "zz", "\u{e9}"] {
                assert!(decode(&format!("{text}{wrong}"), encoding).is_none(), "{wrong:?}");
                assert!(decode(&format!("{wrong}{text}"), encoding).is_none(), "{wrong:?}");
            }
        }
        // 0x07 repeated ends in "wc=": other trailing bits decode to the same bytes in a lax decoder.
        let loose = base64.replace("c=", "d=");
        assert!(decode(&loose, Encoding::Base64).is_none());
        assert!(decode(&base64.replace('=', ""), Encoding::Base64).is_none());
    }

    #[test]
    fn digests_of_different_length_never_match() {
        let (short, long) = (Digest::new(&[1; 20]), Digest::new(&[1; 32]));
        assert!(!bool::from(short.matches(&long)));
        assert!(!bool::from(Digest::EMPTY.matches(&long)));
    }

    #[test]
    fn a_key_never_prints() {
        let key = Key::new(Algorithm::Sha256, b"secret").expect("a secret");
        assert_eq!(format!("{key:?}"), "***");
    }
}
