//! Builds in memory the tree that a tar stream describes, as tar(1) would unpack it.
//!
//! Later members replace earlier ones of the same name. Symbolic links to directories are followed inside the tree,
//! so nothing leads out of it.

use std::collections::{BTreeMap, HashSet};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};
use std::rc::Rc;

use super::super::builder::{Builder, TooLarge};
use super::super::format::{Extent, Node};
use super::super::options::belongs;
use super::Limits;
use super::accounts::Accounts;
use super::inode::{Attributes, Content, Inode, ROOT, directory, empty};
use super::layout::Built;
use crate::archive::stream::{Kind, Member, relative};
use crate::overlay::layer::Timestamp;
use crate::package::Sha256;

/// Largest depth of a tree: no program on Linux can name deeper files.
const DEPTH_MAX: usize = 2048;
/// Longest name, as on Linux (`NAME_MAX`).
const NAME_BYTES_MAX: usize = 255;
/// Most symbolic links followed on the way to one member, as in the kernel (path_resolution(7)).
const LINKS_MAX: u32 = 40;
/// Most directories that links add to the ways to all members together: so many at once, and so many for each file. A
/// link can have two thousand in its target, and forty links follow each other: without a bound, some kilobytes would
/// keep a processor busy for hours.
const DETOURS_MAX: u64 = 1_000_000;
const DETOURS_PER_FILE: u64 = 64;

/// A tree under construction.
#[derive(Debug)]
pub(super) struct Tree {
    inodes: Vec<Inode>,
    /// Every set of attributes once.
    attributes: HashSet<Rc<Attributes>>,
    limits: Limits,
    /// Bytes of names, targets and attributes so far.
    names_bytes: u64,
    /// Whether a member has described the root.
    has_root: bool,
    accounts: Accounts,
    /// The directory of the last member by its path, until a name is replaced.
    last: Option<(PathBuf, u32)>,
    /// Directories that links have added to the ways to all members so far.
    detours: u64,
}

impl Tree {
    /// Makes a tree with an empty root.
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            inodes: vec![directory(Timestamp::default(), Rc::default())],
            attributes: HashSet::from([Rc::default()]),
            limits: limits.clone(),
            names_bytes: 0,
            has_root: false,
            accounts: Accounts::default(),
            last: None,
            detours: 0,
        }
    }

    /// Returns the accounts that lists of the tree name.
    pub(super) fn accounts(&mut self) -> &mut Accounts {
        &mut self.accounts
    }

    /// Adds `member`, whose content lies at `position` of the tar stream and has the SHA-256 `digest` (unless it is
    /// sparse). The error is the reason of a refusal.
    pub(super) fn insert(&mut self, member: Member, position: u64, digest: Option<Sha256>) -> Result<(), String> {
        let modified = modified(&member);
        if self.inodes.len() == 1 && !self.has_root {
            self.update_root_time(modified);
        }
        let Some(name) = member.path.file_name().map(|name| name.as_bytes().to_vec()) else {
            return self.root(member);
        };
        let parent = self.parent(&member.path, modified)?;
        if let Kind::HardLink(target) = &member.kind {
            let target = relative(Path::new(OsStr::from_bytes(target))).map_err(|problem| {
                format!(
                    "it is a hard link, and {}",
                    problem.replace("its name", "the name it links to")
                )
            })?;
            let node = self.linked(&target)?;
            return self.place(parent, name, node);
        }
        let inode = self.inode(member, position, digest)?;
        // An existing directory keeps its content.
        if let (Content::Directory(_), Some(there)) = (&inode.content, self.child(parent, &name))
            && let Some(Inode {
                node,
                attributes,
                content: Content::Directory(_),
            }) = self.inodes.get_mut(there as usize)
        {
            (*node, *attributes) = (inode.node, inode.attributes);
            return Ok(());
        }
        let node = self.add(inode)?;
        self.place(parent, name, node)
    }

    /// Builds the index of the tree: nodes and names in the order of the names, independent of the order of the
    /// members. Returns also the number of access control lists that were left out.
    pub(super) fn build(self) -> Result<(Builder, u64), TooLarge> {
        Built::new(self.inodes, self.accounts).build()
    }

    fn root(&mut self, member: Member) -> Result<(), String> {
        if member.kind != Kind::Directory {
            return Err("it takes the place of the root, and is no directory".into());
        }
        self.has_root = true;
        let inode = self.inode(member, 0, None)?;
        if let Some(root) = self.inodes.first_mut() {
            (root.node, root.attributes) = (inode.node, inode.attributes);
        }
        Ok(())
    }

    /// Sets the root's time: a root without a member is as old as the first member.
    fn update_root_time(&mut self, modified: Timestamp) {
        if let Some(root) = self.inodes.first_mut() {
            root.node.modified = modified;
        }
    }

    /// Returns the directory of `path`; makes missing directories, as old as `modified`.
    fn parent(&mut self, path: &Path, modified: Timestamp) -> Result<u32, String> {
        let parent = path.parent().unwrap_or(Path::new(""));
        if let Some((last, node)) = &self.last
            && last == parent
        {
            return Ok(*node);
        }
        let node = self.walk(parent, modified)?;
        self.last = Some((parent.to_owned(), node));
        Ok(node)
    }

    /// Walks to the directory `path` as [`Self::parent`] does.
    fn walk(&mut self, path: &Path, modified: Timestamp) -> Result<u32, String> {
        let mut links = 0;
        let mut todo = components(path)?;
        // From the root to the current directory.
        let mut way = vec![ROOT];
        while let Some(name) = todo.pop() {
            let at = way.last().copied().unwrap_or(ROOT);
            if name == b".." {
                way.truncate((way.len() - 1).max(1));
                continue;
            }
            let node = match self.child(at, &name) {
                Some(node) => node,
                None => {
                    let none = self.shared(Attributes::default())?;
                    let node = self.add(directory(modified, none))?;
                    self.place(at, name.clone(), node)?;
                    node
                }
            };
            match self.inodes.get(node as usize).map(|inode| &inode.content) {
                Some(Content::Directory(_)) => way.push(node),
                Some(Content::Symlink(target)) => {
                    links += 1;
                    if links > LINKS_MAX {
                        return Err("too many symbolic links lead to it".into());
                    }
                    if target.starts_with(b"/") {
                        way.truncate(1);
                    }
                    let detour = components(Path::new(OsStr::from_bytes(target)))?;
                    self.detours += detour.len() as u64;
                    if self.detours > DETOURS_MAX + DETOURS_PER_FILE * self.inodes.len() as u64 {
                        return Err("the symbolic links on the ways to it and other members are too long".into());
                    }
                    todo.extend(detour);
                }
                _ => return Err(format!("{:?} is not a directory", OsStr::from_bytes(&name))),
            }
            if way.len() > DEPTH_MAX || todo.len() > DEPTH_MAX {
                return Err(format!("it lies deeper than {DEPTH_MAX} directories"));
            }
        }
        Ok(way.last().copied().unwrap_or(ROOT))
    }

    /// Returns the file that a hard link names; it must have come before.
    fn linked(&mut self, target: &Path) -> Result<u32, String> {
        let missing = || format!("it is a hard link to {target:?}, which is not a file that came before");
        let name = target.file_name().ok_or_else(missing)?;
        let count = self.inodes.len();
        let parent = self.parent(target, Timestamp::default())?;
        let node = self.child(parent, name.as_bytes());
        let node = node.filter(|_| self.inodes.len() == count).ok_or_else(missing)?;
        match self.inodes.get(node as usize) {
            Some(inode) if !matches!(inode.content, Content::Directory(_)) => Ok(node),
            _ => Err(missing()),
        }
    }

    fn child(&self, directory: u32, name: &[u8]) -> Option<u32> {
        match &self.inodes.get(directory as usize)?.content {
            Content::Directory(children) => children.get(name).copied(),
            _ => None,
        }
    }

    fn add(&mut self, inode: Inode) -> Result<u32, String> {
        let count = u32::try_from(self.inodes.len()).unwrap_or(u32::MAX);
        if count >= self.limits.nodes_max {
            return Err(format!("more than {} files in one archive", self.limits.nodes_max));
        }
        let target = match &inode.content {
            Content::Symlink(target) => target.len(),
            Content::Sparse(extents) => extents.len() * size_of::<Extent>(),
            _ => 0,
        };
        self.count_names(target)?;
        self.inodes.push(inode);
        Ok(count)
    }

    /// Returns `attributes`, or the same ones of an earlier file.
    fn shared(&mut self, attributes: Attributes) -> Result<Rc<Attributes>, String> {
        if let Some(known) = self.attributes.get(&attributes) {
            return Ok(Rc::clone(known));
        }
        self.count_names(attributes.bytes())?;
        let shared = Rc::new(attributes);
        self.attributes.insert(Rc::clone(&shared));
        Ok(shared)
    }

    fn count_names(&mut self, bytes: usize) -> Result<(), String> {
        self.names_bytes = self.names_bytes.saturating_add(bytes as u64);
        let limit = self.limits.names_bytes_max;
        match self.names_bytes > limit {
            true => Err(format!(
                "more than {limit} bytes of names and attributes in one archive"
            )),
            false => Ok(()),
        }
    }

    /// Gives `node` a name in `parent`; it replaces an earlier node of that name.
    fn place(&mut self, parent: u32, name: Vec<u8>, node: u32) -> Result<(), String> {
        if name.len() > NAME_BYTES_MAX {
            return Err(format!("its name has more than {NAME_BYTES_MAX} bytes"));
        }
        self.count_names(name.len())?;
        let there = self
            .child(parent, &name)
            .and_then(|there| self.inodes.get(there as usize));
        if let Some(Content::Directory(children)) = there.map(|inode| &inode.content)
            && !children.is_empty()
        {
            return Err("it takes the place of a directory that is not empty".into());
        }
        if let Some(Content::Directory(children)) = self.inodes.get_mut(parent as usize).map(|inode| &mut inode.content)
        {
            let replaced = children.insert(name, node);
            self.last = self.last.take().filter(|_| replaced.is_none());
        }
        Ok(())
    }

    fn inode(&mut self, member: Member, position: u64, digest: Option<Sha256>) -> Result<Inode, String> {
        let modified = modified(&member);
        let (kind, device) = match member.kind {
            Kind::Regular | Kind::HardLink(_) => (libc::S_IFREG, (0, 0)),
            Kind::Directory => (libc::S_IFDIR, (0, 0)),
            Kind::Symlink(_) => (libc::S_IFLNK, (0, 0)),
            Kind::CharDevice(major, minor) => (libc::S_IFCHR, (major, minor)),
            Kind::BlockDevice(major, minor) => (libc::S_IFBLK, (major, minor)),
            Kind::Fifo => (libc::S_IFIFO, (0, 0)),
        };
        let content = match (member.kind, member.sparse) {
            (Kind::Directory, _) => Content::Directory(BTreeMap::new()),
            (Kind::Symlink(target), _) if target.is_empty() || target.contains(&0) => {
                return Err("it is a symbolic link to nothing".into());
            }
            (Kind::Symlink(target), _) => Content::Symlink(target),
            (Kind::Regular, Some(extents)) => Content::Sparse(placed(&extents, position)),
            (Kind::Regular, None) => Content::File(position, digest.ok_or("its content was not read")?),
            _ => Content::Special,
        };
        let size_bytes = match &content {
            Content::Symlink(target) => target.len() as u64,
            Content::File(..) | Content::Sparse(_) => member.size_bytes,
            _ => 0,
        };
        if i64::try_from(size_bytes).is_err() {
            return Err(format!("no file can have {size_bytes} bytes"));
        }
        let mut xattrs = member.xattrs;
        xattrs.retain(|(name, _)| belongs(name));
        let attributes = Attributes {
            xattrs,
            acl_texts: member.acl_texts,
        };
        // Linux has no other mode for a link (symlink(7)).
        let permissions = if kind == libc::S_IFLNK {
            0o777
        } else {
            member.permissions
        };
        Ok(Inode {
            node: Node {
                mode: kind | permissions,
                uid: member.uid,
                gid: member.gid,
                size_bytes,
                modified,
                device,
                ..empty()
            },
            attributes: self.shared(attributes)?,
            content,
        })
    }
}

/// Returns the components of `path`, the last first; `..` is among them.
fn components(path: &Path) -> Result<Vec<Vec<u8>>, String> {
    let names = path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name.as_bytes().to_vec()),
        Component::ParentDir => Some(b"..".to_vec()),
        _ => None,
    });
    let mut names: Vec<_> = names.collect();
    names.reverse();
    match names.iter().any(|name| name.len() > NAME_BYTES_MAX) {
        true => Err(format!(
            "a directory above it has a name of more than {NAME_BYTES_MAX} bytes"
        )),
        false => Ok(names),
    }
}

/// Converts the parts of a sparse file to extents in the stream, where they follow each other from `position` on.
fn placed(extents: &[crate::archive::stream::Extent], position: u64) -> Vec<Extent> {
    let mut tar_offset = position;
    let place = |extent: &crate::archive::stream::Extent| {
        let placed = Extent {
            offset: extent.offset,
            length: extent.length,
            tar_offset,
        };
        tar_offset = tar_offset.saturating_add(extent.length);
        placed
    };
    extents.iter().map(place).collect()
}

fn modified(member: &Member) -> Timestamp {
    Timestamp {
        seconds: member.modified.tv_sec,
        nanoseconds: u32::try_from(member.modified.tv_nsec).unwrap_or(0),
    }
}
