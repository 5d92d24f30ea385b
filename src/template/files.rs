//! Where the files lie that a template names, as seen from the files that the template is made of.

use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use super::embedded;
use crate::data;
use crate::model::FileSource;
use crate::yaml::{Node, Source};

/// The file that marks the directory as the root of a tree of templates.
const ROOT_MARK: &str = ".oic-root";
/// Names that mark such a root too: the top of a checkout holds the first one.
const OTHER_MARKS: [&str; 2] = [".git", ".hg"];
/// The directory in which the older tool keeps its templates is such a root by its name.
const OLDER_ROOT: &str = "image-templates";

/// The place where relative names of a template's files start.
#[derive(Debug, Clone)]
pub(super) enum Base {
    /// The directory of a template on the build host, absolute.
    Directory(PathBuf),
    /// A directory of the data that comes with oic, with the user's files over it.
    Provider {
        /// The directory on the host whose files count first.
        overlay: Option<PathBuf>,
        /// The directory in the embedded data.
        directory: String,
    },
}

impl Base {
    /// Returns the directory of the file `path`.
    pub(super) fn beside(path: &Path) -> Self {
        // A name without a directory lies in the current one, whose parent is "".
        let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        Self::Directory(absolute.parent().map_or_else(PathBuf::new, Path::to_owned))
    }

    /// Finds `name` in it; of a directory of the build host also in those above, as far as they belong to the same
    /// tree of templates.
    fn find(&self, name: &str) -> Option<FileSource> {
        match self {
            Self::Directory(directory) => find_upwards(directory, Path::new(name)).map(FileSource::Host),
            Self::Provider { overlay, directory } => {
                let overlaid = overlay.as_ref().map(|overlay| overlay.join(name));
                let embedded = || embedded::join(directory, name).and_then(|path| data::file(&path));
                overlaid
                    .filter(|path| path.is_file())
                    .map(FileSource::Host)
                    .or_else(|| embedded().map(FileSource::Embedded))
            }
        }
    }
}

/// Returns the root of the tree of templates that `directory` lies in: the nearest directory, itself included, that has
/// a mark. Without one the directory is a tree of its own.
pub(super) fn root_of(directory: &Path) -> &Path {
    let is_marked = |at: &&Path| {
        let has = |mark: &str| at.join(mark).symlink_metadata().is_ok();
        has(ROOT_MARK) || OTHER_MARKS.into_iter().any(has) || at.file_name().is_some_and(|name| name == OLDER_ROOT)
    };
    directory.ancestors().find(is_marked).unwrap_or(directory)
}

/// Returns the path without `.` and `..`, as far as its text tells.
pub(super) fn normalized(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => drop(normal.pop()),
            other => normal.push(other),
        }
    }
    normal
}

/// Looks for `name` from `directory` as it is written, then from each directory above up to the root of the templates;
/// what lies outside of this root is not found from above.
fn find_upwards(directory: &Path, name: &Path) -> Option<PathBuf> {
    let written = directory.join(name);
    if written.exists() {
        return Some(written);
    }
    let root = root_of(directory);
    let above = directory.ancestors().skip(1).take_while(|at| at.starts_with(root));
    let mut paths = above.map(|at| normalized(&at.join(name)));
    paths.find(|path| path.starts_with(root) && path.exists())
}

/// A file that a merged template is made of, and where it has its files.
#[derive(Debug, Clone)]
pub(super) struct Origin {
    /// Its text.
    pub(super) source: Arc<Source>,
    /// Where relative names of its files start.
    pub(super) base: Base,
}

/// The files that a merged tree is made of.
#[derive(Debug, Clone)]
pub(super) struct Origins {
    /// The template, then those that it extends, the nearest first.
    pub(super) layers: Vec<Origin>,
    /// The provider's default template, unless the template takes nothing of it.
    pub(super) default: Option<Origin>,
}

impl Origins {
    /// Returns whether a value stands in the provider's default template.
    pub(super) fn is_default(&self, node: &Node) -> bool {
        let default = self.default.as_ref();
        default.is_some_and(|default| Arc::ptr_eq(&default.source, node.span.source()))
    }

    /// Finds the file that `name`, the text of `local`, means: as seen from the template, then from those that it
    /// extends, then among the files of the provider's default template, where templates of the older tool expect
    /// it. A name of the default template is looked for there alone.
    pub(super) fn locate(&self, local: &Node, name: &str) -> Option<FileSource> {
        if let Some(path) = name.strip_prefix(embedded::PREFIX) {
            return data::file(path).map(FileSource::Embedded);
        }
        let is_from = |origin: &&Origin| Arc::ptr_eq(&origin.source, local.span.source());
        let from_default = self.default.as_ref().filter(is_from);
        // A value that was given beside the template is one of the template.
        let of_layer = || self.layers.iter().find(is_from).or_else(|| self.layers.first());
        let own = from_default.or_else(of_layer);
        if Path::new(name).is_absolute() {
            // The data that comes with oic names no file of a build host.
            let is_of_host = own.is_some_and(|origin| matches!(origin.base, Base::Directory(_)));
            return is_of_host.then(|| FileSource::Host(name.into()));
        }
        let layers = if from_default.is_some() {
            &[][..]
        } else {
            &self.layers[..]
        };
        let found = layers
            .iter()
            .chain(&self.default)
            .find_map(|origin| origin.base.find(name));
        found.or_else(|| match &own?.base {
            // Named in the message about the file that is missing.
            Base::Directory(directory) => Some(FileSource::Host(directory.join(name))),
            Base::Provider { .. } => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn names_are_looked_for_up_to_the_root_of_the_templates() {
        let scratch = tempfile::tempdir().unwrap();
        let at = |name: &str| scratch.path().join(name);
        fs::create_dir_all(at("tree/dist/sub")).unwrap();
        fs::create_dir_all(at("tree/files")).unwrap();
        for name in ["outside", "tree/files/f", "tree/dist/near"] {
            fs::write(at(name), "").unwrap();
        }
        let find = |name: &str| find_upwards(&at("tree/dist/sub"), Path::new(name));
        assert_eq!(find("files/f"), None, "without a root nothing above counts");
        assert_eq!(
            find("../near"),
            Some(at("tree/dist/sub/../near")),
            "a name counts as it is written"
        );
        fs::write(at("tree/.oic-root"), "").unwrap();
        assert_eq!(find("files/f"), Some(at("tree/files/f")));
        assert_eq!(find("near"), Some(at("tree/dist/near")));
        assert_eq!(find("../files/f"), Some(at("tree/files/f")));
        for outside in ["outside", "../outside", "../../outside", "etc/hostname"] {
            assert_eq!(find(outside), None, "{outside}");
        }
        assert_eq!(
            root_of(Path::new("/a/image-templates/b")),
            Path::new("/a/image-templates")
        );
    }
}
