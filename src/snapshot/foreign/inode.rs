//! The files of a tarball from elsewhere, before they have their places in an index.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::super::format::{Extent, NONE, Node};
use super::accounts::AclTexts;
use crate::archive::stream::Xattrs;
use crate::overlay::layer::Timestamp;
use crate::package::Sha256;

/// The number of the root.
pub(super) const ROOT: u32 = 0;
/// Memory that an attribute takes beside its name and value, in bytes.
const ATTRIBUTE_BYTES: usize = 112;
/// The content of a node.
#[derive(Debug)]
pub(super) enum Content {
    Directory(BTreeMap<Vec<u8>, u32>),
    Symlink(Vec<u8>),
    /// A file in one piece: its offset in the tar stream, and its digest.
    File(u64, Sha256),
    Sparse(Vec<Extent>),
    /// Device or FIFO.
    Special,
}

/// Attributes as members give them. Most files of a tree have the same, or none.
#[derive(Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Attributes {
    pub(super) xattrs: Xattrs,
    /// Lists that are looked up when all members are known.
    pub(super) acl_texts: AclTexts,
}

impl Attributes {
    /// Returns their length in memory, in bytes.
    pub(super) fn bytes(&self) -> usize {
        let xattrs = self.xattrs.iter().map(|(name, value)| name.len() + value.len());
        let texts = self.acl_texts.iter().map(|(_, text)| text.len());
        xattrs.chain(texts).map(|bytes| ATTRIBUTE_BYTES + bytes).sum()
    }
}

/// A file, directory, link or device.
#[derive(Debug)]
pub(super) struct Inode {
    pub(super) node: Node,
    pub(super) attributes: Rc<Attributes>,
    pub(super) content: Content,
}

/// Makes a directory that no member describes: root's, 0755, with `none` for its attributes.
pub(super) fn directory(modified: Timestamp, none: Rc<Attributes>) -> Inode {
    Inode {
        node: Node {
            mode: libc::S_IFDIR | 0o755,
            modified,
            ..empty()
        },
        attributes: none,
        content: Content::Directory(BTreeMap::new()),
    }
}

/// Makes a node without anything.
pub(super) fn empty() -> Node {
    Node {
        mode: 0,
        uid: 0,
        gid: 0,
        links: 0,
        size_bytes: 0,
        modified: Timestamp::default(),
        device: (0, 0),
        data: 0,
        entries: 0,
        digest: NONE,
        xattrs: 0,
        dirent: NONE,
    }
}
