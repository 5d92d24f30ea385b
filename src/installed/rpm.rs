//! rpm's database: where it lies, and what the headers in it say (rpm-tags(7)).

use std::path::Path;

use super::rpmdb::{self, DatabaseError, Kind};
use super::{Database, InstalledError, Manager, Package};
use crate::disk::walk;
use crate::overlay::layer::Layer;
use crate::rpmfile::{Header, RpmFileError, Tag};

/// The places of the database, newer ones first, and its kind there.
const PLACES: [(&str, Kind); 6] = [
    ("/usr/lib/sysimage/rpm/rpmdb.sqlite", Kind::Sqlite),
    ("/var/lib/rpm/rpmdb.sqlite", Kind::Sqlite),
    ("/usr/lib/sysimage/rpm/Packages.db", Kind::Ndb),
    ("/var/lib/rpm/Packages.db", Kind::Ndb),
    ("/usr/lib/sysimage/rpm/Packages", Kind::Bdb),
    ("/var/lib/rpm/Packages", Kind::Bdb),
];
/// The name of the packages that stand for keys.
const KEY: &str = "gpg-pubkey";

/// Reads the database of the tree `layer`; `None` if there is none.
///
/// # Errors
/// [`InstalledError`].
pub(super) fn read(layer: &dyn Layer) -> Result<Option<Database>, InstalledError> {
    for (path, kind) in PLACES {
        let read = |path: &str| walk::read(layer, Path::new(path)).map_err(InstalledError::on(path));
        let Some(file) = read(path)? else { continue };
        let log = match kind {
            Kind::Sqlite => read(&format!("{path}-wal"))?.unwrap_or_default(),
            Kind::Ndb | Kind::Bdb => Vec::new(),
        };
        let damaged = |source| InstalledError::Damaged { path, source };
        let mut packages = Vec::new();
        for blob in rpmdb::blobs(kind, &file, &log).map_err(damaged)? {
            let header = Header::of_database(&blob).map_err(|error| damaged(error.into()))?;
            packages.push(package(&header).map_err(|error| damaged(DatabaseError::Header(error)))?);
        }
        packages.retain(|package| package.name != KEY);
        packages.sort();
        return Ok(Some(Database {
            manager: Manager::Rpm,
            path,
            packages,
        }));
    }
    Ok(None)
}

/// Returns what `header` says about its package.
///
/// # Errors
/// If a value is malformed.
fn package(header: &Header) -> Result<Package, RpmFileError> {
    // Old packages have texts in other encodings.
    let text = |tag: Tag| -> Result<String, RpmFileError> {
        let first = header.byte_strings(tag)?.into_iter().next();
        Ok(first
            .map(|bytes| String::from_utf8_lossy(bytes).into_owned())
            .unwrap_or_default())
    };
    let lossy = |tag: Tag| -> Result<Vec<String>, RpmFileError> {
        let all = header.byte_strings(tag)?.into_iter();
        Ok(all.map(|bytes| String::from_utf8_lossy(bytes).into_owned()).collect())
    };
    let mut supplier = text(Tag::VENDOR)?;
    if supplier.is_empty() {
        supplier = text(Tag::PACKAGER)?;
    }
    let (source, source_version) = source(&text(Tag::SOURCE_RPM)?);
    // `rpmlib(…)` is rpm itself, and `(a if b)` is more than a name.
    let needs = lossy(Tag::REQUIRE_NAME)?
        .into_iter()
        .filter(|name| !name.starts_with("rpmlib(") && !name.starts_with('('));
    let size = [Tag::LONG_SIZE, Tag::SIZE].into_iter().find(|tag| header.has(*tag));
    let size = size.map(|tag| header.numbers(tag)).transpose()?;
    let name = text(Tag::NAME)?;
    Ok(Package {
        version: header.evr(),
        architecture: text(Tag::ARCH)?,
        source: if source.is_empty() { name.clone() } else { source },
        source_version,
        supplier,
        homepage: text(Tag::URL)?,
        summary: text(Tag::SUMMARY)?.lines().next().unwrap_or_default().to_owned(),
        licence: text(Tag::LICENSE)?,
        needs: needs.map(|name| vec![name]).collect(),
        provides: lossy(Tag::PROVIDE_NAME)?,
        installed_bytes: size.and_then(|all| all.first().copied()).unwrap_or_default(),
        files: header.paths()?,
        name,
    })
}

/// Divides the name of a source package's file, `name-version-release.src.rpm`.
fn source(file: &str) -> (String, String) {
    let stem = file.strip_suffix(".rpm").unwrap_or(file);
    let stem = stem.rsplit_once('.').map_or(stem, |(stem, _)| stem);
    let mut parts = stem.rsplitn(3, '-');
    match (parts.next(), parts.next(), parts.next()) {
        (Some(release), Some(version), Some(name)) => (name.to_owned(), format!("{version}-{release}")),
        _ => (String::new(), String::new()),
    }
}
