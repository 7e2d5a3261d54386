//! How a process ends: its exit code, and the one place that prints why.
//!
//! Whoever passes a [`Failure`] on does not log it.

use std::error::Error;
use std::fmt;
use std::io::Write;
use std::process::ExitCode;

use crate::config::Problems;

/// How a process ends. The codes are part of the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// 0: done.
    Done,
    /// 1: the answer is no (not found, differs, some failed).
    No,
    /// 64: bad configuration or usage.
    Usage,
    /// 69: something needed is not there.
    Unavailable,
    /// 70: our own defect, or state that cannot be trusted.
    Internal,
    /// 78: another process holds the state directory or the identity.
    Locked,
}

impl Exit {
    /// The code itself.
    pub fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::No => 1,
            Self::Usage => 64,
            Self::Unavailable => 69,
            Self::Internal => 70,
            Self::Locked => 78,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// Why a process ends early, and with which code.
#[derive(Debug)]
pub struct Failure {
    /// The code.
    pub exit: Exit,
    /// The reason, with its causes.
    pub error: anyhow::Error,
}

impl Failure {
    /// Bad configuration or usage (64).
    pub fn usage(error: impl Into<anyhow::Error>) -> Self {
        Self { exit: Exit::Usage, error: error.into() }
    }

    /// Something needed is not there (69).
    pub fn unavailable(error: impl Into<anyhow::Error>) -> Self {
        Self { exit: Exit::Unavailable, error: error.into() }
    }

    /// Our own defect (70).
    pub fn internal(error: impl Into<anyhow::Error>) -> Self {
        Self { exit: Exit::Internal, error: error.into() }
    }

    /// Held by another process (78).
    pub fn locked(error: impl Into<anyhow::Error>) -> Self {
        Self { exit: Exit::Locked, error: error.into() }
    }
}

impl From<Problems> for Failure {
    fn from(problems: Problems) -> Self {
        Self::usage(problems)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&chain(self.error.as_ref()))
    }
}

/// Turns the result of a run into the process's exit code; prints a failure, once, on standard error.
pub fn finish(result: Result<Exit, Failure>) -> ExitCode {
    match result {
        Ok(exit) => exit.into(),
        Err(failure) => {
            // Not `eprintln!`, which panics when standard error is closed: the exit code must survive that.
            writeln!(std::io::stderr(), "{}", harmless_lines(&failure.to_string())).unwrap_or_default();
            failure.exit.into()
        }
    }
}

/// An error and its causes on one line: `a: b: c`. A cause that the text above it already ends with
/// is not repeated.
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.ends_with(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        cause = error.source();
    }
    text
}

/// A text that cannot move a cursor, change a colour or reverse its reading order: such characters are escaped, line
/// breaks among them. What a broker, a file or an event says reaches a terminal in this form only.
pub fn harmless(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if is_harmful(c) {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    out
}

/// The same of a text whose line breaks are ours.
pub fn harmless_lines(text: &str) -> String {
    text.split('\n').map(harmless).collect::<Vec<_>>().join("\n")
}

/// Whether a character does something to a terminal or to the order of reading: controls (C0, DEL, C1), separators of
/// lines and paragraphs, marks and isolates of direction, and what has no width.
pub fn is_harmful(c: char) -> bool {
    let is_mark = matches!(
        c,
        '\u{061C}' | '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{206F}' | '\u{FEFF}'
    );
    c.is_control() || is_mark
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_act_on_a_terminal_is_escaped_and_what_is_text_is_not() {
        for c in ['\u{1b}', '\u{7f}', '\u{9b}', '\u{61c}', '\u{200f}', '\u{2028}', '\u{2029}', '\u{202e}', '\u{206f}'] {
            let said = harmless(&format!("a{c}b"));
            assert_eq!(said, format!("a\\u{{{:x}}}b", u32::from(c)), "{c:?}");
        }
        assert_eq!(harmless("a\nb"), "a\\nb");
        assert_eq!(harmless_lines("a\nb\u{1b}"), "a\nb\\u{1b}");
        assert_eq!(harmless("Grüße, 日本 …"), "Grüße, 日本 …");
    }

    #[test]
    fn exit_codes_are_those_of_the_contract() {
        let all = [Exit::Done, Exit::No, Exit::Usage, Exit::Unavailable, Exit::Internal, Exit::Locked];
        assert_eq!(all.map(Exit::code), [0, 1, 64, 69, 70, 78]);
    }

    #[test]
    fn a_failure_prints_its_causes_once_and_in_order() {
        let error = anyhow::anyhow!("connection refused").context("reach 127.0.0.1:9092").context("plan topics");
        let failure = Failure::unavailable(error);
        assert_eq!(failure.to_string(), "plan topics: reach 127.0.0.1:9092: connection refused");
        let repeated = anyhow::anyhow!("refused").context("reach it: refused");
        assert_eq!(Failure::internal(repeated).to_string(), "reach it: refused");
    }
}
