//! Where two trees differ: in all that lstat(2) and listxattr(2) report, as far as an image holds it, and in contents.
//!
//! The comparison leaves out what an image does not take from a tree: all times but that of the last modification
//! (which is at most the epoch), and inode numbers, except that the same names must be one file.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fs::{self, Metadata};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::cancel::Cancel;
use crate::diff::attributes;
use crate::durable::PathError;

use super::range::first_range;
use crate::pipeline::error::BuildError;

/// A path, and how it differs.
type Difference = (PathBuf, String);

/// Finds the first path, in order, that differs between `a` and `b`. Times later than `epoch_seconds` are clamped, as
/// in an image. A directory's time of modification counts only if nothing else differs: it follows from what is in the
/// directory.
///
/// # Errors
/// If something cannot be read, or the user asked to stop.
pub(super) fn first_difference(
    a: &Path,
    b: &Path,
    epoch_seconds: u64,
    cancel: &Cancel,
) -> Result<Option<Difference>, BuildError> {
    let mut pending = vec![PathBuf::from("/")];
    let (mut names_of_a, mut names_of_b) = (Names::default(), Names::default());
    let mut modified = None;
    while let Some(path) = pending.pop() {
        cancel.check()?;
        let inside = path.strip_prefix("/").unwrap_or(&path);
        let (left, right) = (Entry::at(a.join(inside))?, Entry::at(b.join(inside))?);
        let links = (names_of_a.first(&left, &path), names_of_b.first(&right, &path));
        let (x, y) = (left.modified(epoch_seconds), right.modified(epoch_seconds));
        let times = (x != y).then(|| format!("mtime {} and {}", shown(x), shown(y)));
        let is_directory = left.metadata.is_dir();
        let told = match numbers(&left, &right).or_else(|| other_links(links)) {
            None if !is_directory => times.clone(),
            told => told,
        };
        let told = match told {
            None => other_attributes(&left, &right)?,
            told => told,
        };
        let told = match told {
            None => other_content(&left, &right)?,
            told => told,
        };
        if let Some(told) = told {
            return Ok(Some((path, told)));
        }
        if is_directory {
            let (x, y) = (names(&left.path)?, names(&right.path)?);
            if let Some((name, told)) = only_in_one(&x, &y) {
                return Ok(Some((path.join(name), told.to_owned())));
            }
            pending.extend(x.iter().rev().map(|name| path.join(name)));
            modified = modified.or(times.map(|told| (path, told)));
        }
    }
    Ok(modified)
}

/// One side of a path.
struct Entry {
    path: PathBuf,
    metadata: Metadata,
}

impl Entry {
    fn at(path: PathBuf) -> Result<Self, PathError> {
        let metadata = path.symlink_metadata().map_err(PathError::on("look at", &path))?;
        Ok(Self { path, metadata })
    }

    /// Gives the time of the last modification in seconds and nanoseconds, as an image has it.
    fn modified(&self, epoch_seconds: u64) -> (i64, i64) {
        let epoch = (i64::try_from(epoch_seconds).unwrap_or(i64::MAX), 0);
        (self.metadata.mtime(), self.metadata.mtime_nsec()).min(epoch)
    }
}

/// The first name of each file that has several.
#[derive(Default)]
struct Names(HashMap<(u64, u64), PathBuf>);

impl Names {
    /// Gives the first name of `entry`, which is called `path` now; `None` if it has no other.
    fn first(&mut self, entry: &Entry, path: &Path) -> Option<PathBuf> {
        let metadata = &entry.metadata;
        if metadata.is_dir() || metadata.nlink() < 2 {
            return None;
        }
        let first = self.0.entry((metadata.dev(), metadata.ino()));
        Some(first.or_insert_with(|| path.to_owned()).clone())
    }
}

fn shown((seconds, nanoseconds): (i64, i64)) -> String {
    match nanoseconds {
        0 => seconds.to_string(),
        _ => format!("{seconds}.{nanoseconds:09}"),
    }
}

fn numbers(a: &Entry, b: &Entry) -> Option<String> {
    let (x, y) = (&a.metadata, &b.metadata);
    let owner = |m: &Metadata| format!("{}:{}", m.uid(), m.gid());
    if x.mode() != y.mode() {
        return Some(format!("mode {:o} and {:o}", x.mode(), y.mode()));
    }
    if owner(x) != owner(y) {
        return Some(format!("owner {} and {}", owner(x), owner(y)));
    }
    if x.rdev() != y.rdev() {
        return Some(format!("device {:#x} and {:#x}", x.rdev(), y.rdev()));
    }
    let links = |m: &Metadata| if m.is_dir() { 1 } else { m.nlink() };
    (links(x) != links(y)).then(|| format!("{} and {} names", links(x), links(y)))
}

fn other_links((a, b): (Option<PathBuf>, Option<PathBuf>)) -> Option<String> {
    let shown = |path: Option<PathBuf>| path.unwrap_or_default().display().to_string();
    (a != b).then(|| format!("is the same file as {} and as {}", shown(a), shown(b)))
}

fn other_attributes(a: &Entry, b: &Entry) -> Result<Option<String>, PathError> {
    let (x, y) = (attributes(&a.path)?, attributes(&b.path)?);
    let differs = |(name, value): &&(OsString, Vec<u8>)| y.iter().all(|other| (&other.0, &other.1) != (name, value));
    let is_in = |all: &[(OsString, Vec<u8>)], name: &OsStr| all.iter().any(|(other, _)| other == name);
    if let Some((name, _)) = x.iter().find(differs) {
        let told = match is_in(&y, name) {
            true => "differs",
            false => "is only in the first image",
        };
        return Ok(Some(format!("attribute {} {told}", name.display())));
    }
    let added = y.iter().find(|(name, _)| !is_in(&x, name));
    Ok(added.map(|(name, _)| format!("attribute {} is only in the second image", name.display())))
}

fn other_content(a: &Entry, b: &Entry) -> Result<Option<String>, PathError> {
    if a.metadata.is_symlink() {
        let target = |entry: &Entry| fs::read_link(&entry.path).map_err(PathError::on("read", &entry.path));
        let (x, y) = (target(a)?, target(b)?);
        return Ok((x != y).then(|| format!("links to {} and {}", x.display(), y.display())));
    }
    match a.metadata.is_file() {
        true => Ok(first_range(&a.path, &b.path)?.map(|range| range.to_string())),
        false => Ok(None),
    }
}

fn only_in_one<'a>(a: &'a [OsString], b: &'a [OsString]) -> Option<(&'a OsString, &'static str)> {
    let first = a.iter().find(|name| !b.contains(name));
    let second = b.iter().find(|name| !a.contains(name));
    let first = first.map(|name| (name, "is only in the first image"));
    first.or(second.map(|name| (name, "is only in the second image")))
}

fn names(directory: &Path) -> Result<Vec<OsString>, PathError> {
    let mut names = Vec::new();
    for entry in fs::read_dir(directory).map_err(PathError::on("list", directory))? {
        names.push(entry.map_err(PathError::on("list", directory))?.file_name());
    }
    names.sort_by(|a, b| a.as_bytes().cmp(b.as_bytes()));
    Ok(names)
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    use std::time::{Duration, SystemTime};

    use super::*;

    const EPOCH: u64 = 1_700_000_000;

    /// Makes two trees that are the same.
    fn trees() -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        for tree in ["a", "b"] {
            let etc = directory.path().join(tree).join("etc");
            fs::create_dir_all(&etc).unwrap();
            for name in ["one", "two", "three"] {
                fs::write(etc.join(name), "same").unwrap();
            }
            fs::hard_link(etc.join("one"), etc.join("uno")).unwrap();
            symlink("one", etc.join("way")).unwrap();
        }
        directory
    }

    /// Compares the trees after `change` to the directory `etc` of the second one.
    fn told(change: impl FnOnce(&Path)) -> Option<(String, String)> {
        let trees = trees();
        let [a, b] = ["a", "b"].map(|name| trees.path().join(name));
        change(&b.join("etc"));
        let told = first_difference(&a, &b, EPOCH, &Cancel::default()).unwrap();
        told.map(|(path, what)| (path.display().to_string(), what))
    }

    fn difference(path: &str, what: &str) -> Option<(String, String)> {
        Some((path.to_owned(), what.to_owned()))
    }

    fn modify(path: &Path, seconds: u64) {
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        File::open(path).unwrap().set_modified(time).unwrap();
    }

    #[test]
    fn what_an_image_does_not_hold_makes_no_difference() {
        assert_eq!(told(|_| {}), None);
        // Later than the epoch is the epoch.
        assert_eq!(told(|etc| modify(&etc.join("two"), EPOCH + 5)), None);
        assert_eq!(told(|etc| modify(&etc.join("two"), EPOCH)), None);
    }

    #[test]
    fn everything_else_is_named() {
        let two = |what: &str| difference("/etc/two", what);
        let epoch = EPOCH.to_string();
        assert_eq!(
            told(|etc| fs::write(etc.join("two"), "sAMe").unwrap()),
            two("bytes 1 to 2")
        );
        assert_eq!(
            told(|etc| fs::set_permissions(etc.join("two"), fs::Permissions::from_mode(0o600)).unwrap()),
            two("mode 100644 and 100600")
        );
        assert_eq!(
            told(|etc| modify(&etc.join("two"), 7)),
            two(&format!("mtime {epoch} and 7"))
        );
        let nanoseconds = |path: &Path| {
            let time = SystemTime::UNIX_EPOCH + Duration::new(7, 5);
            File::open(path).unwrap().set_modified(time).unwrap();
        };
        assert_eq!(
            told(|etc| nanoseconds(&etc.join("two"))),
            two(&format!("mtime {epoch} and 7.000000005"))
        );
        let attribute = |etc: &Path| {
            let flags = rustix::fs::XattrFlags::empty();
            rustix::fs::lsetxattr(etc.join("two"), "user.note", b"x", flags).unwrap();
        };
        assert_eq!(told(attribute), two("attribute user.note is only in the second image"));
        assert_eq!(
            told(|etc| fs::write(etc.join("new"), "").unwrap()),
            difference("/etc/new", "is only in the second image")
        );
        assert_eq!(
            told(|etc| fs::remove_file(etc.join("three")).unwrap()),
            difference("/etc/three", "is only in the first image")
        );
        let elsewhere = |etc: &Path| {
            fs::remove_file(etc.join("way")).unwrap();
            symlink("two", etc.join("way")).unwrap();
        };
        assert_eq!(told(elsewhere), difference("/etc/way", "links to one and two"));
        // Directories last: this one has changed because of what is in it.
        assert_eq!(
            told(|etc| modify(etc, 7)),
            difference("/etc", &format!("mtime {epoch} and 7"))
        );
        let both = |etc: &Path| {
            modify(etc, 7);
            fs::write(etc.join("two"), "sAMe").unwrap();
        };
        assert_eq!(told(both), two("bytes 1 to 2"));
    }

    #[test]
    fn attributes_with_other_values_and_other_hard_links_are_named() {
        let trees = trees();
        let [a, b] = ["a", "b"].map(|name| trees.path().join(name));
        let compare = || first_difference(&a, &b, EPOCH, &Cancel::default()).unwrap();
        for (tree, value) in [(&a, b"x"), (&b, b"y")] {
            let flags = rustix::fs::XattrFlags::empty();
            rustix::fs::lsetxattr(tree.join("etc/two"), "user.note", value, flags).unwrap();
        }
        let told = "attribute user.note differs".to_owned();
        assert_eq!(compare(), Some(("/etc/two".into(), told)));
        for tree in [&a, &b] {
            fs::remove_file(tree.join("etc/two")).unwrap();
            fs::remove_file(tree.join("etc/uno")).unwrap();
        }
        // The same numbers of names, but not of the same files.
        for (from, to) in [("one", "p"), ("three", "q")] {
            fs::hard_link(a.join("etc").join(from), a.join("etc").join(to)).unwrap();
        }
        for (from, to) in [("one", "q"), ("three", "p")] {
            fs::hard_link(b.join("etc").join(from), b.join("etc").join(to)).unwrap();
        }
        let told = "is the same file as /etc/one and as /etc/p".to_owned();
        assert_eq!(compare(), Some(("/etc/p".into(), told)));
        fs::remove_file(b.join("etc/p")).unwrap();
        fs::write(b.join("etc/p"), "same").unwrap();
        assert_eq!(compare(), Some(("/etc/p".into(), "2 and 1 names".to_owned())));
    }
}
