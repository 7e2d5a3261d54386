//! Signing as the provider of a source would: for `weir send` and for load tests.
//!
//! Uses the scheme that verification uses, so it proves nothing about it: the published vectors do.

use runtime::config;

use crate::verify::scheme::Scheme;

/// Header names and values that authenticate a body under the source's first secret. `id` matters only to schemes
/// that sign one. Empty when the scheme cannot be used, which the configuration has already refused.
pub fn sign(source: &config::Source, id: &str, timestamp_s: i64, body: &[u8]) -> Vec<(String, String)> {
    let secrets = source.secrets.iter().take(1).map(|secret| secret.expose());
    Scheme::new(&source.scheme, secrets).map(|scheme| scheme.sign(id, timestamp_s, body)).unwrap_or_default()
}
