//! Milliseconds since the Unix epoch, and RFC 3339 as we print and read it.

use jiff::Timestamp;

/// RFC 3339 in UTC with milliseconds, as every header and JSON document of ours writes a time.
/// A value outside of the calendar (years -9999 to 9999) prints as the nearest one inside.
pub fn rfc3339(ms: i64) -> String {
    let time = Timestamp::from_millisecond(ms).unwrap_or(if ms < 0 { Timestamp::MIN } else { Timestamp::MAX });
    format!("{time:.3}")
}

/// Reads RFC 3339 (any offset) into milliseconds since the epoch.
pub fn parse_rfc3339(text: &str) -> Option<i64> {
    if text.len() > 64 {
        return None;
    }
    text.parse::<Timestamp>().ok().map(|time| time.as_millisecond())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_print_with_milliseconds_in_utc_and_read_back() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(rfc3339(1_531_420_618_042), "2018-07-12T18:36:58.042Z");
        assert_eq!(parse_rfc3339("2018-07-12T20:36:58.042+02:00"), Some(1_531_420_618_042));
        assert_eq!(parse_rfc3339("yesterday"), None);
        assert_eq!(rfc3339(i64::MAX).len(), "9999-12-30T22:00:00.999Z".len());
    }
}
