//! The interchange format of POSIX (pax(1), "pax Interchange Format"), which tar programs, container runtimes and WSL read.
//!
//! What the headers of ustar cannot hold goes into extended headers: long paths, large numbers, extended attributes as
//! `SCHILY.xattr.` (star(5)) and access control lists as `SCHILY.acl.`, with the numbers of users and groups.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use tar::{EntryType, Header};

use super::acl;
use super::draft::Draft;
use super::{Named, names};
use crate::image::file_system::FileSystemError;
use crate::image::tree::{Content, Index, Node, Tree};
use crate::overlay::layer::FileKind;

/// Each header and each file begins at a multiple of this, in bytes.
const BLOCK_BYTES: u64 = 512;
/// The size of an archive is a multiple of this, in bytes: 20 blocks, as tar(1) writes them.
const RECORD_BYTES: u64 = 20 * BLOCK_BYTES;
/// The longest path of a header, in bytes.
const PATH_MAX: usize = 100;
/// The largest owner of a header: seven octal digits.
const ID_MAX: u32 = 0o7_777_777;
/// The largest size of a header: eleven octal digits.
const SIZE_MAX: u64 = 0o77_777_777_777;

/// Gives all files of `tree` their places; no time is later than `epoch_seconds`.
///
/// # Errors
/// [`FileSystemError::Unstorable`] for a path that no archive can have.
pub(super) fn lay_out(tree: &Tree, epoch_seconds: u64) -> Result<Draft, FileSystemError> {
    let mut archive = Archive {
        draft: Draft::new(BLOCK_BYTES),
        epoch_seconds,
        linked: HashMap::new(),
    };
    for Named { file, path } in names(tree) {
        if let Some(node) = tree.nodes().get(file) {
            archive.name(file, node, path)?;
        }
    }
    // Two blocks of zeros, and what the last record lacks.
    let size_bytes = archive.draft.size_bytes();
    let end = (size_bytes + 2 * BLOCK_BYTES).next_multiple_of(RECORD_BYTES);
    archive.draft.head(&vec![0; (end - size_bytes) as usize]);
    Ok(archive.draft)
}

struct Archive {
    draft: Draft,
    epoch_seconds: u64,
    /// The first names of files that have several.
    linked: HashMap<Index, PathBuf>,
}

impl Archive {
    /// Appends a name of a file; the file itself, if it is the first one.
    fn name(&mut self, file: Index, node: &Node, path: PathBuf) -> Result<(), FileSystemError> {
        let attributes = &node.attributes;
        if attributes.kind == FileKind::Socket {
            self.draft.lose("the sockets", &path);
            return Ok(());
        }
        let mut entry = Entry::new(node, stored_path(&path, attributes.kind), self.epoch_seconds)?;
        if attributes.kind != FileKind::Directory && attributes.links > 1 {
            if let Some(first) = self.linked.get(&file) {
                entry.link_to(first.as_os_str().as_bytes());
                self.draft.head(&entry.bytes());
                return Ok(());
            }
            self.linked.insert(file, path.clone());
        }
        for (name, value) in &node.xattrs {
            if !entry.attribute(name, value) {
                self.draft.lose("some extended attributes", &path);
            }
        }
        self.draft.head(&entry.bytes());
        if let Content::File(_) = &node.content {
            self.draft.content(file, attributes.size_bytes);
        }
        Ok(())
    }
}

/// Returns the path as the archive has it: relative, with a slash behind a directory.
fn stored_path(path: &Path, kind: FileKind) -> Vec<u8> {
    let mut stored = path.as_os_str().as_bytes().to_vec();
    if stored.is_empty() {
        stored.push(b'.');
    }
    if kind == FileKind::Directory {
        stored.push(b'/');
    }
    stored
}

/// An entry of an archive, without contents.
struct Entry {
    header: Header,
    path: Vec<u8>,
    /// Names and values of the extended header, in the order in which they are written.
    records: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Entry {
    fn new(node: &Node, path: Vec<u8>, epoch_seconds: u64) -> Result<Self, FileSystemError> {
        let attributes = &node.attributes;
        let mut header = Header::new_ustar();
        header.set_entry_type(match attributes.kind {
            FileKind::Directory => EntryType::Directory,
            FileKind::Symlink => EntryType::Symlink,
            FileKind::CharDevice => EntryType::Char,
            FileKind::BlockDevice => EntryType::Block,
            FileKind::Fifo => EntryType::Fifo,
            FileKind::Regular | FileKind::Socket => EntryType::Regular,
        });
        header.set_mode(attributes.permissions);
        let modified = attributes.modified.seconds.max(0).cast_unsigned();
        header.set_mtime(modified.min(epoch_seconds).min(SIZE_MAX));
        let mut entry = Self {
            header,
            records: Vec::new(),
            path,
        };
        if entry.path.len() > PATH_MAX {
            entry.record(b"path", &entry.path.clone());
        }
        if let Content::Link(target) = &node.content {
            entry.set_target(target);
        }
        entry.set_owner((attributes.uid, attributes.gid));
        let (major, minor) = attributes.device;
        let has_device = entry.header.set_device_major(major).is_ok() && entry.header.set_device_minor(minor).is_ok();
        if !has_device || major > ID_MAX || minor > ID_MAX {
            return Err(FileSystemError::Unstorable {
                path: PathBuf::from(OsStr::from_bytes(&entry.path)),
                reason: format!("an archive has no device {major}:{minor}"),
            });
        }
        if let Content::File(_) = &node.content {
            entry.set_size(attributes.size_bytes);
        }
        Ok(entry)
    }

    /// Makes it another name of the file `first`.
    fn link_to(&mut self, first: &[u8]) {
        self.header.set_entry_type(EntryType::Link);
        self.records.retain(|(name, _)| name == b"path");
        self.header.set_size(0);
        self.set_target(first);
    }

    fn set_owner(&mut self, (uid, gid): (u32, u32)) {
        self.header.set_uid(u64::from(uid.min(ID_MAX)));
        self.header.set_gid(u64::from(gid.min(ID_MAX)));
        for (name, id) in [("uid", uid), ("gid", gid)] {
            if id > ID_MAX {
                self.record(name.as_bytes(), id.to_string().as_bytes());
            }
        }
    }

    fn set_size(&mut self, size_bytes: u64) {
        self.header.set_size(size_bytes.min(SIZE_MAX));
        if size_bytes > SIZE_MAX {
            self.record(b"size", size_bytes.to_string().as_bytes());
        }
    }

    /// Sets the target of a link.
    fn set_target(&mut self, target: &[u8]) {
        if let Some(ustar) = self.header.as_ustar_mut() {
            put(&mut ustar.linkname, target);
        }
        if target.len() > PATH_MAX {
            self.record(b"linkpath", target);
        }
    }

    /// Adds an extended attribute; returns whether the format has a place for it.
    fn attribute(&mut self, name: &OsStr, value: &[u8]) -> bool {
        let name = name.as_bytes();
        let lists = [
            (&b"system.posix_acl_access"[..], &b"SCHILY.acl.access"[..]),
            (b"system.posix_acl_default", b"SCHILY.acl.default"),
        ];
        if let Some((_, keyword)) = lists.iter().find(|(list, _)| *list == name) {
            let text = acl::text(value);
            if let Some(text) = &text {
                self.record(keyword, text.as_bytes());
            }
            return text.is_some();
        }
        // The keyword ends at the first sign of equality.
        let has_place = !name.contains(&b'=');
        if has_place {
            self.record(&[b"SCHILY.xattr.", name].concat(), value);
        }
        has_place
    }

    fn record(&mut self, name: &[u8], value: &[u8]) {
        self.records.push((name.to_vec(), value.to_vec()));
    }

    /// Returns its blocks: the extended header, if it needs one, and the header.
    fn bytes(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        if !self.records.is_empty() {
            let text: Vec<u8> = self
                .records
                .iter()
                .flat_map(|(name, value)| line(name, value))
                .collect();
            let mut header = Header::new_ustar();
            header.set_entry_type(EntryType::XHeader);
            header.set_mode(0o644);
            header.set_uid(0);
            header.set_gid(0);
            header.set_mtime(0);
            header.set_size(text.len() as u64);
            let name = [b"PaxHeaders/", &self.path[..]].concat();
            if let Some(ustar) = header.as_ustar_mut() {
                put(&mut ustar.name, name.strip_suffix(b"/").unwrap_or(&name));
            }
            header.set_cksum();
            bytes.extend_from_slice(header.as_bytes());
            bytes.extend_from_slice(&text);
            bytes.resize(bytes.len().next_multiple_of(BLOCK_BYTES as usize), 0);
        }
        if let Some(ustar) = self.header.as_ustar_mut() {
            put(&mut ustar.name, &self.path);
        }
        self.header.set_cksum();
        bytes.extend_from_slice(self.header.as_bytes());
        bytes
    }
}

/// Fills a field with the start of `bytes`.
fn put(field: &mut [u8], bytes: &[u8]) {
    field.fill(0);
    field.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
}

/// Makes a line of an extended header, which begins with its own length in bytes.
fn line(name: &[u8], value: &[u8]) -> Vec<u8> {
    // A space, a sign of equality, the end of the line.
    let rest = name.len() + value.len() + 3;
    let mut length = rest + 1;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    [length.to_string().as_bytes(), b" ", name, b"=", value, b"\n"].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_counts_itself() {
        assert_eq!(line(b"path", b"x"), b"9 path=x\n");
        assert_eq!(line(b"path", b"xy"), b"11 path=xy\n");
        for length in 0..2000 {
            let line = line(b"n", &vec![b'v'; length]);
            let digits = line.iter().position(|byte| *byte == b' ').unwrap();
            assert_eq!(std::str::from_utf8(&line[..digits]).unwrap().parse(), Ok(line.len()));
        }
    }
}
