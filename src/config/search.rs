//! The search for a configuration file.

use std::path::{Path, PathBuf};

const EXTENSIONS: [&str; 2] = ["yml", "yaml"];
/// The name of the tool that oic replaces.
const OLDER_TOOL: &str = "image-composer-tool";
/// Names in the current directory; the last two are those of the older tool.
const LOCAL: [&str; 5] = [
    "oic",
    "os-image-composer",
    ".os-image-composer",
    OLDER_TOOL,
    ".image-composer-tool",
];
const DIRECTORIES: [&str; 3] = ["oic", "os-image-composer", OLDER_TOOL];

/// Lists the places in their order: the current directory, the home directory, `/etc`.
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

/// Says whether a configuration file is one of the older tool, by its name or that of its directory.
pub(super) fn is_of_older_tool(path: &Path) -> bool {
    let is_named = |name: Option<&std::ffi::OsStr>| {
        let name = name.and_then(|name| name.to_str()).unwrap_or_default();
        name.trim_start_matches('.') == OLDER_TOOL
    };
    is_named(path.file_stem()) || is_named(path.parent().and_then(Path::file_name))
}

/// Finds the first of them that exists, of any kind: a symbolic link is refused later, not skipped.
pub(super) fn first(home: Option<&Path>) -> Option<PathBuf> {
    candidates(home)
        .into_iter()
        .find(|path| !matches!(path.symlink_metadata(), Err(error) if is_absent(&error)))
}

/// Says whether `error` means that no file has this name. A file that cannot be examined is not skipped for the next
/// one.
fn is_absent(error: &std::io::Error) -> bool {
    matches!(
        error.kind(),
        std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory
    )
}
