//! Questions and remarks: what is said besides the answer, on standard error.
//!
//! Whoever writes asks first, unless told not to; where nobody can be asked, that is wrong usage.

use std::io::{BufRead, ErrorKind, Write};

use anyhow::anyhow;
use runtime::report::{Failure, harmless_lines};

/// Whether a command that writes may do so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Consent {
    /// `--yes`: do not ask.
    pub yes: bool,
    /// `--dry-run`: do not write.
    pub dry_run: bool,
    /// Somebody sits at a terminal.
    pub can_ask: bool,
}

impl Consent {
    /// Fails where a question would be needed and nobody could answer it.
    pub fn check(self, command: &str) -> Result<(), Failure> {
        if self.yes || self.dry_run || self.can_ask {
            return Ok(());
        }
        let fix = "without a terminal nobody can be asked: add --yes, or --dry-run to only look";
        Err(Failure::usage(anyhow!("{command}: {fix}")))
    }
}

/// Asks a question that is answered with yes or no.
pub fn agreed(question: &str) -> Result<bool, Failure> {
    // A question that nobody can see is not answered with yes.
    print(&format!("{question} [y/N] ")).map_err(|error| Failure::usage(anyhow!(error).context("cannot ask")))?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer).map_err(Failure::internal)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// Questions and remarks are not the answer, so they do not go where the answer goes. One that nobody hears stops nothing.
pub fn say(text: &str) -> Result<(), Failure> {
    match print(text) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        said => said.map_err(Failure::internal),
    }
}

fn print(text: &str) -> std::io::Result<()> {
    let mut err = std::io::stderr().lock();
    err.write_all(harmless_lines(text).as_bytes())?;
    err.flush()
}

#[cfg(test)]
mod tests {
    use runtime::report::Exit;

    use super::*;

    #[test]
    fn a_write_without_a_terminal_needs_yes() {
        let check = |yes, dry_run, can_ask| Consent { yes, dry_run, can_ask }.check("weir topics apply");
        let failure = check(false, false, false).unwrap_err();
        assert_eq!(failure.exit, Exit::Usage);
        assert!(failure.to_string().contains("--yes"));
        assert!(check(true, false, false).is_ok());
        assert!(check(false, true, false).is_ok());
        assert!(check(false, false, true).is_ok());
    }
}
