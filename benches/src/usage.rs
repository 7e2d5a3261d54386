//! What processes and the whole machine used in a span of time, read from /proc. Linux only, as the rest of the harness.

use std::fs;
use std::time::Instant;

use anyhow::{Context, Result};
use weir_tests::usage::TICKS_PER_S;
pub use weir_tests::usage::{Usage, of};

/// CPU time that the whole machine has spent on anything, s.
fn machine_busy_s() -> Result<f64> {
    let stat = fs::read_to_string("/proc/stat").context("cannot read /proc/stat")?;
    let line = stat.lines().next().unwrap_or_default();
    let ticks: Vec<f64> = line.split_whitespace().skip(1).filter_map(|field| field.parse().ok()).collect();
    // user nice system idle iowait irq softirq steal: all but the two that wait. Guest time is in user already.
    let busy = ticks.iter().take(8).enumerate().filter(|(at, _)| !matches!(at, 3 | 4)).map(|(_, ticks)| ticks);
    Ok(busy.sum::<f64>() / TICKS_PER_S)
}

/// A moment from which to measure.
#[derive(Debug, Clone)]
pub struct Start {
    at: Instant,
    machine_s: f64,
    own_s: f64,
    contestant_s: f64,
    broker_s: f64,
    pids: Pids,
}

/// Who is measured besides this process.
#[derive(Debug, Clone, Copy)]
pub struct Pids {
    /// The contestant.
    pub contestant: u32,
    /// The broker, when it runs here.
    pub broker: Option<u32>,
}

/// CPU time that everybody used between two moments.
#[derive(Debug, Clone, Copy, Default)]
pub struct Span {
    /// How long it was, s.
    pub wall_s: f64,
    /// The contestant's CPU, s.
    pub contestant_s: f64,
    /// The broker's CPU, s.
    pub broker_s: f64,
    /// The CPU of this process, which generates load and watches, s.
    pub own_s: f64,
    /// Share of the machine that went to anybody else, 0 to 1: how much the measurement was disturbed.
    pub foreign: f64,
}

impl Start {
    /// Now.
    pub fn now(pids: Pids) -> Result<Self> {
        Ok(Self {
            at: Instant::now(),
            machine_s: machine_busy_s()?,
            own_s: of(std::process::id())?.cpu_s,
            contestant_s: of(pids.contestant)?.cpu_s,
            broker_s: pids.broker.map(of).transpose()?.unwrap_or_default().cpu_s,
            pids,
        })
    }

    /// What was used since.
    pub fn until_now(&self) -> Result<Span> {
        let now = Self::now(self.pids)?;
        let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get()) as f64;
        let wall_s = (now.at - self.at).as_secs_f64().max(1e-6);
        let contestant_s = now.contestant_s - self.contestant_s;
        let broker_s = now.broker_s - self.broker_s;
        let own_s = now.own_s - self.own_s;
        let machine_s = now.machine_s - self.machine_s;
        let foreign = ((machine_s - contestant_s - broker_s - own_s) / (wall_s * cores)).clamp(0.0, 1.0);
        Ok(Span { wall_s, contestant_s, broker_s, own_s, foreign })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_a_span_do_not_exceed_the_machine() {
        let me = std::process::id();
        let start = Start::now(Pids { contestant: me, broker: None }).expect("readable");
        let mut sum = 0_u64;
        // On a busy machine the time passes without us, and the kernel counts in steps of 10 ms.
        let span = loop {
            sum = sum.wrapping_add(std::hint::black_box(1));
            let span = start.until_now().expect("readable");
            if span.wall_s >= 0.06 && span.contestant_s > 0.0 {
                break span;
            }
            assert!(span.wall_s < 60.0, "no work of ours is counted: {span:?} {sum}");
        };
        assert!(span.foreign <= 1.0, "{span:?}");
    }
}
