//! `weir topics`: the topics as they should be against the topics as they are.
//!
//! What is compared and changed is decided in `runtime::topics`; here it is shown, asked for and started.

use anyhow::anyhow;
use comfy_table::Color;
use runtime::config::Config;
use runtime::report::{Exit, Failure};
use runtime::topics::{self, Action, Change};
use serde::Serialize;

use crate::args::TopicsCommand;
use crate::ask::{self, Consent};
use crate::output::{Output, Row};

/// What happens to one topic.
#[derive(Debug, Serialize)]
struct Planned<'a> {
    topic: &'a str,
    action: &'static str,
    changes: &'a [String],
}

impl Row for Planned<'_> {
    const COLUMNS: &'static [&'static str] = &["topic", "action", "changes"];

    fn color(&self, column: &str) -> Option<Color> {
        let color = match self.action {
            "create" => Color::Green,
            "configure" => Color::Yellow,
            "refuse" => Color::Red,
            _ => return None,
        };
        (column == "action").then_some(color)
    }
}

/// Runs a subcommand. `can_ask`: somebody sits at a terminal.
pub fn run(config: &Config, command: &TopicsCommand, can_ask: bool, out: &mut Output<'_>) -> Result<Exit, Failure> {
    let options = match command {
        TopicsCommand::Plan(_) => None,
        TopicsCommand::Apply(options) => Some(options),
    };
    if let Some(options) = options {
        Consent { yes: options.yes, dry_run: options.dry_run, can_ask }.check("weir topics apply")?;
    }
    let tokio = super::tokio_runtime()?;
    let changes = tokio.block_on(topics::plan(&config.kafka, &config.topics)).map_err(Failure::unavailable)?;
    show(&changes, out)?;
    let counts = Counts::of(&changes);
    match options {
        None => Ok(counts.answer()),
        Some(options) => {
            refuse(&changes)?;
            if options.dry_run || counts.to_do() == 0 {
                return Ok(Exit::Done);
            }
            if !options.yes && !ask::agreed(&counts.question())? {
                return Ok(Exit::No);
            }
            tokio.block_on(topics::apply(&config.kafka, &changes)).map_err(Failure::unavailable)?;
            ask::say(&format!("done: {}\n", counts.sentence()))?;
            Ok(Exit::Done)
        }
    }
}

fn show(changes: &[Change], out: &mut Output<'_>) -> Result<(), Failure> {
    let planned: Vec<Planned<'_>> = changes
        .iter()
        .map(|change| Planned { topic: &change.topic, action: word(change.action), changes: &change.lines })
        .collect();
    out.list(&planned)
}

fn word(action: Action) -> &'static str {
    match action {
        Action::Create => "create",
        Action::Configure => "configure",
        Action::Refuse => "refuse",
        Action::Same => "same",
    }
}

/// Nothing is applied by halves: one topic that cannot be mended stops all.
fn refuse(changes: &[Change]) -> Result<(), Failure> {
    let refused: Vec<String> = changes
        .iter()
        .filter(|change| change.action == Action::Refuse)
        .map(|change| format!("{}: {}", change.topic, change.lines.join("; ")))
        .collect();
    if refused.is_empty() {
        return Ok(());
    }
    Err(Failure::usage(anyhow!("{}\nnothing was changed", refused.join("\n"))))
}

/// How many topics meet which fate.
#[derive(Debug, Default, PartialEq, Eq)]
struct Counts {
    create: usize,
    configure: usize,
    refuse: usize,
}

impl Counts {
    fn of(changes: &[Change]) -> Self {
        let mut counts = Self::default();
        for change in changes {
            match change.action {
                Action::Create => counts.create += 1,
                Action::Configure => counts.configure += 1,
                Action::Refuse => counts.refuse += 1,
                Action::Same => {}
            }
        }
        counts
    }

    fn to_do(&self) -> usize {
        self.create + self.configure
    }

    /// The answer of `plan`: is everything as it should be?
    fn answer(&self) -> Exit {
        match (self.refuse, self.to_do()) {
            (0, 0) => Exit::Done,
            (0, _) => Exit::No,
            (_, _) => Exit::Usage,
        }
    }

    fn question(&self) -> String {
        format!("create {} and configure {} topics?", self.create, self.configure)
    }

    fn sentence(&self) -> String {
        format!("{} created, {} configured", self.create, self.configure)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_answers_whether_everything_is_as_it_should_be() {
        let answer = |create, configure, refuse| Counts { create, configure, refuse }.answer();
        assert_eq!(answer(0, 0, 0), Exit::Done);
        assert_eq!(answer(1, 0, 0), Exit::No);
        assert_eq!(answer(0, 1, 0), Exit::No);
        assert_eq!(answer(3, 0, 1), Exit::Usage);
    }

    #[test]
    fn a_topic_is_a_row_with_its_changes_as_a_list() {
        let lines = ["retention.ms: 1 -> 2".to_owned()];
        let row = Planned { topic: "clean-events", action: word(Action::Configure), changes: &lines };
        let mut bytes = Vec::new();
        let mut out = Output::new(Box::new(&mut bytes), None, false, false);
        out.list(&[row]).unwrap();
        drop(out);
        let expected = "{\"topic\":\"clean-events\",\"action\":\"configure\",\"changes\":[\"retention.ms: 1 -> 2\"]}\n";
        assert_eq!(String::from_utf8(bytes).unwrap(), expected);
    }
}
