//! How large a record may be, as one piece of arithmetic that topics, producers and consumers all follow.

/// What a record adds to a body: envelope, headers, key.
pub const ENVELOPE_BYTES: u64 = 256 * 1024;
/// What a dead event adds: the envelope, history and original headers.
pub const DEAD_BYTES: u64 = 512 * 1024;
/// Largest record of the changelog.
pub const CHANGELOG_BYTES: u64 = 1024 * 1024;
/// A DELTA is split when it grows past this.
pub const DELTA_SPLIT_BYTES: usize = 512 * 1024;
/// Request headers kept for inspection, all together.
pub const STORED_HTTP_HEADERS_BYTES: usize = 64 * 1024;
/// Longest event id, in bytes; a longer one is a defect.
pub const EVENT_ID_BYTES: usize = 256;
/// Largest `body_limit` that may be configured.
pub const BODY_LIMIT_MAX: u64 = 32 * 1024 * 1024;

/// Largest record of the event topics for the largest body any source may send.
pub const fn event_record_bytes(body_limit: u64) -> u64 {
    body_limit + ENVELOPE_BYTES
}

/// Largest record of `dead-events`.
pub const fn dead_record_bytes(body_limit: u64) -> u64 {
    body_limit + DEAD_BYTES
}
