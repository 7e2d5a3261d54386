//! The arguments every binary takes, and how a command line that makes no sense ends.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::error::ErrorKind;

use crate::report::Exit;

/// The file that all processes of an installation share.
#[derive(clap::Args, Debug, Clone)]
pub struct ConfigFile {
    /// Configuration file.
    #[arg(long, value_name = "PATH", env = "WEIR_CONFIG", default_value = "weir.toml", global = true)]
    pub config: PathBuf,
}

/// Parses the command line. `Err` is how to leave: 0 after `--help` and `--version`, 64 after a mistake;
/// what there is to say has been printed.
pub fn parse<A: clap::Parser>() -> Result<A, ExitCode> {
    A::try_parse().map_err(|error| {
        // A closed pipe is all that can go wrong here, and nobody is left to be told.
        error.print().unwrap_or_default();
        exit_of(error.kind()).into()
    })
}

fn exit_of(kind: ErrorKind) -> Exit {
    let asked = matches!(kind, ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
    if asked { Exit::Done } else { Exit::Usage }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(clap::Parser, Debug)]
    #[command(version = "1")]
    struct Cli {
        #[command(flatten)]
        file: ConfigFile,
    }

    #[test]
    fn a_wrong_command_line_exits_64_and_help_exits_0() {
        let exit = |arguments: &[&str]| Cli::try_parse_from(arguments).map_err(|e| exit_of(e.kind()));
        assert_eq!(exit(&["weir", "--nonsense"]).unwrap_err(), Exit::Usage);
        assert_eq!(exit(&["weir", "--config"]).unwrap_err(), Exit::Usage);
        assert_eq!(exit(&["weir", "--help"]).unwrap_err(), Exit::Done);
        assert_eq!(exit(&["weir", "--version"]).unwrap_err(), Exit::Done);
        let cli = exit(&["weir", "--config", "a.toml"]).unwrap();
        assert_eq!(cli.file.config, PathBuf::from("a.toml"));
    }
}
