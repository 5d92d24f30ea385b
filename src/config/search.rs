//! Where a configuration file is looked for.

use std::path::{Path, PathBuf};

const EXTENSIONS: [&str; 2] = ["yml", "yaml"];
/// The last name is the one of the tool that oic replaces.
const LOCAL: [&str; 5] = [
    "oic",
    "os-image-composer",
    ".os-image-composer",
    "image-composer-tool",
    ".image-composer-tool",
];
const DIRECTORIES: [&str; 3] = ["oic", "os-image-composer", "image-composer-tool"];

/// The places in their order: the current directory, the home directory, `/etc`.
pub fn candidates(home: Option<&Path>) -> Vec<PathBuf> {
    let mut stems: Vec<PathBuf> = LOCAL.iter().map(PathBuf::from).collect();
    if let Some(home) = home {
        stems.extend(DIRECTORIES.iter().map(|name| home.join(format!(".{name}/config"))));
        stems.extend(
            DIRECTORIES
                .iter()
                .map(|name| home.join(".config").join(name).join("config")),
        );
    }
    stems.extend(
        DIRECTORIES
            .iter()
            .map(|name| Path::new("/etc").join(name).join("config")),
    );
    stems
        .iter()
        .flat_map(|stem| EXTENSIONS.map(|extension| stem.with_extension(extension)))
        .collect()
}

/// The first of them that is there, whatever it is: a symbolic link is refused later, not skipped.
pub(super) fn first(home: Option<&Path>) -> Option<PathBuf> {
    candidates(home)
        .into_iter()
        .find(|path| path.symlink_metadata().is_ok())
}
