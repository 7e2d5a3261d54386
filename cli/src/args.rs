//! The command line, as data. The help texts are what an operator reads first: keep them true.
//!
//! Nothing here acts. What `quarantine` will take is not declared before it exists.

pub mod dead;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;

use schemas::time;

use self::dead::DeadCommand;
use crate::output::Form;

/// Operator's tool of Weir.
#[derive(Debug, Parser)]
#[command(name = "weir", version, about, propagate_version = true, arg_required_else_help = true)]
#[command(
    after_help = "Exit codes: 0 done; 1 the answer is no; 64 bad usage or configuration; 69 no broker or no door; 70 a defect of ours."
)]
pub struct Cli {
    /// The file that all processes of an installation share.
    #[command(flatten)]
    pub file: runtime::args::ConfigFile,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What `weir` can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Check, show or describe the configuration.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Compare the topics with the configuration, and create or change them.
    #[command(subcommand)]
    Topics(TopicsCommand),
    /// What Weir knows about each provider.
    #[command(subcommand)]
    Providers(ProvidersCommand),
    /// Send test events to a source, signed as its provider would.
    Send(SendArgs),
    /// Show the events of a topic.
    Tail(TailArgs),
    /// Find every place an event went through.
    Find(FindArgs),
    /// How far the processor is behind, per partition.
    Lag(LagArgs),
    /// Look at dead letters, mend them, run them again or give them up.
    #[command(subcommand)]
    Dead(DeadCommand),
    /// Requests that failed verification. Not available in this version.
    #[command(subcommand)]
    Quarantine(QuarantineCommand),
    /// Print the completion script of a shell.
    Completions {
        /// Which shell.
        shell: Shell,
    },
}

/// `weir quarantine …`
#[derive(Debug, Subcommand)]
pub enum QuarantineCommand {
    /// Not available in this version.
    List(Unbuilt),
    /// Not available in this version.
    Retry(Unbuilt),
}

/// Whatever is asked of a command that does not exist yet.
#[derive(Debug, Args)]
pub struct Unbuilt {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    _asked: Vec<String>,
}

/// `weir config …`
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Report every problem at once; exit 64 if there is one.
    Check(OutputArgs),
    /// Print the effective configuration as TOML: defaults filled in, secrets as ***.
    Show,
    /// Print the JSON Schema of weir.toml, for editors.
    Schema,
}

/// `weir topics …`
#[derive(Debug, Subcommand)]
pub enum TopicsCommand {
    /// Show what `apply` would do; exit 1 if there is something to do.
    Plan(OutputArgs),
    /// Create missing topics and correct settings. Never deletes a topic or changes its partitions.
    Apply(ApplyArgs),
}

/// Options of `weir topics apply`.
#[derive(Debug, Clone, Default, Args)]
pub struct ApplyArgs {
    /// Do not ask. Required without a terminal.
    #[arg(long, short)]
    pub yes: bool,
    /// Only show what would be done.
    #[arg(long)]
    pub dry_run: bool,
    /// How to print.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// `weir providers …`
#[derive(Debug, Subcommand)]
pub enum ProvidersCommand {
    /// Every preset, one a line.
    List(OutputArgs),
    /// Everything about one preset.
    Show {
        /// Its name, as in `provider = "…"`.
        name: String,
        /// How to print.
        #[command(flatten)]
        output: OutputArgs,
    },
}

/// Options of `weir send`.
#[derive(Debug, Clone, Args)]
pub struct SendArgs {
    /// Name of the source, as in `[[source]] name`.
    #[arg(long, short, value_name = "NAME")]
    pub source: String,
    /// Event type as the provider writes it, e.g. issues.opened.
    #[arg(long = "type", short = 't', value_name = "TYPE")]
    pub event_type: Option<String>,
    /// Body to send, byte for byte unless an option has to change it; `-` is standard input. Default: an example of the provider.
    #[arg(long, short, value_name = "FILE")]
    pub body: Option<PathBuf>,
    /// Event id. With --count, the same event that often: every delivery after the first is a duplicate.
    #[arg(long, value_name = "ID")]
    pub id: Option<String>,
    /// How many. Without --id each is an event of its own.
    #[arg(long, short = 'n', value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    pub count: u64,
    /// Events per second, whether or not answers come in time. Default: one after the other.
    #[arg(long, value_name = "R", value_parser = positive)]
    pub rate: Option<f64>,
    /// Where to: the address of weir-ingest or a full address. Default: [ingest] listen.
    #[arg(long, short, value_name = "URL")]
    pub url: Option<String>,
    /// Print the request instead of sending it.
    #[arg(long)]
    pub dry_run: bool,
    /// How to print.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Where `weir tail` starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum From {
    /// The oldest record that is kept.
    Beginning,
    /// The newest records.
    End,
}

/// Options of `weir tail`.
#[derive(Debug, Clone, Args)]
pub struct TailArgs {
    /// Topic by its short or full name: clean, verified, stale, dead, resolutions, retry-5s, …
    #[arg(default_value = "clean")]
    pub topic: String,
    /// Only events of this source.
    #[arg(long, short, value_name = "NAME")]
    pub source: Option<String>,
    /// Only events of this type, with or without the provider before it; `*` stands for anything.
    #[arg(long = "type", short = 't', value_name = "TYPE")]
    pub event_type: Option<String>,
    /// Only events of this resource key, e.g. 'stripe|invoice|in_1'.
    #[arg(long, short, value_name = "KEY")]
    pub key: Option<String>,
    /// Go on with new events until interrupted.
    #[arg(long, short)]
    pub follow: bool,
    /// How many: the last ones before following, or the first ones from the beginning. Default: 10 from the end, all from the beginning.
    #[arg(long, short = 'n', value_name = "N", value_parser = clap::value_parser!(u32).range(0..=100_000))]
    pub lines: Option<u32>,
    /// Where to start.
    #[arg(long, value_enum, default_value_t = From::End)]
    pub from: From,
    /// How to print.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// A point in time: a while before now, or a date.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// Before now.
    Ago(Duration),
    /// Milliseconds since the epoch.
    At(i64),
}

impl Moment {
    /// Milliseconds since the epoch.
    pub fn at_ms(self, now_ms: i64) -> i64 {
        match self {
            Self::At(at_ms) => at_ms,
            Self::Ago(ago) => now_ms.saturating_sub(i64::try_from(ago.as_millis()).unwrap_or(i64::MAX)),
        }
    }
}

/// Options of `weir find`.
#[derive(Debug, Clone, Args)]
pub struct FindArgs {
    /// The provider's event id (`ce_id`).
    pub event_id: String,
    /// Only events of this source.
    #[arg(long, short, value_name = "NAME")]
    pub source: Option<String>,
    /// Only what was written since then: 2h before now, 2026-11-24 or 2026-11-24T12:00:00Z. Default: everything that is kept.
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub since: Option<Moment>,
    /// How to print.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Options of `weir lag`.
#[derive(Debug, Clone, Default, Args)]
pub struct LagArgs {
    /// How to print.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// How to print a list.
#[derive(Debug, Clone, Copy, Default, Args)]
pub struct OutputArgs {
    /// Form of the output. Default: table on a terminal, jsonl in a pipe.
    #[arg(long, short, value_enum, value_name = "FORM")]
    pub output: Option<Form>,
}

impl Command {
    /// Whether it changes something besides its output: then it goes on when nobody reads that any more.
    pub fn is_writing(&self) -> bool {
        match self {
            Self::Topics(TopicsCommand::Apply(_)) | Self::Send(_) => true,
            Self::Dead(command) => command.is_writing(),
            Self::Config(_)
            | Self::Topics(TopicsCommand::Plan(_))
            | Self::Providers(_)
            | Self::Tail(_)
            | Self::Find(_)
            | Self::Lag(_)
            | Self::Quarantine(_)
            | Self::Completions { .. } => false,
        }
    }
}

impl Cli {
    /// The form that was asked for.
    pub fn form(&self) -> Option<Form> {
        let asked = match &self.command {
            Command::Config(ConfigCommand::Check(output))
            | Command::Topics(TopicsCommand::Plan(output) | TopicsCommand::Apply(ApplyArgs { output, .. }))
            | Command::Providers(ProvidersCommand::List(output) | ProvidersCommand::Show { output, .. })
            | Command::Send(SendArgs { output, .. })
            | Command::Tail(TailArgs { output, .. })
            | Command::Find(FindArgs { output, .. })
            | Command::Lag(LagArgs { output }) => output,
            Command::Dead(command) => command.output(),
            Command::Config(ConfigCommand::Show | ConfigCommand::Schema)
            | Command::Quarantine(_)
            | Command::Completions { .. } => return None,
        };
        asked.output
    }
}

/// A date alone begins at midnight, UTC.
fn moment(text: &str) -> Result<Moment, String> {
    let date = time::parse_rfc3339(text).or_else(|| time::parse_rfc3339(&format!("{text}T00:00:00Z")));
    if let Some(at_ms) = date {
        return Ok(Moment::At(at_ms));
    }
    let ago = humantime::parse_duration(text).map(Moment::Ago);
    ago.map_err(|_| {
        "neither a time before now, as in 2h, nor a date, as in 2026-11-24 or 2026-11-24T12:00:00Z".to_owned()
    })
}

fn positive(text: &str) -> Result<f64, String> {
    let rate: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if rate.is_finite() && (0.001..=1_000_000.0).contains(&rate) {
        Ok(rate)
    } else {
        Err("must be between 0.001 and 1000000 per second".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_commands_are_those_of_the_contract_and_one_of_them_says_that_it_is_not_there_yet() {
        let command = Cli::command();
        let names: Vec<&str> = command.get_subcommands().map(clap::Command::get_name).collect();
        let expected =
            ["config", "topics", "providers", "send", "tail", "find", "lag", "dead", "quarantine", "completions"];
        assert_eq!(names, expected);
        for line in ["weir quarantine list", "weir quarantine retry 3-17 --dry-run -o json"] {
            let cli = Cli::try_parse_from(line.split(' ')).unwrap();
            let mut out = crate::output::Output::new(Box::new(std::io::sink()), None, false, false);
            let failure = crate::dispatch(&cli, &mut out).unwrap_err();
            assert_eq!(failure.exit, runtime::report::Exit::Usage, "{line}");
            assert!(failure.to_string().contains("not available in this version"), "{failure}");
        }
    }

    #[test]
    fn the_configuration_may_be_named_before_or_after_the_command() {
        for line in [["weir", "--config", "a.toml", "lag"], ["weir", "lag", "--config", "a.toml"]] {
            let cli = Cli::try_parse_from(line).unwrap();
            assert_eq!(cli.file.config, PathBuf::from("a.toml"));
        }
    }

    #[test]
    fn a_time_is_a_date_or_a_while_before_now() {
        assert_eq!(moment("2h"), Ok(Moment::Ago(Duration::from_secs(7200))));
        assert_eq!(moment("1970-01-01T00:00:01Z"), Ok(Moment::At(1000)));
        assert_eq!(moment("1970-01-02"), Ok(Moment::At(86_400_000)));
        for bad in ["yesterday", "1970-01", "1970-13-01", "2026-11-24T12:00"] {
            assert!(moment(bad).is_err(), "{bad}");
        }
        assert_eq!((Moment::At(5).at_ms(9), Moment::Ago(Duration::from_millis(4)).at_ms(9)), (5, 5));
    }

    #[test]
    fn every_since_takes_the_same_times() {
        for time in ["2h", "2026-11-24", "2026-11-24T12:00:00Z"] {
            for line in ["weir find e --since", "weir dead list --since", "weir dead list --until"] {
                assert!(Cli::try_parse_from(line.split(' ').chain([time])).is_ok(), "{line} {time}");
            }
        }
    }

    #[test]
    fn what_writes_goes_on_when_nobody_reads_and_what_reads_does_not() {
        let is_writing = |line: &str| Cli::try_parse_from(line.split(' ')).unwrap().command.is_writing();
        for line in [
            "weir topics apply",
            "weir send --source s",
            "weir dead redrive --all --note n",
            "weir dead discard --all --note n",
            "weir dead edit 3-1-0",
        ] {
            assert!(is_writing(line), "{line}");
        }
        for line in
            ["weir topics plan", "weir tail", "weir find e", "weir lag", "weir dead list", "weir dead show 3-1-0"]
        {
            assert!(!is_writing(line), "{line}");
        }
    }

    #[test]
    fn a_rate_is_a_positive_number() {
        let send = |rate| Cli::try_parse_from(["weir", "send", "--source", "s", "--rate", rate]);
        for good in ["1", "0.5", "20000"] {
            assert!(send(good).is_ok(), "{good}");
        }
        for bad in ["0", "-1", "NaN", "inf", "fast"] {
            assert!(send(bad).is_err(), "{bad}");
        }
    }

    /// `weir topics apply` and so on, each with its long options.
    fn leaves(command: &clap::Command, path: &str, found: &mut Vec<(String, Vec<String>)>) {
        let path = format!("{path}{}", command.get_name());
        let longs = command.get_arguments().filter_map(|argument| argument.get_long());
        found.push((path.clone(), longs.map(|long| format!("--{long}")).collect()));
        for below in command.get_subcommands() {
            leaves(below, &format!("{path} "), found);
        }
    }

    #[test]
    fn every_command_and_option_is_documented() {
        let document = include_str!("../../docs/cli.md");
        let mut found = Vec::new();
        leaves(&Cli::command(), "", &mut found);
        assert!(found.len() > 12);
        for (path, options) in found {
            let name = path.rsplit(' ').next().unwrap_or_default();
            assert!(document.contains(&format!("`{path}")) || document.contains(&format!("`{name}")), "{path}");
            for option in options {
                assert!(document.contains(&option), "{path} {option}");
            }
        }
    }
}
