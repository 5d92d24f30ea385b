//! Files that two trees do not have in common.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::ffi::OsString;

use serde::Serialize;

use crate::cancel::{Cancel, Cancelled};
use crate::diff::Aspect;
use crate::installed::visit::{Listing, Seen};
use crate::installed::{Database, Owners};
use crate::overlay::layer::{FileKind, Layer, LayerResult, NodeId};
use crate::parallel;

/// Bytes of a file that are compared at once.
const PIECE_BYTES: usize = 256 << 10;

/// A tree.
#[derive(Debug, Clone, Copy)]
pub struct Side<'a> {
    /// Its files' contents.
    pub layer: &'a dyn Layer,
    /// Its files.
    pub listing: &'a Listing,
    /// Its packages.
    pub database: &'a Database,
    /// The packages of its files.
    pub owners: &'a Owners,
}

/// Returns the word for a property in which a file differs.
pub fn word(aspect: Aspect) -> &'static str {
    match aspect {
        Aspect::Kind => "kind",
        Aspect::Content => "content",
        Aspect::Mode => "mode",
        Aspect::Owner => "owner",
        Aspect::Xattrs => "xattrs",
        Aspect::Time => "time",
    }
}

/// A file that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FileChange {
    /// Its path.
    pub path: String,
    /// `added`, `removed` or `modified`.
    pub action: &'static str,
    /// The properties in which it differs.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub aspects: BTreeSet<Aspect>,
    /// Its size in bytes on the first side.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from_bytes: Option<u64>,
    /// Its size in bytes on the second side.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to_bytes: Option<u64>,
    /// The package that it belongs to; empty if none.
    pub package: String,
}

impl FileChange {
    /// Says in words what has changed.
    pub fn words(&self) -> String {
        let aspects: Vec<&str> = self.aspects.iter().map(|aspect| word(*aspect)).collect();
        match aspects.is_empty() {
            true => self.action.to_owned(),
            false => aspects.join(", "),
        }
    }

    /// Returns whether only its date has changed.
    pub fn is_volatile(&self) -> bool {
        self.action == "modified" && self.aspects.iter().all(|aspect| *aspect == Aspect::Time)
    }
}

/// The files that differ.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FilesDifference {
    /// The number of files that were added.
    pub added: usize,
    /// The number of files that were removed.
    pub removed: usize,
    /// The number of files that were changed.
    pub modified: usize,
    /// The number of files that are the same.
    pub unchanged: usize,
    /// By how many bytes the files have grown.
    pub grown_bytes: i64,
    /// Each of them, sorted by path.
    pub changes: Vec<FileChange>,
    /// What could not be read.
    pub notes: Vec<String>,
}

/// Compares two trees file by file, on `threads` threads. Contents are read unless their sizes tell, or both layers know
/// their digests.
///
/// # Errors
/// [`Cancelled`]. What cannot be read is a note.
pub fn compare_files(
    from: &Side<'_>,
    to: &Side<'_>,
    threads: usize,
    cancel: &Cancel,
) -> Result<FilesDifference, Cancelled> {
    let mut found = FilesDifference::default();
    let damaged = from.listing.damaged.iter().chain(&to.listing.damaged);
    found.notes = damaged
        .map(|(path, error)| format!("{}: {error}", path.display()))
        .collect();
    let mut both = Vec::new();
    for (one, other) in pairs(&from.listing.files, &to.listing.files) {
        match (one, other) {
            (Some(one), Some(other)) => both.push((one, other)),
            (Some(one), None) => found.changes.push(change(one, "removed", from, (Some(one), None))),
            (None, Some(other)) => found.changes.push(change(other, "added", to, (None, Some(other)))),
            (None, None) => {}
        }
    }
    // In the order of nodes, contents lie side by side on the disk.
    both.sort_unstable_by_key(|(one, _)| one.node);
    let compared = parallel::map(threads, both.as_slice(), |(one, other)| {
        if cancel.check().is_err() {
            return Ok(BTreeSet::new());
        }
        aspects((from.layer, one), (to.layer, other))
    });
    cancel.check()?;
    for ((one, other), aspects) in both.into_iter().zip(compared) {
        match aspects {
            Ok(aspects) if aspects.is_empty() => found.unchanged += 1,
            Ok(aspects) => found.changes.push(FileChange {
                aspects,
                ..change(other, "modified", to, (Some(one), Some(other)))
            }),
            Err(error) => found.notes.push(format!("{}: {error}", one.path.display())),
        }
    }
    found.changes.sort_by(|a, b| a.path.cmp(&b.path));
    for change in &found.changes {
        match change.action {
            "added" => found.added += 1,
            "removed" => found.removed += 1,
            _ => found.modified += 1,
        }
        let size = |bytes: Option<u64>| i64::try_from(bytes.unwrap_or_default()).unwrap_or(i64::MAX);
        found.grown_bytes = found
            .grown_bytes
            .saturating_add(size(change.to_bytes) - size(change.from_bytes));
    }
    Ok(found)
}

/// A file of one side, and that of the same path on the other.
type Pair<'a> = (Option<&'a Seen>, Option<&'a Seen>);

/// Puts two sorted lists side by side.
fn pairs<'a>(from: &'a [Seen], to: &'a [Seen]) -> Vec<Pair<'a>> {
    let (mut from, mut to) = (from.iter().peekable(), to.iter().peekable());
    let mut pairs = Vec::new();
    loop {
        let order = match (from.peek(), to.peek()) {
            (None, None) => return pairs,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(one), Some(other)) => one.path.cmp(&other.path),
        };
        pairs.push(match order {
            Ordering::Less => (from.next(), None),
            Ordering::Greater => (None, to.next()),
            Ordering::Equal => (from.next(), to.next()),
        });
    }
}

fn change(file: &Seen, action: &'static str, side: &Side<'_>, (from, to): Pair<'_>) -> FileChange {
    let size = |file: Option<&Seen>| {
        let file = file.filter(|file| file.attributes.kind == FileKind::Regular);
        file.map(|file| file.attributes.size_bytes)
    };
    let path = file.path.to_string_lossy().into_owned();
    let owner = side
        .owners
        .of(&path)
        .and_then(|index| side.database.packages.get(index));
    FileChange {
        action,
        aspects: BTreeSet::new(),
        from_bytes: size(from),
        to_bytes: size(to),
        package: owner.map(|package| package.name.clone()).unwrap_or_default(),
        path,
    }
}

/// Returns the properties in which two files differ.
fn aspects((from, one): (&dyn Layer, &Seen), (to, other): (&dyn Layer, &Seen)) -> LayerResult<BTreeSet<Aspect>> {
    let (before, after) = (&one.attributes, &other.attributes);
    if before.kind != after.kind {
        return Ok(BTreeSet::from([Aspect::Kind]));
    }
    let mut found = BTreeSet::new();
    let mut note = |aspect, differs: bool| differs.then(|| found.insert(aspect));
    note(Aspect::Mode, before.permissions != after.permissions);
    note(Aspect::Owner, (before.uid, before.gid) != (after.uid, after.gid));
    let is_directory = before.kind == FileKind::Directory;
    note(Aspect::Time, !is_directory && before.modified != after.modified);
    note(Aspect::Xattrs, xattrs(from, one.node)? != xattrs(to, other.node)?);
    let content = match before.kind {
        FileKind::Regular if before.size_bytes != after.size_bytes => true,
        FileKind::Regular => contents_differ((from, one.node), (to, other.node), before.size_bytes)?,
        FileKind::Symlink => from.read_link(one.node)? != to.read_link(other.node)?,
        FileKind::CharDevice | FileKind::BlockDevice => before.device != after.device,
        FileKind::Directory | FileKind::Fifo | FileKind::Socket => false,
    };
    note(Aspect::Content, content);
    Ok(found)
}

fn xattrs(layer: &dyn Layer, node: NodeId) -> LayerResult<Vec<(OsString, Vec<u8>)>> {
    let mut found = Vec::new();
    if layer.summary().has_xattrs {
        for name in layer.xattr_names(node)? {
            if let Some(value) = layer.xattr(node, &name)? {
                found.push((name, value));
            }
        }
    }
    found.sort();
    Ok(found)
}

fn contents_differ(
    (from, one): (&dyn Layer, NodeId),
    (to, other): (&dyn Layer, NodeId),
    size_bytes: u64,
) -> LayerResult<bool> {
    if let (Some(before), Some(after)) = (from.digest(one)?, to.digest(other)?) {
        return Ok(before != after);
    }
    let length = size_bytes.clamp(1, PIECE_BYTES as u64) as usize;
    let (mut before, mut after) = (vec![0; length], vec![0; length]);
    let mut offset = 0;
    while offset < size_bytes {
        let count = from.read_at(one, offset, &mut before)?;
        if count != to.read_at(other, offset, &mut after)? || before.get(..count) != after.get(..count) {
            return Ok(true);
        }
        if count == 0 {
            return Ok(false);
        }
        offset += count as u64;
    }
    Ok(false)
}
