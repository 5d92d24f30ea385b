//! Chooses the `repomd.xml`: a mirror's or the cached one, verified either way.

use super::error::RpmProblem;
use super::format::Session;
use super::mirrors::{MirrorChoice, parse_metalink, parse_mirror_list};
use super::repomd::Repomd;
use crate::fetch::{FetchError, Reply, Transport, Validators};
use crate::package::Sha256;
use crate::repo::store::{Form, Kind, Pointer};
use crate::repo::{MirrorList, Problem, ReleaseInfo, RepoError};
use crate::verify::{Signer, VerifyError};

/// Upper limit in bytes; real files have a few kilobytes.
const REPOMD_LIMIT_BYTES: u64 = 16 << 20;
const SIGNATURE_LIMIT_BYTES: u64 = 1 << 20;
const MIRRORS_LIMIT_BYTES: u64 = 4 << 20;
const REPOMD_PATH: &str = "repodata/repomd.xml";

/// A `repomd.xml` that was verified as far as the repository's policy requires.
#[derive(Debug, Clone)]
pub struct Current {
    pub(super) pointer: Pointer,
    pub(super) repomd: Repomd,
    pub(super) signer: Option<Signer>,
    /// The files as they came, if they are not in the cache yet.
    pub(super) fresh: Option<Fresh>,
}

/// Bytes that came from the mirror.
#[derive(Debug, Clone)]
pub struct Fresh {
    pub(super) repomd: Vec<u8>,
    pub(super) signature: Option<Vec<u8>>,
}

impl Current {
    /// Returns its description for a lockfile or a report.
    pub(super) fn info(&self) -> ReleaseInfo {
        ReleaseInfo {
            date: self.repomd.date(),
            suite: String::new(),
            codename: String::new(),
            sha256: self.pointer.release,
            signer: self.signer.as_ref().map(|signer| signer.fingerprint.clone()),
        }
    }

    /// Returns the base URL that it came from.
    pub(super) fn base_url(&self) -> &str {
        let url = self.pointer.url.strip_suffix(REPOMD_PATH);
        url.unwrap_or(&self.pointer.url).trim_end_matches('/')
    }
}

impl Session<'_> {
    /// Returns the URL of `repomd.xml`, or of the list of mirrors, for messages.
    pub(super) fn shown_url(&self) -> String {
        match &self.repository.mirror_list {
            Some(list) => list.url().to_owned(),
            None => repomd_url(&self.repository.base_url),
        }
    }

    /// Returns the base URLs of the repository, the preferred first.
    pub(super) fn choice(&self) -> Result<MirrorChoice, Problem> {
        match &self.repository.mirror_list {
            Some(list) => read_list(list, |url| self.get(url, MIRRORS_LIMIT_BYTES, None)),
            None => Ok(MirrorChoice {
                base_urls: vec![self.repository.base_url.clone()],
                repomd: Vec::new(),
            }),
        }
    }

    /// Reads the cached `repomd.xml` and verifies it again; `None` if the cache has none.
    pub(super) fn cached(&self) -> Result<Option<Current>, Problem> {
        let Some(root) = self.store.root(Kind::REPOMD, REPOMD_LIMIT_BYTES, SIGNATURE_LIMIT_BYTES) else {
            return Ok(None);
        };
        self.verified(&root.pointer, &root.bytes, root.signature.as_deref())
            .map(Some)
    }

    /// Returns the current `repomd.xml`: that of the mirror at `base_url`, or the cached one if that equals the
    /// mirror's or is newer. With `conditional` the request names the cached version, so the mirror need not send it
    /// again.
    pub(super) fn refreshed(
        &self,
        base_url: &str,
        allowed: &[Sha256],
        cached: Option<&Current>,
        conditional: bool,
    ) -> Result<Current, Problem> {
        let url = repomd_url(base_url);
        let known = cached.filter(|known| conditional && known.pointer.url == url);
        let validators = known
            .map(|known| &known.pointer.validators)
            .filter(|known| **known != Validators::default());
        let (repomd, validators) = match self.get(&url, REPOMD_LIMIT_BYTES, validators) {
            Err(FetchError::NotFound { url }) => return Err(RpmProblem::NoRepomd { url }.into()),
            Err(error) => return Err(error.into()),
            Ok(Reply::Body { bytes, validators }) => (bytes, validators),
            Ok(Reply::NotModified) => match known {
                Some(known) if allowed.is_empty() || allowed.contains(&known.pointer.release) => {
                    return Ok(known.clone());
                }
                Some(_) => return Err(RpmProblem::NotOfMetalink { url }.into()),
                None => return Err(unasked_not_modified(url).into()),
            },
        };
        let digest = Sha256::of(&repomd);
        if !allowed.is_empty() && !allowed.contains(&digest) {
            return Err(RpmProblem::NotOfMetalink { url }.into());
        }
        let signature = match self.keyring.is_some() && self.repository.signed.metadata() {
            true => self.signature(&url)?,
            false => None,
        };
        let pointer = Pointer {
            form: Form::Detached,
            url,
            validators,
            release: digest,
            signature: signature.as_ref().map(Sha256::of),
        };
        let mut current = self.verified(&pointer, &repomd, signature.as_deref())?;
        current.fresh = Some(Fresh { repomd, signature });
        match cached {
            // The file has no date of expiry; oic can only check that its date does not run backwards.
            Some(cached) if cached.repomd.date() > current.repomd.date() => {
                tracing::warn!(
                    repository = self.repository.id,
                    url = current.pointer.url,
                    "the mirror has an older index than the cache; the newer one is kept"
                );
                Ok(cached.clone())
            }
            _ => Ok(current),
        }
    }

    fn signature(&self, repomd_url: &str) -> Result<Option<Vec<u8>>, Problem> {
        match self.get(&format!("{repomd_url}.asc"), SIGNATURE_LIMIT_BYTES, None) {
            Ok(Reply::Body { bytes, .. }) => Ok(Some(bytes)),
            Err(FetchError::NotFound { .. }) | Ok(Reply::NotModified) => Err(Problem::Unsigned {
                url: repomd_url.to_owned(),
                signature: "repomd.xml.asc",
                hint: "use a mirror that has its signature; if only its packages are signed, say so in the provider's data \
                       (`signed: packages`)",
            }),
            Err(error) => Err(error.into()),
        }
    }

    /// Verifies a `repomd.xml`, if it must be signed, and parses it.
    fn verified(&self, pointer: &Pointer, raw: &[u8], signature: Option<&[u8]>) -> Result<Current, Problem> {
        let url = || pointer.url.clone();
        let signer = match &self.keyring {
            Some(keyring) if self.repository.signed.metadata() => {
                let verified = match signature {
                    Some(signature) => keyring.verify_detached(raw, signature, self.options.now),
                    None => Err(VerifyError::NoSignature),
                };
                Some(verified.map_err(|source| Problem::Signature { url: url(), source })?)
            }
            // The signature of each package is checked before its use.
            Some(_) => None,
            None => {
                tracing::warn!(
                    repository = self.repository.id,
                    url = pointer.url,
                    "NOT VERIFIED: the repository is declared [trusted=yes], so anybody between it and here can change it"
                );
                None
            }
        };
        let repomd = Repomd::parse(raw).map_err(|source| Problem::malformed(&pointer.url, source))?;
        Ok(Current {
            pointer: pointer.clone(),
            repomd,
            signer,
            fresh: None,
        })
    }
}

/// Finds the base URL of a repository with a list of mirrors: the first mirror that has a `repomd.xml`. The file is not
/// verified; this is for builds that have the digests of the packages from a lockfile.
///
/// # Errors
/// [`RepoError`] if the list cannot be downloaded, or names no mirror that answers.
pub fn locate(id: &str, list: &MirrorList, transport: &dyn Transport) -> Result<String, RepoError> {
    let find = || {
        let choice = read_list(list, |url| transport.get(url, MIRRORS_LIMIT_BYTES, None))?;
        for base_url in choice.base_urls {
            match transport.get(&repomd_url(&base_url), REPOMD_LIMIT_BYTES, None) {
                Ok(_) => return Ok(base_url),
                Err(error @ FetchError::Cancelled(_)) => return Err(error.into()),
                Err(error) => tracing::warn!(repository = id, %error, "trying the next mirror"),
            }
        }
        let url = list.url().to_owned();
        Err(RpmProblem::NoMirror { url }.into())
    };
    find().map_err(|problem: Problem| problem.of(id))
}

/// Returns the mirrors that a list names; `get` downloads it.
fn read_list(list: &MirrorList, get: impl FnOnce(&str) -> Result<Reply, FetchError>) -> Result<MirrorChoice, Problem> {
    let url = list.url().to_owned();
    let Reply::Body { bytes, .. } = get(&url)? else {
        return Err(unasked_not_modified(url).into());
    };
    let choice = match list {
        MirrorList::Plain(_) => parse_mirror_list(&String::from_utf8_lossy(&bytes)),
        MirrorList::Metalink(_) => parse_metalink(&*bytes).map_err(|source| Problem::malformed(&url, source))?,
    };
    match choice.base_urls.is_empty() {
        true => Err(RpmProblem::NoMirror { url }.into()),
        false => Ok(choice),
    }
}

fn repomd_url(base_url: &str) -> String {
    format!("{base_url}/{REPOMD_PATH}")
}

fn unasked_not_modified(url: String) -> FetchError {
    let reason = "the server answered \"not modified\" to an unconditional request".to_owned();
    FetchError::Network { url, reason }
}
