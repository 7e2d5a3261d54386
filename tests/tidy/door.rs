//! The one door: what touches transactions, offsets and foreign memory, and what stays pure.
//!
//! Clippy bans the calls by their resolved path; these rules ban them by their name as well, so
//! that an `#[expect]` in the wrong file, or a call into librdkafka itself, is seen too.

use crate::expect_none;
use crate::tree::{self, File};

const DOOR: &str = "processor/src/commit.rs";
const FOREIGN: &str = "processor/src/group.rs";

/// `commit` itself is too common a word: that one is clippy's alone.
const DOOR_CALLS: [&str; 8] = [
    "init_transactions(",
    "begin_transaction(",
    "send_offsets_to_transaction(",
    "commit_transaction(",
    "abort_transaction(",
    "commit_message(",
    "commit_consumer_state(",
    "store_offset",
];

fn calls_past_the_door(files: &[File]) -> Vec<String> {
    product_lines(files, |path, line| {
        path != DOOR
            && DOOR_CALLS
                .iter()
                .any(|call| line.contains(&format!(".{call}")) || line.contains(&format!("rd_kafka_{call}")))
    })
}

#[test]
fn only_commit_rs_touches_transactions_and_offsets() {
    let rule = "move these into processor/src/commit.rs:";
    expect_none(rule, &calls_past_the_door(&tree::rust()));
}

#[test]
fn a_transaction_outside_commit_rs_is_noticed() {
    let call = "fn f() { producer.commit_transaction(timeout) }";
    let elsewhere = File::example("processor/src/emit.rs", call);
    let native = File::example("runtime/src/kafka.rs", "rd_kafka_abort_transaction(p, 5)");
    let at_home = File::example(DOOR, call);
    let spoken_of = File::example("processor/src/emit.rs", "// .commit_transaction( is elsewhere");
    assert_eq!(calls_past_the_door(&[elsewhere, native, at_home, spoken_of]).len(), 2);
}

fn unsafe_elsewhere(files: &[File]) -> Vec<String> {
    product_lines(files, |path, line| {
        path != FOREIGN
            && ["unsafe {", "unsafe fn", "unsafe impl", "unsafe extern"].iter().any(|form| line.contains(form))
    })
}

#[test]
fn only_group_rs_calls_foreign_code() {
    expect_none("unsafe belongs to processor/src/group.rs:", &unsafe_elsewhere(&tree::rust()));
}

#[test]
fn unsafe_code_in_another_file_is_noticed() {
    let text = "let x = unsafe { f() };";
    let files = [File::example("cli/src/main.rs", text), File::example(FOREIGN, text)];
    assert_eq!(unsafe_elsewhere(&files).len(), 1);
}

/// What decides, and what it may not know.
const PURE: [&str; 4] = ["processor/src/step", "processor/src/lifecycle", "ingest/src/verify", "ingest/src/envelope"];
const IMPURE: [&str; 10] = [
    "rdkafka",
    "rocksdb",
    "tokio",
    "std::time::Instant",
    "std::time::SystemTime",
    "Instant::now",
    "SystemTime::now",
    "Timestamp::now",
    "Zoned::now",
    "std::fs",
];

fn is_pure(path: &str) -> bool {
    PURE.iter().any(|room| path.strip_prefix(room).is_some_and(|rest| rest == ".rs" || rest.starts_with('/')))
}

fn impure(files: &[File]) -> Vec<String> {
    product_lines(files, |path, line| {
        let clock = path.starts_with("processor/src/step") && line.contains("std::time");
        is_pure(path) && (clock || IMPURE.iter().any(|word| line.contains(word)))
    })
}

#[test]
fn what_decides_knows_no_kafka_disk_runtime_or_clock() {
    expect_none("pass these in from the caller:", &impure(&tree::rust()));
}

#[test]
fn the_rooms_that_decide_exist() {
    let files = tree::rust();
    for room in ["processor/src/step", "ingest/src/verify", "ingest/src/envelope"] {
        let found = files.iter().any(|file| file.path.starts_with(room));
        assert!(found, "no file at {room}: the rule above would look at nothing");
    }
}

#[test]
fn an_impure_decision_is_noticed() {
    let files = [
        File::example("processor/src/step/dedup.rs", "use std::time::Duration;"),
        File::example("processor/src/step.rs", "use rocksdb::DB;"),
        File::example("ingest/src/verify/github.rs", "let now = SystemTime::now();"),
        File::example("ingest/src/verify/github.rs", "use std::time::Duration;"),
        File::example("processor/src/stepladder.rs", "use tokio::time;"),
    ];
    assert_eq!(impure(&files).len(), 3);
}

fn product_lines(files: &[File], is_bad: impl Fn(&str, &str) -> bool) -> Vec<String> {
    let mut complaints = Vec::new();
    for file in files.iter().filter(|file| file.product_crate().is_some()) {
        for (number, line) in file.code() {
            if is_bad(&file.path, line) {
                complaints.push(format!("{}:{number}: {}", file.path, line.trim()));
            }
        }
    }
    complaints
}
