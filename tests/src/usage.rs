//! CPU time and memory of a process, read from /proc. Linux only, as the rest of the harness.

use std::fs;

use anyhow::{Context, Result};

use crate::memory;

/// Linux counts CPU time for user space in hundredths of a second on every architecture.
pub const TICKS_PER_S: f64 = 100.0;

/// What a process has used since it started.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Usage {
    /// User and system time of all its threads, s.
    pub cpu_s: f64,
    /// The most memory it ever held, bytes.
    pub rss_peak: u64,
}

/// What a process has used so far.
pub fn of(pid: u32) -> Result<Usage> {
    let read = |name: &str| {
        let path = format!("/proc/{pid}/{name}");
        fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))
    };
    let cpu_s = cpu_s(&read("stat")?).context("/proc/PID/stat has another shape")?;
    let rss_peak = memory::peak_of(&read("status")?).context("/proc/PID/status has no VmHWM")?;
    Ok(Usage { cpu_s, rss_peak })
}

/// The name in the second field may hold spaces and parentheses; what counts stands behind its last one.
fn cpu_s(stat: &str) -> Option<f64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut ticks = rest.split_whitespace().skip(11).map(|field| field.parse::<f64>().ok());
    Some((ticks.next()?? + ticks.next()??) / TICKS_PER_S)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_and_memory_are_read_from_what_linux_writes() {
        let stat = "12 (a) b) c) S 1 12 12 0 -1 4194560 1 0 0 0 250 50 0 0 20 0 1 0 100 1 1";
        assert_eq!(cpu_s(stat), Some(3.0));
        assert_eq!(cpu_s("12 (a"), None);
        assert_eq!(memory::peak_of("Name: x\nVmHWM:\t   2048 kB\n"), Some(2 * 1024 * 1024));
        let own = of(std::process::id()).expect("we exist");
        assert!(own.rss_peak > 1024 * 1024);
    }
}
