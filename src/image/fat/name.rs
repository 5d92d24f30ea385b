//! Names on FAT: 8.3 short names, VFAT long names, volume labels.

use std::collections::{HashMap, HashSet};

use zerocopy::little_endian::U16;

use super::disk::LongEntry;

/// UTF-16 units in one long-name entry.
pub(crate) const UNITS_PER_ENTRY: usize = 13;
/// The longest name, in UTF-16 units.
const LONGEST_UNITS: usize = 255;

/// A short name as it is stored: eight and three bytes, padded with spaces.
pub(crate) type Short = [u8; 11];

fn is_short_character(c: char) -> bool {
    c.is_ascii_uppercase() || c.is_ascii_digit() || "$%'-_@~`!(){}^#&".contains(c)
}

/// Returns what is wrong with `name` as a VFAT long name; `None` if it is valid.
pub(super) fn complaint(name: &str) -> Option<&'static str> {
    if name.encode_utf16().count() > LONGEST_UNITS {
        Some("its name is longer than 255 characters")
    } else if name.chars().any(|c| c.is_control() || "\"*/:<>?\\|".contains(c)) {
        Some("its name has a character that FAT does not allow")
    } else if name.is_empty() || name.ends_with(['.', ' ']) {
        Some("FAT names do not end with a dot or a space")
    } else {
        None
    }
}

/// Returns `name` as FAT compares it: without case, character by character.
pub(super) fn folded(name: &str) -> String {
    name.chars()
        .map(|c| {
            let mut upper = c.to_uppercase();
            match (upper.next(), upper.next()) {
                (Some(single), None) => single,
                _ => c,
            }
        })
        .collect()
}

/// Returns the number of directory entries that `name` takes, the short one included.
pub(super) fn slots(name: &str) -> u64 {
    match as_short(name) {
        Some(_) => 1,
        None => 1 + name.encode_utf16().count().div_ceil(UNITS_PER_ENTRY) as u64,
    }
}

/// Returns `name` as a short name, if it is one as it stands.
pub(super) fn as_short(name: &str) -> Option<Short> {
    let (base, extension) = name.rsplit_once('.').unwrap_or((name, ""));
    let fits = (1..=8).contains(&base.len()) && extension.len() <= 3 && !(name.contains('.') && extension.is_empty());
    let all_good = base.chars().chain(extension.chars()).all(is_short_character);
    (fits && all_good).then(|| padded(base, extension))
}

fn padded(base: &str, extension: &str) -> Short {
    let mut short = [b' '; 11];
    for (place, byte) in short[..8].iter_mut().zip(base.bytes()) {
        *place = byte;
    }
    for (place, byte) in short[8..].iter_mut().zip(extension.bytes()) {
        *place = byte;
    }
    short
}

/// Makes a unique short name for each of `names` (the names of one directory), in order: the name in upper case if that
/// is a short name, otherwise `BASE~N.EXT`.
pub(super) fn short_names<'a>(names: impl Iterator<Item = &'a str> + Clone) -> Vec<Short> {
    let exact = |name: &str| as_short(&folded(name));
    let mut taken: HashSet<Short> = names.clone().filter_map(exact).collect();
    let mut next: HashMap<(String, String), u32> = HashMap::new();
    names
        .map(|name| {
            exact(name).unwrap_or_else(|| {
                let (base, extension) = mangled(name);
                let number = next.entry((base.clone(), extension.clone())).or_insert(1);
                loop {
                    let tail = format!("~{number}");
                    *number += 1;
                    let kept = base.get(..base.len().min(8 - tail.len().min(7))).unwrap_or("_");
                    let short = padded(&format!("{kept}{tail}"), &extension);
                    if taken.insert(short) {
                        return short;
                    }
                }
            })
        })
        .collect()
}

/// Returns base and extension of a generated short name, ASCII, without its `~N` tail.
fn mangled(name: &str) -> (String, String) {
    let trimmed = name.trim_start_matches('.');
    let (base, extension) = trimmed.rsplit_once('.').unwrap_or((trimmed, ""));
    let keep = |part: &str, count: usize| -> String {
        folded(part)
            .chars()
            .filter(|c| !matches!(c, ' ' | '.'))
            .map(|c| if is_short_character(c) { c } else { '_' })
            .take(count)
            .collect()
    };
    let base = keep(base, 6);
    (if base.is_empty() { "_".into() } else { base }, keep(extension, 3))
}

/// Returns the checksum that ties long-name entries to their short name.
pub(crate) fn checksum(short: &Short) -> u8 {
    short
        .iter()
        .fold(0_u8, |sum, byte| sum.rotate_right(1).wrapping_add(*byte))
}

/// Returns the long-name entries of `name`, in the order in which they are stored.
pub(super) fn long_entries(name: &str, short: &Short) -> Vec<[u8; 32]> {
    let mut units: Vec<u16> = name.encode_utf16().collect();
    let count = units.len().div_ceil(UNITS_PER_ENTRY);
    if !units.len().is_multiple_of(UNITS_PER_ENTRY) {
        units.push(0);
    }
    units.resize(count * UNITS_PER_ENTRY, 0xffff);
    let mut entries: Vec<[u8; 32]> = units
        .chunks_exact(UNITS_PER_ENTRY)
        .zip(1_u8..)
        .map(|(chunk, order)| {
            zerocopy::transmute!(LongEntry {
                order: order | if usize::from(order) == count { 0x40 } else { 0 },
                first: part(chunk, 0),
                attributes: 0x0f,
                kind: 0,
                checksum: checksum(short),
                second: part(chunk, 5),
                first_cluster: U16::ZERO,
                third: part(chunk, 11),
            })
        })
        .collect();
    entries.reverse();
    entries
}

/// Returns `N` units of `chunk` from place `from` on.
fn part<const N: usize>(chunk: &[u16], from: usize) -> [U16; N] {
    std::array::from_fn(|index| U16::new(chunk.get(from + index).copied().unwrap_or_default()))
}

/// Returns `label` as a volume label: upper case, padded with spaces to 11 bytes; `None` if it cannot be one.
pub(super) fn volume_label(label: &str) -> Option<[u8; 11]> {
    let upper = label.to_ascii_uppercase();
    let good = (1..=11).contains(&upper.len())
        && !upper.starts_with(' ')
        && upper.chars().all(|c| c == ' ' || is_short_character(c));
    good.then(|| {
        let mut bytes = [b' '; 11];
        bytes[..upper.len()].copy_from_slice(upper.as_bytes());
        bytes
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shorts(names: &[&str]) -> Vec<String> {
        let text = |s: &Short| String::from_utf8_lossy(s).into_owned();
        short_names(names.iter().copied()).iter().map(text).collect()
    }

    #[test]
    fn short_names_are_unique_and_keep_what_fits() {
        assert_eq!(
            shorts(&[
                "BOOTX64.EFI",
                "linux.efi",
                "long name one.txt",
                "long name two.txt",
                "LONGNA~1.TXT",
                ".cfg",
                "ä"
            ]),
            [
                "BOOTX64 EFI",
                "LINUX   EFI",
                "LONGNA~2TXT",
                "LONGNA~3TXT",
                "LONGNA~1TXT",
                "CFG~1      ",
                "_~1        "
            ]
        );
        let many: Vec<String> = (0..1200).map(|i| format!("same prefix {i}")).collect();
        let many = shorts(&many.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(many.iter().collect::<HashSet<_>>().len(), 1200);
        assert_eq!(many[1199], "SAM~1200   ");
    }

    #[test]
    fn what_fat_cannot_name() {
        for bad in ["a:b", "x.", "x ", "", "a\nb", &"x".repeat(256)] {
            assert!(complaint(bad).is_some(), "{bad:?}");
        }
        assert!(complaint("Größe ✓.txt").is_none());
        assert_eq!(volume_label("efi"), Some(*b"EFI        "));
        assert!(volume_label("twelve chars").is_none());
    }
}
