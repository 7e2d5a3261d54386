//! The command line of `weir dead`, as data.
//!
//! Nothing here acts. What a filter means is decided in `commands/dead/filter.rs`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use schemas::DeadId;
use serde::Serialize;

use super::{Moment, OutputArgs, moment, positive};

/// Longest `--note`, bytes: it is kept in the command and in the resolution.
const NOTE_BYTES_MAX: usize = 1024;
/// Longest `--operator`, bytes.
const OPERATOR_BYTES_MAX: usize = 256;
/// Bounds of `--timeout`.
const TIMEOUT_MIN: Duration = Duration::from_millis(1);
const TIMEOUT_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// `weir dead …`
#[derive(Debug, Subcommand)]
pub enum DeadCommand {
    /// List dead letters, whatever their state.
    List(ListArgs),
    /// Everything about one dead letter.
    Show(ShowArgs),
    /// Change the body that the next redrive of a dead letter sends. Writes nothing to Kafka.
    Edit(EditArgs),
    /// Run dead letters again.
    Redrive(RedriveArgs),
    /// Give dead letters up for good.
    Discard(DiscardArgs),
}

/// What has become of a dead letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, clap::ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Nothing yet.
    Dead,
    /// It ran again, or something was faster.
    Redriven,
    /// It was given up.
    Discarded,
}

/// Which dead letters. All that is given has to fit.
#[derive(Debug, Clone, Default, Args)]
pub struct FilterArgs {
    /// Only of this source.
    #[arg(long, short, value_name = "NAME")]
    pub source: Option<String>,
    /// Only of this type, with or without the provider before it; `*` stands for anything.
    #[arg(long = "type", short = 't', value_name = "TYPE")]
    pub event_type: Option<String>,
    /// Only of this resource, e.g. 'invoice|in_1', with or without the source before it.
    #[arg(long, value_name = "RESOURCE")]
    pub resource: Option<String>,
    /// Only what died for this reason, e.g. schema_violation.
    #[arg(long, value_name = "CODE")]
    pub reason: Option<String>,
    /// Only in this state.
    #[arg(long, value_enum, value_name = "STATE")]
    pub state: Option<State>,
    /// Only what failed last at or after this time: 2h before now, 2026-11-24 or 2026-11-24T12:00:00Z.
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub since: Option<Moment>,
    /// Only what failed last before this time.
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub until: Option<Moment>,
}

impl FilterArgs {
    /// Whether nothing was given.
    pub fn is_empty(&self) -> bool {
        let texts = [&self.source, &self.event_type, &self.resource, &self.reason];
        texts.iter().all(|text| text.is_none()) && self.state.is_none() && self.since.is_none() && self.until.is_none()
    }
}

/// Options of `weir dead list`.
#[derive(Debug, Clone, Default, Args)]
pub struct ListArgs {
    /// Which.
    #[command(flatten)]
    pub filter: FilterArgs,
    /// How many there are of each reason and source, instead of the letters.
    #[arg(long)]
    pub counts: bool,
    /// How to print.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Options of `weir dead show`.
#[derive(Debug, Clone, Args)]
pub struct ShowArgs {
    /// Dead id, e.g. 3-1742-0.
    #[arg(value_parser = dead_id)]
    pub id: DeadId,
    /// Print the provider's bytes and nothing else.
    #[arg(long)]
    pub body: bool,
    /// Where edited bodies are kept.
    #[command(flatten)]
    pub drafts: DraftsArgs,
    /// How to print.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Options of `weir dead edit`.
#[derive(Debug, Clone, Args)]
pub struct EditArgs {
    /// Dead id, e.g. 3-1742-0.
    #[arg(value_parser = dead_id)]
    pub id: DeadId,
    /// Take the new body from here instead of $VISUAL or $EDITOR; `-` is standard input.
    #[arg(long, short, value_name = "FILE")]
    pub body: Option<PathBuf>,
    /// Keep it even if it is not JSON or fails the source's JSON Schema.
    #[arg(long)]
    pub no_check: bool,
    /// Show the change and keep nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// Where edited bodies are kept.
    #[command(flatten)]
    pub drafts: DraftsArgs,
    /// How to print.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Where edited bodies are kept.
#[derive(Debug, Clone, Default, Args)]
pub struct DraftsArgs {
    /// Folder of edited bodies. Default: weir/drafts in $XDG_STATE_HOME or ~/.local/state.
    #[arg(long, value_name = "DIR", env = "WEIR_DRAFTS")]
    pub drafts: Option<PathBuf>,
}

/// What `redrive` and `discard` have in common.
#[derive(Debug, Clone, Args)]
pub struct ActArgs {
    /// Dead ids, e.g. 3-1742-0. Or use filters, or --all.
    #[arg(value_parser = dead_id, value_name = "ID")]
    pub ids: Vec<DeadId>,
    /// Which, where no ids are given.
    #[command(flatten)]
    pub filter: FilterArgs,
    /// All that are dead.
    #[arg(long)]
    pub all: bool,
    /// Why; kept with the resolution.
    #[arg(long, value_name = "TEXT", value_parser = note)]
    pub note: String,
    /// Who; kept with the resolution. Default: $USER@host.
    #[arg(long, value_name = "NAME", value_parser = operator)]
    pub operator: Option<String>,
    /// Letters per second. Default: as fast as they are answered.
    #[arg(long, value_name = "N", value_parser = positive)]
    pub rate: Option<f64>,
    /// How long to wait for what became of a letter, 1ms to 24h.
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = timeout)]
    pub timeout: Duration,
    /// Do not ask. Required without a terminal.
    #[arg(long, short)]
    pub yes: bool,
    /// Only show what would be done.
    #[arg(long)]
    pub dry_run: bool,
    /// Where edited bodies are kept.
    #[command(flatten)]
    pub drafts: DraftsArgs,
    /// How to print.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Options of `weir dead redrive`.
#[derive(Debug, Clone, Args)]
pub struct RedriveArgs {
    /// Which, why, how fast.
    #[command(flatten)]
    pub act: ActArgs,
    /// Let events through that are stale by now, flagged.
    #[arg(long)]
    pub as_is: bool,
    /// Send the original bodies, also of letters that were edited.
    #[arg(long)]
    pub original: bool,
}

/// Options of `weir dead discard`.
#[derive(Debug, Clone, Args)]
pub struct DiscardArgs {
    /// Which, why, how fast.
    #[command(flatten)]
    pub act: ActArgs,
}

impl DeadCommand {
    /// Whether it changes something besides its output.
    pub fn is_writing(&self) -> bool {
        match self {
            Self::Edit(_) | Self::Redrive(_) | Self::Discard(_) => true,
            Self::List(_) | Self::Show(_) => false,
        }
    }

    /// How to print.
    pub fn output(&self) -> &OutputArgs {
        match self {
            Self::List(ListArgs { output, .. })
            | Self::Show(ShowArgs { output, .. })
            | Self::Edit(EditArgs { output, .. })
            | Self::Redrive(RedriveArgs { act: ActArgs { output, .. }, .. })
            | Self::Discard(DiscardArgs { act: ActArgs { output, .. } }) => output,
        }
    }
}

fn dead_id(text: &str) -> Result<DeadId, String> {
    DeadId::parse(text).ok_or_else(|| "not a dead id: <partition>-<offset>-<generation>, as in 3-1742-0".to_owned())
}

fn timeout(text: &str) -> Result<Duration, String> {
    let timeout = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if (TIMEOUT_MIN..=TIMEOUT_MAX).contains(&timeout) { Ok(timeout) } else { Err("must be 1ms to 24h".to_owned()) }
}

fn note(text: &str) -> Result<String, String> {
    sentence(text, NOTE_BYTES_MAX)
}

fn operator(text: &str) -> Result<String, String> {
    sentence(text, OPERATOR_BYTES_MAX)
}

fn sentence(text: &str, bytes_max: usize) -> Result<String, String> {
    let text = text.trim();
    match text.len() {
        0 => Err("must not be empty".to_owned()),
        length if length > bytes_max => Err(format!("has {length} bytes, at most {bytes_max} are kept")),
        _ => Ok(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::super::{Cli, Command};
    use super::*;

    fn parsed(line: &str) -> Result<DeadCommand, clap::Error> {
        let cli = Cli::try_parse_from(line.split(' '))?;
        let Command::Dead(command) = cli.command else { panic!("{line}") };
        Ok(command)
    }

    #[test]
    fn whoever_acts_says_why() {
        for line in ["weir dead redrive 3-1-0", "weir dead discard --all", "weir dead redrive 3-1-0 --note="] {
            assert!(parsed(line).is_err(), "{line}");
        }
        let long = format!("weir dead discard --all --note {}", "x".repeat(NOTE_BYTES_MAX + 1));
        assert!(parsed(&long).is_err());
        assert!(parsed("weir dead redrive 3-1-0 3-2-0 --note fixed --yes").is_ok());
    }

    #[test]
    fn an_id_has_the_form_of_a_dead_id() {
        for bad in ["3-1", "evt_1", "03-1-0", "3-1-0-0"] {
            assert!(parsed(&format!("weir dead show {bad}")).is_err(), "{bad}");
        }
        assert!(parsed("weir dead show 3-1742-0 --body").is_ok());
    }

    #[test]
    fn a_timeout_has_bounds() {
        assert_eq!(timeout("90s"), Ok(Duration::from_secs(90)));
        for bad in ["0s", "25h", "soon", "60"] {
            assert!(timeout(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn only_a_redrive_can_be_as_is() {
        assert!(parsed("weir dead redrive --all --note n --as-is --original").is_ok());
        assert!(parsed("weir dead discard --all --note n --as-is").is_err());
    }
}
