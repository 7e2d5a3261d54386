//! What the status of an HTTP answer says about another try.

use jiff::Timestamp;
use jiff::fmt::rfc2822;

/// What an answer is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It did what was asked.
    Success,
    /// It may pass: 408, 429 and 5xx.
    Transient,
    /// It will not pass: 400, 401, 403, 404, 410, 422.
    Permanent,
    /// Nobody knows: it is tried up to the limit.
    Unknown,
}

/// What a status says.
pub fn classify(status: u16) -> Verdict {
    match status {
        200..=299 => Verdict::Success,
        408 | 429 | 500..=599 => Verdict::Transient,
        400 | 401 | 403 | 404 | 410 | 422 => Verdict::Permanent,
        _ => Verdict::Unknown,
    }
}

/// What the header `Retry-After` asks for, milliseconds: seconds, or a date against the answer's own `Date`. Names are
/// lower case.
pub fn retry_after_ms(headers: &[(String, String)]) -> Option<u64> {
    let header = |name: &str| headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.trim());
    let value = header("retry-after")?;
    if let Ok(seconds) = value.parse::<u64>() {
        return seconds.checked_mul(1000);
    }
    // An answer's own clock is the only one that both dates are from.
    let (until, now) = (date(value)?, date(header("date")?)?);
    u64::try_from(until.as_millisecond().checked_sub(now.as_millisecond())?).ok()
}

fn date(text: &str) -> Option<Timestamp> {
    // HTTP writes GMT where mail has +0000; both are read.
    rfc2822::parse(text).ok().map(|zoned| zoned.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_what_deliveries_take_them_for() {
        for (status, verdict) in [
            (200, Verdict::Success),
            (204, Verdict::Success),
            (302, Verdict::Unknown),
            (400, Verdict::Permanent),
            (404, Verdict::Permanent),
            (408, Verdict::Transient),
            (409, Verdict::Unknown),
            (410, Verdict::Permanent),
            (422, Verdict::Permanent),
            (429, Verdict::Transient),
            (500, Verdict::Transient),
            (503, Verdict::Transient),
        ] {
            assert_eq!(classify(status), verdict, "{status}");
        }
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let headers = |pairs: &[(&str, &str)]| {
            let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
            retry_after_ms(&pairs.iter().map(owned).collect::<Vec<_>>())
        };
        assert_eq!(headers(&[("retry-after", "120")]), Some(120_000));
        let now = ("date", "Tue, 24 Nov 2026 10:00:00 GMT");
        assert_eq!(headers(&[("retry-after", "Tue, 24 Nov 2026 10:00:30 GMT"), now]), Some(30_000));
        assert_eq!(headers(&[("retry-after", "Tue, 24 Nov 2026 09:00:30 GMT"), now]), None, "in the past");
        assert_eq!(headers(&[("retry-after", "soon"), now]), None);
        assert_eq!(headers(&[]), None);
    }
}
