//! Sizes as templates write them: `4GiB`, `513MiB`, `500MB`.

/// Units and their bytes. `K`, `M`, `G` and `T` are binary, as in the tool that had these templates first.
const UNITS: &[(&str, u64)] = &[
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("K", 1 << 10),
    ("M", 1 << 20),
    ("G", 1 << 30),
    ("T", 1 << 40),
];

/// Parses a size: a whole number and a unit, with or without a space between them
/// (`4096 MiB` is what the comments of the shared templates show). `0` needs no unit.
/// The result is in bytes.
///
/// # Errors
/// What is wrong, to follow the text in a message.
pub fn parse(text: &str) -> Result<u64, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let unit = unit.strip_prefix(' ').filter(|unit| !unit.is_empty()).unwrap_or(unit);
    let units = || UNITS.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
    if number.is_empty() || unit.starts_with('.') {
        return Err(format!("is not a size: it takes a whole number and one of {}", units()));
    }
    let number: u64 = number.parse().map_err(|_| "is too large".to_owned())?;
    if unit.is_empty() {
        return if number == 0 {
            Ok(0)
        } else {
            Err(format!("has no unit: one of {}", units()))
        };
    }
    let Some((_, bytes)) = UNITS.iter().find(|(name, _)| *name == unit) else {
        return Err(format!("has an unknown unit {unit:?}: one of {}", units()));
    };
    // Signed 64-bit offsets are the limit of every file system below.
    number
        .checked_mul(*bytes)
        .filter(|bytes| i64::try_from(*bytes).is_ok())
        .ok_or_else(|| "is too large".to_owned())
}

/// Checks a size, as [`parse`] does, for the schema.
///
/// # Errors
/// As [`parse`].
pub fn check(text: &str) -> Result<(), String> {
    parse(text).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_binary_and_decimal() {
        for (text, bytes) in [
            ("4GiB", 4 << 30),
            ("4G", 4 << 30),
            ("513MiB", 513 << 20),
            ("4096 MiB", 4 << 30),
            ("500MB", 500_000_000),
            ("1K", 1024),
            ("1KB", 1000),
            ("0", 0),
        ] {
            assert_eq!(parse(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn what_is_no_size_is_refused() {
        for (text, reason) in [
            ("", "not a size"),
            ("GiB", "not a size"),
            ("-1GiB", "not a size"),
            ("1.5GiB", "not a size"),
            ("4096", "no unit"),
            ("4gib", "unknown unit"),
            ("4  GiB", "unknown unit"),
            ("0 ", "unknown unit"),
            ("9999999999GiB", "too large"),
            ("99999999999999999999GiB", "too large"),
            ("8388608TiB", "too large"),
        ] {
            assert!(parse(text).unwrap_err().contains(reason), "{text}: {:?}", parse(text));
        }
    }
}
