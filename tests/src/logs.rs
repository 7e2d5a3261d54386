//! What the processes logged: any line at ERROR that nobody expected fails a run, and so does any panic.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

/// The lines of a log that a person would have to act upon. The log is JSON, one object a line; a line that is
/// not was printed by something that could not log any more.
pub fn errors(log: &Path) -> Result<Vec<String>> {
    let read = || std::fs::read_to_string(log).with_context(|| format!("cannot read {}", log.display()));
    let mut text = read()?;
    // A line may be read while it is being written.
    for _ in 0..50 {
        if text.is_empty() || text.ends_with('\n') {
            break;
        }
        std::thread::park_timeout(Duration::from_millis(20));
        text = read()?;
    }
    let name = log.file_name().unwrap_or_default().to_string_lossy();
    Ok(text.lines().filter(|line| is_error(line)).map(|line| format!("{name}: {line}")).collect())
}

fn is_error(line: &str) -> bool {
    match serde_json::from_str::<Value>(line) {
        Ok(Value::Object(line)) => line.get("level").and_then(Value::as_str) == Some("ERROR"),
        Ok(_) | Err(_) => !line.trim().is_empty(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_and_panics_are_found_and_nothing_else() {
        let cases = [
            (r#"{"timestamp":"…","level":"INFO","fields":{"message":"ready"}}"#, false),
            (r#"{"timestamp":"…","level":"WARN","fields":{"message":"ERROR"}}"#, false),
            (r#"{"timestamp":"…","level":"ERROR","fields":{"message":"no"}}"#, true),
            ("thread 'main' panicked at src/main.rs:1:1:", true),
            ("", false),
        ];
        for (line, expected) in cases {
            assert_eq!(is_error(line), expected, "{line}");
        }
    }
}
