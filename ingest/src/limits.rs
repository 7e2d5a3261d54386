//! The bounds of the door that are not worth a setting. Those that are stand in `[ingest]` and `[[source]]`.

use std::time::Duration;

/// The bounds that tests make smaller; [`Limits::default`] is what runs.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Connections served at the same time. Beyond, one that is idle makes room; if none is, more wait in the
    /// listener's backlog.
    pub connections: usize,
    /// Requests that are being answered, over all connections.
    pub requests: usize,
    /// How long the head of a request may take once it began, and half of what a connection may take to begin one.
    pub head: Duration,
    /// How long a connection may be idle after a request: longer than a load balancer keeps one, so that it is the one
    /// to close it.
    pub idle: Duration,
    /// How long a peer may take nothing of what is written to it.
    pub write: Duration,
    /// How long a body may take.
    pub body: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 4096,
            requests: 4096,
            head: Duration::from_secs(5),
            idle: Duration::from_secs(75),
            write: Duration::from_secs(10),
            body: Duration::from_secs(10),
        }
    }
}

/// What is left for Kafka when a body took long: at least this.
pub const APPEND_TIMEOUT_MIN: Duration = Duration::from_millis(500);

/// Most headers.
pub const HEADERS_MAX: usize = 64;
/// Most bytes of all headers.
pub const HEADERS_BYTES_MAX: usize = 32 * 1024;
/// Most bytes of one header.
pub const HEADER_BYTES_MAX: usize = 16 * 1024;
/// Longest path. No source has a longer one.
pub const PATH_BYTES_MAX: usize = 128;
/// What a connection buffers while a head arrives, and the largest head of HTTP/2; above [`HEADERS_BYTES_MAX`], so that the refusal can be ours.
pub const CONNECTION_BUFFER_BYTES: usize = 64 * 1024;

/// What every request may hold of its body without asking for room, bytes: times [`Limits::requests`], 64 MiB. So
/// nobody who sends large bodies, and proves nothing, can keep small ones out.
pub const BODY_BYTES_OWN: usize = 16 * 1024;
/// Bytes of bodies beyond that, all together.
pub const BODIES_BYTES_MAX: usize = 96 * 1024 * 1024;
/// Memory that is asked for on the strength of a Content-Length alone.
pub const PROMISED_BYTES_MAX: usize = 1024 * 1024;

/// Streams of one HTTP/2 connection.
pub const STREAMS_MAX: u32 = 32;
/// What an HTTP/2 peer may send ahead on one stream.
pub const STREAM_WINDOW_BYTES: u32 = 64 * 1024;
/// What an HTTP/2 peer may send ahead on one connection.
pub const CONNECTION_WINDOW_BYTES: u32 = 256 * 1024;

/// Bytes of a refused body that are read and thrown away, so that the caller sees the refusal and not a reset.
pub const DISCARD_BYTES_MAX: usize = 8 * 1024 * 1024;
/// How long that may take.
pub const DISCARD_TIMEOUT: Duration = Duration::from_secs(2);
/// How many refused bodies are thrown away at the same time.
pub const DISCARDS_MAX: usize = 256;

/// Failed signatures that are looked into and logged, per second. The rest are counted.
pub const DIAGNOSES_PER_SECOND: u32 = 20;

/// How often the configuration file and the files of secrets are looked at.
pub const RELOAD_PAUSE: Duration = Duration::from_secs(5);
