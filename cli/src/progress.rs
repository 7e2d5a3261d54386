//! A progress bar on standard error for whatever takes longer than a second.
//!
//! Shown on a terminal only; standard output belongs to the answer.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// Work shorter than this shows nothing.
const PATIENCE: Duration = Duration::from_secs(1);
/// Looking at the clock for each of a million records would cost more than reading them.
const EVERY: u64 = 64;

/// How far something has come.
pub struct Progress {
    what: &'static str,
    total: u64,
    done: u64,
    began: Instant,
    is_hidden: bool,
    bar: Option<ProgressBar>,
}

impl Progress {
    /// Of `total` steps none is done.
    pub fn of(total: u64, what: &'static str) -> Self {
        Self { what, total, done: 0, began: Instant::now(), is_hidden: false, bar: None }
    }

    /// Shows nothing: whoever waits sees something else move.
    pub fn hidden() -> Self {
        let mut progress = Self::of(0, "");
        progress.is_hidden = true;
        progress
    }

    /// Does something that prints where the bar may stand: it makes way meanwhile.
    pub fn aside<R>(&self, act: impl FnOnce() -> R) -> R {
        match &self.bar {
            Some(bar) => bar.suspend(act),
            None => act(),
        }
    }

    /// That many more steps are done.
    pub fn advance(&mut self, steps: u64) {
        if self.is_hidden {
            return;
        }
        let is_due = self.total <= EVERY || self.done / EVERY != (self.done + steps) / EVERY;
        self.done += steps;
        if !is_due || (self.bar.is_none() && self.began.elapsed() < PATIENCE) {
            return;
        }
        let pace = pace(self.done, self.total, self.began.elapsed());
        let bar = self.bar.get_or_insert_with(|| start(self.what, self.total));
        bar.set_position(self.done);
        bar.set_message(pace);
    }
}

fn start(what: &'static str, total: u64) -> ProgressBar {
    let bar = ProgressBar::new(total);
    let style = ProgressStyle::with_template("{prefix} {bar:32} {pos}/{len}  {msg}");
    bar.set_style(style.expect("the template is a constant"));
    bar.set_prefix(what);
    bar
}

/// The speed since the beginning and what it promises. Not the bar's own estimate, which begins when the bar does.
fn pace(done: u64, total: u64, elapsed: Duration) -> String {
    let speed = done as f64 / elapsed.as_secs_f64().max(0.001);
    let left_s = total.saturating_sub(done) as f64 / speed.max(0.001);
    format!("{speed:.0}/s, {left_s:.0} s left")
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pace_is_that_since_the_beginning() {
        assert_eq!(pace(300, 400, Duration::from_secs(2)), "150/s, 1 s left");
        assert_eq!(pace(400, 400, Duration::from_secs(4)), "100/s, 0 s left");
    }

    #[test]
    fn short_work_shows_nothing() {
        let mut progress = Progress::of(10_000, "reading");
        progress.advance(10_000);
        assert!(progress.bar.is_none());
    }
}
