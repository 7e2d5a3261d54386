//! Loads the secrets of a source and turns them into keys. No message here quotes one.

use std::io::Read;
use std::path::Path;

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use schemas::presets::SecretEncoding;

use super::report::Report;
use super::resolve::Outside;
use super::written;
use crate::secret::{Secret, is_blank};

/// Largest secret file, bytes: nothing that signs is longer.
const FILE_BYTES: u64 = 64 * 1024;

/// A key with fewer bytes deserves a warning.
const KEY_BYTES_MIN: usize = 16;

/// What stands where nobody put a secret.
const PLACEHOLDERS: [&str; 12] = [
    "null",
    "nil",
    "none",
    "undefined",
    "false",
    "changeme",
    "change-me",
    "change_me",
    "secret",
    "password",
    "your-secret-here",
    "replace-with-your-secret",
];

/// What some providers put before their secrets. Alone it is none.
const PREFIX: &[u8] = b"whsec_";

/// Providers write base64 with and without padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The keys of one source. What cannot be used is reported and left out.
pub(super) fn load(
    written: &[written::Secret],
    encoding: SecretEncoding,
    path: &str,
    outside: &Outside<'_>,
    report: &mut Report,
) -> Vec<Secret> {
    let mut secrets = Vec::new();
    for (position, secret) in written.iter().enumerate() {
        let here = format!("{path}[{position}]");
        if report.is_spoiled(&here) {
            continue;
        }
        if let Some(secret) = one(secret, encoding, &here, outside, report) {
            if let Some(weakness) = weakness(secret.expose()) {
                report.warn(&here, weakness);
            }
            secrets.push(secret);
        }
    }
    secrets
}

/// Why a key can be used and should not be.
fn weakness(key: &[u8]) -> Option<String> {
    let word = key.trim_ascii().to_ascii_lowercase();
    if PLACEHOLDERS.iter().any(|placeholder| placeholder.as_bytes() == word) {
        return Some("the secret is a word that stands for one: anybody may guess it".to_owned());
    }
    let short = format!("the secret has {} bytes: below {KEY_BYTES_MIN} it can be guessed", key.len());
    (key.len() < KEY_BYTES_MIN).then_some(short)
}

/// One secret, if it can be used.
pub(super) fn one(
    secret: &written::Secret,
    encoding: SecretEncoding,
    path: &str,
    outside: &Outside<'_>,
    report: &mut Report,
) -> Option<Secret> {
    let loaded = match (&secret.env, &secret.file, &secret.value) {
        (Some(name), None, None) => from_variable(name, outside),
        (None, Some(file), None) => from_file(&outside.folder.join(file)),
        (None, None, Some(value)) => {
            report.warn(path, "the secret stands in the file: use `env` or `file` outside of trials");
            Ok(value.clone().into_bytes())
        }
        _ => Err("takes exactly one of `env`, `file` and `value`".to_owned()),
    };
    match loaded.and_then(|bytes| decode(&bytes, encoding)) {
        Ok(key) => Some(Secret::new(key)),
        Err(message) => {
            report.error(path, message);
            None
        }
    }
}

fn from_variable(name: &str, outside: &Outside<'_>) -> Result<Vec<u8>, String> {
    let value = outside.environment.get(name);
    value.map(|value| value.clone().into_bytes()).ok_or_else(|| format!("environment variable {name} is not set"))
}

fn from_file(path: &Path) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let read = std::fs::File::open(path).and_then(|file| file.take(FILE_BYTES + 1).read_to_end(&mut bytes));
    read.map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
    if bytes.len() as u64 > FILE_BYTES {
        return Err(format!("{} is larger than {} KiB: that is no secret", path.display(), FILE_BYTES / 1024));
    }
    // Editors and `echo` end a file with a line end that is not part of the secret.
    if bytes.ends_with(b"\n") {
        bytes.pop();
        if bytes.ends_with(b"\r") {
            bytes.pop();
        }
    }
    Ok(bytes)
}

fn decode(bytes: &[u8], encoding: SecretEncoding) -> Result<Vec<u8>, String> {
    if is_blank(bytes) {
        return Err("the secret is empty or blank: anybody could sign with it".to_owned());
    }
    if bytes.trim_ascii() == PREFIX {
        return Err("the secret is a prefix with nothing behind it: anybody could sign with it".to_owned());
    }
    let key = match encoding {
        SecretEncoding::Raw => Some(bytes.to_vec()),
        SecretEncoding::Base64 => BASE64.decode(bytes.strip_prefix(PREFIX).unwrap_or(bytes)).ok(),
        SecretEncoding::Hex => hex::decode(bytes).ok(),
    };
    let expected = match encoding {
        SecretEncoding::Raw => "text",
        SecretEncoding::Base64 => "base64, with or without `whsec_` before it",
        SecretEncoding::Hex => "hexadecimal",
    };
    let key = key.ok_or_else(|| format!("the secret is not {expected}"))?;
    match (key.is_empty(), is_blank(&key)) {
        (true, _) => Err("the secret has no bytes".to_owned()),
        (false, true) => Err("the secret is nothing but zeros or blanks: anybody could sign with it".to_owned()),
        (false, false) => Ok(key),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_becomes_the_key_its_provider_means() {
        let key = |text: &str, encoding| decode(text.as_bytes(), encoding).ok();
        assert_eq!(key("whsec_abc", SecretEncoding::Raw).as_deref(), Some(b"whsec_abc".as_slice()));
        assert_eq!(key("whsec_YWJj", SecretEncoding::Base64).as_deref(), Some(b"abc".as_slice()));
        assert_eq!(key("YWI=", SecretEncoding::Base64).as_deref(), Some(b"ab".as_slice()));
        assert_eq!(key("YWI", SecretEncoding::Base64).as_deref(), Some(b"ab".as_slice()));
        assert_eq!(key("00fF", SecretEncoding::Hex).as_deref(), Some([0, 255].as_slice()));
        for (text, encoding) in [
            ("", SecretEncoding::Raw),
            (" \t\n", SecretEncoding::Raw),
            ("\0\0\0", SecretEncoding::Raw),
            ("\0 \n", SecretEncoding::Raw),
            ("whsec_", SecretEncoding::Raw),
            (" whsec_ ", SecretEncoding::Raw),
            ("whsec_", SecretEncoding::Base64),
            ("AAAA", SecretEncoding::Base64),
            ("whsec_AAAA", SecretEncoding::Base64),
            ("0000", SecretEncoding::Hex),
            ("not base64!", SecretEncoding::Base64),
            ("YW J=", SecretEncoding::Base64),
            ("abc", SecretEncoding::Hex),
            ("xx", SecretEncoding::Hex),
        ] {
            let message = decode(text.as_bytes(), encoding).unwrap_err();
            assert!(text.trim().is_empty() || !message.contains(text), "{message}");
        }
        assert!(key("\0a", SecretEncoding::Raw).is_some() && key("AAAB", SecretEncoding::Base64).is_some());
    }

    #[test]
    fn a_secret_that_can_be_guessed_is_warned_of_and_not_quoted() {
        for weak in ["null", "undefined", " ChangeMe ", "your-secret-here", "hunter2", "fifteen-bytes.."] {
            let warning = weakness(weak.as_bytes()).unwrap();
            assert!(!warning.contains(weak.trim()), "{warning}");
        }
        for good in ["sixteen.bytes...", "It's a Secret to Everybody"] {
            assert_eq!(weakness(good.as_bytes()), None, "{good}");
        }
    }

    #[test]
    fn one_line_end_of_a_file_is_not_part_of_the_secret() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        for (content, expected) in [("a\n", "a"), ("a\r\n", "a"), ("a", "a"), ("a\n\n", "a\n"), (" a ", " a ")] {
            std::fs::write(&path, content).unwrap();
            assert_eq!(from_file(&path).unwrap(), expected.as_bytes());
        }
        std::fs::write(&path, vec![b'a'; 64 * 1024 + 1]).unwrap();
        assert!(from_file(&path).unwrap_err().contains("larger than 64 KiB"));
        assert!(from_file(&folder.path().join("none")).unwrap_err().contains("cannot be read"));
    }
}
