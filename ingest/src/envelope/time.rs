//! When it happened: a value in the unit that was declared, and in no other.

use schemas::presets::TimeUnit;
use schemas::time::parse_rfc3339;

use super::json::Found;

/// The last millisecond of the year 9999. What lies behind it was written in another unit.
const LAST_MS: i64 = 253_402_300_799_999;
/// Longest text of a number; the longest that fits has 16 digits and some of a fraction.
const NUMBER_BYTES_MAX: usize = 32;

/// Milliseconds since the epoch; `None` when the value is no time in this unit.
pub fn millis(value: &Found<'_>, unit: TimeUnit) -> Option<i64> {
    let (text, is_number) = match value {
        Found::Text(text) => (text.as_ref(), false),
        Found::Number(text) => (*text, true),
        Found::Absent | Found::Null | Found::Other | Found::Twice => return None,
    };
    let ms = match unit {
        TimeUnit::Rfc3339 if is_number => return None,
        TimeUnit::Rfc3339 => parse_rfc3339(text)?,
        // Many providers write their numbers as strings.
        TimeUnit::Seconds => scaled(text, 3)?,
        TimeUnit::Milliseconds => scaled(text, 0)?,
        TimeUnit::Microseconds => scaled(text, 0)? / 1000,
    };
    (ms <= LAST_MS).then_some(ms)
}

/// A plain decimal number times ten to the power of `places`, cut after the point.
fn scaled(text: &str, places: u32) -> Option<i64> {
    if text.len() > NUMBER_BYTES_MAX {
        return None;
    }
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let is_digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if !is_digits(whole) || !is_digits(fraction) {
        return None;
    }
    let mut value: i64 = whole.parse().ok()?;
    let mut digits = fraction.bytes();
    for _ in 0..places {
        let digit = digits.next().map_or(0, |byte| i64::from(byte - b'0'));
        value = value.checked_mul(10)?.checked_add(digit)?;
    }
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: i64 = 1_531_420_618_042;

    fn text(text: &str, unit: TimeUnit) -> Option<i64> {
        millis(&Found::Text(text.into()), unit)
    }

    #[test]
    fn each_unit_reads_its_own_form() {
        assert_eq!(text("2018-07-12T20:36:58.042+02:00", TimeUnit::Rfc3339), Some(MS));
        assert_eq!(millis(&Found::Number("1531420618"), TimeUnit::Seconds), Some(MS - 42));
        assert_eq!(millis(&Found::Number("1531420618.0420"), TimeUnit::Seconds), Some(MS));
        assert_eq!(text("1531420618.04", TimeUnit::Seconds), Some(MS - 2));
        assert_eq!(millis(&Found::Number("1531420618042"), TimeUnit::Milliseconds), Some(MS));
        assert_eq!(millis(&Found::Number("1531420618042.9"), TimeUnit::Milliseconds), Some(MS));
        assert_eq!(text("1531420618042999", TimeUnit::Microseconds), Some(MS));
        assert_eq!(millis(&Found::Number("0"), TimeUnit::Seconds), Some(0));
    }

    #[test]
    fn what_is_no_time_in_the_unit_is_none() {
        let all = [TimeUnit::Rfc3339, TimeUnit::Seconds, TimeUnit::Milliseconds, TimeUnit::Microseconds];
        let long = format!("1531420618.{}", "0".repeat(64));
        for wrong in ["", "soon", "-1", "+1", "1e9", " 1", "1 ", ".5", "5.", "1.2.3", "\u{ff11}", "NaN", &long] {
            for unit in all {
                assert_eq!(text(wrong, unit), None, "{wrong:?}");
            }
        }
        for found in [Found::Absent, Found::Null, Found::Other, Found::Twice] {
            assert!(all.iter().all(|unit| millis(&found, *unit).is_none()));
        }
        assert_eq!(millis(&Found::Number("1531420618"), TimeUnit::Rfc3339), None);
        assert_eq!(text("Thu, 12 Jul 2018 18:36:58 (a (nested) comment) +0000", TimeUnit::Rfc3339), None);
    }

    #[test]
    fn a_number_in_a_larger_unit_is_noticed() {
        assert_eq!(millis(&Found::Number("1531420618042"), TimeUnit::Seconds), None);
        assert_eq!(millis(&Found::Number("1531420618042999"), TimeUnit::Milliseconds), None);
        assert_eq!(millis(&Found::Number("9223372036854775807"), TimeUnit::Seconds), None);
    }
}
