//! `weir completions`: the script that teaches a shell our command line.

use clap::CommandFactory;
use clap_complete::Shell;
use runtime::report::{Exit, Failure};

use crate::args::Cli;
use crate::output::Output;

/// Prints the script of a shell.
pub fn run(shell: Shell, out: &mut Output<'_>) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "weir", &mut script);
    out.text(&String::from_utf8_lossy(&script))?;
    Ok(Exit::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shell_gets_a_script_that_knows_the_commands() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish, Shell::PowerShell, Shell::Elvish] {
            let mut bytes = Vec::new();
            let mut out = Output::new(Box::new(&mut bytes), None, false, false);
            run(shell, &mut out).unwrap();
            drop(out);
            let script = String::from_utf8(bytes).unwrap();
            assert!(script.contains("weir") && script.contains("dry-run"), "{shell}");
        }
    }
}
