//! What Weir knows about each provider, as data: how it signs, where ids, types, resources and times stand,
//! how long it retries. Ingest executes it, the configuration takes its defaults from it.
//!
//! Each preset cites where its facts come from. No code decides anything here.

mod table;

/// Where a value is found in a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Location {
    /// A JSON pointer into the body.
    Pointer(&'static str),
    /// An HTTP header, lower case.
    Header(&'static str),
    /// A constant.
    Constant(&'static str),
}

/// The unit of a numeric time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeUnit {
    /// RFC 3339 text.
    Rfc3339,
    /// Seconds since the epoch; a fraction is allowed.
    Seconds,
    /// Milliseconds since the epoch.
    Milliseconds,
    /// Microseconds since the epoch.
    Microseconds,
}

/// How a provider signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scheme {
    /// Digest of the HMAC.
    pub algorithm: Algorithm,
    /// How the signature is written.
    pub encoding: Encoding,
    /// How the configured secret becomes the key.
    pub secret_encoding: SecretEncoding,
    /// Headers that may carry the signature, lower case, tried in order; the families may not be mixed.
    pub headers: &'static [&'static str],
    /// Grammar of the header, e.g. `sha256={signature}`, `t={timestamp},v1={signature}`, `v1,{signature}` in a
    /// list separated by spaces.
    pub format: &'static str,
    /// Signed text, e.g. `{body}`, `{timestamp}.{body}`, `{id}.{timestamp}.{body}`.
    pub signed: &'static str,
    /// Headers of the timestamp, one for each of `headers`, when it has its own.
    pub timestamp_headers: &'static [&'static str],
    /// Headers of the id, one for each of `headers`, when it is signed.
    pub id_headers: &'static [&'static str],
    /// Other headers that have a name of their own beside each of `headers`, one list a header.
    pub aliases: &'static [&'static [&'static str]],
}

/// Digest of an HMAC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// HMAC-SHA1, for providers that offer nothing better.
    Sha1,
    /// HMAC-SHA256.
    Sha256,
    /// HMAC-SHA512.
    Sha512,
}

/// How a signature is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// Hexadecimal, either case.
    Hex,
    /// Standard base64 with padding, canonical.
    Base64,
}

/// How a configured secret becomes the key of the HMAC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecretEncoding {
    /// The text's bytes as they are.
    Raw,
    /// Base64, after an optional `whsec_`.
    Base64,
    /// Hexadecimal.
    Hex,
}

/// What a provider is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Preset {
    /// `[a-z0-9-]{1,63}`.
    pub name: &'static str,
    /// Name for people.
    pub title: &'static str,
    /// How it signs; `None` only for `hmac`, whose scheme is configured.
    pub scheme: Option<Scheme>,
    /// What the signature proves: 2 the body, 3 the body and a timestamp.
    pub assurance: u8,
    /// Where the event id stands.
    pub event_id: Location,
    /// Whether the signature covers it.
    pub event_id_signed: bool,
    /// Where the type stands.
    pub event_type: Location,
    /// A pointer whose string is appended to the type with a dot (GitHub's `/action`).
    pub event_type_suffix: Option<&'static str>,
    /// Pointers to the resource id, tried in order.
    pub resource: &'static [&'static str],
    /// The resource's type.
    pub resource_type: Location,
    /// The resource's type ends before this character (`orders/updated` is about `orders`).
    pub resource_type_end: Option<char>,
    /// When it happened: location and unit, tried in order.
    pub occurred_at: &'static [(Location, TimeUnit)],
    /// Types (globs) that carry the whole state of their resource.
    pub snapshots: &'static [&'static str],
    /// Types (globs) that end their resource.
    pub terminal: &'static [&'static str],
    /// Tolerance of the signed timestamp, seconds; 0 when nothing signed has a time.
    pub tolerance_s: u32,
    /// Default deduplication window, seconds.
    pub window_s: u32,
    /// Smallest deduplication window that covers the provider's retries, seconds.
    pub window_floor_s: u32,
    /// How long the provider waits for the answer, less a margin, milliseconds.
    pub deadline_ms: u32,
    /// Whether it retries by itself.
    pub retries: bool,
    /// A body in this shape is a handshake: the pointer to what is echoed (Slack's `/challenge`).
    pub challenge: Option<&'static str>,
    /// What a handshake says of itself: a pointer and the string there.
    pub challenge_when: Option<(&'static str, &'static str)>,
    /// The field that holds the JSON when the body is a form instead (GitHub's `payload`).
    pub form_field: Option<&'static str>,
    /// Where these facts come from.
    pub reference: &'static str,
}

impl Preset {
    /// Every preset, in alphabetical order.
    pub fn all() -> &'static [Preset] {
        table::PRESETS
    }

    /// The preset of that name.
    pub fn find(name: &str) -> Option<&'static Preset> {
        Self::all().iter().find(|preset| preset.name == name)
    }
}
