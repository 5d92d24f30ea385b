//! The `Packages` indexes that a Release file lists: their choice, download and verification.

use super::error::DebProblem;
use super::format::Session;
use super::packages::{Parsed, parse_packages_on};
use super::release::{Listed, Release};
use crate::archive::compression::{Compression, plausible_bytes};
use crate::fetch::{FetchError, Reply};
use crate::package::{ForeignArch, PackageRecord, Targets};
use crate::repo::store::Kind;
use crate::repo::{Problem, Repository};

/// The forms of an index, the smallest to download first.
const PREFERENCE: [Compression; 5] = [
    Compression::Xz,
    Compression::Zstd,
    Compression::Bzip2,
    Compression::Gzip,
    Compression::Plain,
];
/// Upper limit in bytes, twenty times Debian's largest index.
const INDEX_LIMIT_BYTES: u64 = 1 << 30;

/// The name of the root of the metadata, for messages.
const ROOT: &str = "the Release file";

/// One index, in all the forms that the Release file lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ListedIndex {
    /// Path below the Release file's directory, without a compression suffix.
    path: String,
    /// Listed forms, the preferred first.
    forms: Vec<(Compression, Listed)>,
    /// The foreign architecture that it is for: only packages of this one are taken from it.
    foreign: Option<ForeignArch>,
}

impl ListedIndex {
    fn find(release: &Release, path: String) -> Option<Self> {
        let listed = |form: Compression| {
            release
                .file(&format!("{path}{}", form.suffix()))
                .map(|listed| (form, listed.clone()))
        };
        let forms: Vec<_> = PREFERENCE.into_iter().filter_map(listed).collect();
        (!forms.is_empty()).then_some(Self {
            path,
            forms,
            foreign: None,
        })
    }

    /// Returns the decompressed form, if it is listed.
    fn plain(&self) -> Option<&Listed> {
        let plain = self.forms.iter().find(|(form, _)| *form == Compression::Plain);
        plain.map(|(_, listed)| listed)
    }
}

/// Returns the indexes of the repository's components, for the architecture and for `all`; that of all packages, if it
/// is flat. Components without an index are left out ([`absent`] lists them), unless that leaves nothing. `url` is that
/// of the Release file.
pub(super) fn wanted(session: &Session<'_>, release: &Release, url: &str) -> Result<Vec<ListedIndex>, Problem> {
    if session.repository.is_flat() {
        let index = ListedIndex::find(release, "Packages".to_owned());
        return Ok(vec![
            index.ok_or_else(|| DebProblem::NoFlatIndex { url: url.to_owned() })?,
        ]);
    }
    let components = &session.repository.components;
    let all: Vec<ListedIndex> = components
        .iter()
        .flat_map(|name| of_component(session, release, name))
        .chain(of_foreign(session, release))
        .collect();
    if all.iter().all(|index| index.foreign.is_some()) {
        let problem = DebProblem::NoIndex {
            url: url.to_owned(),
            component: components.join(" "),
            architecture: session.options.arch.deb().to_owned(),
            components: release.components.join(" "),
            architectures: release.architectures.join(" "),
        };
        return Err(problem.into());
    }
    Ok(all)
}

/// Returns the components of the repository for which `release` lists no index, for neither the architecture nor `all`.
pub(super) fn absent<'a>(session: &Session<'a>, release: &Release) -> Vec<&'a str> {
    if session.repository.is_flat() {
        return Vec::new();
    }
    let names = session.repository.components.iter().map(String::as_str);
    names
        .filter(|name| of_component(session, release, name).is_empty())
        .collect()
}

fn of_component(session: &Session<'_>, release: &Release, component: &str) -> Vec<ListedIndex> {
    let find = |architecture| ListedIndex::find(release, format!("{component}/binary-{architecture}/Packages"));
    let own = find(session.options.arch.deb());
    let all = if release.all_is_in_each { None } else { find("all") };
    own.into_iter().chain(all).collect()
}

/// Returns the indexes of the repository's components for foreign architectures, as far as `release` lists them.
fn of_foreign(session: &Session<'_>, release: &Release) -> Vec<ListedIndex> {
    let components = session.repository.components.iter();
    let find = |component: &String, arch: ForeignArch| {
        let index = ListedIndex::find(release, format!("{component}/binary-{}/Packages", arch.deb()))?;
        let foreign = Some(arch);
        Some(ListedIndex { foreign, ..index })
    };
    let foreign = &session.options.foreign;
    components
        .flat_map(|component| foreign.iter().filter_map(move |arch| find(component, *arch)))
        .collect()
}

/// Returns the foreign architectures for which `release` lists no index of the repository's components.
pub(super) fn absent_foreign(session: &Session<'_>, release: &Release) -> Vec<ForeignArch> {
    let found = of_foreign(session, release);
    let foreign = session.options.foreign.iter().copied();
    foreign
        .filter(|arch| !session.repository.is_flat() && found.iter().all(|index| index.foreign != Some(*arch)))
        .collect()
}

/// The number of oddities of an index that are named one by one.
const NAMED: usize = 5;

impl Session<'_> {
    /// Returns the packages of an index that are for the architecture and that the filter allows.
    pub(super) fn records(&self, release: &Release, wanted: &ListedIndex) -> Result<Vec<PackageRecord>, Problem> {
        self.work.cancel.check()?;
        let text = self.text(self.index(release, wanted)?, wanted);
        let id = self.repository.id.as_str().into();
        let parsed = parse_packages_on(self.work.threads, text.into(), id, self.repository.priority);
        self.warn_of_oddities(&parsed, wanted);
        let mut records = parsed.records;
        let is_of_index =
            |record: &PackageRecord| wanted.foreign.is_none_or(|arch| *record.architecture == *arch.deb());
        let targets = self.options.targets();
        records.retain(|record| is_of_index(record) && is_wanted(record, self.repository, targets));
        Ok(records)
    }

    /// Returns an index as text. Bytes that are not UTF-8 become replacement characters: they are in names of people
    /// and descriptions, and a name, version or path with one is refused later.
    fn text(&self, index: Vec<u8>, wanted: &ListedIndex) -> String {
        String::from_utf8(index).unwrap_or_else(|error| {
            let valid_bytes = error.utf8_error().valid_up_to();
            let before = error.as_bytes().iter().take(valid_bytes);
            let line = 1 + before.filter(|byte| **byte == b'\n').count();
            let (repository, url) = (&self.repository.id, self.url(&wanted.path));
            tracing::warn!(
                repository,
                url,
                line,
                "the text is not UTF-8; some characters are replaced"
            );
            String::from_utf8_lossy(error.as_bytes()).into_owned()
        })
    }

    /// Names what is odd in an index, as far as it is not too much.
    fn warn_of_oddities(&self, parsed: &Parsed, wanted: &ListedIndex) {
        let (repository, url) = (&self.repository.id, self.url(&wanted.path));
        for error in parsed.skipped.iter().take(NAMED) {
            tracing::warn!(repository, url, "{error}: this package is left out");
        }
        for error in parsed.repaired.iter().take(NAMED) {
            tracing::warn!(repository, url, "{error}");
        }
        let unnamed = parsed.skipped.len().saturating_sub(NAMED) + parsed.repaired.len().saturating_sub(NAMED);
        if unnamed > 0 {
            tracing::warn!(repository, url, "{unnamed} more stanzas are odd or left out");
        }
    }

    /// Returns an index, from the cache or the mirror; verified either way.
    fn index(&self, release: &Release, wanted: &ListedIndex) -> Result<Vec<u8>, Problem> {
        if let Some(plain) = self.cached_index(wanted)? {
            return Ok(plain);
        }
        if self.options.offline {
            return Err(Problem::NotCached {
                urls: vec![self.url(&wanted.path)],
            });
        }
        let mut missing = self.url(&wanted.path);
        for (form, listed) in &wanted.forms {
            match self.download(release, wanted, *form, listed) {
                Err(Problem::IndexNotFound { url, .. }) => missing = url,
                done => return done,
            }
        }
        Err(Problem::IndexNotFound {
            url: missing,
            root: ROOT,
        })
    }

    /// Returns an error if the cache lacks one of the indexes, so that the missing files of several repositories can be
    /// reported together.
    pub(super) fn check_cached(&self, release: &Release, url: &str) -> Result<(), Problem> {
        let mut missing = wanted(self, release, url)?;
        missing.retain(|wanted| {
            let mut forms = wanted.forms.iter();
            let is_kept = |(form, listed): &(Compression, Listed)| {
                self.store.has(Kind::index("Packages", form.suffix()), listed.checksum)
            };
            !forms.any(is_kept)
        });
        match missing.is_empty() {
            true => Ok(()),
            false => Err(Problem::NotCached {
                urls: missing.iter().map(|wanted| self.url(&wanted.path)).collect(),
            }),
        }
    }

    fn cached_index(&self, wanted: &ListedIndex) -> Result<Option<Vec<u8>>, Problem> {
        if let Some(plain) = wanted.plain() {
            let (kind, checksum) = (Kind::index("Packages", ""), plain.checksum);
            return Ok(self.store.read(kind, checksum, plain.size_bytes));
        }
        for (form, listed) in &wanted.forms {
            let (kind, checksum) = (Kind::index("Packages", form.suffix()), listed.checksum);
            if let Some(bytes) = self.store.read(kind, checksum, listed.size_bytes) {
                return self.decompress(&self.url(&wanted.path), wanted, *form, bytes).map(Some);
            }
        }
        Ok(None)
    }

    /// Downloads one form, checks and decompresses it, and keeps it in the cache: decompressed if the Release file
    /// lists that form's digest, else as it came.
    fn download(
        &self,
        release: &Release,
        wanted: &ListedIndex,
        form: Compression,
        listed: &Listed,
    ) -> Result<Vec<u8>, Problem> {
        let named = self.url(&format!("{}{}", wanted.path, form.suffix()));
        let largest = wanted
            .forms
            .iter()
            .map(|(_, listed)| listed.size_bytes)
            .max()
            .unwrap_or(listed.size_bytes);
        if largest > INDEX_LIMIT_BYTES {
            return Err(Problem::TooLarge {
                url: named,
                size_bytes: largest,
                limit_bytes: INDEX_LIMIT_BYTES,
            });
        }
        let (url, bytes) = self.fetch(release, wanted, named, listed)?;
        check(&url, &bytes, listed)?;
        match wanted.plain() {
            Some(plain) => {
                let bytes = self.decompress(&url, wanted, form, bytes)?;
                check(&url, &bytes, plain)?;
                let (kind, checksum) = (Kind::index("Packages", ""), plain.checksum);
                self.store.write(kind, checksum, &bytes)?;
                Ok(bytes)
            }
            None => {
                let (kind, checksum) = (Kind::index("Packages", form.suffix()), listed.checksum);
                self.store.write(kind, checksum, &bytes)?;
                self.decompress(&url, wanted, form, bytes)
            }
        }
    }

    /// Downloads the file at the URL `named`, by its digest where the repository offers that; returns also the URL that
    /// had it.
    fn fetch(
        &self,
        release: &Release,
        wanted: &ListedIndex,
        named: String,
        listed: &Listed,
    ) -> Result<(String, Vec<u8>), Problem> {
        let mut answer = Err(FetchError::NotFound { url: named.clone() });
        let mut url = named.clone();
        if release.by_hash {
            let directory = wanted.path.rfind('/').and_then(|end| wanted.path.get(..=end));
            let algorithm = listed.checksum.algorithm().field();
            let by_hash = format!("by-hash/{algorithm}/{}", listed.checksum);
            url = self.url(&format!("{}{by_hash}", directory.unwrap_or_default()));
            answer = self.get(&url, listed.size_bytes, None);
        }
        if matches!(answer, Err(FetchError::NotFound { .. })) {
            answer = self.get(&named, listed.size_bytes, None);
            url = named;
        }
        match answer {
            Ok(Reply::Body { bytes, .. }) => Ok((url, bytes)),
            Ok(Reply::NotModified) | Err(FetchError::NotFound { .. }) => {
                Err(Problem::IndexNotFound { url, root: ROOT })
            }
            Err(FetchError::TooLarge { .. }) => {
                let reason = format!("it has more than {} bytes", listed.size_bytes);
                Err(Problem::Mismatch {
                    url,
                    root: ROOT,
                    reason,
                })
            }
            Err(error) => Err(error.into()),
        }
    }

    fn decompress(
        &self,
        url: &str,
        wanted: &ListedIndex,
        form: Compression,
        bytes: Vec<u8>,
    ) -> Result<Vec<u8>, Problem> {
        let plausible = plausible_bytes(bytes.len() as u64).min(INDEX_LIMIT_BYTES);
        let limit_bytes = wanted.plain().map_or(plausible, |plain| plain.size_bytes);
        let opened = form.decompress(bytes, limit_bytes);
        opened.map_err(|error| {
            let (url, reason) = (url.to_owned(), error.to_string());
            DebProblem::Decompress { url, reason }.into()
        })
    }
}

/// Returns whether a package is for one of the architectures and its repository may provide it.
pub fn is_wanted(record: &PackageRecord, repository: &Repository, targets: Targets<'_>) -> bool {
    let mut wanted = targets.deb().chain(["all"]);
    wanted.any(|arch| *record.architecture == *arch) && repository.filter.takes(&record.name, Vec::new)
}

/// Checks size and digest against those that the Release file lists.
fn check(url: &str, bytes: &[u8], listed: &Listed) -> Result<(), Problem> {
    let mismatch = |reason| {
        Err(Problem::Mismatch {
            url: url.to_owned(),
            root: ROOT,
            reason,
        })
    };
    if bytes.len() as u64 != listed.size_bytes {
        return mismatch(format!("it has {} bytes instead of {}", bytes.len(), listed.size_bytes));
    }
    if !listed.checksum.is_of(bytes) {
        let algorithm = listed.checksum.algorithm();
        return mismatch(format!("its {algorithm} is not {}", listed.checksum));
    }
    Ok(())
}
