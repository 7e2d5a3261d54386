//! `[source.scheme]`: how a source signs when no preset knows it.
//!
//! The templates are checked so that ingest can take every part it needs from a request, and so that
//! no part it relies on is outside the signature.

use schemas::presets::{self, Algorithm, Encoding, SecretEncoding};

use super::read::join;
use super::report::Report;
use super::resolved::Scheme;
use super::written;

impl Scheme {
    /// The scheme of a preset.
    pub(super) fn of_preset(scheme: &presets::Scheme) -> Self {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Self {
            algorithm: scheme.algorithm,
            encoding: scheme.encoding,
            secret_encoding: scheme.secret_encoding,
            headers: owned(scheme.headers),
            format: scheme.format.to_owned(),
            signed: scheme.signed.to_owned(),
            timestamp_headers: owned(scheme.timestamp_headers),
            id_headers: owned(scheme.id_headers),
        }
    }

    /// Whether the signature covers a timestamp.
    pub fn signs_timestamp(&self) -> bool {
        self.signed.contains("{timestamp}")
    }

    /// Whether the signature covers an id from a header.
    pub fn signs_id(&self) -> bool {
        self.signed.contains("{id}")
    }
}

/// The configured scheme; `None` after a problem that leaves nothing to sign with.
pub(super) fn resolve(written: written::Scheme, path: &str, report: &mut Report) -> Option<Scheme> {
    templates(&written, path, report);
    let lower = |name: String| name.to_ascii_lowercase();
    Some(Scheme {
        algorithm: match written.algorithm.as_str() {
            "sha1" => Algorithm::Sha1,
            "sha512" => Algorithm::Sha512,
            _ => Algorithm::Sha256,
        },
        encoding: if written.encoding == "base64" { Encoding::Base64 } else { Encoding::Hex },
        secret_encoding: match written.secret_encoding.as_str() {
            "base64" => SecretEncoding::Base64,
            "hex" => SecretEncoding::Hex,
            _ => SecretEncoding::Raw,
        },
        headers: vec![lower(written.header?)],
        format: written.format,
        signed: written.signed,
        timestamp_headers: written.timestamp_header.map(lower).into_iter().collect(),
        id_headers: written.id_header.map(lower).into_iter().collect(),
    })
}

fn templates(written: &written::Scheme, path: &str, report: &mut Report) {
    let (format_path, signed_path) = (join(path, "format"), join(path, "signed"));
    let format = checked(&written.format, &["signature"], &["timestamp"], &format_path, report);
    let signed = checked(&written.signed, &["body"], &["timestamp", "id"], &signed_path, report);
    let (Some(format), Some(signed)) = (format, signed) else { return };
    let header_path = join(path, "timestamp_header");
    let (in_format, in_header) = (format.contains(&"timestamp"), written.timestamp_header.is_some());
    if signed.contains(&"timestamp") {
        if !in_format && !in_header {
            report.error(
                &signed_path,
                "signs {timestamp}, but nothing carries it: put it into `format` or name its `timestamp_header`",
            );
        } else if in_format && in_header {
            report.error(&header_path, "`format` already carries {timestamp}: keep one of them");
        }
    } else if in_header {
        report
            .error(&header_path, "`signed` has no {timestamp}: a time that is not signed proves nothing, leave it out");
    }
    let id_path = join(path, "id_header");
    match (signed.contains(&"id"), written.id_header.is_some()) {
        (true, false) => report.error(&signed_path, "signs {id}, but nothing carries it: name its `id_header`"),
        (false, true) => {
            report
                .error(&id_path, "`signed` has no {id}: for an id that is not signed use `event_id = { header = … }`");
        }
        (true, true) | (false, false) => {}
    }
}

/// The placeholders of a template that has each of `once` once and each of `optional` at most once.
fn checked<'t>(
    template: &'t str,
    once: &[&str],
    optional: &[&str],
    path: &str,
    report: &mut Report,
) -> Option<Vec<&'t str>> {
    let found = match placeholders(template) {
        Ok(found) => found,
        Err(message) => {
            report.error(path, message);
            return None;
        }
    };
    for name in &found {
        if !once.contains(name) && !optional.contains(name) {
            let known: Vec<String> = once.iter().chain(optional).map(|name| format!("{{{name}}}")).collect();
            report.error(path, format!("{{{name}}} has no meaning here: known are {}", known.join(" ")));
            return None;
        }
        if found.iter().filter(|other| other == &name).count() > 1 {
            report.error(path, format!("has {{{name}}} more than once"));
            return None;
        }
    }
    if let Some(missing) = once.iter().find(|name| !found.contains(name)) {
        report.error(path, format!("has no {{{missing}}}"));
        return None;
    }
    Some(found)
}

/// The names in braces, in order. Two of them need something between them, or nobody could tell where
/// one ends.
fn placeholders(template: &str) -> Result<Vec<&str>, String> {
    let mut names = Vec::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        if before.contains('}') {
            return Err("has a } without its {".to_owned());
        }
        if before.is_empty() && !names.is_empty() {
            return Err("has two placeholders with nothing between them".to_owned());
        }
        let (name, behind) = after.split_once('}').ok_or_else(|| "has a { without its }".to_owned())?;
        names.push(name);
        rest = behind;
    }
    if rest.contains('}') { Err("has a } without its {".to_owned()) } else { Ok(names) }
}
