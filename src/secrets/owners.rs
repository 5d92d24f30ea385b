//! The packages that have a file, or whose scripts have made it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::durable::PathError;
use crate::root::Root;

const LISTS: &str = "/var/lib/dpkg/info";
/// Scripts of a package that dpkg runs when it installs it (dpkg(1), deb-postinst(5)).
const SCRIPTS: [&str; 3] = ["postinst", "config", "preinst"];
/// The most packages that a message names.
const NAMED_MAX: usize = 3;

/// What a package has brought, and what its scripts say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Contents {
    /// Name of the package.
    pub package: String,
    /// Its files and directories; absolute.
    pub files: Vec<String>,
    /// The text of all scripts that run when it is installed.
    pub scripts: String,
}

/// Reads the contents of all packages whose lists dpkg keeps in `root` (dpkg(1), "FILES").
///
/// # Errors
/// If a list or script cannot be read.
pub(super) fn of_dpkg(root: &Root) -> Result<Vec<Contents>, PathError> {
    let mut all: BTreeMap<String, Contents> = BTreeMap::new();
    for name in root.names(LISTS)? {
        let name = name.to_string_lossy();
        let Some((package, kind)) = name.rsplit_once('.') else {
            continue;
        };
        if kind != "list" && !SCRIPTS.contains(&kind) {
            continue;
        }
        let package = package.split(':').next().unwrap_or(package).to_owned();
        let bytes = root.read(Path::new(LISTS).join(&*name))?.unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let contents = all.entry(package.clone()).or_default();
        contents.package = package;
        match kind {
            "list" => contents.files.extend(text.lines().map(str::to_owned)),
            _ => contents.scripts.push_str(&text),
        }
    }
    Ok(all.into_values().collect())
}

/// Lists the files and directories of packages, as [`plain`] gives them.
pub(super) fn owned<'a>(contents: impl IntoIterator<Item = &'a Contents>) -> BTreeSet<String> {
    let files = contents.into_iter().flat_map(|package| &package.files);
    files.map(|path| plain(path)).collect()
}

/// Gives a path as it is whether or not `/bin` and `/lib` are links into `/usr`.
pub(super) fn plain(path: &str) -> String {
    path.strip_prefix("/usr").unwrap_or(path).to_owned()
}

/// Names the packages that have probably made the file `path`: those whose scripts name it, or else those that have the
/// directory that it lies in.
pub(super) fn makers(all: &[Contents], path: &str) -> Vec<String> {
    let name = Path::new(path)
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let by_path = all.iter().filter(|package| package.scripts.contains(path));
    let by_name = all
        .iter()
        .filter(|package| !package.scripts.contains(path) && package.scripts.contains(&name));
    for found in [names(by_path), names(by_name)] {
        if (1..=NAMED_MAX).contains(&found.len()) {
            return found;
        }
    }
    of_directory(all, path)
}

/// Names the packages that have the innermost directory above `path` that not many have.
fn of_directory(all: &[Contents], path: &str) -> Vec<String> {
    for directory in Path::new(path).ancestors().skip(1) {
        let directory = plain(&directory.to_string_lossy());
        let has = |package: &&Contents| package.files.iter().any(|file| plain(file) == directory);
        let owners = names(all.iter().filter(has));
        match owners.len() {
            0 => {}
            1..=NAMED_MAX => return owners,
            _ => break,
        }
    }
    Vec::new()
}

/// Gives the names of packages in alphabetical order, each once.
fn names<'a>(packages: impl Iterator<Item = &'a Contents>) -> Vec<String> {
    let names: BTreeSet<&str> = packages.map(|package| package.package.as_str()).collect();
    names.into_iter().map(str::to_owned).collect()
}
