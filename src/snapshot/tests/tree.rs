//! Makes a tree with every kind of file, and describes a tree from any source.

use std::collections::BTreeMap;
use std::ffi::{CStr, OsStr};
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, FileType, Mode, Timespec, Timestamps, XattrFlags};

use crate::overlay::layer::{FileKind, Layer, NodeId, Timestamp};
use crate::package::Sha256;

/// `cap_net_raw+ep`, as capabilities(7) and linux/capability.h (revision 2) lay it out.
const CAPABILITY: [u8; 20] = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// Returns `user::rw- user:1234:r-- group::r-- mask::r-- other::---` (linux/posix_acl_xattr.h, version 2).
fn acl() -> Vec<u8> {
    let mut out = 2_u32.to_le_bytes().to_vec();
    for (tag, permissions, id) in [
        (1_u16, 6_u16, u32::MAX),
        (2, 4, 1234),
        (4, 4, u32::MAX),
        (0x10, 4, u32::MAX),
        (0x20, 0, u32::MAX),
    ] {
        out.extend(tag.to_le_bytes());
        out.extend(permissions.to_le_bytes());
        out.extend(id.to_le_bytes());
    }
    out
}

/// Makes bytes that do not compress well, the same for the same seed.
pub(super) fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 24) as u8
    };
    (0..length).map(|_| next()).collect()
}

fn set_time(path: &Path, tv_sec: i64, tv_nsec: i64) {
    let time = Timespec { tv_sec, tv_nsec };
    let times = Timestamps {
        last_access: time,
        last_modification: time,
    };
    rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

/// Fills `root` with one of everything.
pub(super) fn build(root: &Path) {
    let at = |name: &str| root.join(name);
    for directory in ["empty", "etc/sub/deep", "big", "dev", "many", "secret"] {
        fs::create_dir_all(at(directory)).unwrap();
    }
    fs::write(at("etc/passwd"), "root:x:0:0\n").unwrap();
    fs::write(at("etc/empty"), "").unwrap();
    for number in 0..300 {
        fs::write(
            at(&format!("many/{number}")),
            noise(number, (number * 17 % 3000) as usize),
        )
        .unwrap();
    }
    for (name, size) in [
        ("a", 1 << 20),
        ("b", (1 << 20) + 1),
        ("c", 3 << 20),
        ("d", 2_500_000),
        ("e", 130_000),
    ] {
        let half = noise(size as u64, size / 2);
        fs::write(at("big").join(name), [half.clone(), half].concat()).unwrap();
    }
    let sparse = fs::File::create(at("big/sparse")).unwrap();
    sparse.set_len(5 << 20).unwrap();
    sparse.write_all_at(b"in the middle", 3 << 20).unwrap();
    // Names: long, longer, not UTF-8, with characters special to a shell or to tar.
    let long = "l".repeat(150);
    fs::write(at(&long), "long").unwrap();
    let deep = (0..4).fold(root.to_owned(), |path, n| path.join(n.to_string().repeat(100)));
    fs::create_dir_all(&deep).unwrap();
    fs::write(deep.join("leaf"), "deep").unwrap();
    symlink(deep.strip_prefix(root).unwrap().join("leaf"), at("long-link")).unwrap();
    fs::hard_link(deep.join("leaf"), at("zz-hard-to-deep")).unwrap();
    fs::write(root.join(OsStr::from_bytes(b"latin-\xe9\xff")), "bytes").unwrap();
    let long_bytes = [&[0xff; 120][..], b"=\n%"].concat();
    fs::write(root.join(OsStr::from_bytes(&long_bytes)), "long bytes").unwrap();
    fs::write(at("new\nline \\ back"), "odd").unwrap();
    fs::hard_link(at("etc/passwd"), at("etc/sub/passwd")).unwrap();
    symlink("passwd", at("etc/link")).unwrap();
    symlink("/nowhere", at("etc/dangling")).unwrap();
    fs::hard_link(at("etc/dangling"), at("etc/dangling-too")).unwrap();
    nodes(root);
    metadata(root);
}

fn nodes(root: &Path) {
    let make = |name: &str, kind, device| {
        rustix::fs::mknodat(CWD, root.join(name), kind, Mode::from_raw_mode(0o640), device).unwrap();
    };
    make("dev/null", FileType::CharacterDevice, rustix::fs::makedev(1, 3));
    make("dev/wide", FileType::BlockDevice, rustix::fs::makedev(4095, 0xf_ffff));
    make("dev/pipe", FileType::Fifo, 0);
}

fn metadata(root: &Path) {
    let at = |name: &str| root.join(name);
    let own = |name: &str, uid, gid| std::os::unix::fs::lchown(at(name), Some(uid), Some(gid)).unwrap();
    let mode = |name: &str, mode| fs::set_permissions(at(name), fs::Permissions::from_mode(mode)).unwrap();
    let xattr = |path: &str, name: &str, value: &[u8]| {
        rustix::fs::lsetxattr(at(path), name, value, XattrFlags::empty()).unwrap();
    };
    own("etc/empty", 1000, 1001);
    own("etc/link", 12, 34);
    own("many/1", 3_000_000_000, 2_500_000);
    own("many/2", 65534, 65534);
    mode("many/2", 0o6755);
    mode("secret", 0o1700);
    mode("empty", 0o2775);
    mode("many/3", 0);
    xattr("many/4", "security.capability", &CAPABILITY);
    xattr("many/5", "system.posix_acl_access", &acl());
    xattr("empty", "system.posix_acl_default", &acl());
    xattr("many/6", "user.odd%=name", b"with \0 and \n and =");
    xattr("many/6", "user.empty", b"");
    xattr("many/7", "user.large", &noise(7, 3000));
    xattr("etc/dangling", "trusted.link", b"on a link");
    xattr("", "user.root", b"the root itself");
    for (path, seconds, nanoseconds) in [
        ("many/8", 1_700_000_000, 123_456_789),
        ("many/9", -2, 500_000_000),
        ("many/10", 0, 0),
        ("many/11", 10_000_000_000, 0),
        ("etc/link", 1_600_000_000, 10),
        ("dev/pipe", 1_500_000_000, 0),
        ("empty", 1_400_000_000, 1),
        ("etc", 1_300_000_000, 0),
        ("", 1_200_000_000, 999_999_999),
    ] {
        set_time(&at(path), seconds, nanoseconds);
    }
}

/// All properties of a node, except its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Described {
    mode: u32,
    owner: (u32, u32),
    modified: Timestamp,
    /// Number of names; only of other than directories.
    links: u32,
    device: (u32, u32),
    target: Vec<u8>,
    xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    size_bytes: u64,
    digest: Option<Sha256>,
    /// The first name of the same inode.
    first: Vec<u8>,
}

impl Described {
    /// Returns whether it is the first name of a regular file that is not empty.
    pub(super) fn holds_content(&self, name: &[u8]) -> bool {
        self.digest.is_some() && self.size_bytes > 0 && self.first == name
    }
}

/// A tree by path (`/etc/passwd`).
pub(super) type Description = BTreeMap<Vec<u8>, Described>;

/// Describes a directory on disk.
pub(super) fn on_disk(root: &Path) -> Description {
    let mut found = Description::new();
    let mut inodes = BTreeMap::new();
    disk(root, b"/".to_vec(), &mut found, &mut inodes);
    found
}

fn disk(path: &Path, name: Vec<u8>, found: &mut Description, inodes: &mut BTreeMap<u64, Vec<u8>>) {
    let meta = fs::symlink_metadata(path).unwrap();
    let kind = FileKind::from_mode(meta.mode()).unwrap();
    let mut list = vec![0; 64 << 10];
    let length = rustix::fs::llistxattr(path, &mut list[..]).unwrap();
    let xattrs = list[..length].split_inclusive(|byte| *byte == 0).map(|name| {
        let name = CStr::from_bytes_with_nul(name).unwrap();
        let mut value = vec![0; 64 << 10];
        let length = rustix::fs::lgetxattr(path, name, &mut value[..]).unwrap();
        (name.to_bytes().to_vec(), value[..length].to_vec())
    });
    let device = matches!(kind, FileKind::CharDevice | FileKind::BlockDevice);
    let regular = kind == FileKind::Regular;
    let target = fs::read_link(path).unwrap_or_default();
    found.insert(
        name.clone(),
        Described {
            mode: meta.mode(),
            owner: (meta.uid(), meta.gid()),
            modified: Timestamp {
                seconds: meta.mtime(),
                nanoseconds: meta.mtime_nsec() as u32,
            },
            links: if meta.is_dir() { 0 } else { meta.nlink() as u32 },
            device: if device {
                (rustix::fs::major(meta.rdev()), rustix::fs::minor(meta.rdev()))
            } else {
                (0, 0)
            },
            target: target.as_os_str().as_bytes().to_vec(),
            xattrs: xattrs.collect(),
            size_bytes: if meta.is_dir() { 0 } else { meta.len() },
            digest: regular.then(|| Sha256::of(fs::read(path).unwrap())),
            first: inodes.entry(meta.ino()).or_insert_with(|| name.clone()).clone(),
        },
    );
    if meta.is_dir() {
        let mut names: Vec<_> = fs::read_dir(path)
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        names.sort();
        for child in names {
            disk(&path.join(&child), join(&name, &child), found, inodes);
        }
    }
}

/// Describes a layer, reading everything.
pub(super) fn in_layer(layer: &dyn Layer) -> Description {
    let mut found = Description::new();
    let mut inodes = BTreeMap::new();
    node(layer, layer.root(), b"/".to_vec(), &mut found, &mut inodes);
    found
}

fn node(layer: &dyn Layer, id: NodeId, name: Vec<u8>, found: &mut Description, inodes: &mut BTreeMap<u64, Vec<u8>>) {
    let meta = layer.attributes(id).unwrap();
    let xattrs = layer.xattr_names(id).unwrap().into_iter().map(|name| {
        let value = layer.xattr(id, &name).unwrap().unwrap();
        (name.as_bytes().to_vec(), value)
    });
    let directory = meta.kind == FileKind::Directory;
    let described = Described {
        mode: meta.kind.mode_bits() | meta.permissions,
        owner: (meta.uid, meta.gid),
        modified: meta.modified,
        links: if directory { 0 } else { meta.links },
        device: meta.device,
        target: layer.read_link(id).unwrap_or_default(),
        xattrs: xattrs.collect(),
        size_bytes: meta.size_bytes,
        digest: (meta.kind == FileKind::Regular).then(|| Sha256::of(read(layer, id, meta.size_bytes))),
        first: inodes.entry(id.0).or_insert_with(|| name.clone()).clone(),
    };
    found.insert(name.clone(), described);
    if !directory {
        return;
    }
    let mut children = Vec::new();
    let mut after = 0;
    // In small bites, as readdir does.
    loop {
        let before = children.len();
        layer
            .entries(id, after, &mut |entry| {
                after = entry.cookie;
                children.push((entry.name.to_owned(), entry.node, entry.kind));
                !children.len().is_multiple_of(7)
            })
            .unwrap();
        if children.len() == before {
            break;
        }
    }
    for (child, child_node, kind) in children {
        assert_eq!(layer.lookup(id, &child).unwrap(), Some(child_node));
        assert_eq!(layer.attributes(child_node).unwrap().kind, kind);
        node(layer, child_node, join(&name, &child), found, inodes);
    }
}

fn read(layer: &dyn Layer, id: NodeId, size: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut buffer = vec![0; 300_001];
    while let count @ 1.. = layer.read_at(id, bytes.len() as u64, &mut buffer).unwrap() {
        bytes.extend(&buffer[..count]);
    }
    assert_eq!(bytes.len() as u64, size);
    bytes
}

fn join(directory: &[u8], name: &OsStr) -> Vec<u8> {
    let slash: &[u8] = if directory == b"/" { b"" } else { b"/" };
    [directory, slash, name.as_bytes()].concat()
}
