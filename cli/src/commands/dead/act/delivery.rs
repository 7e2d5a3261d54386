//! Commands out, answers in: never more outstanding than the window holds, never faster than the rate.
//!
//! A run that is stopped, or whose oldest command waits too long, sends nothing more and still waits for what it sent.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use runtime::report::Failure;
use schemas::Resolution;

use super::super::compose::Composed;
use super::super::outcome::{Resolved, Tally};
use super::super::window::{Pace, Waiting, Window};
use super::wire::{Heard, SendError, Wire};

/// A stop is noticed within this time.
const POLL: Duration = Duration::from_millis(50);

/// Whoever wants to know.
pub trait Listener {
    /// A letter's command is through, or will not be.
    fn resolved(&mut self, row: Resolved, waiting: &Waiting) -> Result<(), Failure>;
    /// Something a person should know.
    fn remark(&mut self, text: &str) -> Result<(), Failure>;
}

/// A run.
pub struct Delivery<'a, W, L> {
    wire: W,
    window: Window,
    pace: Pace,
    is_stopped: &'a dyn Fn() -> bool,
    listener: &'a mut L,
    has_ended: bool,
    /// What happened so far.
    pub tally: Tally,
}

impl<'a, W: Wire, L: Listener> Delivery<'a, W, L> {
    /// Nothing is sent yet.
    pub fn new(
        wire: W,
        rate: Option<f64>,
        patience: Duration,
        is_stopped: &'a dyn Fn() -> bool,
        listener: &'a mut L,
    ) -> Self {
        Self {
            wire,
            window: Window::new(patience),
            pace: Pace::new(rate, Instant::now()),
            is_stopped,
            listener,
            has_ended: false,
            tally: Tally::default(),
        }
    }

    /// Sends a command as soon as it may go. `Break`: nothing more is sent.
    pub fn send(&mut self, command: Composed) -> Result<ControlFlow<()>, Failure> {
        let waiting = Waiting { id: command.id, event_id: command.event_id.clone(), draft: command.draft.clone() };
        // Reading the letters took its time: what came meanwhile is not late.
        self.hear(Duration::ZERO)?;
        loop {
            if self.is_over()? {
                return Ok(ControlFlow::Break(()));
            }
            let wait = self.pace.wait(Instant::now());
            if !wait.is_zero() || !self.window.has_room() {
                self.hear(if wait.is_zero() { POLL } else { wait.min(POLL) })?;
                continue;
            }
            match self.wire.send(&command) {
                Ok(()) => break,
                Err(SendError::Full) => self.hear(POLL)?,
                Err(error) => {
                    self.lose(waiting, &error)?;
                    return Ok(ControlFlow::Continue(()));
                }
            }
        }
        self.tally.sent += 1;
        let now = Instant::now();
        self.pace.step(now);
        self.window.add(command.number, waiting, now);
        Ok(ControlFlow::Continue(()))
    }

    /// Waits for what is outstanding. `total`: how many letters the plan had.
    pub fn finish(mut self, total: u64) -> Result<Tally, Failure> {
        self.hear(Duration::ZERO)?;
        while !self.window.is_empty() && !self.window.is_hopeless(Instant::now()) {
            self.notice_stop()?;
            self.hear(POLL)?;
        }
        for waiting in self.window.into_rest() {
            self.tally.unanswered += 1;
            self.listener.resolved(Resolved::of(waiting.id, waiting.event_id.clone(), None), &waiting)?;
        }
        let tried = self.tally.sent + self.tally.refused + self.tally.undelivered;
        self.tally.cancelled = total.saturating_sub(tried);
        Ok(self.tally)
    }

    /// Whether nothing more may be sent, and says why when that begins.
    fn is_over(&mut self) -> Result<bool, Failure> {
        self.notice_stop()?;
        if !self.has_ended && self.window.is_overdue(Instant::now()) {
            self.has_ended = true;
            self.listener.remark("no answer within --timeout: nothing more is sent")?;
        }
        Ok(self.has_ended)
    }

    fn notice_stop(&mut self) -> Result<(), Failure> {
        if self.has_ended || !(self.is_stopped)() {
            return Ok(());
        }
        self.has_ended = true;
        let outstanding = self.window.len();
        let again = "nothing more is sent; a second Ctrl-C leaves at once";
        self.listener.remark(&format!("stopping: {outstanding} commands wait for their answer, {again}"))
    }

    /// Takes in what there is, waiting for the first.
    fn hear(&mut self, patience: Duration) -> Result<(), Failure> {
        let mut patience = patience;
        while let Some(heard) = self.wire.next(patience)? {
            patience = Duration::ZERO;
            match heard {
                Heard::Answer(answer) => self.answer(&answer)?,
                Heard::Undelivered(number, error) => {
                    if let Some(waiting) = self.window.take(number) {
                        self.tally.sent = self.tally.sent.saturating_sub(1);
                        self.lose(waiting, &error)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn answer(&mut self, answer: &Resolution) -> Result<(), Failure> {
        let number = answer.command_id.as_deref().and_then(|id| u64::from_str_radix(id, 16).ok());
        // Others' commands are answered in the same topic.
        let Some(waiting) = number.and_then(|number| self.window.take(number)) else {
            return Ok(());
        };
        self.tally.add(answer.result);
        self.listener.resolved(Resolved::of(waiting.id, waiting.event_id.clone(), Some(answer)), &waiting)
    }

    fn lose(&mut self, waiting: Waiting, error: &SendError) -> Result<(), Failure> {
        match error {
            SendError::Refused(_) => self.tally.refused += 1,
            SendError::Away(_) | SendError::Full => {
                self.tally.undelivered += 1;
                // The next would fare no better.
                self.has_ended = true;
            }
        }
        self.listener.remark(&format!("{}: {error}", waiting.id))?;
        self.listener.resolved(Resolved::of(waiting.id, waiting.event_id.clone(), None), &waiting)
    }
}

#[cfg(test)]
mod tests;
