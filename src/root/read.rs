//! Reading a tree that will be an image: what [`Root`] offers to those who serialize it.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags};

use super::Root;
use crate::durable::PathError;

impl Root {
    /// `path` as a person finds it on the host, for messages.
    pub fn describe(&self, path: &Path) -> PathBuf {
        self.path.join(path.strip_prefix("/").unwrap_or(path))
    }

    /// Opens `path` with `flags`, resolved as if this directory were `/` (openat2(2), `RESOLVE_IN_ROOT`).
    ///
    /// # Errors
    /// Those of openat2(2), with the path.
    pub fn open_at(&self, path: &Path, flags: OFlags) -> Result<OwnedFd, PathError> {
        let path_in_root = if path.as_os_str().is_empty() {
            Path::new("/")
        } else {
            path
        };
        rustix::fs::openat2(
            &*self.directory,
            path_in_root,
            flags | OFlags::CLOEXEC,
            Mode::empty(),
            ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS,
        )
        .map_err(|errno| PathError::on("open", self.describe(path))(errno.into()))
    }

    /// Opens the regular file `path` for reading and gives its size in bytes.
    ///
    /// # Errors
    /// If it is missing or something else than a regular file.
    pub fn open_file(&self, path: &Path) -> Result<(File, u64), PathError> {
        // NONBLOCK: a FIFO must not make this wait.
        let file = File::from(self.open_at(path, OFlags::RDONLY | OFlags::NONBLOCK)?);
        let fail = PathError::on("read", self.describe(path));
        match file.metadata() {
            Ok(metadata) if metadata.is_file() => Ok((file, metadata.len())),
            Ok(_) => Err(fail(io::Error::other("not a regular file"))),
            Err(error) => Err(fail(error)),
        }
    }

    /// The contents of the regular file `path`, which may have at most `limit_bytes`.
    ///
    /// # Errors
    /// As [`Self::open_file`], and if the file is larger.
    pub fn read_at_most(&self, path: &Path, limit_bytes: u64) -> Result<Vec<u8>, PathError> {
        let (file, _) = self.open_file(path)?;
        let mut contents = Vec::new();
        file.take(limit_bytes.saturating_add(1))
            .read_to_end(&mut contents)
            .and_then(|_| match contents.len() as u64 > limit_bytes {
                true => Err(io::Error::other(format!("larger than {limit_bytes} bytes"))),
                false => Ok(contents),
            })
            .map_err(PathError::on("read", self.describe(path)))
    }

    /// Whether `path` leads to something that can be looked at.
    pub fn has(&self, path: &Path) -> bool {
        self.open_at(path, OFlags::PATH).is_ok()
    }

    /// The entries of the directory `path`, sorted by name; links are not followed.
    ///
    /// # Errors
    /// If it is not a readable directory.
    pub fn entries(&self, path: &Path) -> Result<Vec<(OsString, FileType)>, PathError> {
        let directory = self.open_at(path, OFlags::RDONLY | OFlags::DIRECTORY)?;
        let fail = |errno: rustix::io::Errno| PathError::on("read", self.describe(path))(errno.into());
        let mut entries = Vec::new();
        for entry in rustix::fs::Dir::read_from(&directory).map_err(fail)? {
            let entry = entry.map_err(fail)?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            let stat = rustix::fs::statat(&directory, name, rustix::fs::AtFlags::SYMLINK_NOFOLLOW).map_err(fail)?;
            let name = std::ffi::OsStr::from_bytes(name.to_bytes()).to_owned();
            entries.push((name, FileType::from_raw_mode(stat.st_mode)));
        }
        entries.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(entries)
    }

    /// Where the directory `path` really lies on the host, links resolved inside the root.
    ///
    /// # Errors
    /// If it is not a directory.
    pub fn resolve_directory(&self, path: &Path) -> Result<PathBuf, PathError> {
        let directory = self.open_at(path, OFlags::PATH | OFlags::DIRECTORY)?;
        std::fs::read_link(format!("/proc/self/fd/{}", directory.as_raw_fd()))
            .map_err(PathError::on("resolve", self.describe(path)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_stay_inside_the_root() {
        let outer = tempfile::tempdir().unwrap();
        std::fs::write(outer.path().join("secret"), "host").unwrap();
        let tree = outer.path().join("tree");
        std::fs::create_dir_all(tree.join("usr/lib")).unwrap();
        std::fs::create_dir(tree.join("etc")).unwrap();
        std::fs::write(tree.join("usr/lib/os-release"), "ID=debian\n").unwrap();
        std::os::unix::fs::symlink("../../usr/lib/os-release", tree.join("etc/os-release")).unwrap();
        std::os::unix::fs::symlink("../../../secret", tree.join("etc/escape")).unwrap();
        let root = Root::open(&tree).unwrap();
        assert_eq!(
            root.read_at_most(Path::new("/etc/os-release"), 100).unwrap(),
            b"ID=debian\n"
        );
        assert!(root.read_at_most(Path::new("etc/escape"), 100).is_err());
        let error = root
            .read_at_most(Path::new("etc/os-release"), 3)
            .unwrap_err()
            .to_string();
        assert!(error.contains("larger than 3 bytes"), "{error}");
        assert!(root.open_file(Path::new("/etc")).is_err());
        let names: Vec<_> = root.entries(Path::new("")).unwrap().into_iter().map(|e| e.0).collect();
        assert_eq!(names, ["etc", "usr"]);
    }
}
