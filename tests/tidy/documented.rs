//! Everything an operator can meet has a place in `docs/`: reasons, metrics, topics, config keys.
//!
//! The documents are read loosely: a name counts as documented when it stands in backticks.

use std::collections::BTreeSet;

use schemas::reason::ReasonCode;

use crate::expect_none;
use crate::tree::{self, File};

/// The words inside a document's backticks: `[ingest] listen` gives `ingest` and `listen`.
fn words_in_backticks(document: &str) -> BTreeSet<String> {
    let mut words = BTreeSet::new();
    for line in document.lines().filter(|line| !line.starts_with("```")) {
        for span in line.split('`').skip(1).step_by(2) {
            let parts = span.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '-'));
            words.extend(parts.filter(|part| !part.is_empty()).map(str::to_owned));
        }
    }
    words
}

fn undocumented<'a>(names: impl IntoIterator<Item = &'a str>, document: &str) -> Vec<String> {
    let known = words_in_backticks(document);
    let missing = names.into_iter().filter(|name| !known.contains(*name));
    missing.map(str::to_owned).collect()
}

#[test]
fn an_undocumented_name_is_noticed() {
    let document = "| `signature_missing` | no header |\nand `[ingest] listen`, but not body_limit\n";
    let names = ["signature_missing", "listen", "body_limit", "signature"];
    assert_eq!(undocumented(names, document), ["body_limit", "signature"]);
}

#[test]
fn every_reason_code_is_documented() {
    let names = ReasonCode::ALL.iter().map(|reason| reason.as_str());
    expect_none("add to docs/reasons.md:", &undocumented(names, &tree::read("docs/reasons.md")));
}

/// The first column of a document's tables.
fn rows(document: &str) -> Vec<&str> {
    let cells = document.lines().filter_map(|line| line.strip_prefix("| `"));
    cells.filter_map(|rest| rest.split('`').next()).collect()
}

#[test]
fn every_documented_reason_exists() {
    let document = tree::read("docs/reasons.md");
    let gone: Vec<String> =
        rows(&document).into_iter().filter(|name| ReasonCode::parse(name).is_none()).map(str::to_owned).collect();
    expect_none("docs/reasons.md explains reasons that nothing gives:", &gone);
}

/// String literals of metric names, with the file they stand in.
fn metric_names(files: &[File]) -> Vec<(&str, String)> {
    let mut found = Vec::new();
    for file in files.iter().filter(|file| file.product_crate().is_some()) {
        for (_, line) in file.code() {
            for literal in line.split("\"weir_").skip(1) {
                let end = literal
                    .find(|c: char| !(c.is_ascii_lowercase() || c == '_' || c.is_ascii_digit()))
                    .unwrap_or(literal.len());
                found.push((file.path.as_str(), format!("weir_{}", &literal[..end])));
            }
        }
    }
    found
}

#[test]
fn every_metric_is_documented() {
    let files = tree::rust();
    let found = metric_names(&files);
    assert!(found.len() >= 5, "only {} metric names found: {found:?}", found.len());
    let names: BTreeSet<&str> = found.iter().map(|(_, name)| name.as_str()).collect();
    expect_none("add to docs/metrics.md:", &undocumented(names, &tree::read("docs/metrics.md")));
}

#[test]
fn every_documented_metric_exists() {
    let files = tree::rust();
    let found = metric_names(&files);
    let document = tree::read("docs/metrics.md");
    let gone: Vec<String> = rows(&document)
        .into_iter()
        .map(|name| name.split('{').next().unwrap_or(name))
        .filter(|name| name.starts_with("weir_") && !found.iter().any(|(_, known)| known == name))
        .map(str::to_owned)
        .collect();
    expect_none("docs/metrics.md explains metrics that nothing reports:", &gone);
}

/// Metrics spelled outside a `metrics.rs`.
fn stray_metrics(files: &[File]) -> Vec<String> {
    metric_names(files)
        .into_iter()
        .filter(|(path, _)| !path.ends_with("metrics.rs"))
        .map(|(path, name)| format!("{path}: {name}"))
        .collect()
}

#[test]
fn metrics_are_declared_in_metrics_rs_only() {
    expect_none("move these into the crate's metrics.rs:", &stray_metrics(&tree::rust()));
}

#[test]
fn a_metric_elsewhere_is_noticed() {
    let text = "counter!(\"weir_ingest_events_total\", \"source\" => s);";
    let files = [File::example("ingest/src/produce.rs", text), File::example("ingest/src/metrics.rs", text)];
    assert_eq!(stray_metrics(&files), ["ingest/src/produce.rs: weir_ingest_events_total"]);
}

/// Topic names are literals of schemas/src/topics.rs, or parts of them: `clean-events`, and
/// `retry-events` of what is written with its delay.
fn topic_names(source: &str) -> BTreeSet<&str> {
    let production = source.split("#[cfg(test)]").next().unwrap_or(source);
    let literals = production.split('"').skip(1).step_by(2);
    let parts = literals.flat_map(|literal| literal.split(['{', '}']));
    parts
        .map(|part| part.trim_end_matches('-'))
        .filter(|part| part.contains('-'))
        .filter(|part| part.bytes().all(|b| b.is_ascii_lowercase() || b == b'-'))
        .collect()
}

#[test]
fn every_topic_is_documented() {
    let source = tree::read("schemas/src/topics.rs");
    let names = topic_names(&source);
    assert!(names.len() >= 8, "topics.rs names only {names:?}");
    let documents: String = tree::files()
        .into_iter()
        .filter(|file| file.path.starts_with("docs/") && file.path.ends_with(".md"))
        .map(|file| file.text.replace("retry-events-", "retry-events "))
        .collect();
    expect_none("add to docs/:", &undocumented(names, &documents));
}

/// The fields of every struct that serde reads: what may stand in weir.toml.
fn config_keys(source: &str) -> BTreeSet<String> {
    let mut keys = BTreeSet::new();
    let (mut reads, mut inside) = (false, false);
    for line in source.lines() {
        let text = line.trim();
        if text.starts_with("#[derive(") {
            reads = text.contains("Deserialize");
        } else if reads && text.contains("struct ") && text.ends_with('{') {
            inside = true;
        } else if line == "}" {
            (reads, inside) = (false, false);
        } else if inside && !text.starts_with("//") && !text.starts_with('#') {
            let field = text.split(':').next().unwrap_or_default();
            let field = field.split(' ').next_back().unwrap_or_default();
            keys.extend((!field.is_empty()).then(|| field.trim_start_matches("r#").to_owned()));
        }
    }
    keys
}

#[test]
fn config_keys_are_read_from_the_structs_that_serde_fills() {
    let source = "#[derive(Debug, Deserialize)]\n#[serde(deny_unknown_fields)]\npub(crate) struct A {\n    \
                  /// Why.\n    #[serde(default)]\n    pub(crate) listen: String,\n    r#type: String,\n}\n\
                  #[derive(Debug)]\nstruct B {\n    inner: u8,\n}\n";
    let keys: Vec<String> = config_keys(source).into_iter().collect();
    assert_eq!(keys, ["listen", "type"]);
}

#[test]
fn every_config_key_is_documented() {
    let sources = tree::rust().into_iter().filter(|file| file.path.starts_with("runtime/src/config"));
    let keys: BTreeSet<String> = sources.flat_map(|file| config_keys(&file.text)).collect();
    assert!(keys.len() >= 20, "runtime/src/config declares only {keys:?}");
    let names = keys.iter().map(String::as_str);
    expect_none("add to docs/config.md:", &undocumented(names, &tree::read("docs/config.md")));
}
