//! `[retry]`: which pause follows which failure, and that all of them end while the event can still be read.
//!
//! [`Schedule::pause_ms`] is the only place that knows what a schedule means: the check of the horizon here and the
//! processor's retries both ask it.

use std::time::Duration;

use schemas::topics::EVENT_RETENTION_MS;

use super::report::Report;
use super::resolved::{Jitter, Overflow, Retry, RetryOrder, Schedule, Source};
use super::units::{format_length, parse_length};
use super::written;

/// To spare between the last attempt and the end of `verified-events`' retention.
const SPARE_MS: i64 = 24 * 60 * 60 * 1000;

impl Schedule {
    /// The pause after this many failures (from 1), before it is spread. `delays_ms` are those of `[retry]`.
    pub fn pause_ms(&self, delays_ms: &[i64], failures: u32) -> i64 {
        let first = delays_ms.first().copied().unwrap_or_default();
        let last = delays_ms.last().copied().unwrap_or_default();
        let failures = failures.max(1);
        match self {
            Self::Tiers => nth(delays_ms.iter().copied(), failures).unwrap_or(last),
            Self::Fixed => first,
            Self::Linear => first.saturating_mul(i64::from(failures)).min(last),
            Self::Exponential => {
                let factor = 1_i64.checked_shl(failures - 1).filter(|factor| *factor > 0).unwrap_or(i64::MAX);
                first.saturating_mul(factor).min(last)
            }
            Self::Custom(pauses) => {
                let repeats = pauses.last().copied().map(milliseconds).unwrap_or_default();
                nth(pauses.iter().copied().map(milliseconds), failures).unwrap_or(repeats)
            }
        }
    }

    /// The least and the greatest pause of a jitter that follows the pause before instead of the schedule: the first
    /// and the last delay, or the first and the longest of a list.
    pub fn bounds_ms(&self, delays_ms: &[i64]) -> (i64, i64) {
        match self {
            Self::Custom(pauses) => {
                let first = pauses.first().copied().map(milliseconds).unwrap_or_default();
                (first, pauses.iter().copied().map(milliseconds).max().unwrap_or_default())
            }
            Self::Tiers | Self::Fixed | Self::Linear | Self::Exponential => {
                let first = delays_ms.first().copied().unwrap_or_default();
                (first, delays_ms.last().copied().unwrap_or_default())
            }
        }
    }
}

impl Retry {
    /// The delays, in milliseconds.
    pub fn delays_ms(&self) -> Vec<i64> {
        self.delays.iter().map(|(_, length)| milliseconds(*length)).collect()
    }
}

impl From<written::Schedule> for Schedule {
    fn from(written: written::Schedule) -> Self {
        match written {
            written::Schedule::Listed(pauses) => Self::Custom(pauses.into_iter().map(|length| length.0).collect()),
            written::Schedule::Named(name) => match name.as_str() {
                "fixed" => Self::Fixed,
                "linear" => Self::Linear,
                "exponential" => Self::Exponential,
                _ => Self::Tiers,
            },
        }
    }
}

/// The policy that is meant.
pub(super) fn resolve(written: written::Retry, report: &mut Report) -> Retry {
    let retry = Retry {
        delays: delays(written.delays, report),
        attempts: written.attempts,
        order: if written.order == "overtake" { RetryOrder::Overtake } else { RetryOrder::Park },
        schedule: written.schedule.into(),
        jitter: match written.jitter.as_str() {
            "full" => Jitter::Full,
            "equal" => Jitter::Equal,
            "decorrelated" => Jitter::Decorrelated,
            _ => Jitter::None,
        },
        parked_per_resource: written.parked_per_resource,
        parked_total: written.parked_total,
        overflow: if written.overflow == "stop" { Overflow::Stop } else { Overflow::Dead },
    };
    if let Err(message) = fits(&retry, &retry.schedule)
        && !report.is_spoiled("retry")
    {
        report.error("retry.attempts", format!("{message}: use fewer attempts or shorter delays"));
    }
    retry
}

fn delays(written: Vec<String>, report: &mut Report) -> Vec<(String, Duration)> {
    let mut delays: Vec<(String, Duration)> = Vec::new();
    for (position, text) in written.into_iter().enumerate() {
        let Ok(length) = parse_length(&text) else { continue };
        if let Some((before, last)) = delays.last() {
            let path = format!("retry.delays[{position}]");
            if length == *last {
                report.error(&path, format!("\"{text}\" and \"{before}\" are the same delay: keep one"));
            } else if length < *last {
                report.error(&path, format!("\"{text}\" is shorter than \"{before}\" before it: delays rise"));
            }
        }
        delays.push((text, length));
    }
    delays
}

/// A source's own schedule, like that of `[retry]`, has to end while the event's record is still there.
pub(super) fn check_source(retry: &Retry, source: &Source, path: &str, report: &mut Report) {
    if let Some(schedule) = &source.schedule
        && let Err(message) = fits(retry, schedule)
        && !report.is_spoiled("retry")
    {
        report.error(path, format!("{message}: use shorter pauses, or fewer `[retry] attempts`"));
    }
}

/// Whether all attempts are made while the record is still there.
fn fits(retry: &Retry, schedule: &Schedule) -> Result<(), String> {
    let horizon = horizon_ms(retry, schedule);
    if horizon.saturating_add(SPARE_MS) < EVENT_RETENTION_MS {
        return Ok(());
    }
    let length = |ms: i64| format_length(Duration::from_millis(ms.unsigned_abs()));
    Err(format!(
        "{} attempts with {} last {}; with a day to spare that must be below the {} for which verified-events keeps an \
         event",
        retry.attempts,
        if matches!(schedule, Schedule::Custom(_)) { "these pauses" } else { "these delays" },
        length(horizon),
        length(EVENT_RETENTION_MS),
    ))
}

/// From the first attempt to the last, at the longest.
fn horizon_ms(retry: &Retry, schedule: &Schedule) -> i64 {
    let delays = retry.delays_ms();
    let (mut sum, mut before) = (0_i64, schedule.bounds_ms(&delays).0);
    for failures in 1..retry.attempts {
        before = match retry.jitter {
            Jitter::None | Jitter::Full | Jitter::Equal => schedule.pause_ms(&delays, failures),
            Jitter::Decorrelated => before.saturating_mul(3).min(schedule.bounds_ms(&delays).1),
        };
        sum = sum.saturating_add(before);
    }
    sum
}

fn nth(mut pauses: impl Iterator<Item = i64>, failures: u32) -> Option<i64> {
    pauses.nth(usize::try_from(failures).unwrap_or(usize::MAX).saturating_sub(1))
}

fn milliseconds(length: Duration) -> i64 {
    i64::try_from(length.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DELAYS: [i64; 4] = [5_000, 60_000, 600_000, 3_600_000];

    #[test]
    fn each_schedule_grows_as_it_says() {
        let custom = Schedule::Custom([1, 30, 5].map(Duration::from_secs).to_vec());
        for (schedule, expected) in [
            (Schedule::Tiers, [5_000, 60_000, 600_000, 3_600_000, 3_600_000]),
            (Schedule::Fixed, [5_000; 5]),
            (Schedule::Linear, [5_000, 10_000, 15_000, 20_000, 25_000]),
            (Schedule::Exponential, [5_000, 10_000, 20_000, 40_000, 80_000]),
            (custom, [1_000, 30_000, 5_000, 5_000, 5_000]),
        ] {
            let pauses: Vec<i64> = (1..=5).map(|failures| schedule.pause_ms(&DELAYS, failures)).collect();
            assert_eq!(pauses, expected, "{schedule:?}");
        }
    }

    #[test]
    fn no_pause_is_longer_than_the_longest_however_often_it_failed() {
        for schedule in [Schedule::Tiers, Schedule::Linear, Schedule::Exponential] {
            for failures in [800, u32::MAX] {
                assert_eq!(schedule.pause_ms(&DELAYS, failures), 3_600_000, "{schedule:?} {failures}");
            }
        }
        // Where a power of two leaves the range of its number.
        for failures in 60..70 {
            assert_eq!(Schedule::Exponential.pause_ms(&DELAYS, failures), 3_600_000, "{failures}");
        }
        assert_eq!(Schedule::Exponential.pause_ms(&DELAYS, 0), 5_000, "there is no pause before the first failure");
    }

    #[test]
    fn a_jitter_of_its_own_has_the_bounds_of_the_schedule() {
        assert_eq!(Schedule::Fixed.bounds_ms(&DELAYS), (5_000, 3_600_000));
        let custom = Schedule::Custom([10, 30, 5].map(Duration::from_secs).to_vec());
        assert_eq!(custom.bounds_ms(&DELAYS), (10_000, 30_000));
    }
}
