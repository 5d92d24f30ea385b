//! Verifies the signature of each package whose repository requires one: the index that lists it may be unsigned.
//!
//! A package's signature depends only on its bytes and the keys, so the result is remembered by the digests of both: a
//! later build reads no payload again.
//!
//! The file is text: a line `oic-signed 1 ` and the digest of the rest; a line `claim keys` of two digests for each
//! package. Anything else is dropped and made again.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufReader, Read as _, Seek as _};
use std::path::PathBuf;
use std::time::SystemTime;

use super::CacheError;
use crate::durable::{self, PathError};
use crate::package::{ResolvedPackage, Sha256, sealed};
use crate::sync::{Mutex, lock};
use crate::verify::rpm::{self, RpmVerifyError};
use crate::verify::{Keyring, VerifyError};

/// The file's name, in the directory `metadata` of the package cache.
const FILE_NAME: &str = "signed.idx";
/// The file's name, and the check that its bytes are whole.
pub(super) const RECORD: (&str, fn(&[u8]) -> bool) = (FILE_NAME, |text| parse(text).is_some());
const HEADER: &str = "oic-signed 1 ";
/// Largest size of the file: room for several hundred thousand packages.
const MAX_FILE_BYTES: u64 = 64 << 20;

/// The keys that must have signed the packages of each repository.
#[derive(Debug, Clone)]
pub struct Signers {
    /// Keyrings by `Repository::id`; packages of other repositories need no signature.
    keyrings: BTreeMap<String, (Keyring, Sha256)>,
    at: SystemTime,
}

impl Signers {
    /// Makes an empty set; keys must be valid `at` the given time.
    pub fn new(at: SystemTime) -> Self {
        Self {
            keyrings: BTreeMap::new(),
            at,
        }
    }

    /// Requires that the packages of `repository` are signed with one of `certificates`.
    ///
    /// # Errors
    /// [`VerifyError::NoCertificate`] if `certificates` is empty.
    pub fn require(&mut self, repository: &str, certificates: &[Vec<u8>]) -> Result<(), VerifyError> {
        let keyring = Keyring::from_certificates(certificates)?;
        let mut digests: Vec<String> = certificates.iter().map(|key| Sha256::of(key).to_string()).collect();
        digests.sort_unstable();
        let keys = Sha256::of(digests.concat());
        self.keyrings.insert(repository.to_owned(), (keyring, keys));
        Ok(())
    }
}

/// The packages whose required signatures were verified.
#[derive(Debug)]
pub(super) struct Signatures {
    signers: Signers,
    path: PathBuf,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// Pairs of the digests of a claim and of the keys.
    good: BTreeSet<(Sha256, Sha256)>,
    changed: bool,
}

impl Signatures {
    /// Loads the results of earlier runs from the directory `metadata`.
    pub(super) fn load(signers: Signers, metadata: &std::path::Path) -> Self {
        let path = metadata.join(FILE_NAME);
        // Without signers, no result is needed.
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

    /// Returns whether `package` needs no signature, or its file (whose digest was verified) is known to have it.
    pub(super) fn are_known(&self, package: &ResolvedPackage) -> bool {
        match self.signers.keyrings.get(&package.repository) {
            None => true,
            Some((_, keys)) => lock(&self.known).good.contains(&(claim(package), *keys)),
        }
    }

    /// Verifies `file`, which has the digest of `package`, with the keys of its repository. Leaves `file` at its start.
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
        // The index may be unsigned: it could pass off any signed package as this one.
        let found = head.nevra();
        if found != nevra(package) {
            return Err(failed(RpmVerifyError::OtherPackage { found }));
        }
        file.rewind().map_err(io)?;
        let mut known = lock(&self.known);
        known.good.insert((claim(package), *keys));
        known.changed = true;
        Ok(())
    }

    /// Writes the new results together with those that other processes wrote meanwhile.
    pub(super) fn save(&self) -> Result<(), PathError> {
        let mut known = lock(&self.known);
        if !known.changed {
            return Ok(());
        }
        known.good.extend(read(&self.path).unwrap_or_default());
        let lines = known.good.iter().map(|(package, keys)| format!("{package} {keys}\n"));
        let body: String = lines.collect();
        durable::write_public_file(&self.path, sealed::seal(HEADER, &body))?;
        known.changed = false;
        Ok(())
    }
}

fn nevra(package: &ResolvedPackage) -> String {
    format!("{}-{}.{}", package.name, package.version, package.architecture)
}

/// Returns the digest of the claim that a file with this digest is this package.
fn claim(package: &ResolvedPackage) -> Sha256 {
    Sha256::of(format!("{} {}", package.checksum, nevra(package)))
}

fn read(path: &std::path::Path) -> Option<BTreeSet<(Sha256, Sha256)>> {
    let mut text = Vec::new();
    File::open(path)
        .ok()?
        .take(MAX_FILE_BYTES)
        .read_to_end(&mut text)
        .ok()?;
    parse(&text)
}

fn parse(text: &[u8]) -> Option<BTreeSet<(Sha256, Sha256)>> {
    let body = sealed::open(HEADER, text).ok()?;
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

    /// Makes a signed package, and the entry of an index for it.
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
            checksum: Sha256::of(&bytes).into(),
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
        // The signature is remembered, but only for these keys.
        let reader = cache(Some("vendor"));
        assert!(reader.open_verified(&package).unwrap().is_some());
        assert_eq!(reader.hashed_bytes(), 0);
        refused("other");
        assert!(cache(Some("other")).open_verified(&package).is_err());
        assert!(cache(None).open_verified(&package).unwrap().is_some());
        // Another package does not pass for it, even with a good signature.
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
        // A package whose repository only signs its index may be there already.
        fs::remove_file(directory.path().join("pkgCache/p/metadata").join(FILE_NAME)).unwrap();
        refused("other");
        assert!(cache(Some("vendor")).open_verified(&package).unwrap().is_some());
    }
}
