//! A third package system, as small as one can be. An index has a date in its first line, then one line for each
//! package: its name, version, size in bytes and SHA-256, then the names of what it needs. A package is a text: the
//! time at which it was made, in seconds, then the path and the content of one file.

use std::cmp::Ordering;
use std::ffi::OsString;
use std::fs;
use std::io::Write as _;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::archive::ArchiveError;
use crate::archive::unpack::UnpackOptions;
use crate::base::{BaseError, BaseReport, BaseRequest};
use crate::cancel::Cancel;
use crate::configure::{ConfigureError, ImageSources};
use crate::durable::PathError;
use crate::fetch::Reply;
use crate::hint::Hint;
use crate::install::{InitrdRequest, InstallError, InstallReport, InstallRequest, Marks};
use crate::package::{Checksum, Dependency, DependencyKind, Resolution, ResolvedPackage, Sha256, Targets};
use crate::provider::Provider;
use crate::repo::{Format, FormatProblem, Index, Loader, Problem, ReleaseInfo, Repository, Session};
use crate::resolve::lockfile::LockedRepository;
use crate::resolve::{ResolveError, Wanted};
use crate::root::Root;
use crate::system::{Heads, Offer, Offered, Records, Resolver, Source, System, SystemError, verify};
use crate::verify::{Keyring, VerifyError};
use crate::work::Work;

#[derive(Debug, Clone, Copy)]
pub(super) struct Toy;

#[derive(Debug, Clone)]
pub(super) struct ToyRecord {
    name: String,
    version: String,
    size_bytes: u64,
    checksum: Checksum,
    needs: Vec<String>,
    repository: String,
}

/// What only a toy repository can have wrong.
#[derive(Debug, thiserror::Error)]
#[error("{url} has no date in its first line")]
struct NoDate {
    url: String,
}

impl FormatProblem for NoDate {
    fn hint(&self) -> Option<Hint> {
        Some("write the date into the first line".into())
    }
}

/// Adds a package to the repository in `directory`, whose index begins with a date.
pub(super) fn publish(directory: &Path, name: &str, (seconds, path, content): (u64, &str, &str), needs: &str) {
    let package = format!("{seconds}\n{path}\n{content}");
    fs::write(directory.join(format!("{name}.toy")), &package).unwrap();
    let mut index = fs::read_to_string(directory.join("index")).unwrap();
    index += &format!("{name} 1.0 {} {} {needs}\n", package.len(), Sha256::of(&package));
    fs::write(directory.join("index"), index).unwrap();
}

impl Format for Toy {
    type Root = String;
    type Record = ToyRecord;
    type Further = ();

    fn keyring(_repository: &Repository) -> Result<Option<Keyring>, Problem> {
        Ok(None)
    }

    fn verify(session: &Session<'_, Self>) -> Result<String, Problem> {
        let url = format!("{}/index", session.repository.base_url);
        let Reply::Body { bytes, .. } = session.get(&url, 1 << 20, None)? else {
            panic!("nothing was asked on a condition");
        };
        let index = String::from_utf8(bytes).map_err(|error| Problem::malformed(&url, error))?;
        match index.lines().next().is_some_and(|date| date.parse::<i64>().is_ok()) {
            true => Ok(index),
            false => Err(NoDate { url }.into()),
        }
    }

    fn load(session: &Session<'_, Self>, root: &String) -> Result<(String, Vec<ToyRecord>), Problem> {
        let record = |line: &str| {
            let mut words = line.split(' ').map(str::to_owned);
            let mut word = || words.next().unwrap();
            ToyRecord {
                name: word(),
                version: word(),
                size_bytes: word().parse().unwrap(),
                checksum: word().parse().unwrap(),
                repository: session.repository.id.clone(),
                needs: words.filter(|word| !word.is_empty()).collect(),
            }
        };
        Ok((root.clone(), root.lines().skip(1).map(record).collect()))
    }

    fn release(root: &String) -> ReleaseInfo {
        ReleaseInfo {
            date: root.lines().next().unwrap().parse().unwrap(),
            suite: String::new(),
            codename: String::new(),
            sha256: Sha256::of(root),
            signer: None,
        }
    }
}

impl Offer for Toy {
    type Memory = ();

    fn directory(_repository: &Repository) -> Option<PathBuf> {
        None
    }

    fn index(
        _repository: &Repository,
        directory: &Path,
        _targets: Targets<'_>,
        _cancel: &Cancel,
    ) -> Result<Index<Self>, SystemError> {
        Err(SystemError::Unsigned(directory.to_owned()))
    }

    fn name(record: &ToyRecord) -> &str {
        &record.name
    }

    fn version(record: &ToyRecord) -> &str {
        &record.version
    }

    fn compare(a: &str, b: &str) -> Ordering {
        a.cmp(b)
    }

    fn summary(_record: &ToyRecord) -> &str {
        ""
    }

    fn describe(record: &ToyRecord) -> Offered {
        Offered {
            name: record.name.clone(),
            version: record.version.clone(),
            architecture: "any".to_owned(),
            repository: record.repository.clone(),
            size_bytes: record.size_bytes,
            installed_size_bytes: record.size_bytes,
            summary: String::new(),
            details: Vec::new(),
        }
    }

    fn resolver<'a>(
        _offered: &'a Records<Self>,
        records: &'a [ToyRecord],
        _source: Source<'a>,
        _targets: Targets<'_>,
        _without: &[String],
    ) -> Box<dyn Resolver + 'a> {
        Box::new(ToyResolver(records))
    }
}

struct ToyResolver<'a>(&'a [ToyRecord]);

impl ToyResolver<'_> {
    /// Adds the package `name` behind all that it needs; gives its place.
    fn add(&self, name: &str, resolution: &mut Resolution) -> Result<usize, ResolveError> {
        if let Some(at) = resolution.packages.iter().position(|package| package.name == name) {
            return Ok(at);
        }
        let record = self.0.iter().find(|record| record.name == name);
        let record = record.ok_or_else(|| ResolveError::UnknownPackage {
            name: name.to_owned(),
            similar: Vec::new(),
        })?;
        let needs = record.needs.iter().map(|need| self.add(need, resolution));
        let needs = needs.collect::<Result<Vec<_>, _>>()?;
        let from = resolution.packages.len();
        resolution.packages.push(ResolvedPackage {
            name: record.name.clone(),
            version: record.version.clone(),
            architecture: "any".to_owned(),
            repository: record.repository.clone(),
            path: format!("{name}.toy"),
            size_bytes: record.size_bytes,
            installed_size_bytes: record.size_bytes,
            checksum: record.checksum,
            stanza: String::new(),
        });
        let kind = DependencyKind::Depends;
        resolution
            .dependencies
            .extend(needs.into_iter().map(|to| Dependency { from, to, kind }));
        Ok(from)
    }
}

impl Resolver for ToyResolver<'_> {
    fn resolve(&mut self, wanted: &Wanted<'_>) -> Result<Resolution, SystemError> {
        let mut resolution = Resolution::default();
        for name in wanted.packages {
            let at = self.add(name, &mut resolution)?;
            resolution.requested.push(at);
        }
        Ok(resolution)
    }
}

/// Where the image's own package manager gets packages from.
#[derive(Debug)]
struct ToySources(Vec<String>);

impl ImageSources for ToySources {
    fn write(&self, root: &Root, _os: &str) -> Result<(), ConfigureError> {
        Ok(root.write("/etc/toy.repositories", self.0.join("\n"), 0o644)?)
    }
}

impl System for Toy {
    fn verify(&self, loader: &Loader<'_>, repositories: &[Repository]) -> Result<Box<dyn Heads>, SystemError> {
        verify::<Self>(loader, repositories)
    }

    fn sources(
        &self,
        _provider: &Provider,
        repositories: &[Repository],
        _locked: &[LockedRepository],
    ) -> Result<Box<dyn ImageSources>, VerifyError> {
        let ids = repositories.iter().map(|repository| repository.id.clone());
        Ok(Box::new(ToySources(ids.collect())))
    }

    fn build_seconds(&self, file: &Path) -> Result<u64, ArchiveError> {
        let package = fs::read_to_string(file).unwrap();
        Ok(package.lines().next().unwrap().parse().unwrap())
    }

    fn unpack(&self, file: &Path, root: BorrowedFd<'_>, _options: &UnpackOptions) -> Result<(), ArchiveError> {
        use rustix::fs::{Mode, OFlags, openat};
        let package = fs::read_to_string(file).unwrap();
        let [_, path, content] = package.splitn(3, '\n').collect::<Vec<_>>()[..] else {
            panic!("{file:?} is no package");
        };
        let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::TRUNC;
        let opened = openat(root, path, flags, Mode::from_raw_mode(0o644)).unwrap();
        fs::File::from(opened).write_all(content.as_bytes()).unwrap();
        Ok(())
    }

    fn bootstrap(&self, request: &BaseRequest<'_>, _work: Work<'_>) -> Result<BaseReport, BaseError> {
        for (package, file) in request.packages {
            (request.unpack)(file, request.root).map_err(|source| BaseError::Unpack {
                package: package.name.clone(),
                file: file.clone(),
                source,
            })?;
        }
        Ok(BaseReport::default())
    }

    fn complete(&self, package: &ResolvedPackage, file: &Path) -> Result<ResolvedPackage, SystemError> {
        let stanza = format!("made {}", self.build_seconds(file)?);
        Ok(ResolvedPackage {
            stanza,
            ..package.clone()
        })
    }

    fn install(&self, request: &InstallRequest<'_>, _work: Work<'_>) -> Result<InstallReport, InstallError> {
        let pool = request.pool_source.unwrap();
        let root = fs::File::open(request.root).unwrap();
        for package in request.packages {
            assert!(package.stanza.starts_with("made "));
            let unpacked = self.unpack(&pool.join(package.file_name()), root.as_fd(), &UnpackOptions::default());
            unpacked.unwrap();
        }
        Ok(InstallReport {
            packages: request.packages.len() as u64,
            install: Duration::ZERO,
            ..InstallReport::default()
        })
    }

    fn make_initrds(&self, _request: &InitrdRequest<'_>, _work: Work<'_>) -> Result<Vec<String>, InstallError> {
        Ok(Vec::new())
    }

    fn mark(&self, root: &Root, marks: &Marks<'_>) -> Result<(), PathError> {
        root.write("/requested", marks.requested.join("\n"), 0o644)
    }

    fn environment(&self, epoch: u64) -> Vec<(OsString, OsString)> {
        vec![("SOURCE_DATE_EPOCH".into(), epoch.to_string().into())]
    }
}
