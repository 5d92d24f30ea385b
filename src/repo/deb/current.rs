//! Chooses the Release file: the mirror's or the cached one, verified either way.

use super::deb822::ParseError;
use super::error::DebProblem;
use super::format::Session;
use super::index;
use super::release::Release;
use crate::fetch::{FetchError, Reply, Validators};
use crate::package::Sha256;
use crate::repo::store::{Form, Kind, Pointer};
use crate::repo::{Problem, ReleaseInfo};
use crate::verify::{self, Signer};

/// Upper limit in bytes; Debian's largest Release file, with every architecture and translation, has under 2 MiB.
const RELEASE_LIMIT_BYTES: u64 = 32 << 20;
const SIGNATURE_LIMIT_BYTES: u64 = 1 << 20;
/// The clock difference that is tolerated, in seconds: a `Date` may lie this far ahead.
const CLOCK_SKEW_SECONDS: i64 = 10;

/// A Release file that was verified (or is trusted by declaration).
#[derive(Debug, Clone)]
pub struct Current {
    pub(super) pointer: Pointer,
    pub(super) release: Release,
    /// Digest of the signed text.
    pub(super) sha256: Sha256,
    pub(super) signer: Option<Signer>,
    /// The files as they came, if they are not in the cache yet.
    pub(super) fresh: Option<Fresh>,
    /// What the user should know of it.
    pub(super) notes: Vec<String>,
}

/// Bytes that came from the mirror.
#[derive(Debug, Clone)]
pub struct Fresh {
    pub(super) release: Vec<u8>,
    pub(super) signature: Option<Vec<u8>>,
}

impl Current {
    /// Returns its description for a lockfile or a report.
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
    /// Returns `path` below the Release file's directory as a URL.
    pub(super) fn url(&self, path: &str) -> String {
        let (base_url, suite) = (&self.repository.base_url, &self.repository.suite);
        if !self.repository.is_flat() {
            return format!("{base_url}/dists/{suite}/{path}");
        }
        match suite.trim_start_matches("./").trim_matches('/') {
            "" => format!("{base_url}/{path}"),
            directory => format!("{base_url}/{directory}/{path}"),
        }
    }

    /// Reads the cached Release file and verifies it again; `None` if the cache has none.
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

    /// Returns the current Release file: the mirror's, or the cached one if that equals the mirror's or is newer. With
    /// `conditional` the request names the cached version, so the mirror need not send it again.
    pub(super) fn refreshed(&self, cached: Option<&Current>, conditional: bool) -> Result<Current, Problem> {
        let known = cached.filter(|_| conditional);
        let answer = match self.ask(Form::Inline, known) {
            // Some servers answer 403 for a file that does not exist.
            Err(first @ (FetchError::NotFound { .. } | FetchError::Status { .. })) => {
                match (self.ask(Form::Detached, known), first) {
                    (Err(FetchError::NotFound { .. }), FetchError::NotFound { url }) => {
                        return Err(DebProblem::NoRelease { url }.into());
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
                let url = self.release_url(Form::Inline);
                return Err(DebProblem::NoRelease { url }.into());
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
        self.checked(current)
    }

    /// Requests a Release file; `None` means that the known one is still current.
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

    /// Downloads `Release.gpg`; it may be absent only if the repository is trusted.
    fn signature(&self, release_url: &str) -> Result<Option<Vec<u8>>, Problem> {
        match self.get(&format!("{release_url}.gpg"), SIGNATURE_LIMIT_BYTES, None) {
            Ok(Reply::Body { bytes, .. }) => Ok(Some(bytes)),
            Err(FetchError::NotFound { .. }) | Ok(Reply::NotModified) if self.repository.trusted => Ok(None),
            Err(FetchError::NotFound { .. }) | Ok(Reply::NotModified) => Err(Problem::Unsigned {
                url: release_url.to_owned(),
                signature: "Release.gpg",
                hint: "use a mirror that has its signature, or `[trusted=yes]` to use it unverified",
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

    /// Verifies and parses a Release file, and checks that it is for the suite.
    fn verified(&self, pointer: &Pointer, raw: &[u8], signature: Option<&[u8]>) -> Result<Current, Problem> {
        let (text, signer) = self.signed_text(pointer, raw, signature)?;
        let malformed = |source| Problem::malformed(&pointer.url, source);
        let sha256 = Sha256::of(&text);
        let text = String::from_utf8(text).map_err(|_| malformed(ParseError::at(1, "the text is not UTF-8")))?;
        let release = Release::parse(&text).map_err(malformed)?;
        let notes = self.check_suite(&pointer.url, &release)?.into_iter().collect();
        Ok(Current {
            pointer: pointer.clone(),
            release,
            sha256,
            signer,
            fresh: None,
            notes,
        })
    }

    /// Compares the suite with the requested one. Returns a note if they differ and need not be the same.
    fn check_suite(&self, url: &str, release: &Release) -> Result<Option<String>, Problem> {
        // A trusted hand-made archive may omit its suite, so there is nothing to compare.
        let nameless = self.repository.trusted && release.suite.is_empty() && release.codename.is_empty();
        if nameless || self.repository.is_flat() || release.is_for(&self.repository.suite) {
            return Ok(None);
        }
        let problem = DebProblem::WrongSuite {
            url: url.to_owned(),
            wanted: self.repository.suite.clone(),
            suite: release.suite.clone(),
            codename: release.codename.clone(),
        };
        match self.repository.checks.suite {
            true => Err(problem.into()),
            false => Ok(Some(self.note(&problem))),
        }
    }

    /// Words `problem` as a note: the repository is used all the same.
    fn note(&self, problem: &DebProblem) -> String {
        format!("repository {}: {problem}; it is used all the same", self.repository.id)
    }

    /// Adds the notes on its age and on components that it lacks, and returns it.
    pub(super) fn checked(&self, mut current: Current) -> Result<Current, Problem> {
        current.notes.extend(self.check_validity(&current)?);
        for component in index::absent(self, &current.release) {
            let (id, url) = (&self.repository.id, &current.pointer.url);
            let architecture = self.options.arch.deb();
            let components = current.release.components.join(" ");
            current.notes.push(format!(
                "repository {id}: {url} lists no packages of component {component:?} for {architecture}: it is left out \
                 (components: {components})"
            ));
        }
        for arch in index::absent_foreign(self, &current.release) {
            let (id, url) = (&self.repository.id, &current.pointer.url);
            let note = format!("repository {id}: {url} lists no packages for {}", arch.deb());
            current.notes.push(note);
        }
        Ok(current)
    }

    /// Returns the signed text and its signer; a trusted repository needs no signer.
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

    /// Compares `Valid-Until` and `Date` with the clock. Offline, no newer index is available, so an index out of date
    /// is only a warning; so is one of an archive that is declared to stay as it is, which gives a note.
    fn check_validity(&self, current: &Current) -> Result<Option<String>, Problem> {
        let (release, url) = (&current.release, current.pointer.url.clone());
        let now = self.options.now_seconds();
        let problem = match release.valid_until {
            Some(valid_until) if valid_until < now => DebProblem::Expired {
                url,
                date: release.date,
                valid_until,
                now,
            },
            _ if release.date > now.saturating_add(CLOCK_SKEW_SECONDS) => DebProblem::FromTheFuture {
                url,
                date: release.date,
                now,
            },
            _ => return Ok(None),
        };
        if matches!(problem, DebProblem::Expired { .. }) && !self.repository.checks.valid_until {
            return Ok(Some(self.note(&problem)));
        }
        if self.options.offline {
            tracing::warn!(repository = self.repository.id, %problem, "used all the same: downloads are not allowed");
            return Ok(None);
        }
        Err(problem.into())
    }
}
