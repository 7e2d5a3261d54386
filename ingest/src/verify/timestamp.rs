//! The signed timestamp: read strictly, judged once, here. Nothing later in the pipeline asks how old a request was.

use schemas::ReasonCode;

/// Reads seconds since the epoch: ASCII digits, no sign, no leading zero, no space.
pub fn parse(text: &str) -> Option<i64> {
    let is_canonical = text == "0" || !text.starts_with('0');
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if is_canonical && is_number { text.parse().ok() } else { None }
}

/// Checks that a signed time lies within the tolerance of now, both ends included.
pub fn check(signed_at_s: i64, now_s: i64, tolerance_s: i64) -> Result<(), ReasonCode> {
    if signed_at_s < now_s.saturating_sub(tolerance_s) {
        return Err(ReasonCode::TimestampTooOld);
    }
    if signed_at_s > now_s.saturating_add(tolerance_s) {
        return Err(ReasonCode::TimestampTooNew);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_ascii_digits_are_a_timestamp() {
        assert_eq!(parse("1531420618"), Some(1_531_420_618));
        assert_eq!(parse("0"), Some(0));
        assert_eq!(parse("9223372036854775807"), Some(i64::MAX));
        let wrong = [
            "",
            " ",
            "-1",
            "+1",
            " 1",
            "1 ",
            "01",
            "00",
            "1.0",
            "1e9",
            "0x10",
            "1_000",
            "soon",
            "\u{ff11}",
            "9223372036854775808",
            "99999999999999999999999999",
        ];
        for text in wrong {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn the_window_includes_both_of_its_ends() {
        let now = 1_790_000_000;
        for (signed, expected) in [
            (now, Ok(())),
            (now - 300, Ok(())),
            (now + 300, Ok(())),
            (now - 301, Err(ReasonCode::TimestampTooOld)),
            (now + 301, Err(ReasonCode::TimestampTooNew)),
            (0, Err(ReasonCode::TimestampTooOld)),
            (now * 1000, Err(ReasonCode::TimestampTooNew)),
            (i64::MAX, Err(ReasonCode::TimestampTooNew)),
        ] {
            assert_eq!(check(signed, now, 300), expected, "{signed}");
        }
    }
}
