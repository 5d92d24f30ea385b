//! Dates of Release files: RFC 2822 (3.3) in UTC, to and from Unix time.

/// Parses `Sat, 11 May 2024 09:23:32 UTC` to seconds since 1970.
///
/// Strict: English names, four-digit year, a time with seconds, and a zone that
/// is UTC under one of its names (the only ones that archives may write).
pub fn parse(text: &str) -> Option<i64> {
    let text = text.trim();
    let text = match text.split_once(',') {
        Some((day, rest)) if WEEKDAYS.contains(&day) => rest.trim_start(),
        Some(_) => return None,
        None => text,
    };
    let mut words = text.split_ascii_whitespace();
    let day = number(words.next()?, 1..=2)?;
    let month = words.next()?;
    let month = 1 + i64::try_from(MONTHS.iter().position(|name| *name == month)?).ok()?;
    let year = number(words.next()?, 4..=4)?;
    let mut time = words.next()?.split(':').map(|part| number(part, 1..=2));
    let (hour, minute, second) = (time.next()??, time.next()??, time.next()??);
    let zone = words.next()?;
    let valid = matches!(zone, "UTC" | "GMT" | "Z" | "+0000" | "-0000")
        && words.next().is_none()
        && time.next().is_none()
        && (1..=days_in_month(year, month)).contains(&day)
        && hour < 24
        && minute < 60
        && second <= 60;
    valid.then(|| days_from_civil(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second)
}

/// Writes Unix time as `2024-05-11 09:23:32 UTC`, for messages.
pub fn show(seconds: i64) -> String {
    let (days, rest) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    // Years of 365.2425 days find the year up to one, which the loop then corrects.
    let mut year = 1970 + days.saturating_mul(10_000).div_euclid(3_652_425);
    while days_from_civil(year + 1, 1, 1) <= days {
        year += 1;
    }
    while days_from_civil(year, 1, 1) > days {
        year -= 1;
    }
    let month = (1..=12)
        .rev()
        .find(|&month| days_from_civil(year, month, 1) <= days)
        .unwrap_or(1);
    let day = days - days_from_civil(year, month, 1) + 1;
    let (hour, minute, second) = (rest / 3_600, rest / 60 % 60, rest % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC")
}

/// Parses what [`show`] writes.
pub fn read(text: &str) -> Option<i64> {
    let mut words = text.split(' ');
    let mut date = words.next()?.split('-');
    let year = number(date.next()?, 4..=4)?;
    let (month, day) = (number(date.next()?, 2..=2)?, number(date.next()?, 2..=2)?);
    let mut time = words.next()?.split(':').map(|part| number(part, 2..=2));
    let (hour, minute, second) = (time.next()??, time.next()??, time.next()??);
    let is_whole = words.next() == Some("UTC") && words.next().is_none() && date.next().is_none();
    let valid = is_whole && time.next().is_none() && (1..=12).contains(&month);
    let valid = valid && (1..=days_in_month(year, month)).contains(&day) && hour < 24 && minute < 60 && second < 60;
    valid.then(|| days_from_civil(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second)
}

const WEEKDAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

fn number(text: &str, digits: std::ops::RangeInclusive<usize>) -> Option<i64> {
    let valid = digits.contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    valid.then(|| text.parse().ok()).flatten()
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 => 28 + i64::from(is_leap(year)),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01 to the date (proleptic Gregorian calendar).
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let before = year - 1;
    let leap_days = before.div_euclid(4) - before.div_euclid(100) + before.div_euclid(400);
    let this_year: i64 = (1..month).map(|month| days_in_month(year, month)).sum();
    before * 365 + leap_days + this_year + day - 1 - 719_162
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
            assert_eq!(read(&show(seconds)), Some(seconds));
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
        ] {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_and_any_second_is_fine(text in ".{0,60}", seconds in proptest::prelude::any::<i32>()) {
            let _ = (parse(&text), read(&text));
            proptest::prop_assert_eq!(read(&show(seconds.into())), Some(seconds.into()));
            proptest::prop_assert!(show(seconds.into()).ends_with(" UTC"));
        }
    }
}
