//! The 128-bit hash under which the state knows an event or a resource.
//!
//! SHA-256 cut to 16 bytes over length-prefixed parts: no input can be made to collide with another source's,
//! and no part can borrow bytes from its neighbour.

use sha2::{Digest, Sha256};

/// The first 16 bytes of a SHA-256.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hash128(pub [u8; 16]);

impl std::fmt::Debug for Hash128 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

/// The hash of an event's identity within its source.
pub fn event_hash(source: &str, identity: &[u8]) -> Hash128 {
    hash_of(&[source.as_bytes(), identity])
}

/// The hash of a resource key.
pub fn resource_hash(key: &[u8]) -> Hash128 {
    hash_of(&[b"resource", key])
}

/// Identity bytes of an event known by its signed id.
pub fn by_id(event_id: &str) -> Vec<u8> {
    join(&[b"id", event_id.as_bytes()])
}

/// Identity bytes of an event whose id is not covered by the signature: the id alone proves nothing,
/// so the body's hash stands beside it and nobody can claim an id in advance.
pub fn by_id_and_body(event_id: &str, body: &[u8]) -> Vec<u8> {
    join(&[b"id+body", event_id.as_bytes(), &sha256(body)])
}

/// Identity bytes of an event known by its body alone.
pub fn by_body(body: &[u8]) -> Vec<u8> {
    join(&[b"body", &sha256(body)])
}

/// Identity bytes made of chosen parts of the body (`include` / `exclude`), already in a canonical form.
pub fn by_parts(canonical: &[u8]) -> Vec<u8> {
    join(&[b"parts", &sha256(canonical)])
}

/// SHA-256 of some bytes.
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

fn join(parts: &[&[u8]]) -> Vec<u8> {
    let mut out = Vec::with_capacity(parts.iter().map(|part| part.len() + 4).sum());
    for part in parts {
        out.extend_from_slice(&(part.len() as u32).to_be_bytes());
        out.extend_from_slice(part);
    }
    out
}

fn hash_of(parts: &[&[u8]]) -> Hash128 {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update((part.len() as u32).to_be_bytes());
        hasher.update(part);
    }
    let digest = hasher.finalize();
    let mut out = [0_u8; 16];
    for (to, from) in out.iter_mut().zip(digest.iter()) {
        *to = *from;
    }
    Hash128(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_the_published_vector() {
        let fixture = include_str!("../fixtures/identity.txt");
        for line in fixture.lines().filter(|line| !line.starts_with('#')) {
            let fields: Vec<&str> = line.split('\t').collect();
            let [source, event_id, expected] = fields.as_slice() else { panic!("a line of three fields: {line}") };
            assert_eq!(format!("{:?}", event_hash(source, &by_id(event_id))), *expected);
        }
    }

    #[test]
    fn parts_cannot_borrow_from_each_other() {
        assert_ne!(event_hash("ab", b"c"), event_hash("a", b"bc"));
        assert_ne!(by_id_and_body("a", b"b"), by_id_and_body("a", b"c"));
        assert_ne!(by_body(b"x"), by_parts(b"x"));
    }
}
