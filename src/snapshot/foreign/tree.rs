//! The tree that a tar stream describes, put together in memory as tar(1) would unpack it.
//!
//! Later members replace earlier ones of the same name. Symbolic links to directories are followed inside the tree,
//! so nothing leads out of it.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path};

use super::super::builder::{Builder, Child, TooLarge, Xattrs};
use super::super::format::{Extent, NONE, Node};
use super::super::walk::belongs;
use super::Limits;
use crate::archive::stream::{Kind, Member, relative};
use crate::overlay::layer::Timestamp;
use crate::package::Sha256;

/// Deeper trees are refused: nothing on Linux can name what is in them.
const DEPTH_MAX: usize = 2048;
/// Longer names are refused, as Linux does (`NAME_MAX`).
const NAME_BYTES_MAX: usize = 255;
/// Symbolic links followed on the way to one member, as the kernel does (path_resolution(7)).
const LINKS_MAX: u32 = 40;
const ROOT: u32 = 0;

/// What a node holds.
#[derive(Debug)]
enum Content {
    Directory(BTreeMap<Vec<u8>, u32>),
    Symlink(Vec<u8>),
    /// In one piece, at this offset of the tar stream.
    File(u64, Sha256),
    Sparse(Vec<Extent>),
    /// Device or FIFO.
    Special,
}

#[derive(Debug)]
struct Inode {
    node: Node,
    xattrs: Xattrs,
    content: Content,
}

/// A tree under construction.
#[derive(Debug)]
pub(super) struct Tree {
    inodes: Vec<Inode>,
    limits: Limits,
    /// Bytes of names, targets and attributes so far.
    names_bytes: u64,
    /// Whether a member has described the root.
    has_root: bool,
}

impl Tree {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            inodes: vec![directory(Timestamp::default())],
            limits: limits.clone(),
            names_bytes: 0,
            has_root: false,
        }
    }

    /// Adds `member`, whose content lies at `position` of the tar stream and has the SHA-256 `digest` (unless it is
    /// sparse). The error says why it is refused.
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
        // A directory that is there keeps what is in it.
        if let (Content::Directory(_), Some(there)) = (&inode.content, self.child(parent, &name))
            && let Some(Inode {
                node,
                xattrs,
                content: Content::Directory(_),
            }) = self.inodes.get_mut(there as usize)
        {
            (*node, *xattrs) = (inode.node, inode.xattrs);
            return Ok(());
        }
        let node = self.add(inode)?;
        self.place(parent, name, node)
    }

    /// The index of the tree: nodes and names in the order of the names, whatever the order of the members was.
    pub(super) fn build(self) -> Result<Builder, TooLarge> {
        let mut built = Built {
            numbers: vec![NONE; self.inodes.len()],
            inodes: self.inodes,
            builder: Builder::new(),
        };
        built.add_all()?;
        Ok(built.builder)
    }

    fn root(&mut self, member: Member) -> Result<(), String> {
        if member.kind != Kind::Directory {
            return Err("it takes the place of the root, and is no directory".into());
        }
        self.has_root = true;
        let inode = self.inode(member, 0, None)?;
        if let Some(root) = self.inodes.first_mut() {
            (root.node, root.xattrs) = (inode.node, inode.xattrs);
        }
        Ok(())
    }

    /// A root that no member describes is as old as the first member.
    fn update_root_time(&mut self, modified: Timestamp) {
        if let Some(root) = self.inodes.first_mut() {
            root.node.modified = modified;
        }
    }

    /// The directory that `path` lies in; directories that are missing are made, as old as `modified`.
    fn parent(&mut self, path: &Path, modified: Timestamp) -> Result<u32, String> {
        let parent = path.parent().unwrap_or(Path::new(""));
        let mut links = 0;
        let mut todo = components(parent)?;
        // From the root to the directory at hand.
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
                    let node = self.add(directory(modified))?;
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
                    todo.extend(components(Path::new(OsStr::from_bytes(target)))?);
                }
                _ => return Err(format!("{:?} is not a directory", OsStr::from_bytes(&name))),
            }
            if way.len() > DEPTH_MAX || todo.len() > DEPTH_MAX {
                return Err(format!("it lies deeper than {DEPTH_MAX} directories"));
            }
        }
        Ok(way.last().copied().unwrap_or(ROOT))
    }

    /// The file that a hard link names: one that came before.
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
        let xattrs = inode.xattrs.iter().map(|(name, value)| name.len() + value.len());
        self.count_names(target + xattrs.sum::<usize>())?;
        self.inodes.push(inode);
        Ok(count)
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

    /// Names `node` in `parent`, instead of what had the name before.
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
            children.insert(name, node);
        }
        Ok(())
    }

    fn inode(&self, member: Member, position: u64, digest: Option<Sha256>) -> Result<Inode, String> {
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
        xattrs.sort_unstable();
        Ok(Inode {
            node: Node {
                mode: kind | member.permissions,
                uid: member.uid,
                gid: member.gid,
                size_bytes,
                modified,
                device,
                ..empty()
            },
            xattrs,
            content,
        })
    }
}

/// The nodes so far, and what is to become of the others.
struct Built {
    inodes: Vec<Inode>,
    /// Per inode, its number in the index.
    numbers: Vec<u32>,
    builder: Builder,
}

/// A directory that is being added: what of its children is still to come, the last first, and what is done.
struct Open {
    number: u32,
    todo: Vec<(Vec<u8>, u32)>,
    done: Vec<Child>,
}

impl Built {
    /// Adds the root and all below it.
    fn add_all(&mut self) -> Result<(), TooLarge> {
        let mut stack = vec![self.open(ROOT)?];
        while let Some(mut top) = stack.pop() {
            let Some((name, child)) = top.todo.pop() else {
                self.builder.directory(top.number, top.done)?;
                continue;
            };
            let inner = match self.inodes.get(child as usize).map(|inode| &inode.content) {
                Some(Content::Directory(_)) => Some(self.open(child)?),
                _ => None,
            };
            let node = match &inner {
                Some(inner) => inner.number,
                None => self.inode(child)?,
            };
            self.builder.link(node);
            top.done.push(Child { name, node });
            stack.push(top);
            stack.extend(inner);
        }
        Ok(())
    }

    fn open(&mut self, id: u32) -> Result<Open, TooLarge> {
        let number = self.inode(id)?;
        let mut todo = Vec::new();
        if let Some(Content::Directory(children)) = self.inodes.get_mut(id as usize).map(|inode| &mut inode.content) {
            todo.extend(std::mem::take(children).into_iter().rev());
        }
        let done = Vec::with_capacity(todo.len());
        Ok(Open { number, todo, done })
    }

    /// The number of one inode, which it gets when it is asked for first.
    fn inode(&mut self, id: u32) -> Result<u32, TooLarge> {
        let (Some(number), Some(inode)) = (self.numbers.get_mut(id as usize), self.inodes.get_mut(id as usize)) else {
            return Err(TooLarge);
        };
        if *number != NONE {
            return Ok(*number);
        }
        let xattrs = std::mem::take(&mut inode.xattrs);
        *number = match &inode.content {
            Content::Symlink(target) => self.builder.add_symlink(inode.node, target, xattrs)?,
            _ => self.builder.add(inode.node, xattrs)?,
        };
        match &inode.content {
            Content::File(position, digest) => self.builder.content(*number, *position, *digest),
            Content::Sparse(extents) => self.builder.sparse(*number, extents)?,
            _ => {}
        }
        Ok(*number)
    }
}

/// The components of `path`, the last first; `..` among them.
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

/// Where the stored parts of a sparse file lie in the stream, one after the other from `position` on.
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

/// A directory that no member describes: root's, 0755.
fn directory(modified: Timestamp) -> Inode {
    Inode {
        node: Node {
            mode: libc::S_IFDIR | 0o755,
            modified,
            ..empty()
        },
        xattrs: Vec::new(),
        content: Content::Directory(BTreeMap::new()),
    }
}

fn empty() -> Node {
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
