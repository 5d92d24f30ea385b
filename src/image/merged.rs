//! The merged tree of an image, read without a mount, by paths that cannot leave it.

mod layer;

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use super::content::{LayerFile, Source};
use crate::durable::{self, PathError};
use crate::overlay::layer::{Errno, FileKind, Layer, LayerError, LayerResult};
use crate::overlay::{Access, Ino, Overlay, OverlayError, Stat};

/// The most symbolic links followed for one path (path_resolution(7)).
const LINKS_MAX: usize = 40;

/// A read-only tree merged of layers.
#[derive(Debug, Clone)]
pub struct Merged {
    overlay: Arc<Overlay>,
}

impl Merged {
    /// Merges `layers`, the topmost first.
    ///
    /// # Errors
    /// [`OverlayError::Layers`] if there are none or too many.
    pub fn new(layers: Vec<Arc<dyn Layer>>) -> Result<Self, OverlayError> {
        let overlay = Arc::new(Overlay::new(layers, None)?);
        Ok(Self { overlay })
    }

    /// Returns the overlay that merges the layers.
    pub fn overlay(&self) -> &Overlay {
        &self.overlay
    }

    /// Says whether `path` leads to a file; links are followed.
    ///
    /// # Errors
    /// If a layer cannot be read, which is not the same as absent, or if the path leads into a circle of links.
    pub fn has(&self, path: &Path) -> Result<bool, PathError> {
        match self.resolve(path) {
            Ok(_) => Ok(true),
            Err(error) if matches!(error.errno, Errno::NOENT | Errno::NOTDIR) => Ok(false),
            Err(error) => Err(failure("look at", path, error)),
        }
    }

    /// Reads the file `path` as [`Self::read_at_most`] does; `None` if it does not exist.
    ///
    /// # Errors
    /// As [`Self::has`] and [`Self::read_at_most`].
    pub fn read_if_present(&self, path: &Path, limit_bytes: u64) -> Result<Option<Vec<u8>>, PathError> {
        match self.has(path)? {
            true => self.read_at_most(path, limit_bytes).map(Some),
            false => Ok(None),
        }
    }

    /// Returns the entries of the directory `path`, sorted by name, each with its own kind, also that of a link.
    ///
    /// # Errors
    /// If it is not a directory, or cannot be read.
    pub fn entries(&self, path: &Path) -> Result<Vec<(OsString, FileKind)>, PathError> {
        let list = || -> LayerResult<_> {
            let mut entries = Vec::new();
            self.overlay.read_dir(self.resolve(path)?.ino, 0, &mut |listed| {
                entries.push((listed.name.to_owned(), listed.kind));
                true
            })?;
            entries.sort_by(|(a, _), (b, _)| a.cmp(b));
            Ok(entries)
        };
        list().map_err(|error| failure("list", path, error))
    }

    /// Returns the regular file `path` as a source that is read later.
    ///
    /// # Errors
    /// If it is missing or not a regular file.
    pub fn file(&self, path: &Path) -> Result<Source, PathError> {
        let find = || -> LayerResult<_> {
            let stat = self.resolve(path)?;
            durable::require(stat.kind.mode_bits(), libc::S_IFREG)
                .map_err(|error| LayerError::new(Errno::INVAL, error.to_string()))?;
            let (layer, node) = self.overlay.origin(stat.ino)?;
            Ok(Source::File(LayerFile {
                layer: Arc::clone(&self.overlay.layers()[layer]),
                node,
                path: path.to_owned(),
                size_bytes: stat.size_bytes,
            }))
        };
        find().map_err(|error| failure("open", path, error))
    }

    /// Reads the contents of the regular file `path`, which may have at most `limit_bytes`.
    ///
    /// # Errors
    /// As [`Self::file`], and if the file is larger or cannot be read.
    pub fn read_at_most(&self, path: &Path, limit_bytes: u64) -> Result<Vec<u8>, PathError> {
        let file = self.file(path)?;
        let on = PathError::on("read", path);
        if file.size_bytes() > limit_bytes {
            return Err(on(io::Error::other(format!("larger than {limit_bytes} bytes"))));
        }
        let mut contents = Vec::new();
        file.reader().read_to_end(&mut contents).map_err(on)?;
        Ok(contents)
    }

    /// Returns the path of the directory `path` with all links resolved.
    ///
    /// # Errors
    /// If it is not a directory.
    pub fn resolve_directory(&self, path: &Path) -> Result<PathBuf, PathError> {
        let walk = || {
            let walked = self.walk(path)?;
            match walked.last() {
                Some((_, stat)) if stat.kind != FileKind::Directory => Err(Errno::NOTDIR.into()),
                _ => Ok(walked),
            }
        };
        let walked = walk().map_err(|error| failure("resolve", path, error))?;
        Ok(Path::new("/").join(walked.into_iter().map(|(name, _)| name).collect::<PathBuf>()))
    }

    fn resolve(&self, path: &Path) -> LayerResult<Stat> {
        match self.walk(path)?.pop() {
            Some((_, stat)) => Ok(stat),
            None => self.overlay.getattr(Ino::ROOT),
        }
    }

    /// Follows `path` from the root and returns the names on the way without links, each with its attributes. Nodes
    /// looked up stay in memory as long as this tree.
    fn walk(&self, path: &Path) -> LayerResult<Vec<(OsString, Stat)>> {
        let mut walked: Vec<(OsString, Stat)> = Vec::new();
        let mut rest: VecDeque<OsString> = names(path);
        let mut links = 0;
        while let Some(name) = rest.pop_front() {
            if name == ".." {
                walked.pop();
                continue;
            }
            let directory = walked.last().map_or(Ino::ROOT, |(_, stat)| stat.ino);
            let stat = self.overlay.lookup(directory, &name)?.ok_or(Errno::NOENT)?;
            if stat.kind != FileKind::Symlink {
                walked.push((name, stat));
                continue;
            }
            links += 1;
            if links > LINKS_MAX {
                return Err(Errno::LOOP.into());
            }
            let target = PathBuf::from(OsString::from_vec(self.overlay.read_link(stat.ino, Access::Noted)?));
            if target.is_absolute() {
                walked.clear();
            }
            let mut next = names(&target);
            next.append(&mut rest);
            rest = next;
        }
        Ok(walked)
    }
}

/// Returns the names in `path`, without `.` and `/`.
fn names(path: &Path) -> VecDeque<OsString> {
    path.components()
        .filter_map(|component| match component {
            Component::Normal(name) => Some(name.to_owned()),
            Component::ParentDir => Some(OsStr::new("..").to_owned()),
            _ => None,
        })
        .collect()
}

fn failure(action: &'static str, path: &Path, error: LayerError) -> PathError {
    let source = match error.message == error.errno.to_string() {
        true => error.errno.into(),
        false => io::Error::other(error.message),
    };
    PathError::on(action, Path::new("/").join(path))(source)
}

#[cfg(test)]
impl Merged {
    /// Shows a directory of the host.
    pub(crate) fn of_directory(path: &Path) -> Result<Self, OverlayError> {
        Self::new(vec![Arc::new(crate::overlay::directory::DirectoryLayer::open(path)?)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_stay_inside_the_tree() {
        let outer = tempfile::tempdir().unwrap();
        std::fs::write(outer.path().join("secret"), "host").unwrap();
        let tree = outer.path().join("tree");
        std::fs::create_dir_all(tree.join("usr/lib")).unwrap();
        std::fs::create_dir(tree.join("etc")).unwrap();
        std::fs::write(tree.join("usr/lib/os-release"), "ID=debian\n").unwrap();
        for (target, name) in [
            ("../../usr/lib/os-release", "etc/os-release"),
            ("../../../secret", "etc/escape"),
            ("/usr/lib", "lib"),
            ("loop", "loop"),
        ] {
            std::os::unix::fs::symlink(target, tree.join(name)).unwrap();
        }
        let merged = Merged::of_directory(&tree).unwrap();
        let read = |path: &str| merged.read_at_most(Path::new(path), 100);
        assert_eq!(read("/etc/os-release").unwrap(), b"ID=debian\n");
        assert_eq!(read("lib/../lib/os-release").unwrap(), b"ID=debian\n");
        for path in ["etc/escape", "/loop", "/etc", "nothing"] {
            assert!(
                read(path)
                    .unwrap_err()
                    .to_string()
                    .contains(path.trim_start_matches('/'))
            );
        }
        let error = merged
            .read_at_most(Path::new("etc/os-release"), 3)
            .unwrap_err()
            .to_string();
        assert!(error.contains("larger than 3 bytes"), "{error}");
        assert_eq!(
            merged.resolve_directory(Path::new("/lib")).unwrap(),
            Path::new("/usr/lib")
        );
        assert!(merged.resolve_directory(Path::new("/etc/os-release")).is_err());
        let entries = merged.entries(Path::new("")).unwrap();
        let names: Vec<_> = entries.iter().map(|(name, _)| name.to_str().unwrap()).collect();
        assert_eq!(names, ["etc", "lib", "loop", "usr"]);
    }
}
