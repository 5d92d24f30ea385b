//! A mirror on the loopback address, in front of the Debian mirror of this host: tests have package caches of their
//! own, and yet each package is downloaded once. Packages are kept below `target/`; indexes are as new as the run.
//! The program verifies what it gets from here as what it gets from anywhere.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex, OnceLock};

use oic::cancel::Cancel;
use oic::fetch::{FetchOptions, Fetcher, Reply, Transport as _};
use oic_testkit::server::Server;

/// More than any file of an archive that a test reads.
const FILE_BYTES_MAX: u64 = 1 << 30;

/// The server, and the archives that it has.
static SERVER: LazyLock<(Server, Vec<&'static str>)> = LazyLock::new(start);

/// Returns the variables by which the program finds this mirror; the first call starts it. None on a host without
/// a Debian mirror in its apt sources.
pub fn variables() -> Vec<(&'static str, String)> {
    let (server, archives) = &*SERVER;
    let variable = |archive: &&'static str| {
        let name = match *archive {
            "debian" => "OIC_MIRROR_DEBIAN",
            _ => "OIC_MIRROR_DEBIAN_SECURITY",
        };
        (name, format!("{}/{archive}", server.url("")))
    };
    archives.iter().map(variable).collect()
}

fn start() -> (Server, Vec<&'static str>) {
    let hints = oic::repo::sources::debian_mirrors(Path::new("/etc/apt"));
    let bases: HashMap<_, _> = [("debian", hints.debian), ("debian-security", hints.debian_security)]
        .into_iter()
        .filter_map(|(archive, base)| Some((archive, base?)))
        .collect();
    let archives = bases.keys().copied().collect();
    let files = Files {
        bases,
        fetcher: Fetcher::new(FetchOptions::default(), Cancel::default()).unwrap(),
        kept: Path::new(env!("CARGO_TARGET_TMPDIR")).join("downloads"),
        asked: Mutex::default(),
    };
    (Server::with(move |path| files.get(path)), archives)
}

/// Returns the signed root of a suite of the Debian archive, as the mirror has it now.
pub fn in_release(suite: &str) -> Vec<u8> {
    let server = &SERVER.0;
    let fetcher = Fetcher::new(FetchOptions::default(), Cancel::default()).unwrap();
    let url = format!("{}/debian/dists/{suite}/InRelease", server.url(""));
    match fetcher
        .get(&url, 1 << 20, None)
        .expect("this host's apt sources name a Debian mirror")
    {
        Reply::Body { bytes, .. } => bytes,
        Reply::NotModified => unreachable!("the request was unconditional"),
    }
}

/// The content of a file, once it was asked for; `None` if the mirror has no such file.
type Content = Arc<OnceLock<Option<Vec<u8>>>>;

struct Files {
    bases: HashMap<&'static str, String>,
    fetcher: Fetcher,
    kept: PathBuf,
    asked: Mutex<HashMap<String, Content>>,
}

impl Files {
    /// Returns the content of `/archive/path`; several that ask at once wait for one download.
    fn get(&self, path: &str) -> Option<Vec<u8>> {
        let (archive, file) = path.trim_start_matches('/').split_once('/')?;
        let url = format!("{}/{file}", self.bases.get(archive)?);
        let content = Arc::clone(self.asked.lock().unwrap().entry(path.to_owned()).or_default());
        if !file.starts_with("pool/") {
            return content.get_or_init(|| self.download(&url)).clone();
        }
        let kept = self.kept.join(archive).join(file);
        // Once for all threads; the content itself is not kept in memory.
        content.get_or_init(|| {
            if !kept.exists() {
                keep(&kept, &self.download(&url)?);
            }
            Some(Vec::new())
        });
        fs::read(kept).ok()
    }

    fn download(&self, url: &str) -> Option<Vec<u8>> {
        match self.fetcher.get(url, FILE_BYTES_MAX, None) {
            Ok(Reply::Body { bytes, .. }) => Some(bytes),
            Ok(Reply::NotModified) => None,
            Err(error) => {
                eprintln!("{url}: {error}");
                None
            }
        }
    }
}

/// Writes a file, whole or not at all.
fn keep(path: &Path, bytes: &[u8]) {
    let directory = path.parent().unwrap();
    fs::create_dir_all(directory).unwrap();
    let temporary = tempfile::NamedTempFile::new_in(directory).unwrap();
    fs::write(&temporary, bytes).unwrap();
    temporary.persist(path).unwrap();
}
