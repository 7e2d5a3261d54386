//! The bounds of the door that are not worth a setting. Those that are stand in `[ingest]` and `[[source]]`.

use std::time::Duration;

/// Connections served at the same time; more wait in the listener's backlog.
pub const CONNECTIONS_MAX: usize = 4096;
/// How long the head of a request may take once it began.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a connection may be idle: longer than a load balancer keeps one, so that it is the one to close it.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(75);
/// How long a body may take.
pub const BODY_TIMEOUT: Duration = Duration::from_secs(10);
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
/// What a connection buffers while a head arrives; above [`HEADERS_BYTES_MAX`], so that the refusal can be ours.
pub const CONNECTION_BUFFER_BYTES: usize = 64 * 1024;

/// Bytes of bodies that are held before it is known whether they are authentic, all together.
pub const BODIES_BYTES_MAX: usize = 128 * 1024 * 1024;
/// Memory that is asked for on the strength of a Content-Length alone.
pub const PROMISED_BYTES_MAX: usize = 1024 * 1024;

/// Streams of one HTTP/2 connection.
pub const STREAMS_MAX: u32 = 128;
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

/// How long latecomers are still answered after a drain began, before connections are closed.
pub const LINGER: Duration = Duration::from_millis(250);
/// How often the configuration file and the files of secrets are looked at.
pub const RELOAD_PAUSE: Duration = Duration::from_secs(5);
