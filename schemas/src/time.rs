//! Milliseconds since the Unix epoch, and RFC 3339 as we print and read it.

use jiff::Timestamp;

/// RFC 3339 in UTC with milliseconds, as every header and JSON document of ours writes a time.
/// A value outside of the calendar (years -9999 to 9999) prints as the nearest one inside.
pub fn rfc3339(ms: i64) -> String {
    let time = Timestamp::from_millisecond(ms).unwrap_or(if ms < 0 { Timestamp::MIN } else { Timestamp::MAX });
    format!("{time:.3}")
}

/// Appends what [`rfc3339`] prints. Years 1970 to 9999 are written without a calendar library: an event has two
/// times, and they were a tenth of the work of writing it.
pub fn push_rfc3339(ms: i64, out: &mut Vec<u8>) {
    let seconds = ms.div_euclid(1000);
    if !(0..=LAST_SECOND).contains(&seconds) {
        out.extend_from_slice(rfc3339(ms).as_bytes());
        return;
    }
    let (year, month, day) = civil(seconds / 86_400);
    let second = seconds % 86_400;
    let mut text = *b"0000-00-00T00:00:00.000Z";
    let fields = [(0, 4, year), (5, 2, month), (8, 2, day)];
    let clock = [(11, 2, second / 3600), (14, 2, second / 60 % 60), (17, 2, second % 60), (20, 3, ms.rem_euclid(1000))];
    for (at, width, number) in fields.into_iter().chain(clock) {
        let mut rest = number;
        for place in text[at..at + width].iter_mut().rev() {
            *place = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
    }
    out.extend_from_slice(&text);
}

/// The end of the year 9999, less a day: what the calendar library prints at its own limit is left to it.
const LAST_SECOND: i64 = 253_402_128_000;

/// Year, month and day of a day since the epoch, in the Gregorian calendar: count in eras of 400 years that begin
/// in March, so that the leap day is the last one of a year.
fn civil(day: i64) -> (i64, i64, i64) {
    let day = day + 719_468;
    let (era, day) = (day / 146_097, day % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let (day, month) = (day - (153 * month + 2) / 5 + 1, if month < 10 { month + 3 } else { month - 9 });
    (era * 400 + year + i64::from(month <= 2), month, day)
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

    #[test]
    fn the_short_way_prints_what_the_calendar_prints() {
        let day = 86_400_000;
        let check = |ms: i64| {
            let mut short = Vec::new();
            push_rfc3339(ms, &mut short);
            assert_eq!(String::from_utf8_lossy(&short), rfc3339(ms), "{ms}");
        };
        // Every day of five hundred years, then every tenth to the end, at another time of each day.
        for number in (-400..200_000).chain((200_000..2_940_000).step_by(10)) {
            check(number * day + number * 7919 % day);
        }
        [i64::MIN, -1, 0, LAST_SECOND * 1000 - 1, LAST_SECOND * 1000 + 1999, i64::MAX].into_iter().for_each(check);
    }
}
