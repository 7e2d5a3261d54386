//! Collects what is wrong with a configuration while it is read, keyed by path.
//!
//! A path is `ingest.body_limit` or `source[1].secrets[0].env`. A key gets one problem: what follows
//! from it is not reported again.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::Loaded;
use super::problem::{Problem, Problems};
use super::resolved::Config;

/// Where a value comes from.
#[derive(Debug, Clone)]
enum Origin {
    Line(usize),
    Variable(String),
}

/// A problem or warning. Its key gets a label at the end, when the sources' names are known.
#[derive(Debug)]
struct Found {
    path: String,
    origin: Option<Origin>,
    message: String,
}

/// Problems and warnings so far.
#[derive(Debug)]
pub(super) struct Report {
    file: String,
    origins: BTreeMap<String, Origin>,
    sources: Vec<Option<String>>,
    problems: Vec<Found>,
    warnings: Vec<Found>,
    spoiled: BTreeSet<String>,
}

impl Report {
    pub(super) fn new(path: &Path) -> Self {
        Self {
            file: path.display().to_string(),
            origins: BTreeMap::new(),
            sources: Vec::new(),
            problems: Vec::new(),
            warnings: Vec::new(),
            spoiled: BTreeSet::new(),
        }
    }

    /// The value at `path` stands on that line.
    pub(super) fn stands_on(&mut self, path: &str, line: usize) {
        self.origins.insert(path.to_owned(), Origin::Line(line));
    }

    /// The value at `path` comes from a variable.
    pub(super) fn comes_from(&mut self, path: &str, variable: &str) {
        self.origins.insert(path.to_owned(), Origin::Variable(variable.to_owned()));
    }

    /// The line of the value at `path` itself.
    pub(super) fn line(&self, path: &str) -> Option<usize> {
        match self.origins.get(path)? {
            Origin::Line(line) => Some(*line),
            Origin::Variable(_) => None,
        }
    }

    /// The sources' names, for people: a position alone says little.
    pub(super) fn name_sources(&mut self, names: Vec<Option<String>>) {
        self.sources = names;
    }

    /// A problem with the value at `path`, unless it already has one.
    pub(super) fn error(&mut self, path: &str, message: impl Into<String>) {
        if self.spoiled.insert(path.to_owned()) {
            self.problems.push(self.found(path, message.into()));
        }
    }

    /// Something an operator should know.
    pub(super) fn warn(&mut self, path: &str, message: impl Into<String>) {
        self.warnings.push(self.found(path, message.into()));
    }

    /// The value at `path` cannot be used, for a reason that is reported elsewhere.
    pub(super) fn spoil(&mut self, path: &str) {
        self.spoiled.insert(path.to_owned());
    }

    /// Whether the value at `path`, or a part of it, could not be used; what follows from it is not
    /// worth checking.
    pub(super) fn is_spoiled(&self, path: &str) -> bool {
        let within = |spoiled: &String| {
            spoiled.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        };
        self.spoiled.iter().any(within)
    }

    /// What was found, in the order of the file.
    pub(super) fn finish(self, config: Option<Config>) -> Result<Loaded, Problems> {
        let errors = self.sorted(&self.problems);
        let warnings = self.sorted(&self.warnings);
        match config {
            Some(config) if errors.is_empty() => Ok(Loaded { config, warnings }),
            Some(_) | None => Err(Problems { errors, warnings }),
        }
    }

    fn found(&self, path: &str, message: String) -> Found {
        Found { path: path.to_owned(), origin: self.origin(path).cloned(), message }
    }

    fn sorted(&self, found: &[Found]) -> Vec<Problem> {
        let mut problems: Vec<Problem> = found.iter().map(|found| self.problem(found)).collect();
        // Stable: several problems on a line keep the order in which they were found.
        problems.sort_by_key(|problem| problem.line.unwrap_or(usize::MAX));
        problems
    }

    fn problem(&self, found: &Found) -> Problem {
        let (file, line) = match &found.origin {
            Some(Origin::Line(line)) => (&self.file, Some(*line)),
            Some(Origin::Variable(name)) => (name, None),
            None => (&self.file, None),
        };
        Problem { file: file.clone(), line, key: self.label(&found.path), message: found.message.clone() }
    }

    /// Where the value stands, or what it would stand in.
    fn origin(&self, path: &str) -> Option<&Origin> {
        let mut path = path;
        loop {
            if let Some(origin) = self.origins.get(path) {
                return Some(origin);
            }
            path = path.get(..path.rfind(['.', '['])?)?;
        }
    }

    /// `[ingest] body_limit`, `[[source]] github: secrets[0].env`.
    fn label(&self, path: &str) -> String {
        if path.starts_with("WEIR__") {
            // A variable without a key: its name already stands before the message.
            return String::new();
        }
        if let Some((index, rest)) = path.strip_prefix("source[").and_then(|rest| rest.split_once(']')) {
            let position = index.parse::<usize>().unwrap_or_default();
            let name = self.sources.get(position).cloned().flatten();
            let name = name.unwrap_or_else(|| format!("#{}", position + 1));
            return match rest.strip_prefix('.') {
                Some(key) => format!("[[source]] {name}: {key}"),
                None => format!("[[source]] {name}"),
            };
        }
        if let Some(property) = path.strip_prefix("kafka.client.") {
            return format!("[kafka.client] {property}");
        }
        match path.split_once('.') {
            Some((section, key)) => format!("[{section}] {key}"),
            None => path.to_owned(),
        }
    }
}
