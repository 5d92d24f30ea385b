//! Sizes and times, as people write and read them.

use std::time::{Duration, SystemTime};

use indicatif::HumanBytes;

use crate::template::size as sizes;

/// Parses a size such as `40G` or `500MiB`, in bytes.
///
/// # Errors
/// The fault of the text.
pub fn parse_size(text: &str) -> Result<u64, String> {
    sizes::parse(text).map_err(|problem| format!("it {problem}"))
}

/// Parses a duration such as `90m`, `12h`, `30d` or `8w`.
///
/// # Errors
/// The fault of the text.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = text.split_at(text.bytes().take_while(u8::is_ascii_digit).count());
    let seconds = match unit {
        "m" => 60,
        "h" => 3600,
        "d" => 24 * 3600,
        "w" => 7 * 24 * 3600,
        _ => return Err("it takes a whole number and one of m, h, d, w".to_owned()),
    };
    let number: Option<u64> = number.parse().ok();
    let seconds = number.and_then(|number| number.checked_mul(seconds));
    let limit = u64::from(u32::MAX);
    match seconds.filter(|seconds| *seconds <= limit) {
        Some(seconds) => Ok(Duration::from_secs(seconds)),
        None => Err("it takes a whole number of at most 136 years and one of m, h, d, w".to_owned()),
    }
}

/// Shows a number of bytes, such as `12.50 MiB`.
pub fn size(bytes: u64) -> String {
    HumanBytes(bytes).to_string()
}

/// Gives the time from `seconds` since 1970 until now: `3 days ago`.
pub fn ago(seconds: u64) -> String {
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    distance(now.as_secs().saturating_sub(seconds))
}

fn distance(seconds: u64) -> String {
    let (number, unit) = match seconds {
        0..60 => return "just now".to_owned(),
        60..3600 => (seconds / 60, "minute"),
        3600..172_800 => (seconds / 3600, "hour"),
        _ => (seconds / 86_400, "day"),
    };
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {unit}{plural} ago")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read() {
        for (text, seconds) in [
            ("90m", 5400),
            ("12h", 43_200),
            ("30d", 2_592_000),
            ("1w", 604_800),
            ("0d", 0),
        ] {
            assert_eq!(parse_duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in [
            "",
            "d",
            "5",
            "-1d",
            "1.5d",
            "5D",
            "5 d",
            "99999999999999999999w",
            "999999w",
        ] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn distances_are_in_words() {
        for (seconds, words) in [
            (0, "just now"),
            (60, "1 minute ago"),
            (7200, "2 hours ago"),
            (172_800, "2 days ago"),
            (31_536_000, "365 days ago"),
        ] {
            assert_eq!(distance(seconds), words);
        }
    }
}
