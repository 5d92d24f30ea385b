//! Packages that must be signed each by itself, because nothing signs the index that lists them, or
//! besides that.
//!
//! Whether a package is signed depends on nothing but its bytes and the keys, so what was verified once
//! is remembered by the digests of both: a later build reads no payload again.
//!
//! The file is text: a line `oic-signed 1 ` and the digest of what follows; a line `claim keys` of two
//! digests for each package. Anything else is dropped and made again.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufReader, Read as _, Seek as _};
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use super::CacheError;
use crate::durable::{self, PathError};
use crate::package::{ResolvedPackage, Sha256};
use crate::verify::rpm::{self, RpmVerifyError};
use crate::verify::{Keyring, VerifyError};

/// The file's name, in the directory `metadata` of the package cache.
const FILE_NAME: &str = "signed.idx";
const HEADER: &str = "oic-signed 1 ";
/// Room for several hundred thousand packages.
const MAX_FILE_BYTES: u64 = 64 << 20;

/// Whose signature the packages of a repository must have.
#[derive(Debug, Clone)]
pub struct Signers {
    /// By `Repository::id`; packages of other repositories need none.
    keyrings: BTreeMap<String, (Keyring, Sha256)>,
    at: SystemTime,
}

impl Signers {
    /// Nobody's yet; keys must be valid `at` the given time.
    pub fn new(at: SystemTime) -> Self {
        Self {
            keyrings: BTreeMap::new(),
            at,
        }
    }

    /// From now on the packages of `repository` must be signed with one of `certificates`.
    ///
    /// # Errors
    /// [`VerifyError::NoCertificate`] if there is none.
    pub fn require(&mut self, repository: &str, certificates: &[Vec<u8>]) -> Result<(), VerifyError> {
        let keyring = Keyring::from_certificates(certificates)?;
        let mut digests: Vec<String> = certificates.iter().map(|key| Sha256::of(key).to_string()).collect();
        digests.sort_unstable();
        let keys = Sha256::of(digests.concat());
        self.keyrings.insert(repository.to_owned(), (keyring, keys));
        Ok(())
    }
}

/// Which packages have the signatures that they must have.
#[derive(Debug)]
pub(super) struct Signatures {
    signers: Signers,
    path: PathBuf,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// Claims and keys.
    good: BTreeSet<(Sha256, Sha256)>,
    changed: bool,
}

impl Signatures {
    /// With what earlier runs found out, kept in the directory `metadata`.
    pub(super) fn load(signers: Signers, metadata: &std::path::Path) -> Self {
        let path = metadata.join(FILE_NAME);
        // Where no signature is needed, nothing needs to be known.
        let good = match signers.keyrings.is_empty() {
            true => BTreeSet::new(),
            false => read(&path).unwrap_or_default(),
        };
        let known = Known { good, changed: false };
        Self {
            signers,
            path,
            known: Mutex::new(known),
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether `package` needs no signature, or its file, the digest of which was verified, is known to have it.
    pub(super) fn are_known(&self, package: &ResolvedPackage) -> bool {
        match self.signers.keyrings.get(&package.repository) {
            None => true,
            Some((_, keys)) => self.known().good.contains(&(claim(package), *keys)),
        }
    }

    /// Holds `file`, which has the digest of `package`, against the keys of its repository. Leaves
    /// `file` at its start.
    pub(super) fn check(&self, package: &ResolvedPackage, file: &File) -> Result<(), CacheError> {
        let Some((keyring, keys)) = self.signers.keyrings.get(&package.repository) else {
            return Ok(());
        };
        if self.are_known(package) {
            return Ok(());
        }
        let failed = |source: RpmVerifyError| CacheError::Signature {
            package: format!("{} {}", package.name, package.version),
            repository: package.repository.clone(),
            source,
        };
        let io = |error| failed(crate::rpmfile::RpmFileError::Io(error).into());
        let mut file = file;
        file.rewind().map_err(io)?;
        let reader = BufReader::with_capacity(64 << 10, file);
        let head = rpm::verify(keyring, reader, self.signers.at).map_err(failed)?.head;
        // Nobody may have signed the index: it could give any signed package for this one.
        let found = head.nevra();
        if found != nevra(package) {
            return Err(failed(RpmVerifyError::OtherPackage { found }));
        }
        file.rewind().map_err(io)?;
        let mut known = self.known();
        known.good.insert((claim(package), *keys));
        known.changed = true;
        Ok(())
    }

    /// Writes what was found out, together with what other processes wrote meanwhile.
    pub(super) fn save(&self) -> Result<(), PathError> {
        let mut known = self.known();
        if !known.changed {
            return Ok(());
        }
        known.good.extend(read(&self.path).unwrap_or_default());
        let lines = known.good.iter().map(|(package, keys)| format!("{package} {keys}\n"));
        let body: String = lines.collect();
        durable::write_file(&self.path, format!("{HEADER}{}\n{body}", Sha256::of(&body)))?;
        known.changed = false;
        Ok(())
    }
}

fn nevra(package: &ResolvedPackage) -> String {
    format!("{}-{}.{}", package.name, package.version, package.architecture)
}

/// What was verified: that a file with this digest is this package.
fn claim(package: &ResolvedPackage) -> Sha256 {
    Sha256::of(format!("{} {}", package.sha256, nevra(package)))
}

fn read(path: &std::path::Path) -> Option<BTreeSet<(Sha256, Sha256)>> {
    let mut text = String::new();
    File::open(path)
        .ok()?
        .take(MAX_FILE_BYTES)
        .read_to_string(&mut text)
        .ok()?;
    let (header, body) = text.split_once('\n')?;
    let digest: Sha256 = header.strip_prefix(HEADER)?.parse().ok()?;
    if digest != Sha256::of(body) {
        return None;
    }
    let pair = |line: &str| {
        let (package, keys) = line.split_once(' ')?;
        Some((package.parse().ok()?, keys.parse().ok()?))
    };
    body.lines().map(pair).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::process::Command;

    use super::super::PackageCache;
    use super::*;
    use crate::cancel::Cancel;
    use crate::fetch::{FetchOptions, Fetcher};
    use crate::progress::Silent;
    use crate::rpmfile::testing::build;
    use crate::verify::gpg::Gpg;

    /// A signed package, and what an index would say of it.
    fn signed(directory: &std::path::Path, gpg: &Gpg) -> (PathBuf, ResolvedPackage) {
        let spec = "Name: signed\nVersion: 1\nRelease: 1\nSummary: s\nLicense: MIT\nBuildArch: noarch\n%description\nx\n%files\n";
        let path = build(directory, spec);
        let output = Command::new("rpmsign")
            .args([
                "--define",
                "_gpg_name vendor@example.org",
                "--define",
                "__gpg /usr/bin/gpg",
            ])
            .arg("--define")
            .arg(format!("_gpg_path {}", gpg.home().display()))
            .arg("--addsign")
            .arg(&path)
            .output()
            .expect("this test needs rpmsign (package rpm)");
        assert!(output.status.success(), "{output:?}");
        let bytes = fs::read(&path).unwrap();
        let package = ResolvedPackage {
            name: "signed".to_owned(),
            version: "1-1".to_owned(),
            architecture: "noarch".to_owned(),
            repository: "main".to_owned(),
            path: "signed-1-1.noarch.rpm".to_owned(),
            size_bytes: bytes.len() as u64,
            installed_size_bytes: 0,
            sha256: Sha256::of(&bytes),
            stanza: String::new(),
        };
        (path, package)
    }

    #[test]
    fn only_signed_packages_get_a_name_in_the_cache() {
        let directory = tempfile::tempdir().unwrap();
        let gpg = Gpg::with_key("vendor");
        gpg.generate("other", "ed25519", "never", &[]);
        let (path, package) = signed(directory.path(), &gpg);
        let url = format!("file://{}", path.display());
        let fetcher = Fetcher::new(FetchOptions::default(), Cancel::default()).unwrap();
        let cache = |key: Option<&str>| {
            let mut signers = Signers::new(SystemTime::now());
            if let Some(key) = key {
                signers.require("main", &[gpg.export(key)]).unwrap();
            }
            PackageCache::open(directory.path(), "p").unwrap().with_signers(signers)
        };
        let file = directory.path().join("pkgCache/p/signed-1-1.noarch.rpm");
        let refused = |key| match cache(Some(key)).obtain(&package, &url, &fetcher, &Silent) {
            Err(error @ CacheError::Signature { .. }) => error.to_string(),
            other => panic!("{other:?}"),
        };
        let message = refused("other");
        assert!(
            message.contains("signed 1-1 of repository main") && message.contains("unknown key"),
            "{message}"
        );
        assert!(!file.exists());
        cache(Some("vendor")).obtain(&package, &url, &fetcher, &Silent).unwrap();
        assert!(file.exists());
        // It is known from now on, and under these keys alone.
        let reader = cache(Some("vendor"));
        assert!(reader.open_verified(&package).unwrap().is_some());
        assert_eq!(reader.hashed_bytes(), 0);
        refused("other");
        assert!(cache(Some("other")).open_verified(&package).is_err());
        assert!(cache(None).open_verified(&package).unwrap().is_some());
        // Another package, however well signed, does not pass for it.
        let other = ResolvedPackage {
            name: "wanted".to_owned(),
            ..package.clone()
        };
        let error = cache(Some("vendor"))
            .obtain(&other, &url, &fetcher, &Silent)
            .unwrap_err();
        assert!(
            error.to_string().contains("the package is signed-1-1.noarch"),
            "{error}"
        );
        // A package of a repository that vouches for its index only may lie there already.
        fs::remove_file(directory.path().join("pkgCache/p/metadata").join(FILE_NAME)).unwrap();
        refused("other");
        assert!(cache(Some("vendor")).open_verified(&package).unwrap().is_some());
    }
}
