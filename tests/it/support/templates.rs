//! Templates that the tests of several groups read.

use std::path::{Path, PathBuf};

/// Returns our own templates in the style of the older tool, and the tool's own where `OIC_COMPAT_TEMPLATES` says;
/// panics if either directory has none.
pub fn older_templates() -> Vec<PathBuf> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/templates");
    let others = std::env::var_os("OIC_COMPAT_TEMPLATES").map(PathBuf::from);
    [own]
        .into_iter()
        .chain(others)
        .flat_map(|directory| directories(&directory))
        .flat_map(|directory| yaml_files(&directory))
        .collect()
}

/// Returns a directory and those directly below it that have templates, as the tool sorts them by distribution.
fn directories(top: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(top).unwrap_or_else(|error| panic!("{}: {error}", top.display()));
    let has_templates = |path: &PathBuf| {
        let mut entries = std::fs::read_dir(path).unwrap();
        entries.any(|entry| entry.unwrap().path().extension().is_some_and(|end| end == "yml"))
    };
    let below = entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_dir());
    let mut found: Vec<PathBuf> = below.filter(has_templates).collect();
    found.sort();
    found.insert(0, top.to_owned());
    found
}

/// Returns the `.yml` files of a directory, sorted; panics if there is none.
pub fn yaml_files(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    let paths = entries.map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = paths
        .filter(|path| path.extension().is_some_and(|e| e == "yml"))
        .collect();
    assert!(!files.is_empty(), "no templates in {}", directory.display());
    files.sort();
    files
}
