//! Dates in UTC, to and from Unix time (seconds since 1970-01-01, without leap seconds).
//!
//! The calendar is that of `jiff`; nothing here reads a time zone database.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::Offset;

/// The month names of RFC 2822 (3.3).
const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];
/// The day names of RFC 2822 (3.3).
const WEEKDAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];

/// Parses the date of a Release file, `Sat, 11 May 2024 09:23:32 UTC` (RFC 2822, 3.3), to seconds since 1970.
///
/// Strict: English names, four-digit year, a time with seconds, and a zone that
/// is UTC under one of its names (the only ones that archives may write). The weekday is not compared with the date.
pub fn parse(text: &str) -> Option<i64> {
    let text = text.trim();
    let text = match text.split_once(',') {
        Some((day, rest)) if WEEKDAYS.contains(&day) => rest.trim_start(),
        Some(_) => return None,
        None => text,
    };
    let mut words = text.split_ascii_whitespace();
    let day = number(words.next()?, 1..=2)?;
    let name = words.next()?;
    let month = MONTHS.iter().position(|month| *month == name)? + 1;
    let year = number(words.next()?, 4..=4)?;
    let mut time = words.next()?.split(':').map(|part| number(part, 1..=2));
    let (hour, minute, second) = (time.next()??, time.next()??, time.next()??);
    let is_utc = matches!(words.next()?, "UTC" | "GMT" | "Z" | "+0000" | "-0000");
    if !is_utc || words.next().is_some() || time.next().is_some() || second > 60 {
        return None;
    }
    // RFC 2822 allows second 60, a leap second; Unix time counts it as the next minute's first.
    let month = i8::try_from(month).ok()?;
    let minute = DateTime::new(
        year,
        month,
        day.try_into().ok()?,
        hour.try_into().ok()?,
        minute.try_into().ok()?,
        0,
        0,
    );
    Some(seconds(minute.ok()?)? + i64::from(second))
}

/// Formats Unix time as `2024-05-11 09:23:32 UTC`.
pub fn show(seconds: i64) -> String {
    civil(seconds).strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// Returns the date and time of day in UTC; a time beyond the years -9999 to 9999 becomes the nearest one within
/// them.
pub fn civil(seconds: i64) -> DateTime {
    let (first, last) = (Timestamp::MIN.as_second(), Timestamp::MAX.as_second());
    let time = Timestamp::from_second(seconds.clamp(first, last)).unwrap_or_default();
    Offset::UTC.to_datetime(time)
}

/// Counts the days from 1970-01-01 to a day, `2027-12-31` (RFC 3339, 5.6, `full-date`); `None` if it is no day of the
/// calendar, or an earlier one.
pub fn days_since_1970(day: &str) -> Option<u32> {
    let mut parts = day.splitn(3, '-');
    let year = number(parts.next()?, 4..=4)?;
    let month = i8::try_from(number(parts.next()?, 2..=2)?).ok()?;
    let day = i8::try_from(number(parts.next()?, 2..=2)?).ok()?;
    let midnight = DateTime::new(year, month, day, 0, 0, 0, 0).ok()?;
    u32::try_from(seconds(midnight)? / (24 * 60 * 60)).ok()
}

/// Counts the seconds from 1970 to a date in UTC.
pub fn seconds(date: DateTime) -> Option<i64> {
    Offset::UTC.to_timestamp(date).ok().map(Timestamp::as_second)
}

/// Parses decimal digits; `None` if their number is not in `digits`.
fn number(text: &str, digits: std::ops::RangeInclusive<usize>) -> Option<i16> {
    let valid = digits.contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    valid.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn date(seconds: i64, format: &str) -> String {
        let output = std::process::Command::new("date")
            .env("LC_ALL", "C")
            .args(["-u", "-d", &format!("@{seconds}"), format])
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
    }

    #[test]
    fn agrees_with_date() {
        for seconds in [
            0,
            951_782_400,
            951_868_799,
            1_715_419_412,
            4_102_444_799,
            4_107_542_400,
            68_169_600,
        ] {
            assert_eq!(parse(&date(seconds, "+%a, %d %b %Y %T UTC")), Some(seconds));
            assert_eq!(parse(&date(seconds, "+%-d %b %Y %T +0000")), Some(seconds));
            assert_eq!(show(seconds), date(seconds, "+%Y-%m-%d %T UTC"));
        }
    }

    #[test]
    fn counts_days_as_date_does() {
        for seconds in [0, 951_782_400, 1_715_419_412, 4_107_542_400] {
            let days = u32::try_from(seconds / 86_400).unwrap();
            assert_eq!(days_since_1970(&date(seconds, "+%Y-%m-%d")), Some(days));
        }
        for text in ["1969-12-31", "2023-02-29", "2023-1-01", "2023-01-01-01", "+023-01-01"] {
            assert_eq!(days_since_1970(text), None, "{text}");
        }
    }

    #[test]
    fn refuses_what_is_not_utc_or_no_date() {
        for text in [
            "",
            "Sat, 11 May 2024 09:23:32 +0200",
            "Sat, 11 May 2024 09:23:32",
            "Sat, 30 Feb 2024 09:23:32 UTC",
            "Sat, 11 May 24 09:23:32 UTC",
            "Sam, 11 Mai 2024 09:23:32 UTC",
            "2024-05-11 09:23:32 UTC",
            "Sat, 11 May 2024 24:23:32 UTC",
            "Sat, 11 May 2024 09:23:32 UTC x",
            "Sat, 11 May 2024 09:23:32:01 UTC",
            "Sat, 0 May 2024 09:23:32 UTC",
            "Sat, 11 May 2024 09:+3:32 UTC",
            "Sat, 11 May 2024 09:23:61 UTC",
        ] {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_leap_second_is_the_next_minute() {
        let next = parse("Sun, 01 Jan 2017 00:00:00 UTC");
        assert!(next.is_some());
        assert_eq!(parse("Sat, 31 Dec 2016 23:59:60 UTC"), next);
    }

    #[test]
    fn times_beyond_the_calendar_are_its_ends() {
        assert!(show(i64::MAX).starts_with("9999-12-"));
        assert!(show(i64::MIN).starts_with("-9999-01-"));
    }

    proptest::proptest! {
        #[test]
        fn any_text_and_any_second_is_fine(text in ".{0,60}", seconds in proptest::prelude::any::<i32>()) {
            let _ = parse(&text);
            let date = civil(seconds.into()).strftime("%d %b %Y %H:%M:%S GMT").to_string();
            proptest::prop_assert_eq!(parse(&date), Some(seconds.into()));
            proptest::prop_assert!(show(seconds.into()).ends_with(" UTC"));
        }
    }
}
