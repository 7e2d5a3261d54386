//! What `weir config` says about good and bad files.

use std::path::PathBuf;

use serde_json::Value;

use super::*;
use crate::args::OutputArgs;
use crate::output::Form;

fn file(folder: &tempfile::TempDir, name: &str, text: &str) -> PathBuf {
    let path = folder.path().join(name);
    std::fs::write(&path, text).unwrap();
    path
}

fn checked(path: &Path, asked: Option<Form>) -> (Result<Exit, Failure>, String) {
    let mut bytes = Vec::new();
    let mut out = Output::new(Box::new(&mut bytes), asked, false, false);
    let result = run(path, &ConfigCommand::Check(OutputArgs { output: asked }), &mut out);
    drop(out);
    (result, String::from_utf8(bytes).unwrap())
}

fn source(schema: &str) -> String {
    format!(
        "[[source]]\nname = \"gh\"\nprovider = \"github\"\nsecrets = [{{ value = \"0123456789abcdef\" }}]\n\
         schema = \"{schema}\"\n"
    )
}

#[test]
fn a_good_file_is_exit_0_and_a_value_in_it_is_warned_about() {
    let folder = tempfile::tempdir().unwrap();
    file(&folder, "s.json", "{\"type\":\"object\"}");
    let path = file(&folder, "weir.toml", &source("s.json"));
    let (result, text) = checked(&path, None);
    assert_eq!(result.unwrap(), Exit::Done, "{text}");
    assert!(text.contains("warning: ") && text.ends_with("ok, 1 source\n"), "{text}");
}

#[test]
fn every_problem_is_named_with_its_line_and_exit_64() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(&folder, "weir.toml", "[ingest]\nbody_limt = \"1MiB\"\n[topics]\npartitions = 3\n");
    let failure = checked(&path, None).0.unwrap_err();
    assert_eq!(failure.exit, Exit::Usage);
    let text = failure.to_string();
    assert!(text.contains("weir.toml:2: ") && text.contains("weir.toml:4: "), "{text}");

    let (result, text) = checked(&path, Some(Form::Json));
    assert_eq!(result.unwrap(), Exit::Usage);
    let rows: Vec<Value> = serde_json::from_str(&text).unwrap();
    let errors: Vec<&Value> = rows.iter().filter(|row| row["level"] == "error").collect();
    assert_eq!(errors.len(), 2);
    assert!(errors.iter().all(|row| row["line"].is_u64()), "{text}");
}

#[test]
fn warnings_are_not_kept_back_until_the_errors_are_mended() {
    let folder = tempfile::tempdir().unwrap();
    file(&folder, "s.json", "{}");
    let path = file(&folder, "weir.toml", &format!("{}[topics]\npartitions = 3\n", source("s.json")));
    let (result, text) = checked(&path, None);
    assert!(result.unwrap_err().to_string().contains("partitions"));
    assert!(text.contains("warning: ") && !text.contains("ok, "), "{text}");
    let (_, text) = checked(&path, Some(Form::Json));
    let rows: Vec<Value> = serde_json::from_str(&text).unwrap();
    let levels: Vec<&str> = rows.iter().filter_map(|row| row["level"].as_str()).collect();
    assert!(levels.first() == Some(&"error") && levels.contains(&"warning"), "{text}");
}

#[test]
fn a_json_schema_that_cannot_be_used_is_a_problem() {
    let folder = tempfile::tempdir().unwrap();
    let cases = [
        ("broken.json", "{\n  \"type\":\n", "broken.json is not JSON"),
        ("wrong.json", "{\"type\":\"objekt\"}", "is not a JSON Schema"),
    ];
    for (name, text, expected) in cases {
        file(&folder, name, text);
        let path = file(&folder, "weir.toml", &source(name));
        let failure = checked(&path, None).0.unwrap_err();
        assert_eq!(failure.exit, Exit::Usage);
        let said = failure.to_string();
        assert!(said.contains(expected) && said.contains("[[source]] gh"), "{said}");
    }
}

#[test]
fn a_file_that_is_not_there_is_exit_64() {
    let failure = checked(Path::new("no-such-file.toml"), None).0.unwrap_err();
    assert_eq!(failure.exit, Exit::Usage);
    assert!(failure.to_string().contains("no-such-file.toml"), "{failure}");
}

#[test]
fn what_is_shown_holds_no_secret_and_can_be_read_again() {
    let folder = tempfile::tempdir().unwrap();
    file(&folder, "s.json", "{}");
    let path = file(&folder, "weir.toml", &source("s.json"));
    let mut bytes = Vec::new();
    let mut out = Output::new(Box::new(&mut bytes), None, false, false);
    run(&path, &ConfigCommand::Show, &mut out).unwrap();
    drop(out);
    let text = String::from_utf8(bytes).unwrap();
    assert!(text.contains("***") && !text.contains("0123456789abcdef"), "{text}");
    assert!(text.contains("partitions = 16") && text.contains("[[source]]"), "{text}");
}

#[test]
fn the_schema_is_a_json_document() {
    let mut bytes = Vec::new();
    let mut out = Output::new(Box::new(&mut bytes), None, false, false);
    run(Path::new("weir.toml"), &ConfigCommand::Schema, &mut out).unwrap();
    drop(out);
    let schema: Value = serde_json::from_slice(&bytes).unwrap();
    assert!(schema["properties"]["topics"].is_object());
    assert!(jsonschema::validator_for(&schema).is_ok());
}
