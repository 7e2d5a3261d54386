//! How long an event that failed waits: its schedule's pause, spread so that those that failed together do not come
//! back together.

use runtime::config::{Jitter, Schedule};

/// How the pause grows, and how it is spread.
#[derive(Debug, Clone)]
pub struct Policy {
    /// `[retry] delays`, milliseconds.
    pub delays_ms: Vec<i64>,
    /// How it grows.
    pub schedule: Schedule,
    /// How it is spread.
    pub jitter: Jitter,
}

/// The pause after so many failures (from 1). `draw` is its chance, `last_ms` the pause before. The ways to spread it
/// are those of "Exponential Backoff And Jitter" in the AWS Architecture Blog, 2015.
pub fn pause_ms(policy: &Policy, failures: u32, draw: u64, last_ms: i64) -> i64 {
    let whole = policy.schedule.pause_ms(&policy.delays_ms, failures);
    match policy.jitter {
        Jitter::None => whole,
        Jitter::Full => within(0, whole, draw),
        Jitter::Equal => within(whole / 2, whole, draw),
        Jitter::Decorrelated => {
            let (least, most) = policy.schedule.bounds_ms(&policy.delays_ms);
            within(least, last_ms.max(least).saturating_mul(3), draw).min(most)
        }
    }
}

/// A number from `from` to `to`, both included.
fn within(from: i64, to: i64, draw: u64) -> i64 {
    let span = u128::from(to.saturating_sub(from).max(0).unsigned_abs()) + 1;
    let step = (u128::from(draw) * span) >> 64;
    from.saturating_add(i64::try_from(step).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn policy(schedule: Schedule, jitter: Jitter) -> Policy {
        Policy { delays_ms: vec![5_000, 60_000, 600_000], schedule, jitter }
    }

    fn pauses(schedule: Schedule) -> Vec<i64> {
        let policy = policy(schedule, Jitter::None);
        (1..=5).map(|failures| pause_ms(&policy, failures, 7, 0)).collect()
    }

    #[test]
    fn every_schedule_grows_as_it_says() {
        assert_eq!(pauses(Schedule::Tiers), [5_000, 60_000, 600_000, 600_000, 600_000]);
        assert_eq!(pauses(Schedule::Fixed), [5_000; 5]);
        assert_eq!(pauses(Schedule::Linear), [5_000, 10_000, 15_000, 20_000, 25_000]);
        assert_eq!(pauses(Schedule::Exponential), [5_000, 10_000, 20_000, 40_000, 80_000]);
        let own = Schedule::Custom(vec![Duration::from_secs(1), Duration::from_secs(3)]);
        assert_eq!(pauses(own), [1_000, 3_000, 3_000, 3_000, 3_000]);
        let late = policy(Schedule::Exponential, Jitter::None);
        assert_eq!(pause_ms(&late, 50, 0, 0), 600_000, "never longer than the last delay");
    }

    #[test]
    fn a_spread_pause_stays_within_its_bounds_and_reaches_both_ends() {
        let bounds = |jitter, last_ms| {
            let policy = policy(Schedule::Tiers, jitter);
            let of = |draw| pause_ms(&policy, 2, draw, last_ms);
            (of(0), of(u64::MAX))
        };
        assert_eq!(bounds(Jitter::Full, 0), (0, 60_000));
        assert_eq!(bounds(Jitter::Equal, 0), (30_000, 60_000));
        assert_eq!(bounds(Jitter::Decorrelated, 0), (5_000, 15_000));
        assert_eq!(bounds(Jitter::Decorrelated, 500_000), (5_000, 600_000));
    }

    #[test]
    fn the_same_draw_gives_the_same_pause() {
        let policy = policy(Schedule::Tiers, Jitter::Full);
        for draw in [1, 1 << 40, u64::MAX / 3] {
            assert_eq!(pause_ms(&policy, 3, draw, 0), pause_ms(&policy, 3, draw, 99));
        }
    }
}
