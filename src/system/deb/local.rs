//! The index of a plain directory of `.deb` packages, made in memory.

use std::fmt::Write as _;
use std::path::Path;

use crate::cancel::Cancel;
use crate::package::{Sha256, Targets};
use crate::repo::deb::{self, LoadedIndex};
use crate::repo::{PackageFile, Repository};

use super::stanza;
use crate::system::directory::{self, Plain};
use crate::system::error::SystemError;

/// Reads the control files of the packages below `directory`, or of those that `repository` names.
///
/// # Errors
/// If `repository` is not declared trusted (nothing signs a plain directory), or a package is damaged.
pub(super) fn load(
    repository: &Repository,
    directory: &Path,
    targets: Targets<'_>,
    cancel: &Cancel,
) -> Result<LoadedIndex, SystemError> {
    if !repository.trusted {
        return Err(directory::unsigned(repository, directory));
    }
    let mut text = String::new();
    for package in directory::packages(repository, directory, "deb", cancel)? {
        cancel.check()?;
        add_stanza(&package, &mut text).map_err(|error| package.explain(error))?;
    }
    let sha256 = Sha256::of(&text);
    let id = repository.id.as_str().into();
    let parsed = deb::parse_packages(text.into(), id, repository.priority);
    if let Some(error) = parsed.skipped.first() {
        return Err(SystemError::package(directory, error.to_string()));
    }
    let mut records = parsed.records;
    records.retain(|record| deb::is_wanted(record, repository, targets));
    Ok(directory::index(repository, directory, records, sha256))
}

/// Adds to `text` the package's control file with the fields of an index (Debian Repository Format, "Packages
/// Indices").
fn add_stanza(package: &Plain, text: &mut String) -> Result<(), SystemError> {
    let PackageFile {
        path,
        sha256,
        size_bytes,
        ..
    } = &package.file;
    let (control, name) = (stanza::control(path)?, &package.name);
    // Writing to a String cannot fail.
    let _ = writeln!(
        text,
        "{control}\nFilename: {name}\nSize: {size_bytes}\nSHA256: {sha256}\n"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::process::Command;

    use super::*;
    use crate::package::Arch;
    use crate::repo::Signed;
    use crate::repo::deb::Deb;
    use crate::system::Offer as _;

    fn package(directory: &Path, name: &str, arch: &str) {
        let tree = tempfile::tempdir().unwrap();
        fs::create_dir(tree.path().join("DEBIAN")).unwrap();
        let control = format!(
            "Package: {name}\nVersion: 1:2.0-1\nArchitecture: {arch}\nMaintainer: A <a@example.org>\n\
             Depends: libc6 (>= 2.36)\nDescription: one\n two\n"
        );
        fs::write(tree.path().join("DEBIAN/control"), control).unwrap();
        fs::create_dir_all(directory).unwrap();
        let mut build = Command::new("dpkg-deb");
        build
            .args(["--build", "--root-owner-group"])
            .arg(tree.path())
            .arg(directory);
        let built = build.output().expect("this test needs the package dpkg");
        assert!(built.status.success());
    }

    fn repository(directory: &Path, trusted: bool) -> Repository {
        Repository {
            id: "mine".into(),
            base_url: format!("file://{}", directory.display()),
            mirror_list: None,
            signed: Signed::Metadata,
            suite: "mine".into(),
            components: vec!["main".into()],
            keys: vec![],
            trusted,
            priority: 700,
            filter: Default::default(),
            checks: Default::default(),
            files: None,
        }
    }

    #[test]
    fn the_index_has_what_the_packages_say() {
        let directory = tempfile::tempdir().unwrap();
        package(&directory.path().join("sub"), "b", "all");
        package(directory.path(), "a", "amd64");
        package(directory.path(), "c", "arm64");
        fs::write(directory.path().join("README"), "no package").unwrap();
        let mine = repository(directory.path(), true);
        let found = Deb::directory(&mine).unwrap();
        let index = load(&mine, &found, Arch::X86_64.into(), &Cancel::default()).unwrap();
        let names: Vec<_> = index.records.iter().map(|record| &*record.name).collect();
        assert_eq!(names, ["a", "b"]);
        for record in &index.records {
            let bytes = fs::read(directory.path().join(&*record.path)).unwrap();
            assert_eq!(
                (record.size_bytes, record.checksum),
                (bytes.len() as u64, Sha256::of(&bytes).into())
            );
            assert_eq!(
                (&*record.version, &*record.depends, record.priority_pin),
                ("1:2.0-1", "libc6 (>= 2.36)", 700)
            );
        }
        let unsigned = load(
            &repository(directory.path(), false),
            &found,
            Arch::X86_64.into(),
            &Cancel::default(),
        );
        assert!(unsigned.unwrap_err().hint().unwrap().contains("[trusted=yes]"));
        fs::write(directory.path().join("z.deb"), "damaged").unwrap();
        let error = load(&mine, &found, Arch::X86_64.into(), &Cancel::default()).unwrap_err();
        assert!(error.to_string().contains("z.deb"), "{error}");
        fs::create_dir(directory.path().join("dists")).unwrap();
        assert_eq!(
            Deb::directory(&mine),
            None,
            "a repository with an index is not a plain directory"
        );
    }
}
