//! `[[source.handlers]]`: what each kind needs, and that it is given nothing else.
//!
//! Expressions and addresses were compiled once by `read`, which reported what is wrong with them; here they are
//! compiled to be kept.

use std::collections::BTreeMap;
use std::time::Duration;

use schemas::presets::SecretEncoding;

use super::read::join;
use super::report::Report;
use super::resolve::Outside;
use super::resolved::{Fetch, Handler};
use super::secrets;
use super::units::{Length, Size};
use super::written::{self, TextOr};
use crate::expression::Expression;
use crate::secret::Secret;
use crate::template::Template;

const TIMEOUT: Duration = Duration::from_secs(5);
const CONCURRENCY: u32 = 8;
const BODY_LIMIT: u64 = 1024 * 1024;
/// Headers that are the connection's business.
const NOT_OURS: [&str; 8] =
    ["connection", "content-length", "host", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"];

/// The handlers of one source that can be used.
pub(super) fn resolve(
    written: Vec<written::Handler>,
    path: &str,
    outside: &Outside<'_>,
    report: &mut Report,
) -> Vec<Handler> {
    let resolve =
        |(position, handler): (usize, written::Handler)| one(handler, &format!("{path}[{position}]"), outside, report);
    written.into_iter().enumerate().filter_map(resolve).collect()
}

fn one(written: written::Handler, path: &str, outside: &Outside<'_>, report: &mut Report) -> Option<Handler> {
    let kind = written.kind.clone()?;
    for (key, of, is_there) in uses(&written) {
        if of != kind && is_there {
            report.error(&join(path, key), format!("has no use with kind = \"{kind}\": leave it out"));
        } else if of == kind && !is_there && matches!(key, "keep" | "body" | "url") {
            let here = join(path, key);
            if !report.is_spoiled(&here) {
                report.error(&here, format!("is missing: kind = \"{kind}\" needs it"));
            }
        }
    }
    let expression = |text: String| Expression::compile(&text).ok();
    match kind.as_str() {
        "filter" => Some(Handler::Filter { keep: expression(written.keep?)? }),
        "map" => {
            let fields = written.body?.into_iter().map(|(field, text)| Some((field, expression(text)?)));
            Some(Handler::Map { body: fields.collect::<Option<_>>()? })
        }
        _ => Some(Handler::Fetch(Box::new(Fetch {
            url: Template::parse(&written.url?).ok()?,
            headers: headers(written.headers.unwrap_or_default(), &join(path, "headers"), outside, report),
            timeout: written.timeout.map_or(TIMEOUT, |Length(timeout)| timeout),
            concurrency: written.concurrency.unwrap_or(CONCURRENCY),
            body_limit: written.body_limit.map_or(BODY_LIMIT, |Size(limit)| limit),
            allow_private: written.allow_private.unwrap_or(false),
            into: written.into,
            when: written.when.and_then(expression),
        }))),
    }
}

/// Each key, the kind that it belongs to, and whether it is written.
fn uses(handler: &written::Handler) -> [(&'static str, &'static str, bool); 10] {
    [
        ("keep", "filter", handler.keep.is_some()),
        ("body", "map", handler.body.is_some()),
        ("url", "fetch", handler.url.is_some()),
        ("headers", "fetch", handler.headers.is_some()),
        ("timeout", "fetch", handler.timeout.is_some()),
        ("concurrency", "fetch", handler.concurrency.is_some()),
        ("body_limit", "fetch", handler.body_limit.is_some()),
        ("allow_private", "fetch", handler.allow_private.is_some()),
        ("into", "fetch", handler.into.is_some()),
        ("when", "fetch", handler.when.is_some()),
    ]
}

fn headers(
    written: BTreeMap<String, TextOr<written::Secret>>,
    path: &str,
    outside: &Outside<'_>,
    report: &mut Report,
) -> Vec<(String, Secret)> {
    let mut headers = Vec::new();
    for (name, value) in written {
        let here = join(path, &name);
        if NOT_OURS.contains(&name.to_ascii_lowercase().as_str()) {
            report.error(&here, "is set by the connection: leave it out");
            continue;
        }
        let value = match value {
            TextOr::Text(text) => Some(Secret::new(text.into_bytes())),
            TextOr::Table(secret) => secrets::one(&secret, SecretEncoding::Raw, &here, outside, report),
        };
        let Some(value) = value else { continue };
        let is_text = std::str::from_utf8(value.expose()).is_ok();
        if !is_text || http::HeaderValue::from_bytes(value.expose()).is_err() {
            report.error(&here, "its value cannot stand in a header");
            continue;
        }
        headers.push((name, value));
    }
    headers
}
