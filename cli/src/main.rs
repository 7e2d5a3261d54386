//! `weir`, the operator's tool: arguments in, an exit code out. Everything else is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    match runtime::args::parse::<weir_cli::args::Cli>() {
        Ok(cli) => weir_cli::run(cli),
        Err(exit) => exit,
    }
}
