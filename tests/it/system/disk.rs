//! The kernel judges what oic reads from disks: its mount of the same file system shows the same, file by file.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use oic::disk::area::Area;
use oic::disk::ext4::Ext;
use oic::disk::medium::RawFile;
use oic::overlay::layer::{FileKind, Layer, NodeId};
use oic_testkit::{sha256, soon, tool};
use rustix::fs::{CWD, Mode, XattrFlags, lsetxattr, makedev, mknodat};
use rustix::mount::{UnmountFlags, unmount};

use crate::support::disk_image;
use crate::support::program::{Oic, own_mounts};

/// A mount by the kernel through a loop device; dropping it unmounts.
struct Mounted(PathBuf);

impl Mounted {
    fn new(image: &Path, at: &Path, kind: &str, options: &str) -> Self {
        own_mounts();
        fs::create_dir_all(at).unwrap();
        let words = [
            "-t".as_ref(),
            kind.as_ref(),
            "-o".as_ref(),
            options.as_ref(),
            image.as_os_str(),
            at.as_os_str(),
        ];
        tool("mount", &words);
        Self(at.to_owned())
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // A program that another test starts has, for a moment, the files that are open here.
        assert!(soon(|| unmount(&self.0, UnmountFlags::empty()).is_ok()));
    }
}

/// Everything that is to be seen of a file.
type Listing = BTreeMap<PathBuf, String>;

/// What the kernel shows below `root`.
fn of_kernel(root: &Path) -> Listing {
    let mut found = BTreeMap::new();
    let mut pending = vec![PathBuf::new()];
    while let Some(path) = pending.pop() {
        let at = root.join(&path);
        let metadata = fs::symlink_metadata(&at).unwrap();
        let kind = FileKind::from_mode(metadata.mode()).unwrap();
        let mut text = describe(
            kind,
            metadata.mode() & 0o7777,
            (metadata.uid(), metadata.gid()),
            metadata.len(),
        );
        text += &format!(
            " {}.{:09} links {}",
            metadata.mtime(),
            metadata.mtime_nsec(),
            metadata.nlink()
        );
        let device = metadata.rdev();
        text += &format!(
            " inode {} device {}:{}",
            metadata.ino(),
            rustix::fs::major(device),
            rustix::fs::minor(device)
        );
        match kind {
            FileKind::Regular => text += &sha256(fs::read(&at).unwrap()),
            FileKind::Symlink => text += &format!(" to {:?}", fs::read_link(&at).unwrap().as_os_str().as_bytes()),
            FileKind::Directory => {
                pending.extend(
                    fs::read_dir(&at)
                        .unwrap()
                        .map(|entry| path.join(entry.unwrap().file_name())),
                );
            }
            _ => {}
        }
        let mut list = vec![0; 64 << 10];
        let length = rustix::fs::llistxattr(&at, &mut list[..]).unwrap();
        let mut names: Vec<&[u8]> = list[..length]
            .split(|byte| *byte == 0)
            .filter(|name| !name.is_empty())
            .collect();
        names.sort();
        for name in names {
            let mut value = vec![0; 64 << 10];
            let length = rustix::fs::lgetxattr(&at, OsStr::from_bytes(name), &mut value[..]).unwrap();
            text += &format!(" {}={}", String::from_utf8_lossy(name), hex::encode(&value[..length]));
        }
        found.insert(path, text);
    }
    found
}

/// What the layer shows.
fn of_layer(layer: &dyn Layer) -> Listing {
    let mut found = BTreeMap::new();
    let mut pending = vec![(PathBuf::new(), layer.root())];
    while let Some((path, node)) = pending.pop() {
        let a = layer
            .attributes(node)
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let mut text = describe(a.kind, a.permissions, (a.uid, a.gid), a.size_bytes);
        text += &format!(
            " {}.{:09} links {}",
            a.modified.seconds, a.modified.nanoseconds, a.links
        );
        text += &format!(" inode {} device {}:{}", node.0, a.device.0, a.device.1);
        match a.kind {
            FileKind::Regular => text += &sha256(read(layer, node, a.size_bytes)),
            FileKind::Symlink => text += &format!(" to {:?}", layer.read_link(node).unwrap()),
            FileKind::Directory => layer
                .entries(node, 0, &mut |entry| {
                    pending.push((path.join(entry.name), entry.node));
                    assert_eq!(layer.attributes(entry.node).unwrap().kind, entry.kind);
                    true
                })
                .unwrap(),
            _ => {}
        }
        let mut names = layer.xattr_names(node).unwrap();
        names.sort();
        for name in names {
            let value = layer.xattr(node, &name).unwrap().unwrap();
            text += &format!(" {}={}", name.to_string_lossy(), hex::encode(value));
        }
        found.insert(path, text);
    }
    found
}

fn read(layer: &dyn Layer, node: NodeId, size_bytes: u64) -> Vec<u8> {
    let mut content = vec![0; size_bytes as usize];
    // In pieces that fit no block.
    for (index, piece) in content.chunks_mut(123_457).enumerate() {
        let read = layer.read_at(node, index as u64 * 123_457, piece).unwrap();
        assert_eq!(read, piece.len());
    }
    content
}

fn describe(kind: FileKind, permissions: u32, owner: (u32, u32), size_bytes: u64) -> String {
    let size = if matches!(kind, FileKind::Regular | FileKind::Symlink | FileKind::Directory) {
        size_bytes
    } else {
        0
    };
    format!("{kind:?} {permissions:o} {}:{} size {size}", owner.0, owner.1)
}

#[track_caller]
fn assert_same(name: &str, kernel: &Listing, ours: &Listing) {
    for (path, theirs) in kernel {
        assert_eq!(Some(theirs), ours.get(path), "{name}: {}", path.display());
    }
    assert_eq!(kernel.len(), ours.len(), "{name}");
    assert!(kernel.len() > 20, "{name}: {kernel:#?}");
}

/// Makes files with everything that a file system of the ext family keeps.
fn tricky(at: &Path, names: usize, has_attributes: bool) {
    let path = |name: &str| at.join(name);
    fs::create_dir_all(path("deep/er/est")).unwrap();
    fs::create_dir_all(path("many")).unwrap();
    for number in 0..names {
        fs::write(path(&format!("many/a name that makes the directory long {number}")), "").unwrap();
    }
    for size in [0, 1, 59, 60, 61, 150, 1023, 4096, 100_000, 3_000_000] {
        fs::write(
            path(&format!("of {size}")),
            (0..size).map(|at| (at % 251) as u8).collect::<Vec<_>>(),
        )
        .unwrap();
    }
    let sparse = File::create(path("sparse")).unwrap();
    for piece in 0..700_u64 {
        sparse.write_all_at(&[piece as u8; 4096], piece * 12_288).unwrap();
    }
    sparse.set_len(40 << 20).unwrap();
    for length in [1, 59, 60, 61, 1000] {
        std::os::unix::fs::symlink("x".repeat(length), path(&format!("link of {length}"))).unwrap();
    }
    fs::hard_link(path("of 150"), path("deep/er/hard")).unwrap();
    let nodes = [
        ("char", rustix::fs::FileType::CharacterDevice, makedev(1, 3)),
        ("block", rustix::fs::FileType::BlockDevice, makedev(259, 70_000)),
        ("fifo", rustix::fs::FileType::Fifo, 0),
        ("socket", rustix::fs::FileType::Socket, 0),
    ];
    for (name, kind, device) in nodes {
        mknodat(CWD, path(name), kind, Mode::from_raw_mode(0o640), device).unwrap();
    }
    std::os::unix::fs::chown(path("of 1"), Some(100_000), Some(70_000)).unwrap();
    fs::set_permissions(path("of 59"), std::os::unix::fs::PermissionsExt::from_mode(0o6751)).unwrap();
    let time = |seconds: i64| {
        let since = std::time::Duration::new(seconds.unsigned_abs(), 123_456_789);
        let at = if seconds < 0 {
            std::time::UNIX_EPOCH - since
        } else {
            std::time::UNIX_EPOCH + since
        };
        fs::FileTimes::new().set_modified(at)
    };
    for (name, seconds) in [("of 60", -5_000), ("of 61", 5_000_000_000), ("of 1023", 1_700_000_000)] {
        File::options()
            .write(true)
            .open(path(name))
            .unwrap()
            .set_times(time(seconds))
            .unwrap();
    }
    if has_attributes {
        let set = |name: &str, attribute: &str, value: &[u8]| {
            lsetxattr(path(name), attribute, value, XattrFlags::empty()).unwrap();
        };
        set(
            "of 1",
            "security.capability",
            &[1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        );
        set("of 1", "user.large", &[7; 700]);
        set("of 150", "user.empty", b"");
        set("deep", "trusted.tree", b"value");
        set("link of 1", "trusted.link", b"value");
        set("char", "trusted.device", b"value");
        let at = path("deep/er");
        tool(
            "setfacl",
            &["-m".as_ref(), "u:1234:rwx,g:99999:r".as_ref(), at.as_os_str()],
        );
        tool(
            "setfacl",
            &["-d".as_ref(), "-m".as_ref(), "u:1234:rx".as_ref(), at.as_os_str()],
        );
    }
}

fn open(image: &Path) -> Ext {
    Ext::open(Area::whole(Arc::new(RawFile::open(image).unwrap()))).unwrap()
}

fn new_image(at: &Path, size_mib: u64, options: &[&str]) {
    let _ = fs::remove_file(at);
    File::create(at).unwrap().set_len(size_mib << 20).unwrap();
    let words: Vec<&OsStr> = ["-q", "-F"]
        .iter()
        .chain(options)
        .map(OsStr::new)
        .chain([at.as_os_str()])
        .collect();
    tool("mke2fs", &words);
}

/// Feature sets; whether large values of attributes fit.
const SETS: &[&[&str]] = &[
    &["-t", "ext4", "-b", "4096"],
    &["-t", "ext4", "-b", "2048"],
    &["-t", "ext4", "-b", "1024", "-O", "^64bit"],
    &["-t", "ext4", "-O", "^metadata_csum,^extent,^64bit"],
    &["-t", "ext4", "-O", "inline_data,metadata_csum_seed"],
    &["-t", "ext4", "-I", "1024", "-O", "inline_data,ea_inode"],
    &["-t", "ext4", "-O", "bigalloc", "-C", "16384"],
    &["-t", "ext4", "-b", "1024", "-g", "2048", "-O", "meta_bg,^resize_inode"],
    &["-t", "ext3", "-b", "1024"],
    &["-t", "ext2", "-I", "128", "-O", "^filetype,^sparse_super,^resize_inode"],
];

#[test]
fn the_kernel_fills_ext4_and_shows_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let (image, at) = (directory.path().join("image"), directory.path().join("at"));
    for options in SETS {
        let name = options.join(" ");
        new_image(&image, 120, options);
        let kind = options[1];
        {
            let _mounted = Mounted::new(&image, &at, kind, "loop");
            tricky(&at, 3000, true);
            // Deleted entries, and an index with gaps.
            for number in (0..3000).step_by(3) {
                fs::remove_file(at.join(format!("many/a name that makes the directory long {number}"))).unwrap();
            }
        }
        let kernel = {
            let _mounted = Mounted::new(&image, &at, kind, "loop,ro");
            of_kernel(&at)
        };
        assert_same(&name, &kernel, &of_layer(&open(&image)));
    }
}

#[test]
fn the_kernel_shows_the_same_of_what_mke2fs_fills() {
    let directory = tempfile::tempdir().unwrap();
    let (image, at, source) = (
        directory.path().join("image"),
        directory.path().join("at"),
        directory.path().join("source"),
    );
    fs::create_dir(&source).unwrap();
    tricky(&source, 300, false);
    for options in SETS {
        new_image(&image, 80, &[options, &["-d", source.to_str().unwrap()][..]].concat());
        let kernel = {
            let _mounted = Mounted::new(&image, &at, options[1], "loop,ro");
            of_kernel(&at)
        };
        assert_same(&options.join(" "), &kernel, &of_layer(&open(&image)));
    }
}

/// An image that is copied while it is mounted has its newest state in the journal alone.
#[test]
fn a_journal_is_replayed_as_the_kernel_does() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    for options in [
        &["-t", "ext4", "-J", "size=4"][..],
        &[
            "-t",
            "ext4",
            "-b",
            "1024",
            "-O",
            "^metadata_csum,^64bit",
            "-J",
            "size=4",
        ],
        &["-t", "ext3", "-J", "size=4"],
    ] {
        let name = options.join(" ");
        new_image(&path("image"), 64, options);
        {
            // In this mode contents go through the journal, too.
            let _mounted = Mounted::new(&path("image"), &path("at"), options[1], "loop,data=journal");
            tricky(&path("at"), 300, true);
            // A block that begins like one of the journal itself, and blocks that are used again.
            fs::write(path("at/magic"), [&[0xc0, 0x3b, 0x39, 0x98][..], &[9; 8000]].concat()).unwrap();
            rustix::fs::syncfs(File::open(path("at")).unwrap()).unwrap();
            fs::remove_dir_all(path("at/many")).unwrap();
            rustix::fs::syncfs(File::open(path("at")).unwrap()).unwrap();
            fs::write(path("at/behind"), vec![5; 300_000]).unwrap();
            File::open(path("at/behind")).unwrap().sync_all().unwrap();
            fs::copy(path("image"), path("copy")).unwrap();
            fs::copy(path("image"), path("second copy")).unwrap();
        }
        let kernel = {
            let _mounted = Mounted::new(&path("second copy"), &path("at"), options[1], "loop");
            of_kernel(&path("at"))
        };
        let ext = open(&path("copy"));
        assert!(
            ext.facts().replayed_blocks.is_some_and(|blocks| blocks > 0),
            "{name}: {:?}",
            ext.facts()
        );
        assert!(kernel.contains_key(Path::new("behind")) && !kernel.contains_key(Path::new("many")));
        assert_same(&name, &kernel, &of_layer(&ext));
    }
}

#[test]
fn an_image_is_mounted_and_unmounted() {
    own_mounts();
    let directory = tempfile::tempdir().unwrap();
    let image = disk_image::make(directory.path());
    let image = image.to_str().unwrap();
    let at = directory.path().join("at");
    fs::create_dir(&at).unwrap();
    let oic = Oic::new("disk-mount");
    let run = |arguments: &[&str]| {
        let run = oic.run(arguments);
        assert_eq!(run.code, Some(0), "{arguments:?}: {}", run.stderr);
        run.stdout
    };
    let at = at.to_str().unwrap();
    run(&["mount", image, at]);
    tool(
        "diff",
        &[
            "-r",
            "-x",
            "efi",
            "-x",
            "lost+found",
            directory.path().join("tree").to_str().unwrap(),
            at,
        ],
    );
    assert_eq!(
        fs::read_to_string(format!("{at}/boot/efi/EFI/BOOTX64.EFI")).unwrap(),
        "no program"
    );
    assert!(fs::write(format!("{at}/new"), "").is_err());
    assert!(run(&["mount", "--list"]).contains("image.raw"));
    run(&["umount", at]);
    assert_eq!(fs::read_dir(at).unwrap().count(), 0);
    // One partition, at the image's own mount point.
    let own = run(&["mount", image, "--partition", "boot"]);
    assert!(Path::new(own.trim()).join("EFI/BOOTX64.EFI").is_file(), "{own}");
    run(&["umount", image]);
    oic.run(&["mount", image, at, "--partition", "9"])
        .assert_fails(1, &["no partition \"9\""]);
    oic.run(&["mount", image, at, "--tmp-upper"])
        .assert_fails(2, &["read-only"]);
}
