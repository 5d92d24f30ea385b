//! The cache of one repository's verified metadata.
//!
//! ```text
//! {metadata_dir}/{id}-{16 hex digits}/
//!     lock                    held while the repository is being loaded
//!     current                 pointer: form, digests, URL and validators of the root of the metadata
//!     Release.{sha256}        its target: InRelease, Release or (as Repomd) repomd.xml, as downloaded,
//!     Signature.{sha256}      and its detached signature
//!     Packages.{sha256}[.xz]  indexes, named by the digest that the root lists, of any algorithm
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
use crate::package::{Checksum, Sha256, sealed};
use crate::repo::Repository;

/// Magic and version of `current`; the digest of the rest follows on the line.
const HEADER: &str = "oic-metadata 1 ";
/// The name of the pointer file.
pub const POINTER: &str = "current";
/// Upper limit of the pointer in bytes; a real one has a few hundred.
const POINTER_LIMIT_BYTES: u64 = 64 << 10;

/// The ways in which the root of the metadata is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Form {
    /// `InRelease`.
    Inline,
    /// `Release` with `Release.gpg`, `repomd.xml` with `repomd.xml.asc`, or without if none is needed.
    Detached,
}

/// The root that `current` points to, as it was downloaded.
#[derive(Debug)]
pub(super) struct Root {
    pub(super) pointer: Pointer,
    pub(super) bytes: Vec<u8>,
    pub(super) signature: Option<Vec<u8>>,
}

/// The content of `current`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Pointer {
    pub(super) form: Form,
    /// URL of the root; validators are valid only for this URL.
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
    /// Opens and locks the repository's directory, and removes the temporary files of killed processes.
    pub(super) fn open(metadata_dir: &Path, repository: &Repository, cancel: &Cancel) -> Result<Self, LockError> {
        let directory = metadata_dir.join(directory_name(repository));
        durable::public_directory(&directory)?;
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

    /// Reads the pointer; `None` if it is absent, damaged or of another version.
    pub(super) fn pointer(&self) -> Option<Pointer> {
        parse_pointer(&read_bounded(&self.directory.join(POINTER), POINTER_LIMIT_BYTES)?)
    }

    /// Replaces the pointer; the objects that it names must be written before.
    pub(super) fn point(&self, pointer: &Pointer) -> Result<(), PathError> {
        let path = self.directory.join(POINTER);
        let body =
            serde_json::to_string_pretty(pointer).map_err(|error| PathError::on("write", &path)(error.into()))?;
        durable::write_public_file(&path, sealed::seal(HEADER, &body))
    }

    /// Reads the root of the metadata, of `kind`, and its detached signature if it has one; `None` unless all of it is
    /// cached.
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

    /// Reads the object `kind` with that digest; `None` if it is absent, larger than `limit_bytes` or damaged (then it
    /// is deleted).
    pub(super) fn read(&self, kind: Kind, digest: impl Into<Checksum>, limit_bytes: u64) -> Option<Vec<u8>> {
        let digest = digest.into();
        let path = self.directory.join(kind.file_name(&digest));
        let bytes = read_bounded(&path, limit_bytes)?;
        if digest.is_of(&bytes) {
            return Some(bytes);
        }
        tracing::warn!(path = %path.display(), "cached metadata is damaged; it is fetched again");
        // If the file cannot be deleted, it is refused again next time.
        let _ = fs::remove_file(&path);
        None
    }

    /// Returns whether the object exists, whatever its content.
    pub(super) fn has(&self, kind: Kind, digest: impl Into<Checksum>) -> bool {
        self.directory.join(kind.file_name(&digest.into())).exists()
    }

    /// Stores an object under its digest.
    pub(super) fn write(&self, kind: Kind, digest: impl Into<Checksum>, bytes: &[u8]) -> Result<(), PathError> {
        durable::write_public_file(self.directory.join(kind.file_name(&digest.into())), bytes)
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

/// The kind of an object: its file name is stem, digest and suffix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Kind {
    stem: &'static str,
    suffix: &'static str,
}

impl Kind {
    pub(super) const RELEASE: Self = Self::index("Release", "");
    pub(super) const REPOMD: Self = Self::index("Repomd", "");
    pub(super) const SIGNATURE: Self = Self::index("Signature", "");

    /// Makes the kind of an index, in the form with that suffix.
    pub(super) const fn index(stem: &'static str, suffix: &'static str) -> Self {
        Self { stem, suffix }
    }

    fn file_name(self, digest: &Checksum) -> String {
        format!("{}.{digest}{}", self.stem, self.suffix)
    }
}

/// Returns whether `text` is that of a whole file [`POINTER`].
pub fn is_pointer(text: &[u8]) -> bool {
    parse_pointer(text).is_some()
}

fn parse_pointer(text: &[u8]) -> Option<Pointer> {
    serde_json::from_str(sealed::open(HEADER, text).ok()?).ok()
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

/// Returns the name of the directory: one per id, suite, keys and path on the server. The host is omitted, so that
/// another mirror uses the same cache: the signature, not the host, identifies the content. Without a signature the
/// whole URL counts.
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
