//! Wall clocks that go wrong, one for each process: a small library, loaded before all others, answers in the place of
//! the system's. The machine's own clock is never touched, and no binary of ours knows of it.

use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::process::shown;

const SOURCE: &str = include_str!("clock.c");

/// The wall clock of one process.
#[derive(Debug)]
pub struct Clock {
    library: PathBuf,
    offset: PathBuf,
}

impl Clock {
    /// A right clock. The folder holds the library and the offset of each process.
    pub fn new(folder: &Path, name: &str) -> Result<Self> {
        let clock = Self { library: folder.join("clock.so"), offset: folder.join(format!("{name}.clock")) };
        if !clock.library.exists() {
            compile(folder, &clock.library)?;
        }
        fs::write(&clock.offset, 0_i64.to_ne_bytes())
            .with_context(|| format!("cannot write {}", clock.offset.display()))?;
        Ok(clock)
    }

    /// Gives a process this clock.
    pub fn give(&self, command: &mut Command) {
        command.env("LD_PRELOAD", &self.library).env("SKEWED_CLOCK", &self.offset);
    }

    /// Sets it to the right time and so many milliseconds.
    pub fn set(&self, offset_ms: i64) -> Result<()> {
        use std::os::unix::fs::FileExt;
        let file = OpenOptions::new().write(true).open(&self.offset);
        let written = file.and_then(|file| file.write_all_at(&offset_ms.to_ne_bytes(), 0));
        written.with_context(|| format!("cannot set {}", self.offset.display()))
    }
}

fn compile(folder: &Path, library: &Path) -> Result<()> {
    let source = folder.join("clock.c");
    fs::write(&source, SOURCE).with_context(|| format!("cannot write {}", source.display()))?;
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o"]).arg(library).arg(&source);
    let status = compiler.status().context("cannot start cc")?;
    ensure!(status.success(), "cc: {}", shown(status));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(clock: Option<&Clock>) -> i64 {
        let mut date = Command::new("date");
        if let Some(clock) = clock {
            clock.give(&mut date);
        }
        let output = date.arg("+%s").output().expect("there is a date");
        String::from_utf8_lossy(&output.stdout).trim().parse().expect("a number")
    }

    #[test]
    fn a_process_has_the_clock_it_is_given() {
        let folder = tempfile::tempdir().expect("a folder");
        let clock = Clock::new(folder.path(), "a").expect("compiled");
        for hours in [0, 3, -3] {
            clock.set(hours * 3_600_000).expect("set");
            let (from, shown, to) = (seconds(None), seconds(Some(&clock)) - hours * 3600, seconds(None));
            assert!((from..=to).contains(&shown), "{from} {shown} {to}");
        }
    }
}
