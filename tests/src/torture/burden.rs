//! What a process takes of the machine when everything is over: a client that was given up and never closed, a
//! descriptor that was lost with each fault, would add up.

use std::fs;

use anyhow::{Context, Result};

/// What one process takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Burden {
    /// Memory it holds, MiB.
    pub rss_mib: u64,
    /// Its threads.
    pub threads: u64,
    /// Its open file descriptors.
    pub descriptors: u64,
}

/// More than this, nobody takes for each of its workers: about twice what processors of one have after three minutes of
/// faults.
const MOST: Burden = Burden { rss_mib: 200, threads: 120, descriptors: 400 };

impl Burden {
    /// That of a process.
    pub fn of(process: u32) -> Result<Self> {
        let status = fs::read_to_string(format!("/proc/{process}/status")).context("cannot read a process's status")?;
        let number = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let number = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
            number.with_context(|| format!("no {name} in the status of process {process}"))
        };
        let descriptors =
            fs::read_dir(format!("/proc/{process}/fd")).context("cannot list descriptors")?.count() as u64;
        Ok(Self { rss_mib: number("VmRSS:")? / 1024, threads: number("Threads:")?, descriptors })
    }

    /// What is too much of it, for so many workers.
    pub fn excess(self, workers: u16) -> Option<String> {
        let times = |each: u64| each * u64::from(workers);
        let most =
            Self { rss_mib: times(MOST.rss_mib), threads: times(MOST.threads), descriptors: times(MOST.descriptors) };
        let is_fine =
            self.rss_mib <= most.rss_mib && self.threads <= most.threads && self.descriptors <= most.descriptors;
        (!is_fine).then(|| format!("{self:?}, and at most {most:?}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_knows_what_it_takes_and_too_much_is_told() {
        let burden = Burden::of(std::process::id()).expect("we run");
        assert!(burden.rss_mib > 0 && burden.threads > 0 && burden.descriptors > 0, "{burden:?}");
        assert_eq!(MOST.excess(1), None);
        for much in [
            Burden { rss_mib: MOST.rss_mib + 1, ..MOST },
            Burden { threads: MOST.threads + 1, ..MOST },
            Burden { descriptors: MOST.descriptors + 1, ..MOST },
        ] {
            assert!(much.excess(1).is_some(), "{much:?}");
            assert_eq!(much.excess(2), None);
        }
    }
}
