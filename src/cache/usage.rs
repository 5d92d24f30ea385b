//! Remembers when a build last used a package. Times of access do not help: many file systems do not keep them, and
//! setting times would change the ctime that [`super::memo`] relies on.
//!
//! The file is text: a line `oic-used 1`; a line `seconds name` for each package; a last line `crc ` and the CRC-32 of
//! all lines before it. A lost update only makes a package look older.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::durable::{self, PathError};

/// The file's name, and the check that its bytes are whole.
pub(super) const RECORD: (&str, fn(&[u8]) -> bool) = (FILE_NAME, |text| {
    std::str::from_utf8(text).is_ok_and(|text| parse(text).is_some())
});
const FILE_NAME: &str = "used.idx";
const HEADER: &str = "oic-used 1\n";

fn file(directory: &Path) -> PathBuf {
    directory.join("metadata").join(FILE_NAME)
}

/// Returns the times at which builds last used the packages in the cache `directory`, by file name. Packages that no
/// build has used are absent; with a damaged record, all are.
pub fn last_used(directory: &Path) -> BTreeMap<String, SystemTime> {
    let text = fs::read_to_string(file(directory)).unwrap_or_default();
    parse(&text).unwrap_or_default()
}

/// Records that `names` are used now; drops files that are gone.
pub(super) fn note(directory: &Path, names: impl Iterator<Item = String>) -> Result<(), PathError> {
    let mut used = last_used(directory);
    let now = SystemTime::now();
    used.extend(names.map(|name| (name, now)));
    used.retain(|name, _| directory.join(name).exists());
    let file = file(directory);
    durable::public_directory(file.parent().unwrap_or(directory))?;
    durable::write_public_file(file, render(&used))
}

fn render(used: &BTreeMap<String, SystemTime>) -> String {
    let mut text = HEADER.to_owned();
    for (name, time) in used {
        let seconds = time
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default()
            .as_secs();
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{seconds} {name}");
    }
    let checksum = crc32fast::hash(text.as_bytes());
    let _ = writeln!(text, "crc {checksum:08x}");
    text
}

fn parse(text: &str) -> Option<BTreeMap<String, SystemTime>> {
    let end = text.strip_suffix('\n')?.rfind('\n')?.checked_add(1)?;
    let (body, last) = text.split_at_checked(end)?;
    if last != format!("crc {:08x}\n", crc32fast::hash(body.as_bytes())) {
        return None;
    }
    let line = |line: &str| {
        let (seconds, name) = line.split_once(' ')?;
        let time = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds.parse().ok()?))?;
        Some((name.to_owned(), time))
    };
    body.strip_prefix(HEADER)?.lines().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_comes_back_and_damage_is_dropped() {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("metadata")).unwrap();
        fs::write(directory.path().join("a b.deb"), "").unwrap();
        let names = ["a b.deb".to_owned(), "gone.deb".to_owned()];
        note(directory.path(), names.into_iter()).unwrap();
        let used = last_used(directory.path());
        assert_eq!(used.len(), 1);
        assert!(used["a b.deb"].elapsed().unwrap() < Duration::from_secs(60));
        let text = render(&used);
        for bad in [&text.replace("a b", "a c"), &text[1..], &text[..text.len() - 2], ""] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
