//! A small archive in memory, signed by GnuPG and compressed by the usual tools.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::{Duration, SystemTime};

use super::Deb;
use crate::archive::compression::{Compression, tests::compress};
use crate::cancel::Cancel;
use crate::fetch::{FetchError, Reply, Transport, Validators};
use crate::package::{Algorithm, Arch, PackageFilter, Sha256};
use crate::repo::RepoError;
use crate::repo::deb::LoadedIndex;
use crate::repo::{LoadOptions, Loader, Repository, Signed};
use crate::verify::gpg::Gpg;
use crate::work::Work;

pub(super) const BASE: &str = "http://mirror.example/debian";
pub(super) const DIST: &str = "http://mirror.example/debian/dists/stable";
/// 2024-05-11 09:23:32 UTC, which is also the time of the signatures.
pub(super) const DATE: &str = "Sat, 11 May 2024 09:23:32 UTC";
pub(super) const SIGNED: u64 = 1_715_419_412;
pub(super) const PACKAGES: &str = "main/binary-amd64/Packages";

/// Contents by URL.
type Files = BTreeMap<String, Vec<u8>>;

/// Files by URL; counts requests, and answers conditional ones.
#[derive(Debug, Default)]
pub(super) struct Memory {
    pub(super) files: Mutex<Files>,
    pub(super) asked: Mutex<Vec<String>>,
    /// Status of the URLs that are refused.
    refused: Mutex<BTreeMap<String, u16>>,
    /// After that many requests, these files replace the current ones (an update in between).
    pub(super) later: Mutex<Option<(usize, Files)>>,
}

impl Transport for Memory {
    fn get(&self, url: &str, limit_bytes: u64, known: Option<&Validators>) -> Result<Reply, FetchError> {
        let mut asked = self.asked.lock().unwrap();
        asked.push(url.replace(DIST, "").trim_start_matches('/').to_owned());
        let mut later = self.later.lock().unwrap();
        if later.as_ref().is_some_and(|(after, _)| asked.len() > *after) {
            *self.files.lock().unwrap() = later.take().unwrap().1;
        }
        if let Some(&status) = self.refused.lock().unwrap().get(url) {
            return Err(FetchError::Status {
                url: url.to_owned(),
                status,
            });
        }
        let files = self.files.lock().unwrap();
        let bytes = files
            .get(url)
            .cloned()
            .ok_or_else(|| FetchError::NotFound { url: url.to_owned() })?;
        if bytes.len() as u64 > limit_bytes {
            return Err(FetchError::TooLarge {
                url: url.to_owned(),
                limit_bytes,
            });
        }
        let validators = Validators {
            etag: Some(Sha256::of(&bytes).to_string()),
            last_modified: None,
        };
        if known == Some(&validators) {
            Ok(Reply::NotModified)
        } else {
            Ok(Reply::Body { bytes, validators })
        }
    }
}

impl Memory {
    pub(super) fn put(&self, path: &str, bytes: impl Into<Vec<u8>>) {
        self.files
            .lock()
            .unwrap()
            .insert(format!("{DIST}/{path}"), bytes.into());
    }

    pub(super) fn change(&self, path: &str, change: impl Fn(&str) -> String) {
        let text = String::from_utf8(self.files.lock().unwrap()[&format!("{DIST}/{path}")].clone()).unwrap();
        let changed = change(&text);
        assert_ne!(changed, text, "the change must change something");
        self.put(path, changed);
    }

    pub(super) fn refuse(&self, path: &str, status: u16) {
        self.refused.lock().unwrap().insert(format!("{DIST}/{path}"), status);
    }

    pub(super) fn remove(&self, path: &str) {
        self.files.lock().unwrap().remove(&format!("{DIST}/{path}")).unwrap();
    }

    /// Returns the URLs requested since the last call, in alphabetical order.
    pub(super) fn asked(&self) -> Vec<String> {
        let mut asked = std::mem::take(&mut *self.asked.lock().unwrap());
        asked.sort();
        asked
    }
}

/// An archive in the making.
pub(super) struct Archive {
    pub(super) gpg: Gpg,
    pub(super) fields: String,
    pub(super) files: Vec<(String, Vec<u8>)>,
    /// The algorithm of the digests in the Release file.
    pub(super) algorithm: Algorithm,
}

pub(super) fn stanza(name: &str, version: &str, architecture: &str) -> String {
    let digest = Sha256::of(format!("{name} {version}"));
    format!(
        "Package: {name}\nVersion: {version}\nArchitecture: {architecture}\nMaintainer: T <t@example.org>\n\
         Installed-Size: 7\nFilename: pool/main/{name}.deb\nSize: 3\nSHA256: {digest}\nDescription: test\n"
    )
}

pub(super) fn two_packages() -> String {
    format!(
        "{}\n{}",
        stanza("hello", "1.0-1", "amd64"),
        stanza("hello-data", "1:2.0", "all")
    )
}

impl Archive {
    /// Makes `stable` with two packages in `main`, as `.xz` and `.gz`, the plain form listed.
    pub(super) fn new() -> Self {
        let fields = format!(
            "Origin: Test\nSuite: stable\nCodename: trixie\nDate: {DATE}\n\
             Valid-Until: Sat, 18 May 2024 09:23:32 UTC\nArchitectures: all amd64\nComponents: main\n"
        );
        let mut archive = Self {
            gpg: Gpg::new(),
            fields,
            files: Vec::new(),
            algorithm: Algorithm::Sha256,
        };
        archive.gpg.generate(
            "archive",
            "ed25519",
            "never",
            &["--faked-system-time", "20240101T000000"],
        );
        archive.index(
            PACKAGES,
            &two_packages(),
            &[Compression::Plain, Compression::Xz, Compression::Gzip],
        );
        archive
    }

    pub(super) fn index(&mut self, path: &str, text: &str, forms: &[Compression]) {
        self.files.retain(|(name, _)| !name.starts_with(path));
        for form in forms {
            self.files
                .push((format!("{path}{}", form.suffix()), compress(*form, text.as_bytes())));
        }
    }

    pub(super) fn release(&self) -> String {
        let digest = |bytes: &[u8]| {
            let mut hasher = self.algorithm.hasher();
            hasher.update(bytes);
            hasher.finish()
        };
        let list = |(path, bytes): &(String, Vec<u8>)| format!(" {} {} {path}\n", digest(bytes), bytes.len());
        let algorithm = self.algorithm.field();
        let listed: String = self.files.iter().map(list).collect();
        format!("{}{algorithm}:\n{listed}", self.fields)
    }

    pub(super) fn sign(&self, mode: &[&str]) -> Vec<u8> {
        let at = ["--faked-system-time", "20240511T092332", "--local-user", "archive"];
        self.gpg.run(&[&at[..], mode].concat(), self.release().as_bytes())
    }

    pub(super) fn key(&self) -> Vec<u8> {
        self.gpg.export("archive")
    }

    /// Returns the files of a mirror: all but the plain index, which Debian only lists.
    pub(super) fn publish(&self) -> Memory {
        self.publish_at("dists/stable")
    }

    /// Returns the same files as [`Self::publish`], in another `directory` below the base URL.
    pub(super) fn publish_at(&self, directory: &str) -> Memory {
        let memory = Memory::default();
        let release = ("InRelease".to_owned(), self.sign(&["--clear-sign"]));
        let listed = self
            .files
            .iter()
            .filter(|(path, _)| !path.ends_with("binary-amd64/Packages"));
        for (path, bytes) in listed.cloned().chain([release]) {
            let url = match directory {
                "" => format!("{BASE}/{path}"),
                directory => format!("{BASE}/{directory}/{path}"),
            };
            memory.files.lock().unwrap().insert(url, bytes);
        }
        memory
    }

    pub(super) fn publish_detached(&self, signature: Option<Vec<u8>>) -> Memory {
        let memory = self.publish();
        memory.remove("InRelease");
        memory.put("Release", self.release());
        if let Some(signature) = signature {
            memory.put("Release.gpg", signature);
        }
        memory
    }

    pub(super) fn repository(&self) -> Repository {
        Repository {
            id: "test".to_owned(),
            base_url: BASE.to_owned(),
            mirror_list: None,
            signed: Signed::Metadata,
            suite: "stable".to_owned(),
            components: vec!["main".to_owned()],
            keys: vec![self.key()],
            trusted: false,
            priority: 500,
            filter: PackageFilter::default(),
            checks: Default::default(),
            files: None,
        }
    }
}

/// A cache directory and the options that use it.
pub(super) struct Cache {
    pub(super) directory: tempfile::TempDir,
    pub(super) options: LoadOptions,
    pub(super) cancel: Cancel,
}

impl Cache {
    pub(super) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let options = LoadOptions {
            arch: Arch::X86_64,
            foreign: Vec::new(),
            metadata_dir: directory.path().join("metadata"),
            now: SystemTime::UNIX_EPOCH + Duration::from_secs(SIGNED + 3600),
            offline: false,
            workers: 4,
        };
        Self {
            directory,
            options,
            cancel: Cancel::default(),
        }
    }

    pub(super) fn load(&self, repository: &Repository, memory: &Memory) -> Result<LoadedIndex, RepoError> {
        let loaded = self.loader(memory).load_all::<Deb>(std::slice::from_ref(repository));
        loaded.map(|mut all| all.pop().unwrap())
    }

    pub(super) fn loader<'a>(&'a self, memory: &'a Memory) -> Loader<'a> {
        Loader {
            options: self.options.clone(),
            transport: memory,
            work: Work::quiet(&self.cancel),
        }
    }

    pub(super) fn offline(mut self) -> Self {
        self.options.offline = true;
        self
    }

    /// Returns the files of the one repository's directory.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        let repository = std::fs::read_dir(&self.options.metadata_dir)
            .unwrap()
            .next()
            .unwrap()
            .unwrap()
            .path();
        let mut files: Vec<_> = std::fs::read_dir(repository)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        files.sort();
        files
    }

    pub(super) fn file(&self, start: &str) -> PathBuf {
        let named = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().starts_with(start);
        self.files().into_iter().find(named).unwrap()
    }
}
