//! Which `repomd.xml` counts: a mirror's or the cached one, verified either way.

use super::error::{Problem, RepoError};
use super::load::Session;
use super::mirrors::{MirrorChoice, parse_metalink, parse_mirror_list};
use super::repomd::Repomd;
use crate::fetch::{FetchError, Reply, Transport, Validators};
use crate::package::Sha256;
use crate::repo::store::{Form, Kind, Pointer};
use crate::repo::{MirrorList, ReleaseInfo, RepoProblem as _};
use crate::verify::{Signer, VerifyError};

/// Real ones have a few kilobytes.
const REPOMD_LIMIT_BYTES: u64 = 16 << 20;
const SIGNATURE_LIMIT_BYTES: u64 = 1 << 20;
const MIRRORS_LIMIT_BYTES: u64 = 4 << 20;
const REPOMD_PATH: &str = "repodata/repomd.xml";

/// A `repomd.xml` that was verified as far as the repository's policy asks for it.
#[derive(Debug, Clone)]
pub(super) struct Current {
    pub(super) pointer: Pointer,
    pub(super) repomd: Repomd,
    pub(super) signer: Option<Signer>,
    /// The files as they came, if they are not in the cache yet.
    pub(super) fresh: Option<Fresh>,
}

/// Bytes that came from the mirror.
#[derive(Debug, Clone)]
pub(super) struct Fresh {
    pub(super) repomd: Vec<u8>,
    pub(super) signature: Option<Vec<u8>>,
}

impl Current {
    /// As a lockfile or a report names it.
    pub(super) fn info(&self) -> ReleaseInfo {
        ReleaseInfo {
            date: self.repomd.date(),
            suite: String::new(),
            codename: String::new(),
            sha256: self.pointer.release,
            signer: self.signer.as_ref().map(|signer| signer.fingerprint.clone()),
        }
    }

    /// The base URL that it came from.
    pub(super) fn base_url(&self) -> &str {
        let url = self.pointer.url.strip_suffix(REPOMD_PATH);
        url.unwrap_or(&self.pointer.url).trim_end_matches('/')
    }
}

impl Session<'_> {
    /// Where `repomd.xml` is, or the list of mirrors, for messages.
    pub(super) fn shown_url(&self) -> String {
        match &self.repository.mirror_list {
            Some(list) => list.url().to_owned(),
            None => repomd_url(&self.repository.base_url),
        }
    }

    /// Where the repository can be had, the preferred place first.
    pub(super) fn choice(&self) -> Result<MirrorChoice, Problem> {
        match &self.repository.mirror_list {
            Some(list) => read_list(list, |url| self.get(url, MIRRORS_LIMIT_BYTES, None)),
            None => Ok(MirrorChoice {
                base_urls: vec![self.repository.base_url.clone()],
                repomd: Vec::new(),
            }),
        }
    }

    /// The cached `repomd.xml`, verified again; `None` if there is none.
    pub(super) fn cached(&self) -> Result<Option<Current>, Problem> {
        let Some(root) = self.store.root(Kind::REPOMD, REPOMD_LIMIT_BYTES, SIGNATURE_LIMIT_BYTES) else {
            return Ok(None);
        };
        self.verified(&root.pointer, &root.bytes, root.signature.as_deref())
            .map(Some)
    }

    /// The `repomd.xml` to use now: that of the mirror at `base_url`, or the cached one if that is still
    /// the mirror's or newer. With `conditional` the mirror is told what is known.
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
        let (repomd, validators) = match self.get(&url, REPOMD_LIMIT_BYTES, validators)? {
            Reply::Body { bytes, validators } => (bytes, validators),
            Reply::NotModified => match known {
                Some(known) if allowed.is_empty() || allowed.contains(&known.pointer.release) => {
                    return Ok(known.clone());
                }
                Some(_) => return Err(Problem::NotOfMetalink { url }),
                None => return Err(unasked_not_modified(url).into()),
            },
        };
        let digest = Sha256::of(&repomd);
        if !allowed.is_empty() && !allowed.contains(&digest) {
            return Err(Problem::NotOfMetalink { url });
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
            // There is no date of expiry; that time does not run backwards is all that can be held.
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
            }),
            Err(error) => Err(error.into()),
        }
    }

    /// Verifies a `repomd.xml`, if it must be signed, and reads it.
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
            // Each package is verified before it is used.
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
        let repomd = Repomd::parse(raw).map_err(|source| Problem::Malformed { url: url(), source })?;
        Ok(Current {
            pointer: pointer.clone(),
            repomd,
            signer,
            fresh: None,
        })
    }
}

/// The base URL of a repository that has a list of mirrors instead: the first of them that has a `repomd.xml`. Nothing
/// of it is verified; this is for who knows the digests of packages from a lockfile.
///
/// # Errors
/// [`RepoError`] if the list cannot be had, or names no mirror that answers.
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
        Err(Problem::NoMirror { url })
    };
    find().map_err(|problem: Problem| problem.of(id))
}

/// The mirrors that a list names; `get` fetches it.
fn read_list(list: &MirrorList, get: impl FnOnce(&str) -> Result<Reply, FetchError>) -> Result<MirrorChoice, Problem> {
    let url = list.url().to_owned();
    let Reply::Body { bytes, .. } = get(&url)? else {
        return Err(unasked_not_modified(url).into());
    };
    let choice = match list {
        MirrorList::Plain(_) => parse_mirror_list(&String::from_utf8_lossy(&bytes)),
        MirrorList::Metalink(_) => parse_metalink(&*bytes).map_err(|source| Problem::Malformed {
            url: url.clone(),
            source,
        })?,
    };
    match choice.base_urls.is_empty() {
        true => Err(Problem::NoMirror { url }),
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
