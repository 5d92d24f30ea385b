//! The package pool: a layer that lists every package of a resolution at
//! `cdrom/cache-repo`, as a flat apt repository, whether or not it was fetched.
//!
//! Invariant: bytes of a package come only from a file that the [`PackageSource`] has opened, and it opens verified
//! files only. Reading fetches, once per package however many readers there are; a failure reaches all that waited,
//! and is tried again later.

mod index;

use std::collections::HashMap;
use std::convert::Infallible;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::File;
use std::num::NonZeroUsize;
use std::os::unix::fs::FileExt as _;
use std::time::{Duration, Instant};

use lru::LruCache;

use crate::flight::Flights;
use crate::overlay::layer::{
    Attributes, Entry, Errno, FileKind, Layer, LayerError, LayerResult, NodeId, Summary, Timestamp,
};
use crate::package::ResolvedPackage;
use crate::sync::{Arc, Mutex, lock};

/// The path of the pool in the tree.
pub const POOL_DIRECTORY: &str = "cdrom/cache-repo";

/// The time for which a failure is remembered. The kernel repeats a failed read-ahead as a plain read at once, which
/// should not wait for the mirror a second time.
const FAILURE_LIFE: Duration = Duration::from_millis(500);

/// The number of packages that are kept open.
const OPEN_FILES: NonZeroUsize = NonZeroUsize::new(64).unwrap();

const ROOT: NodeId = NodeId(0);
const CDROM: NodeId = NodeId(1);
const REPOSITORY: NodeId = NodeId(2);
const FIRST_FILE: u64 = 3;

/// A source of package files that fetches them when needed.
pub trait PackageSource: fmt::Debug + Send + Sync {
    /// Opens the verified file of `package`. May take long; is called by many threads, but for one package by one
    /// thread at a time.
    ///
    /// # Errors
    /// A message that names the package and says why it cannot be had.
    fn open(&self, package: &ResolvedPackage) -> Result<File, LayerError>;
}

/// A file name that cannot be one, or that two packages, or a package and the index, would share.
#[derive(Debug, Clone, thiserror::Error)]
#[error("package {package}: {file_name:?} cannot be a file of the pool: {reason}")]
pub struct UnusableName {
    /// The package.
    pub package: String,
    /// Its file name.
    pub file_name: String,
    /// The problem with it.
    pub reason: &'static str,
}

/// The pool as a layer.
#[derive(Debug)]
pub struct PoolLayer {
    modified: Timestamp,
    source: Arc<dyn PackageSource>,
    files: Vec<PoolFile>,
    by_name: HashMap<OsString, usize>,
    open: Mutex<LruCache<usize, Arc<File>>>,
    flights: Flights<usize>,
    /// The last failure to open a package, and its time.
    failures: Mutex<HashMap<usize, (LayerError, Instant)>>,
}

#[derive(Debug)]
struct PoolFile {
    name: OsString,
    content: Content,
}

#[derive(Debug)]
enum Content {
    Text(Vec<u8>),
    Package(Box<ResolvedPackage>),
}

impl PoolFile {
    fn size_bytes(&self) -> u64 {
        match &self.content {
            Content::Text(text) => text.len() as u64,
            Content::Package(package) => package.size_bytes,
        }
    }
}

impl PoolLayer {
    /// Makes a pool of `packages`; every file in it is as old as `modified`. If there are `.deb` packages, it has
    /// `Packages` and `Release` for them, usable with `deb [trusted=yes] file:/cdrom/cache-repo ./`.
    ///
    /// # Errors
    /// If a package's file name is unusable or taken.
    pub fn new(
        packages: &[ResolvedPackage],
        modified: Timestamp,
        source: Arc<dyn PackageSource>,
    ) -> Result<Self, UnusableName> {
        let mut pool = Self {
            modified,
            source,
            files: Vec::with_capacity(packages.len().saturating_add(2)),
            by_name: HashMap::new(),
            open: Mutex::new(LruCache::new(OPEN_FILES)),
            flights: Flights::default(),
            failures: Mutex::default(),
        };
        if let Some(index) = index::Index::of(packages) {
            pool.add("Packages".into(), Content::Text(index.packages));
            pool.add("Release".into(), Content::Text(index.release));
        }
        for package in packages {
            let file_name = package.file_name();
            let bad = |reason| UnusableName {
                package: package.name.clone(),
                file_name: file_name.clone(),
                reason,
            };
            if file_name.contains(['/', '\0', '\n']) || file_name.len() > 255 {
                return Err(bad("it has a forbidden character or is too long"));
            }
            let content = Content::Package(Box::new(package.clone()));
            if !pool.add(OsString::from(&file_name), content) {
                return Err(bad("there is another one"));
            }
        }
        Ok(pool)
    }

    /// Adds a file; returns whether its name was free.
    fn add(&mut self, name: OsString, content: Content) -> bool {
        let free = self.by_name.insert(name.clone(), self.files.len()).is_none();
        self.files.push(PoolFile { name, content });
        free
    }

    fn file(&self, node: NodeId) -> Option<(usize, &PoolFile)> {
        let index = usize::try_from(node.0.checked_sub(FIRST_FILE)?).ok()?;
        Some((index, self.files.get(index)?))
    }

    /// Returns the node's regular file with its position in the list.
    fn regular(&self, node: NodeId) -> LayerResult<(usize, &PoolFile)> {
        self.file(node).ok_or_else(|| match node {
            ROOT | CDROM | REPOSITORY => Errno::ISDIR.into(),
            _ => Errno::STALE.into(),
        })
    }

    fn opened(&self, index: usize) -> Option<Arc<File>> {
        let mut open = lock(&self.open);
        open.get(&index).map(Arc::clone)
    }

    fn recent_failure(&self, index: usize) -> Option<LayerError> {
        let failures = lock(&self.failures);
        let (failure, when) = failures.get(&index)?;
        (when.elapsed() < FAILURE_LIFE).then(|| failure.clone())
    }

    /// Returns the open file of package number `index`, fetched if it is not open. Threads that want it at the same
    /// time share the work and its failure.
    fn package_file(&self, index: usize, wanted: &ResolvedPackage) -> LayerResult<Arc<File>> {
        let known = || match self.opened(index) {
            Some(file) => Some(Ok(file)),
            None => self.recent_failure(index).map(Err),
        };
        let result: Result<_, Infallible> = self.flights.run(index, known, || {
            let file = self.fetch(index, wanted);
            if let Err(failure) = &file {
                let mut failures = lock(&self.failures);
                failures.insert(index, (failure.clone(), Instant::now()));
            }
            Ok(file)
        });
        match result {
            Ok(file) => file,
        }
    }

    fn fetch(&self, index: usize, wanted: &ResolvedPackage) -> LayerResult<Arc<File>> {
        let file = self.source.open(wanted)?;
        check_size(&file, wanted)?;
        let file = Arc::new(file);
        let mut open = lock(&self.open);
        open.put(index, Arc::clone(&file));
        Ok(file)
    }
}

/// Refuses a file whose size is not the one listed for `package`.
fn check_size(file: &File, package: &ResolvedPackage) -> LayerResult<()> {
    let failed = |reason: String| LayerError::new(Errno::IO, format!("package {}: {reason}", package.file_name()));
    let size_bytes = file
        .metadata()
        .map_err(|error| failed(format!("cannot look at its file: {error}")))?
        .len();
    if size_bytes == package.size_bytes {
        return Ok(());
    }
    Err(failed(format!(
        "its file has {size_bytes} bytes instead of {}",
        package.size_bytes
    )))
}

impl Layer for PoolLayer {
    fn root(&self) -> NodeId {
        ROOT
    }

    fn summary(&self) -> Summary {
        Summary {
            has_xattrs: false,
            nodes: (self.files.len() as u64).saturating_add(FIRST_FILE),
            size_bytes: self.files.iter().map(PoolFile::size_bytes).fold(0, u64::saturating_add),
        }
    }

    fn lookup(&self, directory: NodeId, name: &OsStr) -> LayerResult<Option<NodeId>> {
        Ok(match directory {
            ROOT => (name == "cdrom").then_some(CDROM),
            CDROM => (name == "cache-repo").then_some(REPOSITORY),
            REPOSITORY => self.by_name.get(name).map(|&index| NodeId(index as u64 + FIRST_FILE)),
            _ => return Err(Errno::NOTDIR.into()),
        })
    }

    fn attributes(&self, node: NodeId) -> LayerResult<Attributes> {
        let (kind, permissions, size_bytes, links) = match (node, self.file(node)) {
            (_, Some((_, file))) => (FileKind::Regular, 0o644, file.size_bytes(), 1),
            (ROOT | CDROM, None) => (FileKind::Directory, 0o755, 0, 3),
            (REPOSITORY, None) => (FileKind::Directory, 0o755, 0, 2),
            _ => return Err(Errno::STALE.into()),
        };
        Ok(Attributes {
            kind,
            permissions,
            uid: 0,
            gid: 0,
            size_bytes,
            modified: self.modified,
            links,
            device: (0, 0),
        })
    }

    fn entries(&self, directory: NodeId, after: u64, visit: &mut dyn FnMut(Entry<'_>) -> bool) -> LayerResult<()> {
        let only = |name, node| Entry {
            name: OsStr::new(name),
            node,
            kind: FileKind::Directory,
            cookie: 1,
        };
        match directory {
            ROOT if after == 0 => drop(visit(only("cdrom", CDROM))),
            CDROM if after == 0 => drop(visit(only("cache-repo", REPOSITORY))),
            ROOT | CDROM => (),
            REPOSITORY => {
                let start = usize::try_from(after).unwrap_or(usize::MAX);
                for (index, file) in self.files.iter().enumerate().skip(start) {
                    let entry = Entry {
                        name: &file.name,
                        node: NodeId(index as u64 + FIRST_FILE),
                        kind: FileKind::Regular,
                        cookie: index as u64 + 1,
                    };
                    if !visit(entry) {
                        break;
                    }
                }
            }
            _ => return Err(Errno::NOTDIR.into()),
        }
        Ok(())
    }

    fn is_ready(&self, node: NodeId, _offset: u64, _length: usize) -> bool {
        match self.file(node) {
            Some((index, file)) => matches!(file.content, Content::Text(_)) || self.opened(index).is_some(),
            None => true,
        }
    }

    fn read_at(&self, node: NodeId, offset: u64, buffer: &mut [u8]) -> LayerResult<usize> {
        let (index, file) = self.regular(node)?;
        let left = usize::try_from(file.size_bytes().saturating_sub(offset)).unwrap_or(usize::MAX);
        let length = buffer.len().min(left);
        let Some(buffer) = buffer.get_mut(..length).filter(|buffer| !buffer.is_empty()) else {
            return Ok(0);
        };
        match &file.content {
            Content::Text(text) => {
                // `length` is the rest behind `offset`, so both fit.
                let start = usize::try_from(offset).unwrap_or(usize::MAX);
                let part = text.get(start..).and_then(|rest| rest.get(..length));
                buffer.copy_from_slice(part.ok_or(Errno::IO)?);
            }
            Content::Package(package) => {
                let open = self.package_file(index, package)?;
                open.read_exact_at(buffer, offset).map_err(|error| {
                    LayerError::new(
                        Errno::IO,
                        format!("package {}: cannot read its file: {error}", file.name.display()),
                    )
                })?;
            }
        }
        Ok(length)
    }
}

#[cfg(test)]
mod tests;
