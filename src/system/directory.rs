//! A plain directory of packages, or package files that a template names, as a repository: what all package formats
//! share.

use std::fs;
use std::path::{Path, PathBuf};

use crate::cancel::Cancel;
use crate::durable::{self, PathError};
use crate::package::Sha256;
use crate::repo::{Format, Index, PackageFile, ReleaseInfo, Repository};

use super::error::SystemError;

/// Upper limit of the number of packages; no hand-kept directory is this large.
const FILES_MAX: usize = 20_000;

/// Gives the directory of `repository` if it is local and has no `index` in it.
pub(super) fn without(repository: &Repository, index: &str) -> Option<PathBuf> {
    let path = PathBuf::from(repository.base_url.strip_prefix("file://")?);
    (path.is_dir() && !path.join(index).exists()).then_some(path)
}

/// A package of such a repository.
#[derive(Debug)]
pub(super) struct Plain {
    /// The path that an index has for it.
    pub(super) name: String,
    /// The file.
    pub(super) file: PackageFile,
}

impl Plain {
    /// Adds the place that the package came from to an error that its file caused.
    pub(super) fn explain(&self, error: SystemError) -> SystemError {
        match error {
            SystemError::Cancelled(_) => error,
            error if self.file.path == Path::new(&self.file.origin) => error,
            error => SystemError::OfFile {
                origin: self.file.origin.clone(),
                error: Box::new(error),
            },
        }
    }
}

/// Lists the packages of `repository`: the files that it names, or those below its `directory` whose names end in
/// `.{extension}`, sorted.
///
/// # Errors
/// If a file cannot be read, or there are too many.
pub(super) fn packages(
    repository: &Repository,
    directory: &Path,
    extension: &str,
    cancel: &Cancel,
) -> Result<Vec<Plain>, SystemError> {
    if let Some(files) = &repository.files {
        let mut files: Vec<PackageFile> = files.clone();
        // An archive may have a package that is named beside it, too.
        files.sort_by_key(|file| file.sha256);
        files.dedup_by_key(|file| file.sha256);
        let plain = files.into_iter().map(|file| Plain {
            name: format!("{}.{extension}", file.sha256),
            file,
        });
        return Ok(plain.collect());
    }
    let plain = |path: PathBuf| {
        cancel.check()?;
        let (sha256, size_bytes) = digest(&path)?;
        Ok(Plain {
            name: name(directory, &path)?.to_owned(),
            file: PackageFile {
                origin: path.display().to_string(),
                path,
                sha256,
                size_bytes,
            },
        })
    };
    below(directory, extension)?.into_iter().map(plain).collect()
}

/// Makes the error for a `repository` that nothing signs, and that is not declared trusted.
pub(super) fn unsigned(repository: &Repository, directory: &Path) -> SystemError {
    match repository.files {
        Some(_) => SystemError::UnsignedFiles(repository.id.clone()),
        None => SystemError::Unsigned(directory.to_owned()),
    }
}

/// Lists all packages below `directory` whose names end in `.{extension}`, sorted.
///
/// # Errors
/// If it cannot be read, or has too many packages.
fn below(directory: &Path, extension: &str) -> Result<Vec<PathBuf>, SystemError> {
    let (mut found, mut open) = (Vec::new(), vec![directory.to_owned()]);
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(&directory).map_err(PathError::on("list", &directory))? {
            let entry = entry.map_err(PathError::on("list", &directory))?;
            let path = entry.path();
            // Links to files count, links to directories could lead in circles.
            let kind = entry.file_type().map_err(PathError::on("look at", &path))?;
            if kind.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|found| found == extension) {
                durable::open_regular(&path).map_err(PathError::on("open", &path))?;
                found.push(path);
            }
        }
        if found.len() > FILES_MAX {
            let reason = format!("has more than {FILES_MAX} packages");
            return Err(SystemError::package(directory, reason));
        }
    }
    found.sort();
    Ok(found)
}

/// Gives the path of the package `path` below `directory`, as an index names it.
///
/// # Errors
/// If it is not UTF-8.
fn name<'a>(directory: &Path, path: &'a Path) -> Result<&'a str, SystemError> {
    let name = path.strip_prefix(directory).ok().and_then(Path::to_str);
    name.ok_or_else(|| SystemError::package(path, "has a name that is not UTF-8"))
}

/// Gives the digest of a file and its size in bytes.
///
/// # Errors
/// If it cannot be read.
fn digest(path: &Path) -> Result<(Sha256, u64), PathError> {
    let file = durable::open_regular(path).map_err(PathError::on("open", path))?;
    Sha256::of_reader(file).map_err(PathError::on("read", path))
}

/// Makes the index of `repository` out of `records`, the packages of its `directory`; `sha256` is over all of them.
pub(super) fn index<F: Format>(
    repository: &Repository,
    directory: &Path,
    records: Vec<F::Record>,
    sha256: Sha256,
) -> Index<F> {
    if repository.trusted {
        tracing::warn!(
            repository = repository.id,
            directory = %directory.display(),
            packages = records.len(),
            "NOT VERIFIED: the packages of this repository are declared [trusted=yes]"
        );
    }
    Index {
        repository_id: repository.id.clone(),
        base_url: repository.base_url.clone(),
        release: ReleaseInfo {
            date: 0,
            suite: repository.suite.clone(),
            codename: String::new(),
            sha256,
            signer: None,
        },
        records,
        further: F::Further::default(),
        notes: Vec::new(),
        fetched_bytes: 0,
        from_cache: true,
    }
}
