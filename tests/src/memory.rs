//! The most memory that a program ever held, and whether it grows with what it works on.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

/// Between two looks: what is allocated in the last moment before the end may be missed.
const LOOK_AGAIN: Duration = Duration::from_millis(2);

/// A run that was watched.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Watched {
    /// Its exit code; `None`: a signal.
    pub code: Option<i32>,
    /// The most memory it held, bytes.
    pub peak: u64,
    /// How long it took, s.
    pub seconds: f64,
}

/// Runs a program to its end, with its standard output in `output` and the rest beside it in `<output>.err`.
#[expect(clippy::disallowed_methods, reason = "it samples a process until that ends")]
pub fn watch(mut command: Command, output: &Path) -> Result<Watched> {
    let create = |path: &Path| File::create(path).with_context(|| format!("cannot write {}", path.display()));
    let errors = output.with_extension("err");
    command.stdin(Stdio::null()).stdout(create(output)?).stderr(create(&errors)?);
    let began = Instant::now();
    let mut child = command.spawn().context("cannot start the program")?;
    let status_file = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    loop {
        peak = peak.max(fs::read_to_string(&status_file).ok().and_then(|status| peak_of(&status)).unwrap_or_default());
        if let Some(status) = child.try_wait().context("cannot wait for the program")? {
            let seconds = began.elapsed().as_secs_f64();
            ensure!(peak > 0, "the program ended before it was looked at");
            return Ok(Watched { code: status.code(), peak, seconds });
        }
        std::thread::sleep(LOOK_AGAIN);
    }
}

/// `VmHWM` of `/proc/PID/status`, bytes.
pub fn peak_of(status: &str) -> Option<u64> {
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib * 1024)
}

/// Whether the peak for much is within `bound` bytes of the peak for little.
pub fn is_flat(little: u64, much: u64, bound: u64) -> Result<(), String> {
    let growth = much.saturating_sub(little);
    if growth <= bound {
        return Ok(());
    }
    let mib = |bytes: u64| bytes / (1 << 20);
    Err(format!("{} MiB grew to {} MiB, by more than {} MiB", mib(little), mib(much), mib(bound)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_within_the_bound_is_flat_and_beyond_it_is_not() {
        assert_eq!(is_flat(20, 30, 10), Ok(()));
        assert_eq!(is_flat(30, 20, 0), Ok(()));
        let error = is_flat(20 << 20, 90 << 20, 32 << 20).expect_err("70 MiB more");
        assert_eq!(error, "20 MiB grew to 90 MiB, by more than 32 MiB");
    }

    #[test]
    fn a_program_that_holds_much_is_seen_to() {
        let folder = tempfile::tempdir().expect("a folder");
        let run = |mib: u32| {
            let mut command = Command::new("sh");
            // The shell itself holds the variable.
            command.args(["-c", &format!("x=$(head -c {mib}M /dev/zero | tr '\\0' x); sleep 0.2; echo ${{#x}}")]);
            watch(command, &folder.path().join("out")).expect("it runs")
        };
        let (little, much) = (run(1), run(40));
        assert_eq!((little.code, much.code), (Some(0), Some(0)));
        is_flat(little.peak, much.peak, 16 << 20).expect_err("39 MiB more");
    }
}
