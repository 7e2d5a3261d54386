//! Rules about a file's text: its length, its header, what must not stand in it.

use crate::expect_none;
use crate::tree::{self, File};

const LINES_MAX: usize = 500;

fn too_long(files: &[File]) -> Vec<String> {
    let count = |file: &File| file.text.lines().count();
    files
        .iter()
        .filter(|file| file.is_rust() && count(file) > LINES_MAX)
        .map(|file| format!("{} has {} lines", file.path, count(file)))
        .collect()
}

#[test]
fn no_rust_file_is_longer_than_500_lines() {
    expect_none("split these by what they do, not by size:", &too_long(&tree::rust()));
}

#[test]
fn a_rust_file_of_501_lines_is_noticed() {
    let of = |lines: usize| File::example("a.rs", &"//! a\n".repeat(lines));
    assert_eq!(too_long(&[of(500), of(501)]).len(), 1);
}

fn headless(files: &[File]) -> Vec<String> {
    files.iter().filter(|file| file.is_rust() && !file.text.starts_with("//! ")).map(|file| file.path.clone()).collect()
}

#[test]
fn every_rust_file_begins_with_a_module_header() {
    let rule = "begin these with `//! ` what lives here and what must never happen here:";
    expect_none(rule, &headless(&tree::rust()));
}

#[test]
fn a_missing_module_header_is_noticed() {
    let files = [
        File::example("a.rs", "use std::fmt;\n//! Too late.\n"),
        File::example("b.rs", ""),
        File::example("c.rs", "//! Good.\n"),
    ];
    assert_eq!(headless(&files), ["a.rs", "b.rs"]);
}

fn mod_files(files: &[File]) -> Vec<String> {
    files.iter().filter(|file| file.path.ends_with("/mod.rs")).map(|file| file.path.clone()).collect()
}

#[test]
fn no_file_is_called_mod() {
    expect_none("rename to the module's own name, beside its folder:", &mod_files(&tree::rust()));
}

#[test]
fn a_mod_file_is_noticed() {
    let files = [File::example("a/mod.rs", ""), File::example("a/modes.rs", "")];
    assert_eq!(mod_files(&files), ["a/mod.rs"]);
}

/// Split, so that this file does not break its own rules.
const LATER: [&str; 3] = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X:")];

fn has_issue_number(line: &str) -> bool {
    line.split('#').skip(1).any(|after| after.starts_with(|c: char| c.is_ascii_digit()))
}

fn postponed(files: &[File]) -> Vec<String> {
    lines_with(files, |line| LATER.iter().any(|word| line.contains(word)) && !has_issue_number(line))
}

#[test]
fn nothing_is_put_off_without_an_issue_number() {
    expect_none("do it now, or open an issue and name it:", &postponed(&tree::files()));
}

#[test]
fn a_postponed_line_is_noticed() {
    let word = LATER[0];
    let text = format!("// {word} later\n// {word}(#12) later\n");
    assert_eq!(postponed(&[File::example("a.rs", &text)]).len(), 1);
}

const MACHINE: [&str; 5] = [
    concat!("/wo", "rk/"),
    concat!("/ro", "ot/"),
    concat!("/ho", "me/"),
    concat!("/Us", "ers/"),
    concat!("/tmp", "/w/"),
];

fn machine_paths(files: &[File]) -> Vec<String> {
    lines_with(files, |line| MACHINE.iter().any(|path| line.contains(path)))
}

#[test]
fn no_path_of_one_machine_stands_in_the_tree() {
    expect_none("make these relative or configurable:", &machine_paths(&tree::files()));
}

#[test]
fn a_path_of_one_machine_is_noticed() {
    let text = format!("state_dir = \"{}me/state\"\nstate_dir = \"/var/lib/weir\"\n", MACHINE[2]);
    assert_eq!(machine_paths(&[File::example("weir.toml", &text)]).len(), 1);
}

/// Also the invisible ones that make code read otherwise than it compiles (bidirectional marks,
/// zero-width characters), and carriage returns.
fn is_stray(c: char) -> bool {
    (c.is_control() && c != '\n' && c != '\t')
        || matches!(c, '\u{200B}'..='\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2060}'..='\u{2069}' | '\u{FEFF}')
}

fn stray_characters(files: &[File]) -> Vec<String> {
    lines_with(files, |line| line.chars().any(is_stray))
}

#[test]
fn no_file_holds_a_control_or_invisible_character() {
    expect_none("write them as escapes:", &stray_characters(&tree::files()));
}

#[test]
fn a_control_or_invisible_character_is_noticed() {
    let bad = ["a\u{7}", "a\u{202E}b", "a\rb", "\u{FEFF}a"];
    for text in bad {
        assert_eq!(stray_characters(&[File::example("a.md", text)]).len(), 1, "{text:?}");
    }
    assert!(stray_characters(&[File::example("a.md", "Größe\tb\n")]).is_empty());
}

const IGNORED: &str = concat!("#[ign", "ore");

fn ignored_tests(files: &[File]) -> Vec<String> {
    lines_with(files, |line| line.contains(IGNORED))
}

#[test]
fn no_test_is_ignored() {
    expect_none("a test runs or does not exist:", &ignored_tests(&tree::rust()));
}

#[test]
fn an_ignored_test_is_noticed() {
    let text = format!("#[test]\n{IGNORED} = \"flaky\"]\n");
    assert_eq!(ignored_tests(&[File::example("a.rs", &text)]).len(), 1);
}

/// "path:line: text" of every line that `is_bad`. Split at newlines alone, because `lines` would
/// swallow a carriage return.
fn lines_with(files: &[File], is_bad: impl Fn(&str) -> bool) -> Vec<String> {
    let mut complaints = Vec::new();
    for file in files {
        for (index, line) in file.text.split('\n').enumerate() {
            if is_bad(line) {
                let shown: String = line.trim().escape_debug().take(120).collect();
                complaints.push(format!("{}:{}: {shown}", file.path, index + 1));
            }
        }
    }
    complaints
}
