//! Paths of an image, resolved.

use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, ResolveFlags};

use super::Root;
use crate::durable::PathError;

impl Root {
    /// Returns `path` as a person finds it on the host, for messages.
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

    /// Returns the path of the directory `path` on the host, links resolved inside the root.
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
        std::fs::create_dir(outer.path().join("secret")).unwrap();
        let tree = outer.path().join("tree");
        std::fs::create_dir_all(tree.join("usr/lib")).unwrap();
        for (target, name) in [("/usr/lib", "lib"), ("../../secret", "escape")] {
            std::os::unix::fs::symlink(target, tree.join(name)).unwrap();
        }
        let root = Root::open(&tree).unwrap();
        let resolved = root.resolve_directory(Path::new("lib")).unwrap();
        assert_eq!(resolved, tree.canonicalize().unwrap().join("usr/lib"));
        assert!(root.resolve_directory(Path::new("escape")).is_err());
        assert_eq!(root.describe(Path::new("/lib")), tree.join("lib"));
    }
}
