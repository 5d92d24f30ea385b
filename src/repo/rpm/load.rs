//! From repositories to records: verified, cached, several at once.

use std::io::{self, BufRead, BufReader, Read};

use super::current::Current;
use super::error::Problem;
use super::mirrors::MirrorChoice;
use super::repomd::{Listed, Repomd};
use super::xml::XmlError;
use super::{is_wanted, parse_primary};
use crate::fetch::{FetchError, Reply};
use crate::package::{Hasher, RpmRecord, Sha256};
use crate::repo::compress::Compression;
use crate::repo::session;
use crate::repo::store::Kind;
use crate::repo::{Format, ReleaseInfo, Repository};
use crate::verify::Keyring;

/// Several times the largest file list of a distribution, compressed.
const INDEX_LIMIT_BYTES: u64 = 1 << 30;
/// The same, decompressed. It is read as a stream.
const OPEN_LIMIT_BYTES: u64 = 4 << 30;

/// What one repository offers.
#[derive(Debug, Clone)]
pub struct LoadedIndex {
    /// `Repository::id`.
    pub repository_id: String,
    /// Where it was found: the repository's base URL, or the mirror that was chosen.
    pub base_url: String,
    /// The `repomd.xml` that all of it hangs on.
    pub release: ReleaseInfo,
    /// The packages, in the order of the index.
    pub records: Vec<RpmRecord>,
    /// The other indexes that oic can read, as far as there are some.
    pub further: Vec<Listed>,
    /// What a user should know, such as that modules are ignored.
    pub notes: Vec<String>,
    /// Bytes that came over the network for it.
    pub fetched_bytes: u64,
    /// Nothing was downloaded, apart from asking whether the cache is current.
    pub from_cache: bool,
}

/// A repository whose `repomd.xml` was verified as far as the repository's policy asks for it; none of its indexes was
/// looked at yet. The digest of [`Head::release`] says what they hold: `repomd.xml` lists their digests.
#[derive(Debug, Clone)]
pub struct Head {
    repository: Repository,
    /// The base URL that was asked.
    base_url: String,
    current: Current,
    /// Mirrors that were not asked, the preferred first, and what `repomd.xml` may be there.
    others: MirrorChoice,
    fetched_bytes: u64,
}

impl Head {
    /// `Repository::id`.
    pub fn repository_id(&self) -> &str {
        &self.repository.id
    }

    /// The `repomd.xml`.
    pub fn release(&self) -> ReleaseInfo {
        self.current.info()
    }

    /// Where it was found: the repository's base URL, or the mirror that was chosen.
    pub fn base_url(&self) -> &str {
        self.current.base_url()
    }

    /// What a user should know, such as that modules are ignored.
    pub fn notes(&self) -> Vec<String> {
        notes(&self.repository.id, &self.current.repomd)
    }
}

/// RPM repositories.
#[derive(Debug)]
pub enum Rpm {}

impl Format for Rpm {
    type Head = Head;
    type Index = LoadedIndex;
    type Problem = Problem;

    fn keyring(repository: &Repository) -> Result<Option<Keyring>, Problem> {
        Ok(match repository.keys.as_slice() {
            _ if repository.trusted => None,
            [] => return Err(Problem::NoKey),
            keys => Some(Keyring::from_certificates(keys).map_err(Problem::Keys)?),
        })
    }

    fn verify(session: &Session<'_>) -> Result<Head, Problem> {
        let head = |base_url, current, others| Head {
            repository: session.repository.clone(),
            base_url,
            current,
            others,
            fetched_bytes: session.fetched_bytes(),
        };
        if session.options.offline {
            let missing = || Problem::NotCached {
                urls: vec![session.shown_url()],
            };
            let current = session.cached()?.ok_or_else(missing)?;
            session.check_cached(&current)?;
            return Ok(head(String::new(), current, MirrorChoice::default()));
        }
        let cached = session.cached_if_usable();
        let MirrorChoice { base_urls, repomd } = session.choice()?;
        let several = base_urls.len() > 1;
        let (mut base_urls, mut failure) = (base_urls.into_iter(), None);
        while let Some(base_url) = base_urls.next() {
            match session.refreshed(&base_url, &repomd, cached.as_ref(), true) {
                Ok(mut current) => {
                    // What is cached, but from another place: its indexes are as much there as before.
                    if cached.is_some_and(|cached| cached.pointer.release == current.pointer.release) {
                        session.keep(&current)?;
                        current.fresh = None;
                    }
                    let base_urls = base_urls.collect();
                    return Ok(head(base_url, current, MirrorChoice { base_urls, repomd }));
                }
                Err(problem) => failure = Some(session.pass_over(problem, several, failure)?),
            }
        }
        let url = session.shown_url();
        Err(failure.unwrap_or(Problem::NoMirror { url }))
    }

    fn load(session: &Session<'_>, head: &Head) -> Result<LoadedIndex, Problem> {
        let records = session.records(&head.current);
        if session.options.offline {
            return Ok(session.loaded(head, head.current.clone(), records?));
        }
        let (cached, allowed) = (session.cached().ok().flatten(), &head.others.repomd);
        let mut outcome = match records {
            Err(problem) if problem.may_be_a_race() => session.load_from(&head.base_url, allowed, cached.as_ref()),
            records => records.map(|records| (head.current.clone(), records)),
        };
        let (mut others, mut failure) = (head.others.base_urls.iter(), None);
        loop {
            let problem = match outcome {
                Ok((current, records)) => {
                    session.keep(&current)?;
                    return Ok(session.loaded(head, current, records));
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

    fn repository(head: &Head) -> &Repository {
        &head.repository
    }
}

/// The load of one repository.
pub(super) type Session<'a> = session::Session<'a, Rpm>;

impl Session<'_> {
    fn cached_if_usable(&self) -> Option<Current> {
        self.cached().unwrap_or_else(|problem| {
            tracing::warn!(repository = self.repository.id, %problem, "the cached index is not used");
            None
        })
    }

    /// The failure to report if no other mirror does better than the one that has this `problem`: the first.
    fn pass_over(&self, problem: Problem, others: bool, first: Option<Problem>) -> Result<Problem, Problem> {
        if !problem.is_of_the_mirror() {
            return Err(problem);
        }
        if others {
            tracing::warn!(repository = self.repository.id, %problem, "trying the next mirror");
        }
        Ok(first.unwrap_or(problem))
    }

    /// Loads from one mirror. If that was caught in the middle of an update, it is asked once more.
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

    /// Makes `current` what the cache holds; its primary index is there already.
    fn keep(&self, current: &Current) -> Result<(), Problem> {
        if let Some(fresh) = &current.fresh {
            self.store.write(Kind::REPOMD, current.pointer.release, &fresh.repomd)?;
            if let (Some(signature), Some(digest)) = (&fresh.signature, current.pointer.signature) {
                self.store.write(Kind::SIGNATURE, digest, signature)?;
            }
            self.store.point(&current.pointer)?;
        }
        let indexes = current.repomd.indexes.iter();
        let listed = indexes.filter_map(|index| index.checksum.clone());
        Ok(self.store.prune(&current.pointer, listed)?)
    }

    fn primary<'c>(&self, current: &'c Current) -> Result<&'c Listed, Problem> {
        let (url, kind) = (|| current.pointer.url.clone(), "primary");
        let listed = current.repomd.index(kind);
        let listed = listed.ok_or_else(|| Problem::NoIndex { url: url(), kind })?;
        match listed.checksum {
            Some(_) => Ok(listed),
            None => Err(Problem::WeakDigest {
                url: url(),
                kind,
                algorithm: listed.algorithm.clone(),
            }),
        }
    }

    /// Refuses if the cache lacks the index, which may be all that is missing of several repositories.
    fn check_cached(&self, current: &Current) -> Result<(), Problem> {
        let listed = self.primary(current)?;
        let form = Compression::of_name(&listed.path);
        let kept = form.zip(listed.checksum.clone()).is_some_and(|(form, digest)| {
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
        self.parse(current.base_url(), "Primary", listed, |text| {
            parse_primary(text, &id, self.repository.priority, &keep)
        })
    }

    /// Reads an index, from the cache or the mirror, verified either way: `parse` sees it while it is
    /// decompressed, and what it gives counts only if all that it saw is right. What lay in the cache was
    /// held against the digest of its decompressed form when it came, and is still the same.
    pub(super) fn parse<T>(
        &self,
        base_url: &str,
        stem: &'static str,
        listed: &Listed,
        parse: impl FnOnce(&mut dyn BufRead) -> Result<T, XmlError>,
    ) -> Result<T, Problem> {
        let url = format!("{base_url}/{}", listed.path);
        let form = Compression::of_name(&listed.path).ok_or_else(|| Problem::UnknownForm { url: url.clone() })?;
        let kind = Kind::index(stem, form.suffix());
        let (bytes, is_fresh) = self.index(&url, kind, listed)?;
        self.cancel.check()?;
        let mismatch = |reason: String| Problem::Mismatch {
            url: url.clone(),
            reason,
        };
        let decoder = form.decoder(&bytes).map_err(|error| mismatch(error.to_string()))?;
        let limit_bytes = listed.open_size_bytes.unwrap_or(OPEN_LIMIT_BYTES).min(OPEN_LIMIT_BYTES);
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
        // What a parser leaves over at the end, such as line ends, belongs to the digest.
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
        let parsed = parsed.map_err(|source| Problem::Malformed { url, source })?;
        if let Some(checksum) = listed.checksum.clone().filter(|_| is_fresh) {
            self.store.write(kind, checksum, &bytes)?;
        }
        Ok(parsed)
    }

    /// The compressed bytes of an index, checked against its digest, and whether they come from the mirror.
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
        if let Some(bytes) = self.store.read(kind, checksum.clone(), limit_bytes) {
            return Ok((bytes, false));
        }
        if self.options.offline {
            return Err(Problem::NotCached {
                urls: vec![url.to_owned()],
            });
        }
        let mismatch = |reason| Problem::Mismatch {
            url: url.to_owned(),
            reason,
        };
        let bytes = match self.get(url, limit_bytes, None) {
            Ok(Reply::Body { bytes, .. }) => bytes,
            Ok(Reply::NotModified) | Err(FetchError::NotFound { .. }) => {
                return Err(Problem::IndexNotFound { url: url.to_owned() });
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

    fn loaded(&self, head: &Head, current: Current, records: Vec<RpmRecord>) -> LoadedIndex {
        let fetched_bytes = head.fetched_bytes + self.fetched_bytes();
        LoadedIndex {
            repository_id: self.repository.id.clone(),
            base_url: current.base_url().to_owned(),
            release: current.info(),
            further: further(&current.repomd),
            notes: notes(&self.repository.id, &current.repomd),
            records,
            fetched_bytes,
            from_cache: fetched_bytes == 0,
        }
    }
}

/// The kinds of indexes besides primary that are read, the preferred of several forms first.
const FILELISTS: &[&str] = &["filelists"];
const COMPS: &[&str] = &["group_gz", "group_zst", "group_xz", "group"];

impl LoadedIndex {
    /// The index of all files.
    pub(super) fn filelists(&self) -> Option<&Listed> {
        self.index(FILELISTS)
    }

    /// The index of groups.
    pub(super) fn comps(&self) -> Option<&Listed> {
        self.index(COMPS)
    }

    fn index(&self, kinds: &[&str]) -> Option<&Listed> {
        let of_kind = |kind: &&str| self.further.iter().find(|listed| listed.kind == *kind);
        kinds.iter().find_map(of_kind)
    }
}

fn further(repomd: &Repomd) -> Vec<Listed> {
    let kinds = FILELISTS.iter().chain(COMPS);
    let listed = kinds.filter_map(|kind| repomd.index(kind));
    listed.filter(|listed| listed.checksum.is_some()).cloned().collect()
}

fn notes(repository: &str, repomd: &Repomd) -> Vec<String> {
    let modules = repomd.index("modules").map(|_| {
        format!("repository {repository} has module streams; they are ignored: every package counts as any other")
    });
    modules.into_iter().collect()
}

/// Counts and, if need be, hashes what is read.
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

#[cfg(test)]
mod tests;
