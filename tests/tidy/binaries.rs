//! What must not be inside the programs that are shipped.
//!
//! The negative controls (cargo feature `sabotage`, `tests/src/stepper.rs`) break the guarantee on purpose. Cargo
//! unites the features of a build, so one careless dependency line would put them into the real program.

use std::fs;
use std::path::PathBuf;

const PROGRAMS: [&str; 3] = ["weir-ingest", "weir-processor", "weir"];
/// The last is the name of the crate that holds them: its symbols and file names stand in whatever links it.
const NEVER: [&str; 3] = ["sabotage", "SABOTAGE", "weir_tests"];

/// The folder of the release build: this test lies in its `deps`.
fn built() -> PathBuf {
    let test = std::env::current_exe().expect("a test knows where it is");
    let deps = test.parent().expect("a file has a folder");
    deps.parent().expect("deps lies in the build folder").to_owned()
}

fn program_bytes(program: &str) -> Vec<u8> {
    let path = built().join(program);
    fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}; build first: make build", path.display()))
}

fn contains(bytes: &[u8], word: &str) -> bool {
    let first = word.as_bytes().first().copied();
    bytes
        .iter()
        .enumerate()
        .filter(|(_, byte)| Some(**byte) == first)
        .any(|(at, _)| bytes.get(at..).is_some_and(|rest| rest.starts_with(word.as_bytes())))
}

#[test]
fn shipped_programs_hold_no_negative_control() {
    for program in PROGRAMS {
        let bytes = program_bytes(program);
        for word in NEVER {
            assert!(!contains(&bytes, word), "{program} was built with `{word}`");
        }
    }
}

#[test]
fn the_program_that_holds_the_controls_is_noticed() {
    assert!(contains(&program_bytes("weir-stepper"), "weir_tests"));
}

#[test]
fn a_negative_control_in_a_program_is_noticed() {
    assert!(contains(b"\0\x7fELF..WEIR_SABOTAGE\0", "SABOTAGE"));
    assert!(!contains(b"\0\x7fELF..WEIR_SABOTAG", "SABOTAGE"));
}
