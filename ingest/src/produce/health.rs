//! Whether Kafka answers, judged from delivery reports: the door must say 503 at once instead of filling up.
//!
//! Down means: the client lost all brokers, or nothing was delivered for [`SILENCE_MS`] while something waited.
//! While it is down one record at a time goes through as a probe; the first delivery ends it. Time is passed in, by a
//! clock that is never set.

use std::sync::Mutex;

/// How long a waiting record may hear nothing, in milliseconds.
pub const SILENCE_MS: i64 = 3_000;

/// The state of the connection to Kafka.
#[derive(Debug)]
pub struct Health {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    outstanding: usize,
    /// When something was last delivered, or when the first of those that wait began to.
    heard_ms: i64,
    is_unreachable: bool,
    is_silent: bool,
    has_probe: bool,
}

/// The right to send one record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pass {
    /// Kafka is up.
    Free,
    /// Kafka is down and this record finds out whether it still is.
    Probe,
}

/// What a delivery report says about Kafka.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Report {
    /// A broker took the record, or refused it: it is there.
    Heard,
    /// The client gave up waiting.
    Silent,
}

impl Default for Health {
    fn default() -> Self {
        Self::new()
    }
}

impl Health {
    /// Down until the first sign of life.
    pub fn new() -> Self {
        let state = State { outstanding: 0, heard_ms: 0, is_unreachable: true, is_silent: false, has_probe: false };
        Self { state: Mutex::new(state) }
    }

    fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        // A panic while it was held cannot leave it half changed: every change is one assignment deep.
        let mut state = self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        change(&mut state)
    }

    /// Asks to send a record; it counts as outstanding from now on. `None`: Kafka is down.
    pub fn admit(&self, now_ms: i64) -> Option<Pass> {
        self.with(|state| {
            state.is_silent |= state.outstanding > 0 && now_ms - state.heard_ms > SILENCE_MS;
            let pass = match (state.is_silent || state.is_unreachable, state.has_probe) {
                (true, true) => return None,
                (true, false) => Pass::Probe,
                (false, _) => Pass::Free,
            };
            state.has_probe |= pass == Pass::Probe;
            if state.outstanding == 0 {
                state.heard_ms = now_ms;
            }
            state.outstanding += 1;
            Some(pass)
        })
    }

    /// Gives a pass back unused: the record was never handed to the client.
    pub fn forget(&self, pass: Pass) {
        self.with(|state| state.release(pass));
    }

    /// Notes what became of a record.
    pub fn report(&self, pass: Pass, report: Report, now_ms: i64) {
        self.with(|state| {
            state.release(pass);
            if report == Report::Heard {
                state.heard_ms = now_ms;
                state.is_silent = false;
                state.is_unreachable = false;
            }
        });
    }

    /// The client lost all brokers; false: that was known.
    pub fn lose(&self) -> bool {
        self.with(|state| !std::mem::replace(&mut state.is_unreachable, true))
    }

    /// A broker answered something else than a record. What waits is judged anew from now.
    pub fn reach(&self, now_ms: i64) {
        self.with(|state| {
            if state.is_unreachable {
                state.is_unreachable = false;
                state.heard_ms = now_ms;
            }
        });
    }

    /// Whether nothing waits.
    pub fn is_idle(&self) -> bool {
        self.with(|state| state.outstanding == 0)
    }

    /// Whether records go through as far as is known.
    pub fn is_up(&self, now_ms: i64) -> bool {
        self.with(|state| {
            let is_waiting_long = state.outstanding > 0 && now_ms - state.heard_ms > SILENCE_MS;
            !state.is_unreachable && !state.is_silent && !is_waiting_long
        })
    }
}

impl State {
    fn release(&mut self, pass: Pass) {
        self.outstanding = self.outstanding.saturating_sub(1);
        self.has_probe &= pass != Pass::Probe;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn up() -> Health {
        let health = Health::new();
        health.reach(0);
        health
    }

    #[test]
    fn nothing_is_admitted_before_the_first_sign_of_life_but_a_probe() {
        let health = Health::new();
        assert!(!health.is_up(0));
        assert_eq!(health.admit(0), Some(Pass::Probe));
        assert_eq!(health.admit(1), None);
        health.report(Pass::Probe, Report::Heard, 2);
        assert_eq!(health.admit(3), Some(Pass::Free));
        assert!(health.is_up(3));
    }

    #[test]
    fn three_seconds_without_a_report_close_the_door_while_one_probe_goes_through() {
        let health = up();
        assert_eq!(health.admit(10), Some(Pass::Free));
        assert_eq!(health.admit(10 + SILENCE_MS), Some(Pass::Free));
        assert_eq!(health.admit(11 + SILENCE_MS), Some(Pass::Probe));
        for later in [12, 5_000, 60_000] {
            assert_eq!(health.admit(later + SILENCE_MS), None);
        }
        // The probe dies: the next one may try. Whatever else expires opens nothing.
        health.report(Pass::Probe, Report::Silent, 20_000);
        health.report(Pass::Free, Report::Silent, 20_000);
        assert_eq!(health.admit(20_001), Some(Pass::Probe));
        assert_eq!(health.admit(20_002), None);
        health.report(Pass::Probe, Report::Heard, 20_003);
        assert_eq!(health.admit(20_004), Some(Pass::Free));
    }

    #[test]
    fn silence_begins_when_something_begins_to_wait() {
        let health = up();
        assert_eq!(health.admit(1_000_000), Some(Pass::Free));
        assert_eq!(health.admit(1_000_001), Some(Pass::Free));
        health.report(Pass::Free, Report::Heard, 1_002_999);
        assert_eq!(health.admit(1_005_000), Some(Pass::Free));
    }

    #[test]
    fn losing_all_brokers_closes_the_door_at_once_and_any_answer_opens_it() {
        let health = up();
        assert!(health.lose(), "news");
        assert!(!health.lose(), "known");
        assert_eq!(health.admit(1), Some(Pass::Probe));
        assert_eq!(health.admit(2), None);
        health.reach(3);
        assert_eq!(health.admit(4), Some(Pass::Free));
        assert!(health.is_up(4));
    }

    #[test]
    fn metadata_alone_does_not_end_a_silence() {
        let health = up();
        assert_eq!(health.admit(1), Some(Pass::Free));
        assert_eq!(health.admit(5_000), Some(Pass::Probe));
        health.reach(5_001);
        assert_eq!(health.admit(5_002), None);
        assert!(!health.is_up(5_002));
    }

    #[test]
    fn a_pass_that_was_not_used_is_given_back() {
        let health = up();
        assert!(health.lose());
        assert_eq!(health.admit(1), Some(Pass::Probe));
        health.forget(Pass::Probe);
        assert_eq!(health.admit(2), Some(Pass::Probe));
    }
}
