//! Loads repositories into records: verified, cached, several at once.

use std::io::{self, BufRead, BufReader, Read};

use super::current::Current;
use super::error::RpmProblem;
use super::format::{LoadedIndex, Rpm, Session, is_wanted};
use super::mirrors::MirrorChoice;
use super::primary::{Primary, parse_primary};
use super::repomd::Listed;
use super::xml::XmlError;
use crate::archive::compression::{Compression, plausible_bytes};
use crate::fetch::{FetchError, Reply};
use crate::package::{Hasher, RpmRecord, Sha256};
use crate::repo::store::Kind;
use crate::repo::{Format, Problem, ReleaseInfo, Repository};
use crate::verify::Keyring;

/// The name of the root of the metadata, for messages.
const ROOT: &str = "repomd.xml";
/// Upper limit in bytes, several times the largest file list of a distribution, compressed.
const INDEX_LIMIT_BYTES: u64 = 1 << 30;
/// The same, decompressed. The index is read as a stream.
const OPEN_LIMIT_BYTES: u64 = 4 << 30;

/// A verified `repomd.xml`, and the other mirrors of the repository.
#[derive(Debug, Clone)]
pub struct Root {
    current: Current,
    /// The base URL of the request.
    asked: String,
    /// The mirrors not tried yet, the preferred first, and the digests that `repomd.xml` may have there.
    others: MirrorChoice,
}

impl Format for Rpm {
    type Root = Root;
    type Record = RpmRecord;
    type Further = Vec<Listed>;

    fn keyring(repository: &Repository) -> Result<Option<Keyring>, Problem> {
        Ok(match repository.keys.as_slice() {
            _ if repository.trusted => None,
            [] => return Err(Problem::NoKey),
            keys => Some(Keyring::from_certificates(keys).map_err(Problem::Keys)?),
        })
    }

    fn verify(session: &Session<'_>) -> Result<Root, Problem> {
        let root = |asked, current, others| Root { current, asked, others };
        if session.options.offline {
            let missing = || Problem::NotCached {
                urls: vec![session.shown_url()],
            };
            let current = session.cached()?.ok_or_else(missing)?;
            session.check_cached(&current)?;
            return Ok(root(String::new(), current, MirrorChoice::default()));
        }
        let cached = session.cached_if_usable();
        let MirrorChoice { base_urls, repomd } = session.choice()?;
        let several = base_urls.len() > 1;
        let (mut base_urls, mut failure) = (base_urls.into_iter(), None);
        while let Some(base_url) = base_urls.next() {
            match session.refreshed(&base_url, &repomd, cached.as_ref(), true) {
                Ok(mut current) => {
                    // The file is the cached one, only from another place: its indexes are cached already.
                    if cached.is_some_and(|cached| cached.pointer.release == current.pointer.release) {
                        session.keep(&current)?;
                        current.fresh = None;
                    }
                    let base_urls = base_urls.collect();
                    return Ok(root(base_url, current, MirrorChoice { base_urls, repomd }));
                }
                Err(problem) => failure = Some(session.pass_over(problem, several, failure)?),
            }
        }
        let url = session.shown_url();
        Err(failure.unwrap_or_else(|| RpmProblem::NoMirror { url }.into()))
    }

    fn load(session: &Session<'_>, root: &Root) -> Result<(Root, Vec<RpmRecord>), Problem> {
        let records = session.records(&root.current);
        if session.options.offline {
            return Ok((root.clone(), records?));
        }
        let (cached, allowed) = (session.cached().ok().flatten(), &root.others.repomd);
        let mut outcome = match records {
            Err(problem) if problem.may_be_a_race() => session.load_from(&root.asked, allowed, cached.as_ref()),
            records => records.map(|records| (root.current.clone(), records)),
        };
        let (mut others, mut failure) = (root.others.base_urls.iter(), None);
        loop {
            let problem = match outcome {
                Ok((current, records)) => {
                    session.keep(&current)?;
                    let root = Root {
                        current,
                        ..root.clone()
                    };
                    return Ok((root, records));
                }
                Err(problem) => problem,
            };
            let first = session.pass_over(problem, others.len() > 0, failure.take())?;
            let Some(base_url) = others.next() else {
                return Err(first);
            };
            failure = Some(first);
            outcome = session.load_from(base_url, allowed, cached.as_ref());
        }
    }

    fn release(root: &Root) -> ReleaseInfo {
        root.current.info()
    }

    fn base_url<'a>(_repository: &'a Repository, root: &'a Root) -> &'a str {
        root.current.base_url()
    }

    fn further(root: &Root) -> Vec<Listed> {
        let repomd = &root.current.repomd;
        let kinds = FILELISTS.iter().chain(COMPS);
        let listed = kinds.filter_map(|kind| repomd.index(kind));
        listed.filter(|listed| listed.checksum.is_some()).cloned().collect()
    }

    fn notes(repository: &Repository, root: &Root) -> Vec<String> {
        let id = &repository.id;
        let modules = root.current.repomd.index("modules").map(|_| {
            format!("repository {id} has module streams; they are ignored: every package counts as any other")
        });
        modules.into_iter().collect()
    }
}

impl Session<'_> {
    fn cached_if_usable(&self) -> Option<Current> {
        self.cached().unwrap_or_else(|problem| {
            tracing::warn!(repository = self.repository.id, %problem, "the cached index is not used");
            None
        })
    }

    /// Returns the failure to report if no other mirror does better: the `first`, or this `problem`. A problem that is
    /// not the mirror's is an error at once.
    fn pass_over(&self, problem: Problem, others: bool, first: Option<Problem>) -> Result<Problem, Problem> {
        if !problem.is_of_the_mirror() {
            return Err(problem);
        }
        if others {
            tracing::warn!(repository = self.repository.id, %problem, "trying the next mirror");
        }
        Ok(first.unwrap_or(problem))
    }

    /// Loads from one mirror, and once more if the mirror was in the middle of an update.
    fn load_from(
        &self,
        base_url: &str,
        allowed: &[Sha256],
        cached: Option<&Current>,
    ) -> Result<(Current, Vec<RpmRecord>), Problem> {
        let attempt = |conditional| {
            let current = self.refreshed(base_url, allowed, cached, conditional)?;
            let records = self.records(&current)?;
            Ok((current, records))
        };
        match attempt(true) {
            Err(problem) if Problem::may_be_a_race(&problem) => {
                tracing::info!(repository = self.repository.id, %problem, "asking once more");
                attempt(false)
            }
            done => done,
        }
    }

    /// Makes `current` the cached `repomd.xml`; its primary index is cached already.
    fn keep(&self, current: &Current) -> Result<(), Problem> {
        if let Some(fresh) = &current.fresh {
            self.store.write(Kind::REPOMD, current.pointer.release, &fresh.repomd)?;
            if let (Some(signature), Some(digest)) = (&fresh.signature, current.pointer.signature) {
                self.store.write(Kind::SIGNATURE, digest, signature)?;
            }
            self.store.point(&current.pointer)?;
        }
        let indexes = current.repomd.indexes.iter();
        let listed = indexes.filter_map(|index| index.checksum);
        Ok(self.store.prune(&current.pointer, listed)?)
    }

    fn primary<'c>(&self, current: &'c Current) -> Result<&'c Listed, Problem> {
        let (url, kind) = (|| current.pointer.url.clone(), "primary");
        let listed = current.repomd.index(kind);
        let listed = listed.ok_or_else(|| RpmProblem::NoIndex { url: url(), kind })?;
        match listed.checksum {
            Some(_) => Ok(listed),
            None => {
                let (url, algorithm) = (url(), listed.algorithm.clone());
                Err(RpmProblem::WeakDigest { url, kind, algorithm }.into())
            }
        }
    }

    /// Returns an error if the cache lacks the index, so that the missing files of several repositories can be reported
    /// together.
    fn check_cached(&self, current: &Current) -> Result<(), Problem> {
        let listed = self.primary(current)?;
        let form = form_of(&listed.path);
        let kept = form.zip(listed.checksum).is_some_and(|(form, digest)| {
            let kind = Kind::index("Primary", form.suffix());
            self.store.has(kind, digest)
        });
        let urls = vec![format!("{}/{}", current.base_url(), listed.path)];
        if kept { Ok(()) } else { Err(Problem::NotCached { urls }) }
    }

    fn records(&self, current: &Current) -> Result<Vec<RpmRecord>, Problem> {
        let listed = self.primary(current)?;
        let id = self.repository.id.as_str().into();
        let keep = |record: &RpmRecord| is_wanted(record, self.repository, self.options.arch);
        let primary = self.parse(current.base_url(), "Primary", listed, |text| {
            parse_primary(text, &id, self.repository.priority, &keep)
        })?;
        self.warn_of_skipped(&primary, &format!("{}/{}", current.base_url(), listed.path));
        Ok(primary.records)
    }

    /// Names packages of the index at `url` that are left out, as far as they are not too many.
    fn warn_of_skipped(&self, primary: &Primary, url: &str) {
        let repository = &self.repository.id;
        for error in &primary.skipped {
            tracing::warn!(repository, url, "{error}: this package is left out");
        }
        let unnamed = primary.skipped_count - primary.skipped.len();
        if unnamed > 0 {
            tracing::warn!(repository, url, "{unnamed} more packages are left out");
        }
    }

    /// Reads an index, from the cache or the mirror, verified either way: `parse` reads it while it is decompressed,
    /// and its result counts only if all bytes were right. For a cached index, the digest of the decompressed form was
    /// checked when it was downloaded, and the compressed form is still the same.
    pub(super) fn parse<T>(
        &self,
        base_url: &str,
        stem: &'static str,
        listed: &Listed,
        parse: impl FnOnce(&mut dyn BufRead) -> Result<T, XmlError>,
    ) -> Result<T, Problem> {
        let url = format!("{base_url}/{}", listed.path);
        let form = form_of(&listed.path).ok_or_else(|| RpmProblem::UnknownForm { url: url.clone() })?;
        let kind = Kind::index(stem, form.suffix());
        let (bytes, is_fresh) = self.index(&url, kind, listed)?;
        self.work.cancel.check()?;
        let mismatch = |reason: String| Problem::Mismatch {
            url: url.clone(),
            root: ROOT,
            reason,
        };
        let decoder = form.decoder(&*bytes).map_err(|error| mismatch(error.to_string()))?;
        let plausible = plausible_bytes(bytes.len() as u64);
        let limit_bytes = listed.open_size_bytes.unwrap_or(plausible).min(OPEN_LIMIT_BYTES);
        let mut hashed = BufReader::with_capacity(
            128 << 10,
            Hashed {
                reader: decoder.take(limit_bytes.saturating_add(1)),
                hasher: listed
                    .open_checksum
                    .as_ref()
                    .filter(|_| is_fresh)
                    .map(|checksum| checksum.algorithm().hasher()),
                seen_bytes: 0,
            },
        );
        let parsed = parse(&mut hashed);
        // The rest that a parser leaves unread, such as line ends, belongs to the digest.
        io::copy(&mut hashed, &mut io::sink()).map_err(|error| mismatch(error.to_string()))?;
        let hashed = hashed.into_inner();
        if hashed.seen_bytes > limit_bytes || listed.open_size_bytes.is_some_and(|size| size != hashed.seen_bytes) {
            let seen = hashed.seen_bytes;
            return Err(mismatch(format!(
                "decompressed it has {seen} bytes or more instead of {limit_bytes}"
            )));
        }
        let digest = hashed.hasher.map(Hasher::finish);
        if let Some((digest, expected)) = digest.zip(listed.open_checksum.as_ref())
            && digest != *expected
        {
            let algorithm = digest.algorithm();
            return Err(mismatch(format!(
                "decompressed it has the {algorithm} {digest} instead of {expected}"
            )));
        }
        let parsed = parsed.map_err(|source| Problem::malformed(&url, source))?;
        if let Some(checksum) = listed.checksum.filter(|_| is_fresh) {
            self.store.write(kind, checksum, &bytes)?;
        }
        Ok(parsed)
    }

    /// Returns the compressed bytes of an index, checked against its digest, and whether they come from the mirror.
    fn index(&self, url: &str, kind: Kind, listed: &Listed) -> Result<(Vec<u8>, bool), Problem> {
        let Some(checksum) = &listed.checksum else {
            return Err(Problem::NotCached {
                urls: vec![url.to_owned()],
            });
        };
        let limit_bytes = listed.size_bytes.unwrap_or(INDEX_LIMIT_BYTES);
        if limit_bytes > INDEX_LIMIT_BYTES {
            return Err(Problem::TooLarge {
                url: url.to_owned(),
                size_bytes: limit_bytes,
                limit_bytes: INDEX_LIMIT_BYTES,
            });
        }
        if let Some(bytes) = self.store.read(kind, *checksum, limit_bytes) {
            return Ok((bytes, false));
        }
        if self.options.offline {
            return Err(Problem::NotCached {
                urls: vec![url.to_owned()],
            });
        }
        let mismatch = |reason| Problem::Mismatch {
            url: url.to_owned(),
            root: ROOT,
            reason,
        };
        let bytes = match self.get(url, limit_bytes, None) {
            Ok(Reply::Body { bytes, .. }) => bytes,
            Ok(Reply::NotModified) | Err(FetchError::NotFound { .. }) => {
                return Err(Problem::IndexNotFound {
                    url: url.to_owned(),
                    root: ROOT,
                });
            }
            Err(FetchError::TooLarge { .. }) => return Err(mismatch(format!("it has more than {limit_bytes} bytes"))),
            Err(error) => return Err(error.into()),
        };
        if !checksum.is_of(&bytes) {
            let algorithm = checksum.algorithm();
            return Err(mismatch(format!("its {algorithm} is not {checksum}")));
        }
        Ok((bytes, true))
    }
}

/// The names of the index of all files, the preferred first.
const FILELISTS: &[&str] = &["filelists"];
const COMPS: &[&str] = &["group_gz", "group_zst", "group_xz", "group"];

impl LoadedIndex {
    /// Returns the entry of the index of all files.
    pub(super) fn filelists(&self) -> Option<&Listed> {
        self.index(FILELISTS)
    }

    /// Returns the entry of the index of groups.
    pub(super) fn comps(&self) -> Option<&Listed> {
        self.index(COMPS)
    }

    fn index(&self, kinds: &[&str]) -> Option<&Listed> {
        let of_kind = |kind: &&str| self.further.iter().find(|listed| listed.kind == *kind);
        kinds.iter().find_map(of_kind)
    }
}

/// A reader that counts and, if needed, hashes its bytes.
struct Hashed<R> {
    reader: R,
    hasher: Option<Hasher>,
    seen_bytes: u64,
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buffer)?;
        if let Some(hasher) = &mut self.hasher {
            hasher.update(&buffer[..count]);
        }
        self.seen_bytes += count as u64;
        Ok(count)
    }
}

/// Returns the form of a metadata file, by the ending of its name; `None` if its compression is unknown.
fn form_of(name: &str) -> Option<Compression> {
    let known = Compression::ALL.into_iter().find(|form| name.ends_with(form.suffix()));
    known.or_else(|| name.ends_with(".xml").then_some(Compression::Plain))
}

#[cfg(test)]
mod tests;
