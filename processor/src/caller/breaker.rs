//! When a host that keeps failing is left alone: pure, with the time passed in.
//!
//! ```text
//!            5 of the last 10 failed                30 s are over
//!   closed ──────────────────────────► open ──────────────────────────► half-open
//!     ▲                                 ▲                                 │   │
//!     │                                 └── it failed: twice as long ─────┘   │
//!     └────────────────────── the one probe succeeded ────────────────────────┘
//! ```

use std::collections::VecDeque;

/// Calls that are looked back upon.
const WINDOW: usize = 10;
/// So many failures among them open it.
const FAILURES: usize = 5;
/// How long it stays open at first, and at most, milliseconds.
const OPEN_MS: u64 = 30_000;
const OPEN_MAX_MS: u64 = 120_000;
/// What a host asks for is honoured within these bounds, milliseconds.
const ASKED_MS: (u64, u64) = (1_000, OPEN_MAX_MS);
/// Whoever comes while a probe is under way comes again after this, milliseconds.
const PROBE_MS: u64 = 1_000;

/// Whether a call may be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admit {
    /// It may.
    Go,
    /// It may, and decides about all others.
    Probe,
    /// Not before so many milliseconds.
    Wait(u64),
}

/// What a call says about its host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It works.
    Success,
    /// It does not.
    Failure {
        /// How long it asks to be left alone, milliseconds.
        retry_after_ms: Option<u64>,
    },
    /// Nothing: the call was not made.
    Nothing,
}

/// Whether calls are made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum State {
    /// All are.
    #[default]
    Closed,
    /// One is under way, on trial.
    HalfOpen,
    /// None are, until then.
    Open {
        /// Milliseconds on the caller's clock.
        until_ms: u64,
    },
}

/// The breaker of one host. At first it knows no failure.
#[derive(Debug, Default)]
pub struct Breaker {
    state: State,
    /// Whether each of the last calls failed.
    recent: VecDeque<bool>,
    /// How long it was open last; 0: it was closed since.
    open_ms: u64,
}

impl Breaker {
    /// Whether calls are made.
    pub fn state(&self) -> State {
        self.state
    }

    /// Whether it remembers nothing that matters.
    pub fn is_quiet(&self) -> bool {
        self.state == State::Closed && !self.recent.contains(&true)
    }

    /// Whether a call may be made now. Each one that may has to be recorded.
    pub fn admit(&mut self, now_ms: u64) -> Admit {
        match self.state {
            State::Closed => Admit::Go,
            State::HalfOpen => Admit::Wait(PROBE_MS),
            State::Open { until_ms } if now_ms < until_ms => Admit::Wait(until_ms - now_ms),
            State::Open { .. } => {
                self.state = State::HalfOpen;
                Admit::Probe
            }
        }
    }

    /// Takes note of what came of a call. What was admitted before it opened changes nothing any more.
    pub fn record(&mut self, now_ms: u64, admitted: Admit, outcome: Outcome) {
        match (self.state, admitted, outcome) {
            (State::Closed, Admit::Go, Outcome::Success) => self.remember(false),
            (State::Closed, Admit::Go, Outcome::Failure { retry_after_ms }) => {
                self.remember(true);
                if self.recent.iter().filter(|failed| **failed).count() >= FAILURES {
                    self.open(now_ms, retry_after_ms);
                }
            }
            (State::HalfOpen, Admit::Probe, Outcome::Success) => *self = Self::default(),
            (State::HalfOpen, Admit::Probe, Outcome::Failure { retry_after_ms }) => self.open(now_ms, retry_after_ms),
            // The trial did not take place: the next call is one.
            (State::HalfOpen, Admit::Probe, Outcome::Nothing) => self.state = State::Open { until_ms: now_ms },
            (State::Closed | State::HalfOpen | State::Open { .. }, _, _) => {}
        }
    }

    fn remember(&mut self, has_failed: bool) {
        if self.recent.len() == WINDOW {
            self.recent.pop_front();
        }
        self.recent.push_back(has_failed);
    }

    fn open(&mut self, now_ms: u64, asked_ms: Option<u64>) {
        self.open_ms = if self.open_ms == 0 { OPEN_MS } else { (self.open_ms * 2).min(OPEN_MAX_MS) };
        let open_ms = asked_ms.map_or(self.open_ms, |asked| asked.clamp(ASKED_MS.0, ASKED_MS.1));
        self.state = State::Open { until_ms: now_ms.saturating_add(open_ms) };
        self.recent.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAILURE: Outcome = Outcome::Failure { retry_after_ms: None };

    fn call(breaker: &mut Breaker, now_ms: u64, outcome: Outcome) {
        let admitted = breaker.admit(now_ms);
        assert!(!matches!(admitted, Admit::Wait(_)), "at {now_ms}: {breaker:?}");
        breaker.record(now_ms, admitted, outcome);
    }

    fn opened(now_ms: u64) -> Breaker {
        let mut breaker = Breaker::default();
        (0..5).for_each(|_| call(&mut breaker, now_ms, FAILURE));
        breaker
    }

    #[test]
    fn five_failures_among_the_last_ten_open_it() {
        let mut breaker = Breaker::default();
        for outcome in [FAILURE, FAILURE, FAILURE, FAILURE, Outcome::Success, Outcome::Success] {
            call(&mut breaker, 0, outcome);
        }
        assert_eq!(breaker.state(), State::Closed);
        call(&mut breaker, 7, FAILURE);
        assert_eq!(breaker.state(), State::Open { until_ms: 30_007 });
        assert_eq!(breaker.admit(10_007), Admit::Wait(20_000));
    }

    #[test]
    fn failures_that_are_far_apart_do_not() {
        let mut breaker = Breaker::default();
        for _ in 0..50 {
            call(&mut breaker, 0, FAILURE);
            call(&mut breaker, 0, Outcome::Success);
            call(&mut breaker, 0, Outcome::Success);
        }
        assert_eq!(breaker.state(), State::Closed);
        assert!(!breaker.is_quiet());
        (0..10).for_each(|_| call(&mut breaker, 0, Outcome::Success));
        assert!(breaker.is_quiet());
    }

    #[test]
    fn calls_that_were_not_made_count_as_nothing() {
        let mut breaker = Breaker::default();
        (0..50).for_each(|_| call(&mut breaker, 0, Outcome::Nothing));
        assert!(breaker.is_quiet());
    }

    #[test]
    fn exactly_one_probe_goes_through_and_closes_it() {
        let mut breaker = opened(0);
        assert_eq!(breaker.admit(29_999), Admit::Wait(1));
        assert_eq!(breaker.admit(30_000), Admit::Probe);
        assert_eq!(breaker.admit(30_000), Admit::Wait(1_000));
        assert_eq!(breaker.state(), State::HalfOpen);
        breaker.record(30_100, Admit::Probe, Outcome::Success);
        assert_eq!(breaker.state(), State::Closed);
        assert!(breaker.is_quiet(), "it begins anew");
        (0..4).for_each(|_| call(&mut breaker, 30_200, FAILURE));
        assert_eq!(breaker.state(), State::Closed);
        call(&mut breaker, 30_200, FAILURE);
        assert_eq!(breaker.state(), State::Open { until_ms: 60_200 }, "and from 30 s");
    }

    #[test]
    fn a_probe_that_fails_doubles_the_time_up_to_two_minutes() {
        let mut breaker = opened(0);
        let mut now = 30_000;
        for open in [60_000, 120_000, 120_000] {
            call(&mut breaker, now, FAILURE);
            assert_eq!(breaker.state(), State::Open { until_ms: now + open });
            now += open;
        }
    }

    #[test]
    fn a_probe_that_was_not_made_leaves_the_trial_to_the_next() {
        let mut breaker = opened(0);
        call(&mut breaker, 30_000, Outcome::Nothing);
        assert_eq!(breaker.admit(30_000), Admit::Probe);
    }

    #[test]
    fn what_a_host_asks_for_is_honoured_within_bounds() {
        for (asked, open) in [(0, 1_000), (5_000, 5_000), (3_600_000, 120_000)] {
            let mut breaker = Breaker::default();
            for _ in 0..5 {
                call(&mut breaker, 0, Outcome::Failure { retry_after_ms: Some(asked) });
            }
            assert_eq!(breaker.state(), State::Open { until_ms: open });
        }
    }

    #[test]
    fn what_was_admitted_before_it_opened_changes_nothing() {
        let mut breaker = opened(0);
        breaker.record(1, Admit::Go, Outcome::Success);
        breaker.record(1, Admit::Go, FAILURE);
        assert_eq!(breaker.state(), State::Open { until_ms: 30_000 });
        assert_eq!(breaker.admit(30_000), Admit::Probe);
        breaker.record(30_001, Admit::Go, Outcome::Success);
        assert_eq!(breaker.state(), State::HalfOpen, "only the probe decides");
    }
}
