//! Lengths of time and sizes as people write them: `100ms`, `4d`, `1MiB`.
//!
//! One number and one unit, nothing else: a retry delay's text names a topic, so two ways of writing
//! the same thing are two ways of going wrong.

use std::time::Duration;

use serde::Deserialize;

const TIME_UNITS: [(&str, u64); 5] = [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];
const SIZE_UNITS: [(&str, u64); 4] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

/// A length of time, from text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Length(pub(super) Duration);

impl TryFrom<String> for Length {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        parse_length(&text).map(Self)
    }
}

/// A number of bytes, from text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Size(pub(super) u64);

impl TryFrom<String> for Size {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        parse_size(&text).map(Self)
    }
}

pub(super) fn parse_length(text: &str) -> Result<Duration, String> {
    let help =
        || format!("\"{text}\" is not a length of time: write a whole number and ms, s, m, h or d, as in \"5s\"");
    scaled(text, &TIME_UNITS).map(Duration::from_millis).ok_or_else(help)
}

pub(super) fn parse_size(text: &str) -> Result<u64, String> {
    let help = || format!("\"{text}\" is not a size: write a whole number and B, KiB, MiB or GiB, as in \"1MiB\"");
    scaled(text, &SIZE_UNITS).ok_or_else(help)
}

fn scaled(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits)?;
    let has_leading_zero = number.len() > 1 && number.starts_with('0');
    let scale = units.iter().find(|(name, _)| *name == unit)?.1;
    if has_leading_zero { None } else { number.parse::<u64>().ok()?.checked_mul(scale) }
}

/// The shortest text that [`parse_length`] reads back; below a millisecond is lost.
pub(super) fn format_length(length: Duration) -> String {
    let ms = u64::try_from(length.as_millis()).unwrap_or(u64::MAX);
    if ms == 0 { "0s".to_owned() } else { unscaled(ms, TIME_UNITS.iter().rev()) }
}

/// The shortest text that [`parse_size`] reads back.
pub(super) fn format_size(bytes: u64) -> String {
    if bytes == 0 { "0B".to_owned() } else { unscaled(bytes, SIZE_UNITS.iter()) }
}

fn unscaled<'a>(amount: u64, largest_first: impl Iterator<Item = &'a (&'static str, u64)>) -> String {
    let fits = largest_first.into_iter().find(|(_, scale)| amount.is_multiple_of(*scale));
    fits.map_or_else(|| amount.to_string(), |(unit, scale)| format!("{}{unit}", amount / scale))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_and_sizes_read_back_as_they_are_written() {
        for (text, ms) in [("0s", 0), ("100ms", 100), ("5s", 5000), ("90m", 5_400_000), ("4d", 345_600_000)] {
            assert_eq!(parse_length(text).unwrap(), Duration::from_millis(ms));
            assert_eq!(format_length(Duration::from_millis(ms)), text);
        }
        for (text, bytes) in [("0B", 0), ("17B", 17), ("64KiB", 65536), ("1MiB", 1 << 20), ("3GiB", 3 << 30)] {
            assert_eq!(parse_size(text).unwrap(), bytes);
            assert_eq!(format_size(bytes), text);
        }
        assert_eq!(format_length(Duration::from_millis(86_400_000)), "1d");
    }

    #[test]
    fn anything_else_is_refused() {
        for text in ["", "5", "s", "5 s", "05s", "1h30m", "-1s", "1.5s", "5S", "18446744073709551615d", "5µs"] {
            assert!(parse_length(text).is_err(), "{text}");
        }
        for text in ["", "1", "1MB", "1 MiB", "1mib", "01B", "18446744073709551615GiB"] {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }
}
