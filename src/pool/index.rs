//! The pool's index: a flat repository as apt reads it
//! (sources.list(5), "exact path"; <https://wiki.debian.org/DebianRepository/Format>).

use crate::package::{ResolvedPackage, Sha256};

/// The index files.
pub(super) struct Index {
    pub(super) packages: Vec<u8>,
    pub(super) release: Vec<u8>,
}

impl Index {
    /// Makes the index of those `packages` that are `.deb`s; `None` if none is.
    pub(super) fn of(packages: &[ResolvedPackage]) -> Option<Self> {
        let mut text = String::new();
        for package in packages {
            let file_name = package.file_name();
            if file_name.ends_with(".deb") {
                write_stanza(&mut text, package, &file_name);
            }
        }
        if text.is_empty() {
            return None;
        }
        // apt needs no more fields for a source that is `[trusted=yes]`; the digest makes it verify the file.
        let release = format!(
            "Origin: oic\nLabel: oic\nDescription: packages of this build\nSHA256:\n {} {} Packages\n",
            Sha256::of(&text),
            text.len()
        );
        Some(Self {
            packages: text.into_bytes(),
            release: release.into_bytes(),
        })
    }
}

/// Writes the stanza of the repository with `Filename` (deb-control(5) syntax: a field's further lines start with a
/// blank) set to `file_name`.
fn write_stanza(text: &mut String, package: &ResolvedPackage, file_name: &str) {
    if package.stanza.trim().is_empty() {
        text.push_str(&format!(
            "Package: {}\nVersion: {}\nArchitecture: {}\nSize: {}\n{}: {}\n",
            package.name,
            package.version,
            package.architecture,
            package.size_bytes,
            package.checksum.algorithm().field(),
            package.checksum
        ));
    }
    let mut skipping = false;
    for line in package.stanza.lines().filter(|line| !line.is_empty()) {
        if !line.starts_with([' ', '\t']) {
            let field = line.split_once(':').map_or(line, |(field, _)| field);
            skipping = field.eq_ignore_ascii_case("Filename");
        }
        if !skipping {
            text.push_str(line);
            text.push('\n');
        }
    }
    text.push_str(&format!("Filename: ./{file_name}\n\n"));
}
