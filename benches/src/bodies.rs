//! Requests as GitHub would send them: 1 KiB bodies, signed once, each sent under delivery ids of its own.
//!
//! The signature does not cover the id, so a request is a template into which the id is written.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::events::mix;

/// What provider, door and bounds share.
pub const SECRET: &str = "weir-bench-secret";
/// Bytes of each body.
pub const BODY_BYTES: usize = 1024;
const BODIES: u64 = 1_000;
/// Of a delivery id; what follows is `<tag>-<slot>`.
const ID_PREFIX: &str = "72d3162e-cc78-11e3-";

/// Signed requests.
#[derive(Debug)]
pub struct Requests {
    templates: Vec<Vec<u8>>,
    id_at: usize,
}

impl Requests {
    /// A thousand of them, for `POST path`.
    pub fn new(path: &str, seed: u64) -> Self {
        let mut templates = Vec::new();
        let mut id_at = 0;
        for number in 0..BODIES {
            let body = body(number, seed);
            let mut head = format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nX-GitHub-Delivery: {ID_PREFIX}");
            // Every head is the same up to here.
            id_at = head.len();
            head.push_str(&format!(
                "0000-000000000000\r\nX-GitHub-Event: push\r\nX-Hub-Signature-256: sha256={}\r\n\
                 Content-Type: application/json\r\nUser-Agent: GitHub-Hookshot/044aadd\r\nContent-Length: {}\r\n\r\n",
                signature(body.as_bytes()),
                body.len(),
            ));
            templates.push([head.as_bytes(), body.as_bytes()].concat());
        }
        Self { templates, id_at }
    }

    /// Writes the request of a slot into `buffer`.
    pub fn write(&self, tag: u16, slot: u64, buffer: &mut Vec<u8>) {
        let template = &self.templates[(mix(slot) % BODIES) as usize];
        buffer.clear();
        buffer.extend_from_slice(template);
        let id = format!("{tag:04x}-{slot:012x}");
        buffer[self.id_at..self.id_at + id.len()].copy_from_slice(id.as_bytes());
    }
}

/// Tag and slot of a delivery id.
pub fn slot_of(id: &str) -> Option<(u16, u64)> {
    let (tag, slot) = id.strip_prefix(ID_PREFIX)?.split_once('-')?;
    Some((u16::from_str_radix(tag, 16).ok()?, u64::from_str_radix(slot, 16).ok()?))
}

/// The hex HMAC of a body.
pub fn signature(body: &[u8]) -> String {
    let mut mac = key();
    mac.update(body);
    hex::encode(mac.finalize().into_bytes())
}

/// The keyed hash of the secret.
pub fn key() -> Hmac<Sha256> {
    Hmac::new_from_slice(SECRET.as_bytes()).expect("an HMAC takes a key of any length")
}

fn body(number: u64, seed: u64) -> String {
    let hash = |salt: u64| format!("{:016x}{:016x}{:08x}", mix(seed ^ number ^ salt), mix(number ^ salt), salt as u32);
    let (before, after) = (hash(1 << 40), hash(2 << 40));
    let mut body = format!(
        "{{\"ref\":\"refs/heads/main\",\"before\":\"{before}\",\"after\":\"{after}\",\"repository\":{{\"id\":{},\
         \"name\":\"Hello-World\",\"full_name\":\"octocat/Hello-World\",\"private\":false,\"owner\":{{\"login\":\
         \"octocat\",\"id\":1,\"type\":\"User\",\"site_admin\":false}},\"html_url\":\
         \"https://github.com/octocat/Hello-World\",\"default_branch\":\"main\"}},\"pusher\":{{\"name\":\"octocat\"}},\
         \"sender\":{{\"login\":\"octocat\",\"id\":1}},\"head_commit\":{{\"id\":\"{after}\",\"message\":\"Fix all the \
         bugs\",\"added\":[\"a.txt\"],\"removed\":[],\"modified\":[\"README.md\"]}},\"pad\":\"",
        1_296_269 + number,
    );
    let end = "\"}";
    let room = BODY_BYTES.saturating_sub(body.len() + end.len());
    body.extend(std::iter::repeat_n('x', room));
    body.push_str(end);
    body
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_carries_the_slot_in_its_id_and_a_body_of_one_kib_that_is_signed() {
        let requests = Requests::new("/hooks/github", 7);
        let mut buffer = Vec::new();
        requests.write(0xab, 77, &mut buffer);
        let text = String::from_utf8(buffer).expect("ASCII");
        let (head, body) = text.split_once("\r\n\r\n").expect("a head and a body");
        let header = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)).expect("the header");
        assert_eq!(slot_of(header("X-GitHub-Delivery: ")), Some((0xab, 77)));
        assert_eq!(header("X-Hub-Signature-256: sha256="), signature(body.as_bytes()));
        assert_eq!((body.len(), header("Content-Length: ")), (1024, "1024"));
        assert!(serde_json::from_str::<serde_json::Value>(body).is_ok(), "{body}");
    }
}
