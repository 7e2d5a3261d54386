//! Where things lie: the repository, its scripts, and the programs under test.
//!
//! `CARGO_BIN_EXE_*` exists only for tests of the binary's own package, so the programs are found beside the
//! executable that runs now: the release folder for the demo, `deps` inside it for a test.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// The repository.
pub fn root() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().expect("the crate lies in the workspace").to_owned()
}

/// A script of `scripts/`.
pub fn script(name: &str) -> PathBuf {
    root().join("scripts").join(name)
}

/// A folder below the repository's `target`, created when it is absent. It is not cargo's own when
/// `CARGO_TARGET_DIR` is set: what a run leaves behind belongs to the clone.
pub fn target(name: &str) -> Result<PathBuf> {
    let folder = root().join("target").join(name);
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    Ok(folder)
}

/// A release binary of the workspace.
pub fn program(name: &str) -> Result<PathBuf> {
    let here = std::env::current_exe().context("cannot tell where this program lies")?;
    for folder in here.ancestors().skip(1).take(2) {
        let program = folder.join(name);
        if program.is_file() {
            return Ok(program);
        }
    }
    bail!("{name} does not lie beside {}; build first: make build", here.display())
}

/// A path as a person in the repository would write it.
pub fn shown(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}
