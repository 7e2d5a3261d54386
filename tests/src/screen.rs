//! What a person sees on standard error while a run goes on: bars on a terminal, plain lines elsewhere.

use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Plain lines tell of every tenth.
const TENTHS: u64 = 10;

/// One long step, shown as it goes on.
#[derive(Debug)]
pub struct Progress {
    what: &'static str,
    total: u64,
    bar: Option<ProgressBar>,
    tenths: u64,
}

/// Says one thing.
pub fn say(text: &str) {
    eprintln!("{text}");
}

/// Whether colours are wanted on standard output.
pub fn has_colour() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()) && std::io::stdout().is_terminal()
}

/// A number with its thousands apart, as people write it.
pub fn number(value: u64) -> String {
    let digits = value.to_string();
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

impl Progress {
    /// Begins a step of so many parts.
    pub fn new(what: &'static str, total: u64) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr_with_hz(10));
            let style =
                ProgressStyle::with_template("  {msg:22} {wide_bar} {human_pos:>7} of {human_len} {per_sec:>12}");
            bar.set_style(style.expect("a template of ours"));
            bar.set_message(what);
            bar
        });
        Self { what, total, bar, tenths: 0 }
    }

    /// So many parts are done.
    pub fn set(&mut self, done: u64) {
        if let Some(bar) = &self.bar {
            return bar.set_position(done);
        }
        let tenths = (done * TENTHS).checked_div(self.total).unwrap_or(TENTHS);
        if tenths > self.tenths {
            self.tenths = tenths;
            say(&format!("  {}: {} of {}", self.what, number(done), number(self.total)));
        }
    }

    /// Says one thing above the bar.
    pub fn say(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| say(text)),
            None => say(text),
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.abandon();
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn thousands_are_set_apart() {
        for (value, expected) in [(0, "0"), (999, "999"), (1000, "1,000"), (20_000, "20,000"), (1_234_567, "1,234,567")]
        {
            assert_eq!(super::number(value), expected);
        }
    }
}
