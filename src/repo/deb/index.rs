//! The `Packages` indexes that a Release file lists: which, from where, and verified.

use super::current::Current;
use super::deb822::ParseError;
use super::error::Problem;
use super::load::Session;
use super::packages::parse_packages_on;
use super::release::{Listed, Release};
use crate::fetch::{FetchError, Reply};
use crate::package::{Arch, PackageRecord, Sha256};
use crate::repo::Repository;
use crate::repo::compress::Compression;
use crate::repo::store::Kind;

/// Twenty times Debian's largest.
const INDEX_LIMIT_BYTES: u64 = 1 << 30;

/// One index, in all the forms that the Release file lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wanted {
    /// Path below the Release file's directory, without a compression suffix.
    path: String,
    /// Listed forms, the preferred first.
    forms: Vec<(Compression, Listed)>,
}

impl Wanted {
    fn find(release: &Release, path: String) -> Option<Self> {
        let listed = |form: Compression| {
            release
                .file(&format!("{path}{}", form.suffix()))
                .map(|listed| (form, listed))
        };
        let forms: Vec<_> = Compression::PREFERENCE.into_iter().filter_map(listed).collect();
        (!forms.is_empty()).then_some(Self { path, forms })
    }

    /// The decompressed form, if it is listed.
    fn plain(&self) -> Option<Listed> {
        self.forms
            .iter()
            .find(|(form, _)| *form == Compression::Plain)
            .map(|(_, listed)| *listed)
    }
}

/// The indexes of the repository's components, for the architecture and for `all`.
pub(super) fn wanted(session: &Session<'_>, current: &Current) -> Result<Vec<Wanted>, Problem> {
    let release = &current.release;
    let architecture = session.options.arch.deb();
    let mut all = Vec::new();
    for component in &session.repository.components {
        let find = |architecture| Wanted::find(release, format!("{component}/binary-{architecture}/Packages"));
        let before = all.len();
        all.extend(find(architecture));
        if !release.all_is_in_each {
            all.extend(find("all"));
        }
        if all.len() == before {
            return Err(Problem::NoIndex {
                url: current.pointer.url.clone(),
                component: component.clone(),
                architecture: architecture.to_owned(),
                components: release.components.join(" "),
                architectures: release.architectures.join(" "),
            });
        }
    }
    Ok(all)
}

impl Session<'_> {
    /// The packages of an index that concern the architecture and are allowed.
    pub(super) fn records(&self, release: &Release, wanted: &Wanted) -> Result<Vec<PackageRecord>, Problem> {
        self.cancel.check()?;
        let malformed = |source| Problem::Malformed {
            url: self.url(&wanted.path),
            source,
        };
        let text = String::from_utf8(self.index(release, wanted)?).map_err(|error| {
            let before = error
                .as_bytes()
                .get(..error.utf8_error().valid_up_to())
                .unwrap_or_default();
            let line = 1 + before.iter().filter(|&&byte| byte == b'\n').count();
            malformed(ParseError::at(line, "the text is not UTF-8"))
        })?;
        let id = self.repository.id.as_str().into();
        let mut records =
            parse_packages_on(self.options.jobs, text.into(), id, self.repository.priority).map_err(malformed)?;
        records.retain(|record| is_wanted(record, self.repository, self.options.arch));
        Ok(records)
    }

    /// An index, from the cache or the mirror; verified either way.
    fn index(&self, release: &Release, wanted: &Wanted) -> Result<Vec<u8>, Problem> {
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
            match self.download(release, wanted, *form, *listed) {
                Err(Problem::IndexNotFound { url }) => missing = url,
                done => return done,
            }
        }
        Err(Problem::IndexNotFound { url: missing })
    }

    /// Refuses if the cache lacks one of the indexes, which may be all that is missing of several repositories.
    pub(super) fn check_cached(&self, current: &Current) -> Result<(), Problem> {
        let mut missing = wanted(self, current)?;
        missing.retain(|wanted| {
            let mut forms = wanted.forms.iter();
            let is_kept = |(form, listed): &(Compression, Listed)| {
                self.store.has(Kind::index("Packages", form.suffix()), listed.sha256)
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

    fn cached_index(&self, wanted: &Wanted) -> Result<Option<Vec<u8>>, Problem> {
        if let Some(plain) = wanted.plain() {
            return Ok(self
                .store
                .read(Kind::index("Packages", ""), plain.sha256, plain.size_bytes));
        }
        for (form, listed) in &wanted.forms {
            if let Some(bytes) =
                self.store
                    .read(Kind::index("Packages", form.suffix()), listed.sha256, listed.size_bytes)
            {
                return self.decompress(&self.url(&wanted.path), wanted, *form, bytes).map(Some);
            }
        }
        Ok(None)
    }

    /// Fetches one form, checks and opens it, and keeps it in the cache: the
    /// decompressed form if the Release file vouches for that, else as it came.
    fn download(
        &self,
        release: &Release,
        wanted: &Wanted,
        form: Compression,
        listed: Listed,
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
        let mut answer = Err(FetchError::NotFound { url: named.clone() });
        let mut url = named.clone();
        if release.by_hash {
            let directory = wanted.path.rsplit_once('/').map_or("", |(directory, _)| directory);
            url = self.url(&format!("{directory}/by-hash/SHA256/{}", listed.sha256));
            answer = self.get(&url, listed.size_bytes, None);
        }
        if matches!(answer, Err(FetchError::NotFound { .. })) {
            answer = self.get(&named, listed.size_bytes, None);
            url = named;
        }
        let bytes = match answer {
            Ok(Reply::Body { bytes, .. }) => bytes,
            Ok(Reply::NotModified) | Err(FetchError::NotFound { .. }) => return Err(Problem::IndexNotFound { url }),
            Err(FetchError::TooLarge { .. }) => {
                let reason = format!("it has more than {} bytes", listed.size_bytes);
                return Err(Problem::Mismatch { url, reason });
            }
            Err(error) => return Err(error.into()),
        };
        check(&url, &bytes, listed)?;
        match wanted.plain() {
            Some(plain) => {
                let bytes = self.decompress(&url, wanted, form, bytes)?;
                check(&url, &bytes, plain)?;
                self.store.write(Kind::index("Packages", ""), plain.sha256, &bytes)?;
                Ok(bytes)
            }
            None => {
                self.store
                    .write(Kind::index("Packages", form.suffix()), listed.sha256, &bytes)?;
                self.decompress(&url, wanted, form, bytes)
            }
        }
    }

    fn decompress(&self, url: &str, wanted: &Wanted, form: Compression, bytes: Vec<u8>) -> Result<Vec<u8>, Problem> {
        let limit_bytes = wanted.plain().map_or(INDEX_LIMIT_BYTES, |plain| plain.size_bytes);
        let opened = form.decompress(bytes, limit_bytes);
        opened.map_err(|error| Problem::Decompress {
            url: url.to_owned(),
            reason: error.to_string(),
        })
    }
}

/// Whether a package concerns the architecture and is one that the repository may provide.
pub fn is_wanted(record: &PackageRecord, repository: &Repository, arch: Arch) -> bool {
    (&*record.architecture == arch.deb() || &*record.architecture == "all")
        && repository.filter.takes(&record.name, Vec::new)
}

/// Size and digest, as the Release file lists them.
fn check(url: &str, bytes: &[u8], listed: Listed) -> Result<(), Problem> {
    let mismatch = |reason| {
        Err(Problem::Mismatch {
            url: url.to_owned(),
            reason,
        })
    };
    if bytes.len() as u64 != listed.size_bytes {
        return mismatch(format!("it has {} bytes instead of {}", bytes.len(), listed.size_bytes));
    }
    let digest = Sha256::of(bytes);
    if digest != listed.sha256 {
        return mismatch(format!("its SHA-256 is {digest} instead of {}", listed.sha256));
    }
    Ok(())
}
