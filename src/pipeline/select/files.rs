//! Package files that a template names one by one: downloads, files and directories of the build host, and archives.
//!
//! Each becomes a file on this host whose digest is known. What comes from elsewhere lies in the package cache under its
//! digest; a file of the host stays where it is. No index signs the files, so the repository must be declared
//! trusted, unless the packages are signed themselves.

use std::fs;
use std::path::Path;

use crate::archive::bundle::{self, Form};
use crate::cache;
use crate::durable::{self, PathError};
use crate::fetch::Fetcher;
use crate::model::{PackagePlace, PackageRepository, PackageSource};
use crate::package::Sha256;
use crate::parallel;
use crate::pipeline::context::Context;
use crate::pipeline::package_files::PackageFilesError;
use crate::repo::PackageFile;
use crate::resolve::lockfile::Lockfile;

/// Obtains the package files that each repository of the template names, in the order of the repositories. With
/// `lockfile`, nothing is obtained if the package cache has all that it lists.
///
/// # Errors
/// [`PackageFilesError`] of the first entry, in order, that cannot be used.
pub fn of(context: &Context<'_>, lockfile: Option<&Lockfile>) -> Result<Vec<Vec<PackageFile>>, PackageFilesError> {
    let cache = context.workspace.package_cache();
    let is_cached = |lockfile: &Lockfile| lockfile.packages.iter().all(|one| cache.join(one.file_name()).exists());
    let repositories = &context.loaded().template.repositories;
    if lockfile.is_some_and(is_cached) || repositories.iter().all(|one| one.packages.is_empty()) {
        return Ok(Vec::new());
    }
    let obtained = repositories.iter().map(|repository| of_repository(context, repository));
    let obtained: Vec<Vec<PackageFile>> = obtained.collect::<Result<_, _>>()?;
    let kept = obtained.iter().flatten().map(|file| file.sha256);
    cache::note_files(cache, kept)?;
    Ok(obtained)
}

fn of_repository(context: &Context<'_>, repository: &PackageRepository) -> Result<Vec<PackageFile>, PackageFilesError> {
    let insecure = match repository.any_certificate {
        true => Some(context.fetcher_of_any_certificate()?),
        false => None,
    };
    let obtain = Obtain {
        cache: context.workspace.package_cache(),
        fetcher: insecure.as_ref().unwrap_or(&context.fetcher),
        extension: context.loaded().provider.packages.system.extension(),
    };
    let found = parallel::map(context.request.selecting.workers, &repository.packages, |source| {
        context.work.cancel.check()?;
        obtain.source(source)
    });
    Ok(found.into_iter().collect::<Result<Vec<_>, _>>()?.concat())
}

/// The means to obtain the files of one repository.
struct Obtain<'a> {
    /// The directory of the package cache.
    cache: &'a Path,
    fetcher: &'a Fetcher,
    /// The ending of the names of packages.
    extension: &'static str,
}

impl Obtain<'_> {
    /// Obtains the packages of one entry.
    fn source(&self, source: &PackageSource) -> Result<Vec<PackageFile>, PackageFilesError> {
        let origin = source.place.to_string();
        match &source.place {
            PackagePlace::Url(url) => {
                let name = url.split(['?', '#']).next().unwrap_or(url);
                let kind = self.kind(name, &origin)?;
                let sha256 = match source.sha256 {
                    Some(sha256) => {
                        cache::obtain_file(self.cache, url, sha256, self.fetcher)?;
                        sha256
                    }
                    None => cache::obtain_current(self.cache, url, self.fetcher)?,
                };
                self.packages(&cache::file_path(self.cache, sha256), kind, origin)
            }
            PackagePlace::Host(path) if path.is_dir() => match source.sha256 {
                Some(_) => Err(PackageFilesError::PinnedDirectory(origin)),
                None => self.directory(path, origin),
            },
            PackagePlace::Host(path) => {
                let kind = self.kind(&origin, &origin)?;
                if let Some(expected) = source.sha256 {
                    let found = describe(path, &origin)?.sha256;
                    if found != expected {
                        return Err(PackageFilesError::OtherDigest {
                            origin,
                            expected,
                            found,
                        });
                    }
                }
                self.packages(path, kind, origin)
            }
        }
    }

    /// Says by its `name` what a file is: `None` for a package, or the form of an archive.
    fn kind(&self, name: &str, origin: &str) -> Result<Option<Form>, PackageFilesError> {
        if Path::new(name).extension().is_some_and(|found| found == self.extension) {
            return Ok(None);
        }
        let other = || PackageFilesError::OtherKind {
            origin: origin.to_owned(),
            extension: self.extension,
        };
        Form::of_name(name).map(Some).ok_or_else(other)
    }

    /// Gives the package at `path`, or those in the archive there.
    fn packages(&self, path: &Path, kind: Option<Form>, origin: String) -> Result<Vec<PackageFile>, PackageFilesError> {
        let Some(form) = kind else {
            return Ok(vec![describe(path, &origin)?]);
        };
        let file = durable::open_regular(path).map_err(PathError::on("open", path))?;
        let mut found = Vec::new();
        bundle::packages(file, Path::new(&origin), form, self.extension, &mut |packed| {
            let sha256 = cache::keep_file(self.cache, &packed.content)?;
            found.push(PackageFile {
                path: cache::file_path(self.cache, sha256),
                origin: format!("{} in {origin}", packed.name),
                sha256,
                size_bytes: packed.content.len() as u64,
            });
            Ok::<_, PackageFilesError>(())
        })?;
        self.some(found, origin)
    }

    /// Gives the packages that lie directly in the directory at `path`.
    fn directory(&self, path: &Path, origin: String) -> Result<Vec<PackageFile>, PackageFilesError> {
        let mut found = Vec::new();
        for entry in fs::read_dir(path).map_err(PathError::on("list", path))? {
            let file = entry.map_err(PathError::on("list", path))?.path();
            if file.extension().is_some_and(|found| found == self.extension) {
                found.push(describe(&file, &file.display().to_string())?);
            }
        }
        self.some(found, origin)
    }

    /// Refuses an entry without packages: it is not what the template means.
    fn some(&self, found: Vec<PackageFile>, origin: String) -> Result<Vec<PackageFile>, PackageFilesError> {
        match found.is_empty() {
            true => Err(PackageFilesError::Empty {
                origin,
                extension: self.extension,
            }),
            false => Ok(found),
        }
    }
}

/// Reads digest and length of the regular file at `path`.
fn describe(path: &Path, origin: &str) -> Result<PackageFile, PathError> {
    let file = durable::open_regular(path).map_err(PathError::on("open", path))?;
    let (sha256, size_bytes) = Sha256::of_reader(file).map_err(PathError::on("read", path))?;
    Ok(PackageFile {
        path: path.to_owned(),
        origin: origin.to_owned(),
        sha256,
        size_bytes,
    })
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::process::Command;

    use super::*;
    use crate::fetch::testing::fetcher;

    struct Bench {
        directory: tempfile::TempDir,
        fetcher: Fetcher,
    }

    impl Bench {
        /// Makes files that are no packages: only their names and digests count here.
        fn new() -> Self {
            let directory = tempfile::tempdir().unwrap();
            for (name, content) in [
                ("a.deb", "first"),
                ("in/b.deb", "second"),
                ("in/c.rpm", "third"),
                ("in/README", ""),
            ] {
                let path = directory.path().join(name);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, content).unwrap();
            }
            fs::create_dir_all(directory.path().join("cache/metadata")).unwrap();
            fs::create_dir(directory.path().join("empty")).unwrap();
            let mut tar = Command::new("tar");
            let packed = tar
                .args(["-czf", "x.tgz", "a.deb", "in"])
                .current_dir(&directory)
                .status();
            assert!(packed.unwrap().success());
            let fetcher = fetcher();
            Self { directory, fetcher }
        }

        fn at(&self, name: &str) -> PathBuf {
            self.directory.path().join(name)
        }

        /// Obtains an entry, and gives the contents of its packages and where they came from.
        fn obtain(&self, place: PackagePlace, pin: Option<&str>) -> Result<Vec<(String, String)>, String> {
            let cache = self.at("cache");
            let obtain = Obtain {
                cache: &cache,
                fetcher: &self.fetcher,
                extension: "deb",
            };
            let sha256 = pin.map(Sha256::of);
            let found = obtain
                .source(&PackageSource { place, sha256 })
                .map_err(|error| error.to_string())?;
            let described = found.into_iter().map(|file| {
                let content = fs::read_to_string(&file.path).unwrap();
                assert_eq!(
                    (file.sha256, file.size_bytes),
                    (Sha256::of(&content), content.len() as u64)
                );
                (content, file.origin)
            });
            Ok(described.collect())
        }

        fn host(&self, name: &str) -> PackagePlace {
            PackagePlace::Host(self.at(name))
        }

        fn url(&self, name: &str) -> PackagePlace {
            PackagePlace::Url(format!("file://{}", self.at(name).display()))
        }
    }

    #[test]
    fn files_directories_archives_and_urls_give_their_packages() {
        let bench = Bench::new();
        let shown = |name: &str| bench.at(name).display().to_string();
        let first = |origin: &str| ("first".to_owned(), origin.to_owned());
        let second = |origin: &str| ("second".to_owned(), origin.to_owned());
        assert_eq!(
            bench.obtain(bench.host("a.deb"), None).unwrap(),
            [first(&shown("a.deb"))]
        );
        assert_eq!(bench.obtain(bench.host("a.deb"), Some("first")).unwrap().len(), 1);
        assert_eq!(
            bench.obtain(bench.host("in"), None).unwrap(),
            [second(&shown("in/b.deb"))]
        );
        let archive = shown("x.tgz");
        let both = [
            first(&format!("a.deb in {archive}")),
            second(&format!("in/b.deb in {archive}")),
        ];
        assert_eq!(bench.obtain(bench.host("x.tgz"), None).unwrap(), both);
        let url = format!("file://{}", shown("a.deb"));
        for pin in [None, Some("first")] {
            assert_eq!(bench.obtain(bench.url("a.deb"), pin).unwrap(), [first(&url)], "{pin:?}");
        }
        let archive = bench.obtain(bench.url("x.tgz"), None).unwrap();
        assert_eq!(archive.len(), 2);
        // What a server has replaced is taken, unless the digest is pinned; what is pinned stays.
        fs::write(bench.at("a.deb"), "replaced").unwrap();
        assert_eq!(bench.obtain(bench.url("a.deb"), None).unwrap()[0].0, "replaced");
        assert_eq!(bench.obtain(bench.url("a.deb"), Some("first")).unwrap()[0].0, "first");
    }

    #[test]
    fn what_is_not_meant_is_refused_by_name() {
        let bench = Bench::new();
        for (place, pin, expected) in [
            (bench.host("a.deb"), Some("other"), "but the template pins"),
            (bench.url("a.deb"), Some("other"), "has the wrong content"),
            (bench.host("in"), Some("other"), "a directory, which no digest can pin"),
            (bench.host("empty"), None, "empty has no .deb packages in it"),
            (
                bench.host("in/c.rpm"),
                None,
                "c.rpm is neither a .deb package nor an archive",
            ),
            (
                bench.url("in/README"),
                None,
                "README is neither a .deb package nor an archive",
            ),
            (bench.host("gone.deb"), None, "gone.deb"),
            (bench.url("gone.deb"), None, "there is nothing at"),
        ] {
            let error = bench.obtain(place, pin).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }
}
