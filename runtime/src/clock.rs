//! The wall clock, read in one place.
//!
//! Windows and order never use it: they run on the broker's append times. It is for logs, retries and
//! the tolerance of signed timestamps.

use std::time::{SystemTime, UNIX_EPOCH};

/// Milliseconds since the epoch; 0 when the clock stands before it.
pub fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_counts_milliseconds_since_the_epoch() {
        let (in_2020, in_2200) = (1_577_836_800_000, 7_258_118_400_000);
        assert!((in_2020..in_2200).contains(&now_ms()));
    }
}
