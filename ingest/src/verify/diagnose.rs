//! Why a signature did not match, as a hint for the operator's log: another source's secret, or a body that
//! somebody rewrote on the way.
//!
//! Costs a bounded number of digests over a bounded body and changes no verdict. The caller limits how often.

use http::HeaderMap;
use schemas::ReasonCode;

use crate::source::{Source, Sources};

/// Larger bodies are not looked into.
const BODY_BYTES_MAX: usize = 64 * 1024;
/// Most keys of other sources that are tried.
const KEYS_MAX: usize = 32;

/// Looks for the reason behind a `signature_mismatch`.
pub fn diagnose(sources: &Sources, source: &Source, headers: &HeaderMap, body: &[u8]) -> ReasonCode {
    let mismatch = ReasonCode::SignatureMismatch;
    let Ok(claim) = source.scheme.claim(headers) else { return mismatch };
    if body.len() > BODY_BYTES_MAX {
        return mismatch;
    }
    let others = sources.iter().filter(|other| other.name != source.name).map(|other| &other.scheme);
    let fitting = others.filter(|other| other.algorithm() == source.scheme.algorithm());
    let mut keys = fitting.flat_map(|other| other.keys()).take(KEYS_MAX);
    if keys.any(|key| source.scheme.matches(key, &claim, body)) {
        return ReasonCode::WrongSecret;
    }
    let is_original = |body: &Vec<u8>| source.scheme.find(&claim, body).is_some();
    if originals(body).iter().any(is_original) { ReasonCode::BodyModified } else { mismatch }
}

/// What the body may have been before a proxy or a framework parsed it and wrote it again.
fn originals(body: &[u8]) -> Vec<Vec<u8>> {
    let trimmed = body.trim_ascii();
    let compact = reformat(trimmed, Spacing::Compact);
    vec![
        trimmed.to_vec(),
        [trimmed, b"\n"].concat(),
        [trimmed, b"\r\n"].concat(),
        reformat(trimmed, Spacing::Spaced),
        reformat(trimmed, Spacing::Indented),
        escape_slashes(&compact),
        compact,
    ]
}

/// How common writers put space between the tokens of JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Spacing {
    /// `{"a":1,"b":2}`
    Compact,
    /// `{"a": 1, "b": 2}`
    Spaced,
    /// Two spaces a level.
    Indented,
}

/// Puts other space between the tokens. Works on the text alone: order and spelling of everything stay.
fn reformat(body: &[u8], spacing: Spacing) -> Vec<u8> {
    let mut out = Vec::with_capacity(body.len() + body.len() / 2);
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    let mut tokens = body.iter().copied().peekable();
    while let Some(byte) = tokens.next() {
        // Nesting without end would become white space without end.
        if out.len() > 4 * body.len() + 1024 {
            break;
        }
        if in_string {
            out.push(byte);
            in_string = escaped || byte != b'"';
            escaped = !escaped && byte == b'\\';
            continue;
        }
        match byte {
            b' ' | b'\t' | b'\r' | b'\n' => {}
            b'{' | b'[' => {
                out.push(byte);
                while tokens.next_if(u8::is_ascii_whitespace).is_some() {}
                // An empty one stays on its line.
                if let Some(close) = tokens.next_if(|next| matches!(next, b'}' | b']')) {
                    out.push(close);
                } else {
                    depth += 1;
                    break_line(&mut out, spacing, depth);
                }
            }
            b'}' | b']' => {
                depth = depth.saturating_sub(1);
                break_line(&mut out, spacing, depth);
                out.push(byte);
            }
            b',' => {
                out.push(byte);
                match spacing {
                    Spacing::Compact => {}
                    Spacing::Spaced => out.push(b' '),
                    Spacing::Indented => break_line(&mut out, spacing, depth),
                }
            }
            b':' => {
                out.push(byte);
                out.extend((spacing != Spacing::Compact).then_some(b' '));
            }
            other => {
                in_string = other == b'"';
                out.push(other);
            }
        }
    }
    out
}

fn break_line(out: &mut Vec<u8>, spacing: Spacing, depth: usize) {
    if spacing == Spacing::Indented {
        out.push(b'\n');
        out.extend(std::iter::repeat_n(b' ', 2 * depth.min(64)));
    }
}

fn escape_slashes(body: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(body.len() + 64);
    let mut escaped = false;
    for byte in body.iter().copied() {
        if byte == b'/' && !escaped {
            out.push(b'\\');
        }
        escaped = !escaped && byte == b'\\';
        out.push(byte);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rewritten_body_leads_back_to_the_usual_originals() {
        let compact = br#"{"a":[1,{"b":"x, \"y\": {z}"}],"c":{},"d":"e/f"}"#.as_slice();
        let spaced = br#"{"a": [1, {"b": "x, \"y\": {z}"}], "c": {}, "d": "e/f"}"#.as_slice();
        let indented = b"{\n  \"a\": [\n    1,\n    {\n      \"b\": \"x, \\\"y\\\": {z}\"\n    }\n  ],\n  \"c\": {},\n  \"d\": \"e/f\"\n}".as_slice();
        let slashes = br#"{"a":[1,{"b":"x, \"y\": {z}"}],"c":{},"d":"e\/f"}"#.as_slice();
        for received in [compact, spaced, indented] {
            for original in [compact, spaced, indented, slashes] {
                let found = originals(received).iter().any(|candidate| candidate == original);
                assert!(found, "{}", String::from_utf8_lossy(original));
            }
        }
        let with_newline = [compact, b"\n"].concat();
        assert!(originals(compact).contains(&with_newline));
        assert!(originals(&with_newline).iter().any(|candidate| candidate == compact));
    }

    #[test]
    fn no_body_makes_the_search_large() {
        for body in [b"[".repeat(BODY_BYTES_MAX), b"\"\\".repeat(1000), b"]}".repeat(1000), vec![0xff; 1000]] {
            let total: usize = originals(&body).iter().map(Vec::len).sum();
            assert!(total < 16 * body.len() + 8 * 1024, "{total}");
        }
    }
}
