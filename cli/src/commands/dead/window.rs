//! Commands that were sent and not answered yet: bounded, so that memory is flat and a cancelled run leaves little
//! behind; and when the next may be sent.
//!
//! Pure: the time is passed in.

use std::collections::{HashMap, VecDeque};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use schemas::DeadId;

/// Most commands without an answer.
pub const OUTSTANDING_MAX: usize = 1000;

/// A command without an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// Its letter.
    pub id: DeadId,
    /// The provider's event id.
    pub event_id: Option<String>,
    /// The draft of its letter.
    pub draft: Option<PathBuf>,
}

/// All of them.
#[derive(Debug)]
pub struct Window {
    waiting: HashMap<u64, Waiting>,
    /// In the order of sending; those that were answered are dropped when they come to the front.
    sent: VecDeque<(u64, Instant)>,
    patience: Duration,
}

impl Window {
    /// None yet. `patience`: how long an answer may take.
    pub fn new(patience: Duration) -> Self {
        Self { waiting: HashMap::new(), sent: VecDeque::new(), patience }
    }

    /// Whether one more may be sent.
    pub fn has_room(&self) -> bool {
        self.waiting.len() < OUTSTANDING_MAX
    }

    /// How many wait for an answer.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether all are answered.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// A command was sent.
    pub fn add(&mut self, number: u64, waiting: Waiting, now: Instant) {
        self.waiting.insert(number, waiting);
        self.sent.push_back((number, now));
    }

    /// A command was answered, or will never be. `None`: it was not ours, or not the first answer.
    pub fn take(&mut self, number: u64) -> Option<Waiting> {
        let taken = self.waiting.remove(&number);
        while self.sent.front().is_some_and(|(number, _)| !self.waiting.contains_key(number)) {
            self.sent.pop_front();
        }
        taken
    }

    /// Whether the oldest has waited too long.
    pub fn is_overdue(&self, now: Instant) -> bool {
        self.sent.front().is_some_and(|(_, at)| now.saturating_duration_since(*at) >= self.patience)
    }

    /// Whether the youngest has waited too long, too.
    pub fn is_hopeless(&self, now: Instant) -> bool {
        self.sent.back().is_none_or(|(_, at)| now.saturating_duration_since(*at) >= self.patience)
    }

    /// Those that were not answered, in the order of sending.
    pub fn into_rest(mut self) -> Vec<Waiting> {
        let sent = std::mem::take(&mut self.sent);
        sent.into_iter().filter_map(|(number, _)| self.waiting.remove(&number)).collect()
    }
}

/// After a stall, what was not sent is made good for this long and no longer: a rate is there to spare somebody.
const DEBT_MAX: Duration = Duration::from_secs(1);

/// When the next may be sent: as many a second as the rate says, on the whole.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    next: Instant,
    between: Option<Duration>,
}

impl Pace {
    /// Nothing is sent yet. Without a rate, everything may be sent at once.
    pub fn new(rate: Option<f64>, now: Instant) -> Self {
        Self { next: now, between: rate.map(|rate| Duration::try_from_secs_f64(1.0 / rate).unwrap_or(Duration::MAX)) }
    }

    /// How long the next one has to wait.
    pub fn wait(&self, now: Instant) -> Duration {
        self.next.saturating_duration_since(now)
    }

    /// One was sent.
    pub fn step(&mut self, now: Instant) {
        let Some(between) = self.between else {
            return;
        };
        let from = now.checked_sub(DEBT_MAX).map_or(self.next, |oldest| self.next.max(oldest));
        self.next = from.checked_add(between).unwrap_or(from);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn waiting(offset: i64) -> Waiting {
        Waiting { id: DeadId { partition: 0, offset, generation: 0 }, event_id: None, draft: None }
    }

    #[test]
    fn no_more_than_the_bound_wait_for_an_answer() {
        let mut window = Window::new(SECOND);
        let now = Instant::now();
        for number in 0..1000 {
            assert!(window.has_room());
            window.add(number, waiting(0), now);
        }
        assert!(!window.has_room());
        assert!(window.take(500).is_some());
        assert!(window.has_room());
    }

    #[test]
    fn an_answer_counts_once_and_only_for_us() {
        let mut window = Window::new(SECOND);
        window.add(7, waiting(1), Instant::now());
        assert_eq!(window.take(8), None);
        assert_eq!(window.take(7), Some(waiting(1)));
        assert_eq!(window.take(7), None);
        assert!(window.is_empty());
    }

    #[test]
    fn patience_is_counted_for_each_command_from_its_sending() {
        let mut window = Window::new(SECOND);
        let start = Instant::now();
        window.add(1, waiting(1), start);
        window.add(2, waiting(2), start + SECOND / 2);
        assert!(!window.is_overdue(start + SECOND / 2));
        assert!(window.is_overdue(start + SECOND) && !window.is_hopeless(start + SECOND));
        assert!(window.is_hopeless(start + SECOND * 2));
        window.take(1);
        assert!(!window.is_overdue(start + SECOND));
        assert_eq!(window.into_rest(), [waiting(2)]);
    }

    #[test]
    fn memory_does_not_grow_with_what_was_answered() {
        let mut window = Window::new(SECOND);
        for number in 0..100_000 {
            window.add(number, waiting(0), Instant::now());
            window.take(number);
        }
        assert!(window.sent.is_empty() && window.waiting.is_empty());
    }

    #[test]
    fn the_pace_is_that_of_the_whole_run() {
        let start = Instant::now();
        let mut pace = Pace::new(Some(2.0), start);
        assert_eq!(pace.wait(start), Duration::ZERO);
        pace.step(start);
        assert_eq!(pace.wait(start), SECOND / 2);
        assert_eq!(pace.wait(start + SECOND), Duration::ZERO);
        // Half a second late, which is made good.
        pace.step(start + SECOND);
        assert_eq!(pace.wait(start + SECOND), Duration::ZERO);
        pace.step(start + SECOND);
        assert_eq!(pace.wait(start + SECOND), SECOND / 2);
        let mut none = Pace::new(None, start);
        none.step(start);
        assert_eq!(none.wait(start), Duration::ZERO);
    }

    #[test]
    fn a_long_stall_is_not_followed_by_all_that_was_not_sent() {
        let start = Instant::now();
        let mut pace = Pace::new(Some(10.0), start);
        pace.step(start);
        let later = start + SECOND * 60;
        let mut burst = 0;
        while pace.wait(later).is_zero() {
            pace.step(later);
            burst += 1;
        }
        assert_eq!(burst, 11, "a second of it, and the one that was due");
    }
}
