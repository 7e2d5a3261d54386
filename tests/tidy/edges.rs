//! Which crate may use which: read from the manifests, and for what gets linked from cargo itself.

use std::process::Command;

use crate::expect_none;
use crate::tree::{self, PRODUCT};

/// The only edges between shipped crates.
const ALLOWED: [(&str, &[&str]); 5] = [
    ("schemas", &[]),
    ("runtime", &["schemas"]),
    ("ingest", &["schemas", "runtime"]),
    ("processor", &["schemas", "runtime"]),
    ("cli", &["schemas", "runtime", "ingest"]),
];

/// What must not end up in a shipped crate, however far down.
const NEVER_LINKED: [(&str, &[&str]); 3] = [
    ("weir-schemas", &["tokio", "rdkafka", "rocksdb"]),
    ("weir-ingest", &["rocksdb", "librocksdb-sys"]),
    ("weir-cli", &["rocksdb", "librocksdb-sys"]),
];

/// Our own crates among the dependencies of a manifest, of every kind (also dev and build).
fn own_dependencies(manifest: &str) -> Vec<String> {
    let mut inside = false;
    let mut own = Vec::new();
    for line in manifest.lines() {
        let line = line.trim();
        if let Some(section) = line.strip_prefix('[') {
            inside = section.trim_end_matches(']').ends_with("dependencies");
        } else if inside {
            let name = line.split(['.', '=', ' ']).next().unwrap_or_default();
            let name = name.trim_start_matches("weir-");
            if PRODUCT.contains(&name) || ["tests", "benches"].contains(&name) {
                own.push(name.to_owned());
            }
        }
    }
    own
}

fn forbidden_edges(name: &str, manifest: &str) -> Vec<String> {
    let allowed = ALLOWED.iter().find(|(from, _)| *from == name).map_or(&[] as &[&str], |(_, to)| to);
    own_dependencies(manifest)
        .into_iter()
        .filter(|to| !allowed.contains(&to.as_str()))
        .map(|to| format!("{name} -> {to}"))
        .collect()
}

#[test]
fn shipped_crates_use_only_the_crates_they_may() {
    let complaints: Vec<String> =
        PRODUCT.iter().flat_map(|name| forbidden_edges(name, &tree::read(&format!("{name}/Cargo.toml")))).collect();
    expect_none("these edges are not in the picture of ARCHITECTURE.md:", &complaints);
}

#[test]
fn a_forbidden_edge_is_noticed() {
    let manifest = "[dependencies]\nschemas.workspace = true\nserde = \"1\"\n\
                    [dev-dependencies]\nweir-processor = { path = \"../processor\" }\n";
    assert_eq!(forbidden_edges("ingest", manifest), ["ingest -> processor"]);
    assert_eq!(forbidden_edges("schemas", manifest).len(), 2);
}

/// The names of all crates linked into `package`, one per line of `cargo tree`.
fn linked(package: &str) -> Vec<String> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let output = Command::new(cargo)
        .current_dir(tree::root())
        .args(["tree", "--locked", "--offline", "--edges", "normal", "--prefix", "none"])
        .args(["--format", "{p}", "--package", package])
        .output()
        .expect("cargo runs");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "cargo tree failed: {errors}");
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
}

#[test]
fn ingest_and_the_tool_link_no_state_store_and_schemas_does_no_io() {
    let mut complaints = Vec::new();
    for (package, never) in NEVER_LINKED {
        let names = linked(package);
        assert!(names.len() > 5, "cargo tree said nothing about {package}");
        for name in never {
            if names.iter().any(|linked| linked == name) {
                complaints.push(format!("{package} links {name}"));
            }
        }
    }
    expect_none("find the way with `cargo tree --invert`:", &complaints);
}

#[test]
fn the_processor_links_the_state_store_so_the_rule_above_can_fire() {
    assert!(linked("weir-processor").iter().any(|name| name == "rocksdb"));
}

#[test]
fn every_shipped_crate_obeys_the_workspace_lints() {
    let complaints: Vec<String> = PRODUCT
        .iter()
        .filter(|name| !tree::read(&format!("{name}/Cargo.toml")).contains("[lints]\nworkspace = true"))
        .map(|name| format!("{name}/Cargo.toml"))
        .collect();
    expect_none("add `[lints]` with `workspace = true`:", &complaints);
}

#[test]
fn compose_uses_the_broker_version_that_the_tests_use() {
    let pom = tree::read("scripts/kafka/pom.xml");
    let pinned = pom
        .split_once("<kafka.version>")
        .and_then(|(_, rest)| rest.split_once('<'))
        .map(|(version, _)| version)
        .expect("pom.xml pins a version");
    let compose = tree::read("docker-compose.yml");
    let image = format!("image: apache/kafka:{pinned}");
    assert!(compose.contains(&image), "docker-compose.yml should say `{image}`");
}

/// What its services are told, with the variables that all of them get, is a configuration.
#[test]
fn compose_has_a_configuration_that_can_be_used() {
    let compose = tree::read("docker-compose.yml");
    let name = "docker/weir.toml";
    assert!(compose.contains(&format!("file: {name}")), "docker-compose.yml should mount {name}");
    let (_, shared) = compose.split_once("environment: &environment\n").expect("variables that all services get");
    let lines = shared.lines().take_while(|line| line.starts_with("    "));
    let variables: Vec<(String, String)> = lines
        .filter_map(|line| line.trim().split_once(": "))
        .map(|(variable, _)| (variable.to_owned(), "a secret for a test".to_owned()))
        .collect();
    let read = |variables: &[(String, String)]| {
        runtime::config::parse(&tree::read(name), std::path::Path::new(name), variables.to_vec())
    };
    assert!(read(&[]).is_err(), "it names a secret");
    let loaded = read(&variables).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(loaded.config.sources.len(), 1);
}
