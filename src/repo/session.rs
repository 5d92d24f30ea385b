//! The interface of a repository format, and the session that loads one repository of any format.

use std::fmt::Debug;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicU64, Ordering};

use super::error::Problem;
use super::store::Store;
use super::{LoadOptions, ReleaseInfo, Repository};
use crate::fetch::{FetchError, Reply, Transport, Validators};
use crate::verify::Keyring;
use crate::work::Work;

/// A format of repositories.
pub trait Format: Sized + Debug + Clone + Send + Sync + 'static {
    /// The root of a repository's metadata, verified as far as the repository's policy requires.
    type Root: Debug + Clone + Send + Sync;
    /// The record of a package in an index.
    type Record: Debug + Clone + Send + Sync;
    /// The indexes besides that of the packages, for later requests.
    type Further: Debug + Clone + Default + Send + Sync;

    /// Returns the keys that must have signed the repository's metadata or packages; `None` if it is trusted without.
    fn keyring(repository: &Repository) -> Result<Option<Keyring>, Problem>;

    /// Verifies the root of the metadata: the mirror's, or the cached one if offline.
    fn verify(session: &Session<'_, Self>) -> Result<Self::Root, Problem>;

    /// Loads the packages: their indexes are downloaded unless they are cached, checked against the root and parsed.
    /// Returns the root that they belong to in the end, which may be newer, and the packages in the order of the
    /// indexes.
    fn load(session: &Session<'_, Self>, root: &Self::Root) -> Result<(Self::Root, Vec<Self::Record>), Problem>;

    /// Returns the description of `root` for a lockfile.
    fn release(root: &Self::Root) -> ReleaseInfo;

    /// Returns the base URL that `root`, of `repository`, came from.
    fn base_url<'a>(repository: &'a Repository, _root: &'a Self::Root) -> &'a str {
        &repository.base_url
    }

    /// Returns the other indexes that `root` lists and oic can read.
    fn further(_root: &Self::Root) -> Self::Further {
        Self::Further::default()
    }

    /// Returns notes on `repository` for the user, such as that a part of it is ignored.
    fn notes(_repository: &Repository, _root: &Self::Root) -> Vec<String> {
        Vec::new()
    }
}

/// The load of one repository. Each format adds its own methods.
#[allow(missing_debug_implementations)] // a transport has none
pub struct Session<'a, F> {
    pub(crate) repository: &'a Repository,
    pub(crate) options: &'a LoadOptions,
    pub(crate) work: Work<'a>,
    /// The keys of the repository; `None` only if it is trusted without.
    pub(crate) keyring: Option<Keyring>,
    pub(super) store: Store,
    transport: &'a dyn Transport,
    fetched_bytes: AtomicU64,
    format: PhantomData<F>,
}

impl<'a, F: Format> Session<'a, F> {
    /// Opens the cache of `repository`, once no other process has it open.
    pub(super) fn open(
        repository: &'a Repository,
        options: &'a LoadOptions,
        transport: &'a dyn Transport,
        work: Work<'a>,
    ) -> Result<Self, Problem> {
        let keyring = F::keyring(repository)?;
        Ok(Self {
            store: Store::open(&options.metadata_dir, repository, work.cancel)?,
            repository,
            options,
            work,
            keyring,
            transport,
            fetched_bytes: AtomicU64::new(0),
            format: PhantomData,
        })
    }

    /// Does the same as [`Transport::get`], counted and cancellable.
    pub(crate) fn get(&self, url: &str, limit_bytes: u64, known: Option<&Validators>) -> Result<Reply, FetchError> {
        self.work.cancel.check()?;
        let reply = self.transport.get(url, limit_bytes, known)?;
        if let Reply::Body { bytes, .. } = &reply {
            self.fetched_bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        }
        Ok(reply)
    }

    /// Returns the bytes downloaded so far.
    pub(super) fn fetched_bytes(&self) -> u64 {
        self.fetched_bytes.load(Ordering::Relaxed)
    }
}
