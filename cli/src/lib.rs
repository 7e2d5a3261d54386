//! The operator's tool: configuration, topics, providers, test events, a look into the topics, and dead letters.
//!
//! Everything here reads, except `send`, which plays a provider, `topics apply`, and `dead redrive` and `discard`,
//! which write commands. Nothing here joins the processor's group, commits an offset or writes an event of its own.

pub mod args;
pub mod output;
mod ask;
mod progress;
mod http;
mod log;
mod record;
#[cfg(test)]
mod samples;
pub mod commands;

use std::io::{IsTerminal, stdin, stdout};
use std::process::ExitCode;

use anyhow::anyhow;
use runtime::report::{self, Exit, Failure};

use args::{Cli, Command};
use output::Output;

/// Runs a command and says how the process ends. What there is to say has been printed.
pub fn run(cli: Cli) -> ExitCode {
    // A tool's errors are sentences, not log lines: the log is for those who ask.
    if std::env::var_os("WEIR_LOG").is_some() {
        runtime::telemetry::init("weir");
    }
    let mut out = Output::to_stdout(&cli);
    let result = dispatch(&cli, &mut out);
    // Also after a failure: what was printed of an array is one.
    let finished = out.finish();
    let result = result.and_then(|exit| finished.map(|()| exit));
    report::finish(if cli.command.is_writing() { result } else { closed_pipe_is_fine(result) })
}

/// Runs a command on an output; in-process tests begin here.
pub fn dispatch(cli: &Cli, out: &mut Output<'_>) -> Result<Exit, Failure> {
    let path = cli.file.config.as_path();
    if cli.command.is_writing() {
        out.bear_deafness();
    }
    match &cli.command {
        Command::Config(command) => commands::config::run(path, command, out),
        Command::Topics(command) => commands::topics::run(&load(cli)?, command, stdin().is_terminal(), out),
        Command::Providers(command) => commands::providers::run(command, out),
        Command::Send(options) => commands::send::run(&load(cli)?, options, out),
        Command::Tail(options) => commands::tail::run(&load(cli)?, options, out),
        Command::Find(options) => commands::find::run(&load(cli)?, options, out),
        Command::Lag(_) => commands::lag::run(&load(cli)?, out),
        Command::Dead(command) => commands::dead::run(&load(cli)?, command, stdin().is_terminal(), out),
        Command::Quarantine(_) => {
            Err(Failure::usage(anyhow!("weir quarantine is not available in this version: nothing is quarantined yet")))
        }
        Command::Completions { shell } => commands::completions::run(*shell, out),
    }
}

fn load(cli: &Cli) -> Result<runtime::config::Config, Failure> {
    Ok(runtime::config::load(&cli.file.config)?.config)
}

/// `weir tail | head` ends when `head` has seen enough: that is success, for a command that only reads.
fn closed_pipe_is_fine(result: Result<Exit, Failure>) -> Result<Exit, Failure> {
    result.or_else(|failure| {
        let closed = failure.error.chain().any(|cause| {
            let cause = cause.downcast_ref::<std::io::Error>();
            cause.is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
        });
        if closed { Ok(Exit::Done) } else { Err(failure) }
    })
}

impl Output<'_> {
    /// Standard output in the form that was asked for, else the one that suits who reads it.
    fn to_stdout(cli: &Cli) -> Self {
        let is_terminal = stdout().is_terminal();
        let is_colored = is_terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self::new(Box::new(stdout()), cli.form(), is_terminal, is_colored)
    }
}
