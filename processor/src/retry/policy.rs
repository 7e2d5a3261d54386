//! What a failure means: another try after a pause, or the end.
//!
//! Pure, and the same on every replay: what is drawn at random comes from the event itself.

use std::collections::HashMap;

use runtime::config::{Config, Overflow, RetryOrder};
use schemas::ReasonCode;

use super::schedule::{Policy, pause_ms};
use crate::step::handle::Handled;
use crate::step::{Past, Retry};

/// The longest pause that a handler can ask for, milliseconds.
const PAUSE_MAX_MS: u64 = 24 * 60 * 60 * 1000;

/// How one source's failures are retried.
#[derive(Debug, Clone)]
pub struct Retries {
    /// How the pause grows.
    pub policy: Policy,
    /// Attempts before an event is dead, the first included.
    pub attempts: u32,
}

impl Retries {
    /// What becomes of an event that failed once more.
    pub fn judge(
        &self,
        past: Past<'_>,
        draw: u64,
        reason: ReasonCode,
        message: String,
        after_ms: Option<u64>,
        is_counted: bool,
    ) -> Handled {
        let failures = past.failures + u32::from(is_counted);
        if is_counted && failures >= self.attempts {
            let stage = "handle";
            // A panic keeps its name: it wants another person than a service that is away.
            let last = if reason == ReasonCode::HandlerPanicked { reason } else { ReasonCode::AttemptsExhausted };
            let message = format!("attempt {failures} of {failures} failed: {reason}: {message}");
            return Handled::Dead { reason: last, message, stage };
        }
        let pause_ms = match after_ms {
            Some(after) => i64::try_from(after.min(PAUSE_MAX_MS)).unwrap_or(i64::MAX),
            None => pause_ms(&self.policy, failures.max(1), draw, past.pause_ms),
        };
        Handled::Retry(Retry { pause_ms, reason, message, is_counted })
    }
}

/// How every source's failures are retried.
#[derive(Debug, Clone)]
pub struct Policies {
    default: Retries,
    sources: HashMap<String, Retries>,
    /// Texts of the tiers' delays, and their lengths.
    pub tiers: Vec<(String, i64)>,
    /// Events pass those of their resource that wait.
    pub is_overtaking: bool,
    /// Most events that wait, of a resource and of a partition.
    pub room: (usize, usize),
    /// Whether an event without room waits for it. Otherwise it dies.
    pub is_stopping: bool,
}

impl Policies {
    /// As the configuration says.
    pub fn of_config(config: &Config) -> Self {
        let retry = &config.retry;
        let delays_ms = retry.delays_ms();
        let retries = |schedule: &runtime::config::Schedule| Retries {
            policy: Policy { delays_ms: delays_ms.clone(), schedule: schedule.clone(), jitter: retry.jitter },
            attempts: retry.attempts,
        };
        let own = config.sources.iter().filter_map(|source| Some((source.name.clone(), source.schedule.as_ref()?)));
        let room = |most: u64| usize::try_from(most).unwrap_or(usize::MAX);
        Self {
            default: retries(&retry.schedule),
            sources: own.map(|(name, schedule)| (name, retries(schedule))).collect(),
            tiers: retry.delays.iter().map(|(text, _)| text.clone()).zip(delays_ms.iter().copied()).collect(),
            is_overtaking: retry.order == RetryOrder::Overtake,
            room: (room(retry.parked_per_resource), room(retry.parked_total)),
            is_stopping: retry.overflow == Overflow::Stop,
        }
    }

    /// The same for every source, each pause its tier's, with room for everybody.
    pub fn simple(tiers: Vec<(String, i64)>, attempts: u32, is_overtaking: bool) -> Self {
        let policy = Policy {
            delays_ms: tiers.iter().map(|(_, delay)| *delay).collect(),
            schedule: runtime::config::Schedule::Tiers,
            jitter: runtime::config::Jitter::None,
        };
        Self {
            default: Retries { policy, attempts },
            sources: HashMap::new(),
            tiers,
            is_overtaking,
            room: (usize::MAX, usize::MAX),
            is_stopping: false,
        }
    }

    /// How one source's failures are retried.
    pub fn of(&self, source: &str) -> &Retries {
        self.sources.get(source).unwrap_or(&self.default)
    }

    /// The delay of the first tier, which carries commands.
    pub fn first_tier(&self) -> &str {
        self.tiers.first().map_or("", |(text, _)| text.as_str())
    }

    /// The tier for a pause: the longest that is not longer, else the first.
    pub fn tier(&self, pause_ms: i64) -> usize {
        self.tiers.iter().rposition(|(_, delay)| *delay <= pause_ms).unwrap_or_default()
    }
}

impl Default for Policies {
    /// One tier, two attempts: for tests that do not care.
    fn default() -> Self {
        Self::simple(vec![("1s".to_owned(), 1000)], 2, false)
    }
}
