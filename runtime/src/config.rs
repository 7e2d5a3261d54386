//! `weir.toml`: read, checked and resolved, with every problem reported at once.
//!
//! Two forms: as written (`written`, what serde fills) and as meant ([`Config`], which alone leaves here).

mod problem;
mod report;
mod units;
mod nearest;
mod form;
mod keys;
mod read;
mod environment;
mod written;
mod owned;
mod sensitive;
mod resolve;
mod retry;
mod source;
mod scheme;
mod secrets;
mod handlers;
mod resolved;
mod show;
mod reference;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::path::Path;

use serde_json::{Map, Value};

pub use owned::OWNED;
pub use problem::{Problem, Problems};
pub use reference::{reference, schema};
pub use resolved::{
    Config, Dedup, Fetch, Handler, Ingest, Jitter, Kafka, Overflow, Place, Processor, Recycle, Retry, RetryOrder,
    Schedule, Scheme, Source,
};
pub use show::show;

use report::Report;

/// Largest configuration file, bytes.
const FILE_BYTES: u64 = 4 * 1024 * 1024;

/// A configuration that can be used.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// What is configured.
    pub config: Config,
    /// What an operator should know about it.
    pub warnings: Vec<Problem>,
}

/// Reads a file and the process's environment.
pub fn load(path: &Path) -> Result<Loaded, Problems> {
    let unreadable = |reason: String| Problems { errors: vec![Problem::of_file(path, reason)], warnings: Vec::new() };
    let size = std::fs::metadata(path).map(|metadata| metadata.len());
    let size = size.map_err(|error| unreadable(format!("cannot be read: {error}")))?;
    if size > FILE_BYTES {
        return Err(unreadable(format!("has {size} bytes: at most {FILE_BYTES} are read")));
    }
    let text = std::fs::read_to_string(path).map_err(|error| unreadable(format!("cannot be read: {error}")))?;
    // A variable that is not Unicode can neither be ours nor hold a secret of a provider.
    let environment =
        std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    parse(&text, path, environment)
}

/// Reads a text: `path` names it in messages, and relative paths start from its folder. `environment`
/// holds the `WEIR__` variables and those that secrets name.
pub fn parse(
    text: &str,
    path: &Path,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<Loaded, Problems> {
    let variables: Vec<(String, String)> = environment.into_iter().collect();
    let mut report = Report::new(path);
    let Some(mut tree) = read::file(text, &mut report) else {
        return report.finish(None);
    };
    environment::overlay(&variables, &mut tree, &mut report);
    report.name_sources(names(&tree));
    read::fill(keys::ROOT, &mut tree, "", &mut report);
    let environment: HashMap<String, String> = variables.into_iter().collect();
    let folder = path.parent().unwrap_or(Path::new(""));
    let outside = resolve::Outside { folder, environment: &environment };
    let config = match serde_json::from_value(Value::Object(tree)) {
        Ok(written) => Some(resolve::resolve(written, &outside, &mut report)),
        Err(error) => {
            // `read` takes nothing that `written` does not: a defect of ours, and no reason to panic.
            report.error("", format!("cannot be taken: {error}"));
            None
        }
    };
    report.finish(config)
}

/// The sources' names, as far as they have one.
fn names(tree: &Map<String, Value>) -> Vec<Option<String>> {
    let sources = tree.get("source").and_then(Value::as_array).into_iter().flatten();
    sources.map(|source| source.get("name").and_then(Value::as_str).map(str::to_owned)).collect()
}
