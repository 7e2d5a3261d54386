//! A secret: bytes that never print.
//!
//! The only way to the bytes is [`Secret::expose`]; `Debug` shows `***`. There is no `Display`, no `Serialize`, no `==`.

/// Bytes that never print.
#[derive(Clone)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// Wraps the decoded key bytes. The configuration has checked that they are not empty or blank.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// The bytes, for computing a MAC.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

/// Whether anybody could sign with these bytes: there are none, or only blanks and zeros. An HMAC fills a short key up
/// with zeros, so that a key of zeros is the empty key.
pub fn is_blank(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == 0 || byte.is_ascii_whitespace())
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}
