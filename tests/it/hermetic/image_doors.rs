//! Files of an image are opened through two doors only: `root`, where a tree is mounted or lies on disk, and `overlay`
//! with `image::merged`, where it is read from its layers. Neither follows what a package plants.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a panic is the report

use std::fs;
use std::path::{Path, PathBuf};

/// Modules that touch files of images, or files of the build host that templates name.
const MODULES: &[&str] = &[
    "base",
    "boot",
    "configure",
    "dpkg",
    "image/labels",
    "image/merged",
    "image/populate",
    "install",
    "provider",
    "root",
    "rpm",
    "secrets",
    "template",
];

/// What opens a file whatever it is.
const OPENERS: &[&str] = &[
    "File::open(",
    "fs::read(",
    "read_to_string(",
    "OpenOptions::new(",
    "File::options(",
    "File::create(",
    "fs::write(",
    "fs::copy(",
];

/// The code of the modules' files, without tests.
fn code() -> Vec<(PathBuf, String)> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files: Vec<PathBuf> = MODULES
        .iter()
        .map(|module| source.join(module).with_extension("rs"))
        .collect();
    let mut directories: Vec<PathBuf> = MODULES.iter().map(|module| source.join(module)).collect();
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).into_iter().flatten() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => directories.push(path),
                false => files.push(path),
            }
        }
    }
    files.retain(|file| !file.to_str().unwrap().contains("tests"));
    let read = |file: PathBuf| {
        let text = fs::read_to_string(&file).unwrap();
        let code = text.split("#[cfg(test)]").next().unwrap_or_default().to_owned();
        (file, code)
    };
    files.into_iter().map(read).collect()
}

#[test]
fn no_file_of_an_image_is_opened_by_a_path_of_the_host() {
    let files = code();
    assert!(files.len() > 40, "the modules have moved: {}", files.len());
    let mut wrong = Vec::new();
    for (file, code) in files {
        let lines = (1..).zip(code.lines());
        let found = lines.filter(|(_, line)| OPENERS.iter().any(|opener| line.contains(opener)));
        wrong.extend(found.map(|(number, line)| format!("{}:{number}: {}", file.display(), line.trim())));
    }
    assert!(
        wrong.is_empty(),
        "open it through Root, Merged or durable::open_regular: {wrong:#?}"
    );
}
