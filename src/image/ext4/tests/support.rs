//! Trees, images and mounts for tests.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use sha2::Digest as _;
use uuid::Uuid;

use super::super::{FileSystemError, Kind, Spec, write};
use crate::cancel::Cancel;
use crate::image::canvas::Canvas;
use crate::image::merged::Merged;
use crate::image::region::Region;
use crate::image::tool::tests::{run, run_any};
use crate::image::tree::{self, Tree};
use crate::work::Work;

pub const OFFSET_BYTES: u64 = 1 << 20;
pub const EPOCH: u64 = 1_700_000_000;

/// Sets both times of `path`, in seconds since 1970.
pub fn set_times(path: &Path, seconds: u64) {
    let time = std::time::UNIX_EPOCH + std::time::Duration::new(seconds, 123_456_789);
    let times = fs::FileTimes::new().set_modified(time).set_accessed(time);
    File::open(path).unwrap().set_times(times).unwrap();
}

/// Makes the parameters of a file system of `size_mib`.
pub fn spec(kind: Kind, size_mib: u64) -> Spec {
    Spec {
        kind,
        size_bytes: size_mib << 20,
        uuid: Uuid::from_u128(0x1111_1111_1111_8111_8111_1111_1111_1111),
        hash_seed: Uuid::from_u128(0x2222_2222_2222_8222_8222_2222_2222_2222),
        label: Some("rootfs".into()),
        epoch_seconds: EPOCH,
    }
}

/// Collects the tree below a directory of the host.
pub fn tree_of(source: &Path) -> Tree {
    let merged = Merged::of_directory(source).unwrap();
    tree::collect(merged.overlay(), Path::new("/"), &[], 2).unwrap()
}

/// A raw file with one partition in it.
pub struct Image {
    path: PathBuf,
    offset_bytes: u64,
}

impl Image {
    /// Makes a raw file in `directory` with a partition of `size_mib`.
    pub fn new(directory: &Path, name: &str, size_mib: u64) -> Self {
        Self::at_offset(directory, name, size_mib, OFFSET_BYTES)
    }

    /// Makes such a file with the partition at `offset_bytes`.
    pub fn at_offset(directory: &Path, name: &str, size_mib: u64, offset_bytes: u64) -> Self {
        let path = directory.join(name);
        let file = File::create_new(&path).unwrap();
        file.set_len(offset_bytes + (size_mib << 20)).unwrap();
        Self { path, offset_bytes }
    }

    /// Returns the path of the raw file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes `tree` into the partition.
    pub fn write(&self, spec: &Spec, tree: &Tree, threads: usize) -> Result<(), FileSystemError> {
        self.draw(spec.size_bytes, threads, |region, work| write(region, spec, tree, work))
    }

    /// Lets `write` fill the partition of `size_bytes`.
    pub fn draw(
        &self,
        size_bytes: u64,
        threads: usize,
        write: impl FnOnce(Region<'_>, Work<'_>) -> Result<(), FileSystemError>,
    ) -> Result<(), FileSystemError> {
        let file = File::options().read(true).write(true).open(&self.path).unwrap();
        let canvas = Canvas::new(&file, &self.path, None);
        let cancel = Cancel::default();
        let work = Work {
            threads,
            ..Work::quiet(&cancel)
        };
        write(Region::new(&canvas, self.offset_bytes, size_bytes), work)?;
        canvas.finish().unwrap();
        Ok(())
    }

    /// Returns the name of the file system for e2fsprogs: the file, and the offset if it is not 0.
    pub fn at(&self) -> String {
        match self.offset_bytes {
            0 => self.path.display().to_string(),
            offset => format!("{}?offset={offset}", self.path.display()),
        }
    }

    /// Checks the file system with e2fsck.
    pub fn check(&self) {
        run("e2fsprogs", "e2fsck", &["-fn", &self.at()]);
    }

    /// Returns the bytes that it takes of the disk.
    pub fn data_bytes(&self) -> u64 {
        fs::metadata(&self.path).unwrap().blocks() * 512
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// Asks debugfs `question` and returns its answer.
pub fn debugfs(image: &Image, question: &str) -> String {
    run("e2fsprogs", "debugfs", &["-R", question, &image.at()])
}

/// The kernel's mount of an image; dropping it unmounts.
pub struct Mounted(tempfile::TempDir);

impl Mounted {
    pub fn new(image: &Image, kind: &str) -> Self {
        let mounted = Self(tempfile::tempdir().unwrap());
        let options = format!("loop,ro,offset={}", image.offset_bytes);
        let (source, target) = (image.path.to_str().unwrap(), mounted.0.path().to_str().unwrap());
        run("mount", "mount", &["-t", kind, "-o", &options, source, target]);
        mounted
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // The loop device goes with the mount.
        let (ok, text) = run_any("mount", "umount", &[self.0.path().to_str().unwrap()]);
        assert!(ok || std::thread::panicking(), "{text}");
    }
}

/// A small file system; dropping it unmounts.
pub struct Tmpfs(PathBuf);

impl Tmpfs {
    pub fn mount(path: &Path, options: &str) -> Self {
        let options = std::ffi::CString::new(options).unwrap();
        let flags = rustix::mount::MountFlags::empty();
        rustix::mount::mount("tmpfs", path, "tmpfs", flags, options.as_c_str()).unwrap();
        Self(path.to_owned())
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        rustix::mount::unmount(&self.0, rustix::mount::UnmountFlags::DETACH).unwrap();
    }
}

/// Returns all visible properties of each file below `root`, without `lost+found`.
pub fn listing(root: &Path) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    let mut first_names = BTreeMap::new();
    let mut pending = vec![PathBuf::new()];
    while let Some(path) = pending.pop() {
        let at = root.join(&path);
        found.insert(path.clone(), describe(&at, &path, &mut first_names));
        if fs::symlink_metadata(&at).unwrap().is_dir() {
            let entries = fs::read_dir(&at)
                .unwrap()
                .map(|entry| path.join(entry.unwrap().file_name()));
            let mut entries: Vec<_> = entries.filter(|path| path != Path::new("lost+found")).collect();
            entries.sort();
            pending.extend(entries.into_iter().rev());
        }
    }
    found
}

fn describe(at: &Path, path: &Path, first_names: &mut BTreeMap<u64, PathBuf>) -> String {
    let metadata = fs::symlink_metadata(at).unwrap();
    let kind = metadata.file_type();
    let mut modified = (metadata.mtime(), metadata.mtime_nsec());
    modified = modified.min((EPOCH as i64, 0));
    let mut text = format!(
        "{:o} {}:{} {}.{:09}",
        metadata.mode(),
        metadata.uid(),
        metadata.gid(),
        modified.0,
        modified.1
    );
    if !kind.is_dir() {
        let first = first_names.entry(metadata.ino()).or_insert_with(|| path.to_owned());
        text += &format!(
            " size {} links {} first {}",
            metadata.len(),
            metadata.nlink(),
            first.display()
        );
    } else {
        let extra = u64::from(at.join("lost+found").exists());
        text += &format!(" links {}", metadata.nlink() - extra);
    }
    if kind.is_char_device() || kind.is_block_device() {
        text += &format!(" device {:x}", metadata.rdev());
    }
    if kind.is_symlink() {
        text += &format!(" to {:?}", fs::read_link(at).unwrap());
    }
    if kind.is_file() {
        let mut hasher = sha2::Sha256::new();
        std::io::copy(&mut File::open(at).unwrap(), &mut Hashing(&mut hasher)).unwrap();
        text += &format!(" {:x?}", &hasher.finalize()[..8]);
    }
    text + &xattrs(at)
}

struct Hashing<'a>(&'a mut sha2::Sha256);

impl std::io::Write for Hashing<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn xattrs(at: &Path) -> String {
    let mut list = vec![0; 64 << 10];
    let length = rustix::fs::llistxattr(at, &mut list[..]).unwrap();
    let mut names: Vec<_> = list[..length]
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty())
        .collect();
    names.sort();
    let mut text = String::new();
    for name in names {
        let name = OsStr::from_bytes(name);
        let mut value = vec![0; 64 << 10];
        let length = rustix::fs::lgetxattr(at, name, &mut value[..]).unwrap();
        text += &format!(" {name:?}={}", hex::encode(&value[..length]));
    }
    text
}
