//! A plain directory of packages as a repository: its index is made in memory.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::BufReader;
use std::path::{Path, PathBuf};

use crate::cancel::Cancel;
use crate::durable::PathError;
use crate::package::{Arch, Sha256};
use crate::repo::deb::{self, LoadedIndex};
use crate::repo::{ReleaseInfo, Repository, Signed, rpm};
use crate::rpmfile::RpmHead;

use super::{BuildError, stanza};

/// More packages than any directory of one's own has.
const FILES_MAX: usize = 20_000;

/// The directory, if `repository` is one of `.deb` files without an index.
pub(super) fn deb_directory(repository: &Repository) -> Option<PathBuf> {
    directory(repository, "dists")
}

/// The directory, if `repository` is one of `.rpm` files without an index.
pub(super) fn rpm_directory(repository: &Repository) -> Option<PathBuf> {
    directory(repository, "repodata")
}

fn directory(repository: &Repository, index: &str) -> Option<PathBuf> {
    let path = PathBuf::from(repository.base_url.strip_prefix("file://")?);
    (path.is_dir() && !path.join(index).exists()).then_some(path)
}

/// Reads the control files of all packages below `directory`.
///
/// # Errors
/// If `repository` is not declared trusted (nobody signed a plain directory), or a package is damaged.
pub(super) fn load_debs(
    repository: &Repository,
    directory: &Path,
    arch: Arch,
    cancel: &Cancel,
) -> Result<LoadedIndex, BuildError> {
    if !repository.trusted {
        return Err(BuildError::Unsigned(directory.to_owned()));
    }
    let mut text = String::new();
    for path in packages(directory, "deb")? {
        cancel.check()?;
        stanza(directory, &path, &mut text)?;
    }
    let malformed = |source| BuildError::LocalPackage {
        path: directory.to_owned(),
        reason: format!("{source}"),
    };
    let sha256 = Sha256::of(&text);
    let id = repository.id.as_str().into();
    let mut records = deb::parse_packages(text.into(), id, repository.priority).map_err(malformed)?;
    records.retain(|record| deb::is_wanted(record, repository, arch));
    tracing::warn!(
        repository = repository.id,
        directory = %directory.display(),
        packages = records.len(),
        "NOT VERIFIED: the packages of this directory are declared [trusted=yes]"
    );
    Ok(LoadedIndex {
        repository_id: repository.id.clone(),
        release: ReleaseInfo {
            date: 0,
            suite: repository.suite.clone(),
            codename: String::new(),
            sha256,
            signer: None,
        },
        records,
        fetched_bytes: 0,
        from_cache: true,
    })
}

/// Reads the headers of all `.rpm` packages below `directory`.
///
/// # Errors
/// If `repository` is neither declared trusted nor has a key that the packages are signed with (nobody
/// signed the directory), or a package is damaged.
pub(super) fn load_rpms(
    repository: &Repository,
    directory: &Path,
    arch: Arch,
    cancel: &Cancel,
) -> Result<rpm::LoadedIndex, BuildError> {
    let signed = repository.signed == Signed::Packages && !repository.keys.is_empty();
    if !repository.trusted && !signed {
        return Err(BuildError::Unsigned(directory.to_owned()));
    }
    let id: std::sync::Arc<str> = repository.id.as_str().into();
    let mut records = Vec::new();
    let mut digests = String::new();
    for path in packages(directory, "rpm")? {
        cancel.check()?;
        let bad = |reason: String| BuildError::LocalPackage {
            path: path.clone(),
            reason,
        };
        let file = File::open(&path).map_err(PathError::on("open", &path))?;
        let head = RpmHead::read(&mut BufReader::new(file)).map_err(|error| bad(format!("cannot be used: {error}")))?;
        let name = path.strip_prefix(directory).ok().and_then(Path::to_str);
        let (sha256, size_bytes) = digest(&path)?;
        let place = rpm::local::Place {
            path: name
                .ok_or_else(|| bad("has a name that is not UTF-8".to_owned()))?
                .to_owned(),
            size_bytes,
            sha256,
            repository: std::sync::Arc::clone(&id),
            priority: repository.priority,
        };
        let record = rpm::local::record(&head, &place).map_err(|error| bad(format!("cannot be used: {error}")))?;
        let _ = writeln!(digests, "{sha256} {}", place.path);
        records.extend(Some(record).filter(|record| rpm::is_wanted(record, repository, arch)));
    }
    if repository.trusted {
        tracing::warn!(
            repository = repository.id,
            directory = %directory.display(),
            packages = records.len(),
            "NOT VERIFIED: the packages of this directory are declared [trusted=yes]"
        );
    }
    Ok(rpm::LoadedIndex {
        repository_id: repository.id.clone(),
        base_url: repository.base_url.clone(),
        release: ReleaseInfo {
            date: 0,
            suite: String::new(),
            codename: String::new(),
            sha256: Sha256::of(digests),
            signer: None,
        },
        records,
        further: Vec::new(),
        notes: Vec::new(),
        fetched_bytes: 0,
        from_cache: true,
    })
}

/// All packages below `directory` whose names end in `.{extension}`, sorted.
fn packages(directory: &Path, extension: &str) -> Result<Vec<PathBuf>, BuildError> {
    let (mut found, mut open) = (Vec::new(), vec![directory.to_owned()]);
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(&directory).map_err(PathError::on("list", &directory))? {
            let entry = entry.map_err(PathError::on("list", &directory))?;
            let path = entry.path();
            // Links to files count, links to directories could lead in circles.
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                open.push(path);
            } else if path.extension().is_some_and(|found| found == extension) && path.is_file() {
                found.push(path);
            }
        }
        if found.len() > FILES_MAX {
            return Err(BuildError::LocalPackage {
                path: directory,
                reason: format!("has more than {FILES_MAX} packages"),
            });
        }
    }
    found.sort();
    Ok(found)
}

/// The package's control file with what an index adds to it (Debian Repository Format, "Packages Indices").
fn stanza(directory: &Path, path: &Path, text: &mut String) -> Result<(), BuildError> {
    let bad = |reason: &str| BuildError::LocalPackage {
        path: path.to_owned(),
        reason: reason.to_owned(),
    };
    let control = stanza::control(path)?;
    let name = path.strip_prefix(directory).ok().and_then(Path::to_str);
    let name = name.ok_or_else(|| bad("has a name that is not UTF-8"))?;
    let (sha256, size_bytes) = digest(path)?;
    // Writing to a String cannot fail.
    let _ = writeln!(
        text,
        "{control}\nFilename: {name}\nSize: {size_bytes}\nSHA256: {sha256}\n"
    );
    Ok(())
}

fn digest(path: &Path) -> Result<(Sha256, u64), PathError> {
    use sha2::Digest as _;
    let mut hasher = sha2::Sha256::new();
    let mut file = File::open(path).map_err(PathError::on("open", path))?;
    let size_bytes = std::io::copy(&mut file, &mut HashWriter(&mut hasher)).map_err(PathError::on("read", path))?;
    Ok((Sha256(hasher.finalize().into()), size_bytes))
}

/// Feeds a hasher.
struct HashWriter<'a>(&'a mut sha2::Sha256);

impl std::io::Write for HashWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        sha2::Digest::update(self.0, bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

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
        let found = super::deb_directory(&mine).unwrap();
        let index = load_debs(&mine, &found, Arch::X86_64, &Cancel::default()).unwrap();
        let names: Vec<_> = index.records.iter().map(|record| &*record.name).collect();
        assert_eq!(names, ["a", "b"]);
        for record in &index.records {
            let bytes = fs::read(directory.path().join(&*record.path)).unwrap();
            assert_eq!(
                (record.size_bytes, record.sha256),
                (bytes.len() as u64, Sha256::of(&bytes))
            );
            assert_eq!(
                (&*record.version, &*record.depends, record.priority_pin),
                ("1:2.0-1", "libc6 (>= 2.36)", 700)
            );
        }
        let unsigned = load_debs(
            &repository(directory.path(), false),
            &found,
            Arch::X86_64,
            &Cancel::default(),
        );
        assert!(unsigned.unwrap_err().hint().unwrap().contains("[trusted=yes]"));
        fs::write(directory.path().join("z.deb"), "damaged").unwrap();
        let error = load_debs(&mine, &found, Arch::X86_64, &Cancel::default()).unwrap_err();
        assert!(error.to_string().contains("z.deb"), "{error}");
        fs::create_dir(directory.path().join("dists")).unwrap();
        assert_eq!(
            super::deb_directory(&mine),
            None,
            "a repository with an index is not a plain directory"
        );
    }
}
