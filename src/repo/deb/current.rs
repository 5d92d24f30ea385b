//! Which Release file counts: the mirror's or the cached one, verified either way.

use super::error::Problem;
use super::load::Session;
use super::release::Release;
use crate::fetch::{FetchError, Reply, Validators};
use crate::package::Sha256;
use crate::repo::ReleaseInfo;
use crate::repo::store::{Form, Kind, Pointer};
use crate::verify::{self, Signer};

/// Debian's largest, with every architecture and translation, has under 2 MiB.
const RELEASE_LIMIT_BYTES: u64 = 32 << 20;
const SIGNATURE_LIMIT_BYTES: u64 = 1 << 20;
/// A `Date` this far ahead is put down to clocks that differ.
const CLOCK_SKEW_SECONDS: i64 = 10;

/// A Release file that was verified (or is trusted by declaration).
#[derive(Debug, Clone)]
pub(super) struct Current {
    pub(super) pointer: Pointer,
    pub(super) release: Release,
    /// Digest of the signed text.
    pub(super) sha256: Sha256,
    pub(super) signer: Option<Signer>,
    /// The files as they came, if they are not in the cache yet.
    pub(super) fresh: Option<Fresh>,
}

/// Bytes that came from the mirror.
#[derive(Debug, Clone)]
pub(super) struct Fresh {
    pub(super) release: Vec<u8>,
    pub(super) signature: Option<Vec<u8>>,
}

impl Current {
    /// As a lockfile or a report names it.
    pub(super) fn info(&self) -> ReleaseInfo {
        ReleaseInfo {
            date: self.release.date,
            suite: self.release.suite.clone(),
            codename: self.release.codename.clone(),
            sha256: self.sha256,
            signer: self.signer.as_ref().map(|signer| signer.fingerprint.clone()),
        }
    }
}

impl Session<'_> {
    /// The cached Release file, verified again; `None` if there is none.
    pub(super) fn cached(&self) -> Result<Option<Current>, Problem> {
        let Some(root) = self
            .store
            .root(Kind::RELEASE, RELEASE_LIMIT_BYTES, SIGNATURE_LIMIT_BYTES)
        else {
            return Ok(None);
        };
        self.verified(&root.pointer, &root.bytes, root.signature.as_deref())
            .map(Some)
    }

    /// The Release file to use now: the mirror's, or the cached one if that is
    /// still the mirror's or newer than it. With `conditional` the mirror is told
    /// what is known.
    pub(super) fn refreshed(&self, cached: Option<&Current>, conditional: bool) -> Result<Current, Problem> {
        let known = cached.filter(|_| conditional);
        let answer = match self.ask(Form::Inline, known) {
            // Some servers answer 403 for what they do not have.
            Err(first @ (FetchError::NotFound { .. } | FetchError::Status { .. })) => {
                match (self.ask(Form::Detached, known), first) {
                    (Err(FetchError::NotFound { .. }), FetchError::NotFound { url }) => {
                        return Err(Problem::NoRelease { url });
                    }
                    (Err(FetchError::NotFound { .. } | FetchError::Status { .. }), first) => return Err(first.into()),
                    (answer, _) => answer?,
                }
            }
            answer => answer?,
        };
        let current = match (answer, cached) {
            (None, Some(cached)) => cached.clone(),
            (None, None) => {
                return Err(Problem::NoRelease {
                    url: self.release_url(Form::Inline),
                });
            }
            (Some((mut pointer, release)), cached) => {
                let signature = match pointer.form {
                    Form::Inline => None,
                    Form::Detached => self.signature(&pointer.url)?,
                };
                pointer.signature = signature.as_ref().map(Sha256::of);
                let mut current = self.verified(&pointer, &release, signature.as_deref())?;
                current.fresh = Some(Fresh { release, signature });
                match cached {
                    Some(cached) if cached.release.date > current.release.date => {
                        tracing::warn!(
                            repository = self.repository.id,
                            url = pointer.url,
                            "the mirror has an older index than the cache; the newer one is kept"
                        );
                        cached.clone()
                    }
                    _ => current,
                }
            }
        };
        self.check_validity(&current)?;
        Ok(current)
    }

    /// Asks for a Release file; `None` says that the known one is still current.
    fn ask(&self, form: Form, known: Option<&Current>) -> Result<Option<(Pointer, Vec<u8>)>, FetchError> {
        let url = self.release_url(form);
        let known = known.filter(|known| known.pointer.form == form && known.pointer.url == url);
        let known = known
            .map(|known| &known.pointer.validators)
            .filter(|known| **known != Validators::default());
        match self.get(&url, RELEASE_LIMIT_BYTES, known)? {
            Reply::NotModified if known.is_some() => Ok(None),
            Reply::NotModified => {
                let reason = "the server answered \"not modified\" to an unconditional request".to_owned();
                Err(FetchError::Network { url, reason })
            }
            Reply::Body { bytes, validators } => {
                let release = Sha256::of(&bytes);
                Ok(Some((
                    Pointer {
                        form,
                        url,
                        validators,
                        release,
                        signature: None,
                    },
                    bytes,
                )))
            }
        }
    }

    /// `Release.gpg`; may be absent only if the repository is trusted.
    fn signature(&self, release_url: &str) -> Result<Option<Vec<u8>>, Problem> {
        match self.get(&format!("{release_url}.gpg"), SIGNATURE_LIMIT_BYTES, None) {
            Ok(Reply::Body { bytes, .. }) => Ok(Some(bytes)),
            Err(FetchError::NotFound { .. }) | Ok(Reply::NotModified) if self.repository.trusted => Ok(None),
            Err(FetchError::NotFound { .. }) | Ok(Reply::NotModified) => Err(Problem::Unsigned {
                url: release_url.to_owned(),
            }),
            Err(error) => Err(error.into()),
        }
    }

    fn release_url(&self, form: Form) -> String {
        self.url(match form {
            Form::Inline => "InRelease",
            Form::Detached => "Release",
        })
    }

    /// Verifies and reads a Release file, and checks that it is for the suite.
    fn verified(&self, pointer: &Pointer, raw: &[u8], signature: Option<&[u8]>) -> Result<Current, Problem> {
        let (text, signer) = self.signed_text(pointer, raw, signature)?;
        let malformed = |source| Problem::Malformed {
            url: pointer.url.clone(),
            source,
        };
        let sha256 = Sha256::of(&text);
        let text = String::from_utf8(text).map_err(|_| malformed(super::ParseError::at(1, "the text is not UTF-8")))?;
        let release = Release::parse(&text).map_err(malformed)?;
        // Whoever trusts a hand-made archive has no use for the name that it lacks.
        let nameless = self.repository.trusted && release.suite.is_empty() && release.codename.is_empty();
        if !nameless && !release.is_for(&self.repository.suite) {
            let problem = Problem::WrongSuite {
                url: pointer.url.clone(),
                wanted: self.repository.suite.clone(),
                suite: release.suite,
                codename: release.codename,
            };
            return Err(problem);
        }
        Ok(Current {
            pointer: pointer.clone(),
            release,
            sha256,
            signer,
            fresh: None,
        })
    }

    /// The text that may be believed, and who signed it.
    fn signed_text(
        &self,
        pointer: &Pointer,
        raw: &[u8],
        signature: Option<&[u8]>,
    ) -> Result<(Vec<u8>, Option<Signer>), Problem> {
        let failed = |source| Problem::Signature {
            url: pointer.url.clone(),
            source,
        };
        let now = self.options.now;
        if let Some(keyring) = &self.keyring {
            let verified = match (pointer.form, signature) {
                (Form::Inline, _) => keyring
                    .verify_inline(raw, now)
                    .map(|verified| (verified.text, verified.signer)),
                (Form::Detached, Some(signature)) => keyring
                    .verify_detached(raw, signature, now)
                    .map(|signer| (raw.to_vec(), signer)),
                (Form::Detached, None) => Err(verify::VerifyError::NoSignature),
            };
            match verified {
                Ok((text, signer)) => return Ok((text, Some(signer))),
                Err(source) if !self.repository.trusted => return Err(failed(source)),
                Err(_) => {}
            }
        }
        if !self.repository.trusted {
            return Err(Problem::NoKey);
        }
        tracing::warn!(
            repository = self.repository.id,
            url = pointer.url,
            "NOT VERIFIED: the repository is declared [trusted=yes], so anybody between it and here can change it"
        );
        match pointer.form {
            Form::Inline => Ok((verify::signed_text_unverified(raw).map_err(failed)?, None)),
            Form::Detached => Ok((raw.to_vec(), None)),
        }
    }

    /// `Valid-Until` and `Date` against the clock. Without the network an index
    /// that is out of date is all there is, so then it is only a warning.
    pub(super) fn check_validity(&self, current: &Current) -> Result<(), Problem> {
        let (release, url) = (&current.release, current.pointer.url.clone());
        let now = self.options.now_seconds();
        let problem = match release.valid_until {
            Some(valid_until) if valid_until < now => Problem::Expired {
                url,
                date: release.date,
                valid_until,
                now,
            },
            _ if release.date > now.saturating_add(CLOCK_SKEW_SECONDS) => Problem::FromTheFuture {
                url,
                date: release.date,
                now,
            },
            _ => return Ok(()),
        };
        if self.options.offline {
            tracing::warn!(repository = self.repository.id, %problem, "used all the same because of --offline");
            return Ok(());
        }
        Err(problem)
    }
}
