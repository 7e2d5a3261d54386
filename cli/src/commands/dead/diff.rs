//! What an edit changed, line by line. JSON is compared laid out, so that one long line still has a readable diff.
//!
//! Pure, and bounded in time: a diff that takes too long is coarser, not later.

use std::time::Duration;

use similar::TextDiff;

use super::content::is_json;
use super::layout;

/// After this the rest is shown as one change.
const PATIENCE: Duration = Duration::from_secs(2);
/// Unchanged lines around a change.
const CONTEXT: usize = 3;

/// The lines of a unified diff; empty when nothing but white space of JSON differs.
pub fn lines(before: &[u8], after: &[u8]) -> Vec<String> {
    let (before, after) = (text(before), text(after));
    let diff = TextDiff::configure().timeout(PATIENCE).diff_lines(&before, &after);
    let unified = diff.unified_diff().context_radius(CONTEXT).missing_newline_hint(false).to_string();
    unified.lines().map(str::to_owned).collect()
}

fn text(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    if is_json(body) { layout::pretty(&text) } else { text.into_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_of_one_value_is_one_line_taken_and_one_given() {
        let lines = lines(br#"{"a":1,"b":[2,3]}"#, br#"{"a":1,"b":[2,4]}"#);
        let changed: Vec<&str> =
            lines.iter().skip(1).map(String::as_str).filter(|line| !line.starts_with(' ')).collect();
        assert_eq!(changed, ["-    3", "+    4"], "{lines:?}");
        assert!(lines.first().is_some_and(|line| line.starts_with("@@")), "{lines:?}");
    }

    #[test]
    fn white_space_of_json_is_no_change() {
        assert!(lines(b"{\"a\":1}", b"{ \"a\" : 1 }\n").is_empty());
    }

    #[test]
    fn bytes_that_are_no_text_are_compared_as_far_as_they_are_text() {
        assert_eq!(lines(b"a\nb\xff\n", b"a\nc\n"), ["@@ -1,2 +1,2 @@", " a", "-b\u{fffd}", "+c"]);
        assert!(lines(b"", b"").is_empty());
    }
}
