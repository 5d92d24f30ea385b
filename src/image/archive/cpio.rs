//! The new ASCII format of cpio, as the kernel unpacks it into its root (kernel, "initramfs buffer format"; cpio(5), "New
//! ASCII Format").
//!
//! It has neither extended attributes nor holes, and a file has less than 4 GiB. A file with several names has its bytes
//! behind the last one.

use std::collections::HashMap;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use super::draft::Draft;
use super::{Named, names};
use crate::image::file_system::FileSystemError;
use crate::image::labels;
use crate::image::tree::{Content, Index, Node, Tree};
use crate::overlay::layer::FileKind;

/// Each header and each file begins at a multiple of this, in bytes.
const BLOCK_BYTES: u64 = 4;
/// The size of the archive is a multiple of this, in bytes: that of cpio(1).
const RECORD_BYTES: u64 = 512;
/// The name behind all files.
const TRAILER: &[u8] = b"TRAILER!!!";

/// Gives all files of `tree` their places; no time is later than `epoch_seconds`.
///
/// # Errors
/// [`FileSystemError::Unstorable`] if a file is too large.
pub(super) fn lay_out(tree: &Tree, epoch_seconds: u64) -> Result<Draft, FileSystemError> {
    let mut archive = Archive {
        draft: Draft::new(BLOCK_BYTES),
        epoch_seconds,
        waiting: HashMap::new(),
    };
    for Named { file, path } in names(tree) {
        if let Some(node) = tree.nodes().get(file) {
            archive.name(file, node, path)?;
        }
    }
    archive.draft.head(&header(&Fields::default(), TRAILER));
    let rest = archive.draft.size_bytes().next_multiple_of(RECORD_BYTES) - archive.draft.size_bytes();
    archive.draft.head(&vec![0; rest as usize]);
    Ok(archive.draft)
}

struct Archive {
    draft: Draft,
    epoch_seconds: u64,
    /// The names so far of files that have more.
    waiting: HashMap<Index, Vec<PathBuf>>,
}

impl Archive {
    /// Appends a name, or lets it wait for the other names of its file.
    fn name(&mut self, file: Index, node: &Node, path: PathBuf) -> Result<(), FileSystemError> {
        if node.attributes.kind == FileKind::Directory || node.attributes.links <= 1 {
            return self.file(file, node, &[path]);
        }
        let names = self.waiting.entry(file).or_default();
        names.push(path);
        if names.len() < node.attributes.links as usize {
            return Ok(());
        }
        // All directories of these names are in the archive now.
        let names = self.waiting.remove(&file).unwrap_or_default();
        self.file(file, node, &names)
    }

    /// Appends a file with all its `names`.
    fn file(&mut self, file: Index, node: &Node, names: &[PathBuf]) -> Result<(), FileSystemError> {
        let attributes = &node.attributes;
        let Some((last, others)) = names.split_last() else {
            return Ok(());
        };
        let size_bytes = match &node.content {
            Content::File(_) => attributes.size_bytes,
            Content::Link(target) => target.len() as u64,
            Content::Directory(_) | Content::None => 0,
        };
        let size = u32::try_from(size_bytes).map_err(|_| FileSystemError::Unstorable {
            path: Path::new("/").join(last),
            reason: format!(
                "it has {} MiB, and a file of an initrd has less than 4096",
                size_bytes >> 20
            ),
        })?;
        if node.xattrs.iter().any(|(name, _)| name != labels::ATTRIBUTE) {
            self.draft.lose("extended attributes", last);
        }
        let modified = attributes.modified.seconds.max(0).cast_unsigned();
        let mut fields = Fields {
            inode: u32::try_from(file + 1).unwrap_or(u32::MAX),
            mode: attributes.kind.mode_bits() | attributes.permissions,
            owner: (attributes.uid, attributes.gid),
            links: attributes.links,
            modified: u32::try_from(modified.min(self.epoch_seconds)).unwrap_or(u32::MAX),
            size: 0,
            device: attributes.device,
        };
        for name in others {
            self.draft.head(&header(&fields, name.as_os_str().as_bytes()));
        }
        fields.size = size;
        let name = last.as_os_str().as_bytes();
        self.draft
            .head(&header(&fields, if name.is_empty() { b"." } else { name }));
        match &node.content {
            Content::File(_) => self.draft.content(file, size_bytes),
            Content::Link(target) => self.draft.head(target),
            Content::Directory(_) | Content::None => {}
        }
        Ok(())
    }
}

/// The fields of a header.
#[derive(Default)]
struct Fields {
    inode: u32,
    mode: u32,
    /// User and group.
    owner: (u32, u32),
    links: u32,
    /// Seconds since 1970.
    modified: u32,
    /// Bytes behind the name.
    size: u32,
    /// Major and minor number of a device node.
    device: (u32, u32),
}

/// Makes a header with the name.
fn header(fields: &Fields, name: &[u8]) -> Vec<u8> {
    let name_bytes = u32::try_from(name.len() + 1).unwrap_or(u32::MAX);
    let numbers = [
        fields.inode,
        fields.mode,
        fields.owner.0,
        fields.owner.1,
        // The trailer has one too.
        fields.links.max(1),
        fields.modified,
        fields.size,
        // All of the tree lies on one device.
        0,
        0,
        fields.device.0,
        fields.device.1,
        name_bytes,
        // The checksum, which this format does not have.
        0,
    ];
    let numbers = numbers.map(|number| format!("{number:08X}"));
    let mut header = ["070701".to_owned(), numbers.concat()].concat().into_bytes();
    header.extend_from_slice(name);
    header.push(0);
    header
}
