//! The house rules that a compiler cannot hold: one test per rule, over the whole tree.
//!
//! A rule is a pure function from files to complaints, so that each one is also run over an
//! example that breaks it: a rule that cannot fire is no rule. Nothing here may change a file.

mod tree;
mod text;
mod door;
mod edges;
mod documented;
mod binaries;

/// Fails with every complaint at once, each on its own line, after a sentence that says what to do.
fn expect_none(rule: &str, complaints: &[String]) {
    assert!(complaints.is_empty(), "{rule}\n  {}\n", complaints.join("\n  "));
}
