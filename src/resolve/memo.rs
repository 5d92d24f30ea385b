//! Remembers resolutions: a resolution is a function of the request and of the content of the repositories, so oic need
//! not read and resolve the same inputs again.
//!
//! ```text
//! {directory}/
//!     lock                 held by a process that writes or removes
//!     {key}                one answer; the key is a digest over all inputs, made by the caller
//! ```
//!
//! A file is text: a line `oic-resolution 2 ` and the SHA-256 of the rest; a line of JSON with the data that a lockfile
//! lacks (edges, packages requested by name, with packages in the place of groups, warnings); the lockfile. Any other
//! file is ignored, and its answer is made again. A file's time of last modification is when it was last used; the
//! [`KEPT`] files used last are kept.
//!
//! Invariant: a returned answer is complete, and it is the one that was kept under that key.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::durable::{self, FileLock, PathError};
use crate::package::{Dependency, DependencyKind, Resolution, ResolvedPackage, Sha256, sealed};

use super::lockfile::Lockfile;

const HEADER: &str = "oic-resolution 2 ";
/// The number of answers kept.
pub const KEPT: usize = 32;
/// Upper limit of a file in bytes, twice the largest lockfile.
const SIZE_LIMIT_BYTES: u64 = 128 << 20;

/// The resolution of one image. Its packages have no stanzas: they come from the package files.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The base: the same for all templates of the provider.
    pub base: Resolution,
    /// The whole image, the base included.
    pub image: Resolution,
    /// The lockfile of `image`.
    pub lockfile: Lockfile,
    /// The packages that the template names, with packages in the place of groups.
    pub named: Vec<String>,
    /// Departures from the template's wishes.
    pub warnings: Vec<String>,
}

/// The data that a lockfile lacks.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rest {
    base: Graph,
    image: Graph,
    named: Vec<String>,
    warnings: Vec<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Graph {
    dependencies: Vec<(usize, usize, DependencyKind)>,
    requested: Vec<usize>,
}

/// The answers of one provider on disk.
#[derive(Debug, Clone)]
pub struct Memo {
    directory: PathBuf,
}

impl Memo {
    /// Opens the memo in `directory`, which need not exist.
    pub fn new(directory: PathBuf) -> Self {
        Self { directory }
    }

    /// Returns the answer kept under `key`; `None` if it is absent or damaged.
    pub fn get(&self, key: Sha256) -> Option<Answer> {
        let path = self.path(key);
        let file = File::open(&path).ok()?;
        let answer = read(&file).ok()?;
        match &answer {
            Some(_) => {
                // Without a fresh date it is only removed sooner.
                let _ = file.set_modified(SystemTime::now());
            }
            None => tracing::warn!(path = %path.display(), "a remembered resolution is damaged; it is made again"),
        }
        answer
    }

    /// Reads the answer at `path`, one of [`Self::list`]; `None` if it is incomplete or damaged. That is no use of it.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn read(path: &Path) -> Result<Option<Answer>, PathError> {
        let file = File::open(path).map_err(PathError::on("open", path))?;
        read(&file).map_err(PathError::on("read", path))
    }

    /// Keeps `answer` under `key`, and removes the answers unused for longest.
    ///
    /// # Errors
    /// If the directory cannot be written to; the only loss is time.
    pub fn put(&self, key: Sha256, answer: &Answer) -> Result<(), PathError> {
        durable::public_directory(&self.directory)?;
        let _lock = FileLock::exclusive(self.directory.join("lock"))?;
        durable::sweep_temporaries(&self.directory)?;
        durable::write_public_file(self.path(key), render(answer))?;
        let mut kept = self.list()?;
        kept.sort_by_key(|(_, last_used)| std::cmp::Reverse(*last_used));
        for (path, _) in kept.iter().skip(KEPT) {
            fs::remove_file(path).map_err(PathError::on("remove", path))?;
        }
        Ok(())
    }

    /// Returns the files of all answers, and the time of the last use of each.
    ///
    /// # Errors
    /// If the directory cannot be read; one that does not exist is empty.
    pub fn list(&self) -> Result<Vec<(PathBuf, SystemTime)>, PathError> {
        let entries = match fs::read_dir(&self.directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(PathError::on("read", &self.directory)(error)),
        };
        let mut files = Vec::new();
        for entry in entries {
            let entry = entry.map_err(PathError::on("read", &self.directory))?;
            let is_answer = entry
                .file_name()
                .to_str()
                .is_some_and(|name| name.parse::<Sha256>().is_ok());
            // A file that another process removed meanwhile is not an answer any more.
            if let Ok(metadata) = entry.metadata()
                && is_answer
            {
                let last_used = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
                files.push((entry.path(), last_used));
            }
        }
        Ok(files)
    }

    fn path(&self, key: Sha256) -> PathBuf {
        self.directory.join(key.to_string())
    }
}

fn render(answer: &Answer) -> String {
    let rest = Rest {
        base: Graph::of(&answer.base),
        image: Graph::of(&answer.image),
        named: answer.named.clone(),
        warnings: answer.warnings.clone(),
    };
    // Strings, numbers and lists always have a JSON form.
    let rest = serde_json::to_string(&rest).unwrap_or_default();
    let body = format!("{rest}\n{}", answer.lockfile.to_json());
    sealed::seal(HEADER, &body)
}

/// Reads an answer; `None` if it is damaged, too large, or of another version.
fn read(file: &File) -> io::Result<Option<Answer>> {
    let mut text = Vec::new();
    file.take(SIZE_LIMIT_BYTES).read_to_end(&mut text)?;
    Ok(parse(&text))
}

fn parse(text: &[u8]) -> Option<Answer> {
    let body = sealed::open(HEADER, text).ok()?;
    let (rest, lockfile) = body.split_once('\n')?;
    let rest: Rest = serde_json::from_str(rest).ok()?;
    let lockfile = Lockfile::from_json(lockfile.as_bytes()).ok()?;
    Some(Answer {
        base: rest.base.resolution(lockfile.base()?)?,
        image: rest.image.resolution(lockfile.packages.clone())?,
        named: rest.named,
        warnings: rest.warnings,
        lockfile,
    })
}

impl Graph {
    fn of(resolution: &Resolution) -> Self {
        let edges = resolution.dependencies.iter();
        Self {
            dependencies: edges.map(|edge| (edge.from, edge.to, edge.kind)).collect(),
            requested: resolution.requested.clone(),
        }
    }

    /// Makes the resolution of `packages`; `None` if an index leads to no package.
    fn resolution(self, packages: Vec<ResolvedPackage>) -> Option<Resolution> {
        let edges = self.dependencies.iter();
        let dependencies: Vec<_> = edges.map(|&(from, to, kind)| Dependency { from, to, kind }).collect();
        let of_edges = dependencies.iter().flat_map(|edge| [edge.from, edge.to]);
        let mut used = of_edges.chain(self.requested.iter().copied());
        if used.any(|at| at >= packages.len()) {
            return None;
        }
        Some(Resolution {
            packages,
            dependencies,
            requested: self.requested,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::resolve::lockfile::{LockedRepository, Steps};
    use crate::resolve::test_support::resolution;

    fn answer() -> Answer {
        let image = resolution(&["a", "b", "c"], &[(1, 0), (2, 1)], &[2]);
        Answer {
            base: resolution(&["a", "b"], &[(1, 0)], &[0, 1]),
            lockfile: Lockfile {
                provider: "debian-debian13-x86_64".to_owned(),
                repositories: vec![LockedRepository {
                    id: "main".to_owned(),
                    suite: "trixie".to_owned(),
                    codename: "trixie".to_owned(),
                    date: "Sat, 06 Sep 2025 10:22:39 UTC".to_owned(),
                    digest: "a1".to_owned(),
                }],
                requested: vec!["c".to_owned()],
                packages: image.packages.clone(),
                steps: Steps {
                    base: vec!["a:amd64".to_owned(), "b:amd64".to_owned()],
                    ..Steps::default()
                },
                recommended: Vec::new(),
                newest: None,
            },
            image,
            named: vec!["c".to_owned()],
            warnings: vec!["one".to_owned()],
        }
    }

    fn told(answer: &Answer) -> String {
        format!("{answer:?}")
    }

    #[test]
    fn what_is_kept_comes_back_under_its_key() {
        let directory = tempfile::tempdir().unwrap();
        let memo = Memo::new(directory.path().join("resolutions"));
        let (one, two) = (Sha256::of("one"), Sha256::of("two"));
        assert!(memo.get(one).is_none() && memo.list().unwrap().is_empty());
        memo.put(one, &answer()).unwrap();
        assert_eq!(told(&memo.get(one).unwrap()), told(&answer()));
        assert!(memo.get(two).is_none());
    }

    #[test]
    fn damage_anywhere_is_noticed() {
        let directory = tempfile::tempdir().unwrap();
        let memo = Memo::new(directory.path().to_owned());
        let key = Sha256::of("one");
        memo.put(key, &answer()).unwrap();
        let path = memo.path(key);
        let whole = fs::read(&path).unwrap();
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 1;
            assert!(parse(&damaged).is_none(), "byte {at}");
        }
        for length in [0, 1, HEADER.len(), whole.len() / 2, whole.len() - 1] {
            fs::write(&path, &whole[..length]).unwrap();
            assert!(
                memo.get(key).is_none() && Memo::read(&path).unwrap().is_none(),
                "{length} bytes"
            );
        }
        memo.put(key, &answer()).unwrap();
        assert!(fs::read(&path).unwrap() == whole && Memo::read(&path).unwrap().is_some());
    }

    proptest::proptest! {
        #[test]
        fn changed_answers_are_read_or_refused(
            at in 0..100_usize,
            with in "[{}\\[\\]\",:a-z0-9 \n]{0,3}",
            removed in 0..4_usize,
        ) {
            let whole = render(&answer());
            let body = whole.strip_prefix(HEADER).and_then(|rest| rest.split_once('\n')).unwrap().1;
            let at = body.len() * at / 100;
            let changed = [&body[..at], &with, &body[(at + removed).min(body.len())..]].concat();
            let signed = format!("{HEADER}{}\n{changed}", Sha256::of(&changed));
            // Its digest is right, so that the parser reads its content.
            if let Some(read) = parse(signed.as_bytes()) {
                proptest::prop_assert!(parse(render(&read).as_bytes()).is_some());
            }
        }
    }

    #[test]
    fn an_edge_to_nowhere_is_refused() {
        for (edges, requested) in [(vec![(0, 3)], vec![]), (vec![(3, 0)], vec![]), (vec![], vec![3])] {
            let mut answer = answer();
            answer.image = resolution(&["a", "b", "c"], &edges, &requested);
            assert!(parse(render(&answer).as_bytes()).is_none());
        }
    }

    #[test]
    fn those_used_last_are_kept() {
        let directory = tempfile::tempdir().unwrap();
        let memo = Memo::new(directory.path().to_owned());
        let key = |number: usize| Sha256::of(number.to_le_bytes());
        let long_ago = SystemTime::now() - Duration::from_secs(3600);
        for number in 0..KEPT {
            memo.put(key(number), &answer()).unwrap();
            let file = File::open(memo.path(key(number))).unwrap();
            file.set_modified(long_ago + Duration::from_secs(number as u64))
                .unwrap();
        }
        // The oldest is used again.
        memo.get(key(0)).unwrap();
        fs::write(directory.path().join(".oic-tmp-left"), "").unwrap();
        memo.put(key(KEPT), &answer()).unwrap();
        assert_eq!(memo.list().unwrap().len(), KEPT);
        assert!(memo.get(key(1)).is_none());
        assert!(memo.get(key(0)).is_some() && memo.get(key(2)).is_some() && memo.get(key(KEPT)).is_some());
        assert!(!directory.path().join(".oic-tmp-left").exists());
    }
}
