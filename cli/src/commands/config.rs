//! `weir config`: what is wrong with the configuration, what it means, what it may contain.
//!
//! `check` finds every problem before a service would, the files that the configuration names included.

use std::path::Path;

use comfy_table::Color;
use runtime::config::{self, Config, Problem, Problems};
use runtime::report::{self, Exit, Failure};
use serde::Serialize;

use crate::args::ConfigCommand;
use crate::output::{Output, Row};

/// Runs a subcommand on the file at `path`.
pub fn run(path: &Path, command: &ConfigCommand, out: &mut Output<'_>) -> Result<Exit, Failure> {
    match command {
        ConfigCommand::Check(_) => check(path, out),
        ConfigCommand::Show => {
            let loaded = config::load(path)?;
            out.text(&config::show(&loaded.config))?;
            Ok(Exit::Done)
        }
        ConfigCommand::Schema => {
            let text = serde_json::to_string_pretty(&config::schema()).map_err(Failure::internal)?;
            out.text(&format!("{text}\n"))?;
            Ok(Exit::Done)
        }
    }
}

/// One finding, for `-o`.
#[derive(Debug, Serialize)]
struct Finding<'a> {
    level: &'static str,
    file: &'a str,
    line: Option<usize>,
    key: &'a str,
    message: &'a str,
}

impl Row for Finding<'_> {
    const COLUMNS: &'static [&'static str] = &["level", "file", "line", "key", "message"];

    fn color(&self, column: &str) -> Option<Color> {
        let color = if self.level == "error" { Color::Red } else { Color::Yellow };
        (column == "level").then_some(color)
    }
}

fn check(path: &Path, out: &mut Output<'_>) -> Result<Exit, Failure> {
    let (summary, errors, warnings) = match config::load(path) {
        Ok(loaded) => {
            let count = loaded.config.sources.len();
            let sources = if count == 1 { "1 source".to_owned() } else { format!("{count} sources") };
            (sources, source_problems(path, &loaded.config), loaded.warnings)
        }
        Err(Problems { errors, warnings }) => (String::new(), errors, warnings),
    };
    if out.asked().is_some() {
        let of = |level, problems| rows(level, problems);
        let findings: Vec<Finding<'_>> = of("error", &errors).into_iter().chain(of("warning", &warnings)).collect();
        out.list(&findings)?;
        return Ok(if errors.is_empty() { Exit::Done } else { Exit::Usage });
    }
    for warning in &warnings {
        out.text(&format!("warning: {warning}\n"))?;
    }
    if errors.is_empty() {
        out.text(&format!("{}: ok, {summary}\n", path.display()))?;
        return Ok(Exit::Done);
    }
    Err(Problems { errors, warnings }.into())
}

fn rows<'a>(level: &'static str, problems: &'a [Problem]) -> Vec<Finding<'a>> {
    let row = |problem: &'a Problem| Finding {
        level,
        file: &problem.file,
        line: problem.line,
        key: &problem.key,
        message: &problem.message,
    };
    problems.iter().map(row).collect()
}

/// What only those who use a source would notice: its templates and pointers.
fn source_problems(path: &Path, config: &Config) -> Vec<Problem> {
    let mut problems = Vec::new();
    for source in &config.sources {
        if let Err(error) = ingest::source::Source::new(source) {
            problems.push(Problem {
                file: path.display().to_string(),
                line: None,
                key: format!("[[source]] {}", source.name),
                message: report::chain(&error),
            });
        }
    }
    problems
}

#[cfg(test)]
mod tests;
