//! Remembers which cached files were verified, so that a warm build hashes nothing.
//!
//! A file counts as the hashed one as long as its name, inode, size, ctime and mtime are the same: a process cannot set
//! ctime, so every later write shows. The memo is a convenience: losing it, or losing an update to that of another
//! process, costs only hashing again.
//!
//! The file is text: a line `oic-verified 1`; a line `digest inode size ctime_ns
//! mtime_ns name` for each package; a last line `sha256 ` and the digest of all
//! lines before it. Anything else is dropped and built again.

use std::collections::{BTreeMap, HashSet};
use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs::{self, File, Metadata};
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::time::ClockId;

use crate::durable::{self, PathError};
use crate::package::{Checksum, Sha256};
use crate::sync::{Mutex, lock};

/// The memo's name, in the directory `metadata` of the package cache.
pub(super) const FILE_NAME: &str = "verified.idx";
/// The memo's name, and the check that its bytes are whole.
pub(super) const RECORD: (&str, fn(&[u8]) -> bool) = (FILE_NAME, |text| {
    std::str::from_utf8(text).is_ok_and(|text| parse(text).is_some())
});
const HEADER: &str = "oic-verified 1\n";
const CHECKSUM: &str = "sha256 ";
/// Largest size of the memo: room for several hundred thousand packages.
const MAX_FILE_BYTES: u64 = 64 * 1024 * 1024;

/// The metadata that distinguishes one state of a file from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity {
    inode: u64,
    size_bytes: u64,
    changed_ns: i128,
    modified_ns: i128,
}

impl Identity {
    /// Takes the identity from `metadata`.
    pub(super) fn of(metadata: &Metadata) -> Self {
        let nanoseconds = |seconds: i64, rest: i64| i128::from(seconds) * 1_000_000_000 + i128::from(rest);
        Self {
            inode: metadata.ino(),
            size_bytes: metadata.len(),
            changed_ns: nanoseconds(metadata.ctime(), metadata.ctime_nsec()),
            modified_ns: nanoseconds(metadata.mtime(), metadata.mtime_nsec()),
        }
    }

    /// Waits until any later change must get a later ctime than this one: file times come from a clock that ticks every
    /// few milliseconds. Returns false if the ctime lies further in the future (another host's clock); the caller then
    /// must not remember the file.
    pub(super) fn settle(&self) -> bool {
        for _ in 0..20 {
            let now = rustix::time::clock_gettime(ClockId::RealtimeCoarse);
            if i128::from(now.tv_sec) * 1_000_000_000 + i128::from(now.tv_nsec) > self.changed_ns {
                return true;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        false
    }
}

/// Returns the digests that the packages in the cache `directory` had when they were verified, by file name. The files
/// may have changed since.
pub fn verified_digests(directory: &Path) -> BTreeMap<String, Checksum> {
    let entries = read(&directory.join("metadata").join(FILE_NAME)).unwrap_or_default();
    entries.into_iter().map(|(name, (_, digest))| (name, digest)).collect()
}

/// The verified files of one directory.
#[derive(Debug)]
pub(super) struct Memo {
    path: PathBuf,
    state: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    entries: BTreeMap<String, (Identity, Checksum)>,
    changed: bool,
}

impl Memo {
    /// Loads the memo at `path`; an absent or unusable one counts as empty.
    pub(super) fn load(path: PathBuf) -> Self {
        let entries = read(&path).unwrap_or_default();
        let state = Mutex::new(Known {
            entries,
            changed: false,
        });
        Self { path, state }
    }

    /// Returns the digest of the file `name`, if the file is unchanged since it was hashed.
    pub(super) fn get(&self, name: &str, identity: &Identity) -> Option<Checksum> {
        match lock(&self.state).entries.get(name) {
            Some((known, digest)) if known == identity => Some(*digest),
            _ => None,
        }
    }

    /// Remembers that the file `name` in the state `identity` has `digest`.
    pub(super) fn remember(&self, name: &str, identity: Identity, digest: Checksum) {
        let mut state = lock(&self.state);
        state.entries.insert(name.to_owned(), (identity, digest));
        state.changed = true;
    }

    /// Writes the new entries together with those that other processes wrote meanwhile, without files that `directory`
    /// no longer has.
    pub(super) fn save(&self, directory: &Path) -> Result<(), PathError> {
        let mut state = lock(&self.state);
        if !state.changed {
            return Ok(());
        }
        let present: HashSet<OsString> = fs::read_dir(directory)
            .and_then(|entries| entries.map(|entry| Ok(entry?.file_name())).collect::<io::Result<_>>())
            .map_err(PathError::on("read", directory))?;
        for (name, entry) in read(&self.path).unwrap_or_default() {
            state.entries.entry(name).or_insert(entry);
        }
        state
            .entries
            .retain(|name, _| present.contains(std::ffi::OsStr::new(name)));
        durable::write_public_file(&self.path, render(&state.entries))?;
        state.changed = false;
        Ok(())
    }
}

fn render(entries: &BTreeMap<String, (Identity, Checksum)>) -> String {
    let mut text = HEADER.to_owned();
    for (name, (identity, digest)) in entries {
        let Identity {
            inode,
            size_bytes,
            changed_ns,
            modified_ns,
        } = identity;
        // Writing to a string does not fail.
        let _ = writeln!(text, "{digest} {inode} {size_bytes} {changed_ns} {modified_ns} {name}");
    }
    let checksum = Sha256::of(&text);
    let _ = writeln!(text, "{CHECKSUM}{checksum}");
    text
}

/// Reads the memo at `path`; `None` if it is absent, damaged or of another version.
fn read(path: &Path) -> Option<BTreeMap<String, (Identity, Checksum)>> {
    let mut text = String::new();
    File::open(path)
        .and_then(|file| file.take(MAX_FILE_BYTES).read_to_string(&mut text))
        .ok()?;
    let entries = parse(&text);
    if entries.is_none() {
        tracing::info!(path = %path.display(), "the memo of verified packages is unusable and is built again");
    }
    entries
}

fn parse(text: &str) -> Option<BTreeMap<String, (Identity, Checksum)>> {
    let body_end = text.strip_suffix('\n')?.rfind('\n')?.checked_add(1)?;
    let (body, last) = text.split_at_checked(body_end)?;
    // Compared as text, since hexadecimal has two forms of a digit.
    if last != format!("{CHECKSUM}{}\n", Sha256::of(body)) {
        return None;
    }
    body.strip_prefix(HEADER)?.lines().map(parse_line).collect()
}

fn parse_line(line: &str) -> Option<(String, (Identity, Checksum))> {
    let mut fields = line.splitn(6, ' ');
    let digest = fields.next()?.parse().ok()?;
    let identity = Identity {
        inode: fields.next()?.parse().ok()?,
        size_bytes: fields.next()?.parse().ok()?,
        changed_ns: fields.next()?.parse().ok()?,
        modified_ns: fields.next()?.parse().ok()?,
    };
    Some((fields.next()?.to_owned(), (identity, digest)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_memo_comes_back_and_merges_and_forgets_absent_files() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("memo");
        for name in ["a.deb", "b.deb"] {
            fs::write(directory.path().join(name), name).unwrap();
        }
        let identity = Identity::of(&fs::metadata(directory.path().join("a.deb")).unwrap());
        let (one, other) = (Memo::load(path.clone()), Memo::load(path.clone()));
        one.remember("a.deb", identity, Sha256::of("a").into());
        one.remember("absent.deb", identity, Sha256::of("c").into());
        other.remember("b.deb", identity, Sha256::of("b").into());
        one.save(directory.path()).unwrap();
        other.save(directory.path()).unwrap();
        let both = Memo::load(path.clone());
        assert_eq!(both.get("a.deb", &identity), Some(Sha256::of("a").into()));
        assert_eq!(both.get("b.deb", &identity), Some(Sha256::of("b").into()));
        assert_eq!(both.get("absent.deb", &identity), None);
        let grown = Identity {
            size_bytes: 1,
            ..identity
        };
        assert_eq!(both.get("a.deb", &grown), None);
    }

    #[test]
    fn damage_and_other_versions_are_dropped() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("memo");
        let identity = Identity::of(&fs::metadata(directory.path()).unwrap());
        let entries = BTreeMap::from([("a.deb".to_owned(), (identity, Sha256::of("a").into()))]);
        let text = render(&entries);
        assert_eq!(parse(&text), Some(entries));
        let of_version_2 = text.replace("oic-verified 1", "oic-verified 2");
        let damaged = text.replace("a.deb", "b.deb");
        for bad in [
            "",
            "\n",
            "x",
            "sha256 00\n",
            &of_version_2,
            &damaged,
            &text[..text.len() / 2],
        ] {
            fs::write(&path, bad).unwrap();
            assert_eq!(Memo::load(path.clone()).get("a.deb", &identity), None, "{bad:?}");
        }
    }
}
