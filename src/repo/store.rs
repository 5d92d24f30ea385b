//! The cache of one repository's verified metadata.
//!
//! ```text
//! {metadata_dir}/{id}-{16 hex digits}/
//!     lock                    held while the repository is being loaded
//!     current                 pointer: form, digests, URL and validators of the root of the metadata
//!     Release.{sha256}        what it points to: InRelease, Release or (as Repomd) repomd.xml, as it came,
//!     Signature.{sha256}      and its detached signature
//!     Packages.{sha256}[.xz]  indexes, named by the digest that the root lists, by whatever algorithm
//! ```
//!
//! Invariant: an object's content has the digest in its name, and is checked
//! against it on every read. `current` is replaced last, so it always points to a
//! complete set; it is trusted for nothing but where to look.

use std::collections::HashSet;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::cancel::Cancel;
use crate::durable::{self, FileLock, LockError, PathError};
use crate::fetch::Validators;
use crate::package::{Checksum, Sha256};
use crate::repo::Repository;

/// Magic and version of `current`; the digest of the rest follows on the line.
const HEADER: &str = "oic-metadata 1";
/// The pointer is a few hundred bytes.
const POINTER_LIMIT_BYTES: u64 = 64 << 10;

/// How the root of the metadata is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Form {
    /// `InRelease`.
    Inline,
    /// `Release` with `Release.gpg`, `repomd.xml` with `repomd.xml.asc`, or without if none is needed.
    Detached,
}

/// What `current` points to, as it came.
#[derive(Debug)]
pub(super) struct Root {
    pub(super) pointer: Pointer,
    pub(super) bytes: Vec<u8>,
    pub(super) signature: Option<Vec<u8>>,
}

/// What `current` holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Pointer {
    pub(super) form: Form,
    /// Where the root came from; validators mean something only there.
    pub(super) url: String,
    pub(super) validators: Validators,
    pub(super) release: Sha256,
    pub(super) signature: Option<Sha256>,
}

/// An open, locked cache directory.
#[derive(Debug)]
pub(super) struct Store {
    directory: PathBuf,
    _lock: FileLock,
}

impl Store {
    /// Opens and locks the repository's directory, and sweeps what killed processes left.
    pub(super) fn open(metadata_dir: &Path, repository: &Repository, cancel: &Cancel) -> Result<Self, LockError> {
        let directory = metadata_dir.join(directory_name(repository));
        fs::create_dir_all(&directory).map_err(PathError::on("create", &directory))?;
        let path = directory.join("lock");
        let mut waits = false;
        let lock = loop {
            cancel.check()?;
            if let Some(lock) = FileLock::try_exclusive(&path)? {
                break lock;
            }
            if !waits {
                tracing::info!(repository = repository.id, "another oic is loading it; waiting");
                waits = true;
            }
            std::thread::sleep(Duration::from_millis(20));
        };
        durable::sweep_temporaries(&directory)?;
        Ok(Self { directory, _lock: lock })
    }

    /// The pointer, unless there is none, or it is damaged or of another version.
    pub(super) fn pointer(&self) -> Option<Pointer> {
        let text = read_bounded(&self.directory.join("current"), POINTER_LIMIT_BYTES)?;
        let text = String::from_utf8(text).ok()?;
        let (header, body) = text.split_once('\n')?;
        let digest = header.strip_prefix(HEADER)?.trim().parse::<Sha256>().ok()?;
        (digest == Sha256::of(body))
            .then(|| serde_json::from_str(body).ok())
            .flatten()
    }

    /// Replaces the pointer; what it names was written before.
    pub(super) fn point(&self, pointer: &Pointer) -> Result<(), PathError> {
        let path = self.directory.join("current");
        let body =
            serde_json::to_string_pretty(pointer).map_err(|error| PathError::on("write", &path)(error.into()))?;
        durable::write_file(&path, format!("{HEADER} {}\n{body}", Sha256::of(&body)))
    }

    /// The root of the metadata, of `kind`, and its detached signature if it has one; `None` unless all of it is there.
    pub(super) fn root(&self, kind: Kind, limit_bytes: u64, signature_limit_bytes: u64) -> Option<Root> {
        let pointer = self.pointer()?;
        let bytes = self.read(kind, pointer.release, limit_bytes)?;
        let signature = match pointer.signature {
            Some(digest) => Some(self.read(Kind::SIGNATURE, digest, signature_limit_bytes)?),
            None => None,
        };
        Some(Root {
            pointer,
            bytes,
            signature,
        })
    }

    /// The object `kind` with that digest, or `None` if it is absent, larger than
    /// `limit_bytes` or damaged (then it is deleted).
    pub(super) fn read(&self, kind: Kind, digest: impl Into<Checksum>, limit_bytes: u64) -> Option<Vec<u8>> {
        let digest = digest.into();
        let path = self.directory.join(kind.file_name(&digest));
        let bytes = read_bounded(&path, limit_bytes)?;
        if digest.is_of(&bytes) {
            return Some(bytes);
        }
        tracing::warn!(path = %path.display(), "cached metadata is damaged; it is fetched again");
        // If it cannot be deleted, it is refused again next time.
        let _ = fs::remove_file(&path);
        None
    }

    /// Whether there is such an object, whatever its content is.
    pub(super) fn has(&self, kind: Kind, digest: impl Into<Checksum>) -> bool {
        self.directory.join(kind.file_name(&digest.into())).exists()
    }

    /// Stores an object under its digest.
    pub(super) fn write(&self, kind: Kind, digest: impl Into<Checksum>, bytes: &[u8]) -> Result<(), PathError> {
        durable::write_file(self.directory.join(kind.file_name(&digest.into())), bytes)
    }

    /// Deletes objects that neither `pointer` names nor its root lists.
    pub(super) fn prune(&self, pointer: &Pointer, listed: impl Iterator<Item = Checksum>) -> Result<(), PathError> {
        let root = [Some(pointer.release), pointer.signature];
        let kept: HashSet<Checksum> = root.into_iter().flatten().map(Checksum::from).chain(listed).collect();
        let entries = fs::read_dir(&self.directory).map_err(PathError::on("read", &self.directory))?;
        for entry in entries {
            let path = entry.map_err(PathError::on("read", &self.directory))?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let digest = name
                .split('.')
                .nth(1)
                .and_then(|digest| digest.parse::<Checksum>().ok());
            if digest.is_some_and(|digest| !kept.contains(&digest)) {
                fs::remove_file(&path).map_err(PathError::on("remove", &path))?;
            }
        }
        Ok(())
    }
}

/// What an object is: its file name is stem, digest and suffix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Kind {
    stem: &'static str,
    suffix: &'static str,
}

impl Kind {
    pub(super) const RELEASE: Self = Self::index("Release", "");
    pub(super) const REPOMD: Self = Self::index("Repomd", "");
    pub(super) const SIGNATURE: Self = Self::index("Signature", "");

    /// An index, in the form with that suffix.
    pub(super) const fn index(stem: &'static str, suffix: &'static str) -> Self {
        Self { stem, suffix }
    }

    fn file_name(self, digest: &Checksum) -> String {
        format!("{}.{digest}{}", self.stem, self.suffix)
    }
}

fn read_bounded(path: &Path, limit_bytes: u64) -> Option<Vec<u8>> {
    let file = fs::File::open(path).ok()?;
    let size_bytes = file.metadata().ok()?.len();
    if size_bytes > limit_bytes {
        return None;
    }
    let mut bytes = Vec::with_capacity(usize::try_from(size_bytes).ok()? + 1);
    file.take(limit_bytes).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

/// One directory per id, suite, keys and path on the server. The host is left
/// out, so that another mirror finds the same cache: the signature, not the host,
/// says what it is. Without a signature the whole URL counts.
fn directory_name(repository: &Repository) -> String {
    let id: String = repository
        .id
        .chars()
        .take(60)
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .collect();
    let url = repository.base_url.as_str();
    let path = url
        .split_once("://")
        .and_then(|(_, rest)| rest.split_once('/'))
        .map_or("", |(_, path)| path);
    let place = if repository.trusted { url } else { path };
    let mut keys: Vec<Sha256> = repository.keys.iter().map(Sha256::of).collect();
    keys.sort_unstable();
    let identity = format!("{:?}", (&repository.id, &repository.suite, place, keys));
    let digest = Sha256::of(identity).to_string();
    format!("{id}-{}", digest.get(..16).unwrap_or_default())
}
