//! What it takes to load one repository, whatever its format.

use std::marker::PhantomData;
use std::sync::atomic::{AtomicU64, Ordering};

use super::store::Store;
use super::{Format, LoadOptions, Loader, Repository};
use crate::cancel::Cancel;
use crate::fetch::{FetchError, Reply, Transport, Validators};
use crate::verify::Keyring;

/// The load of one repository. Each format adds what is its own.
#[allow(missing_debug_implementations)] // a transport has none
pub struct Session<'a, F> {
    pub(super) repository: &'a Repository,
    pub(super) options: &'a LoadOptions,
    pub(super) cancel: &'a Cancel,
    /// `None` only if the repository is trusted without.
    pub(super) keyring: Option<Keyring>,
    pub(super) store: Store,
    transport: &'a dyn Transport,
    fetched_bytes: AtomicU64,
    format: PhantomData<F>,
}

impl<'a, F: Format> Session<'a, F> {
    /// Opens what is cached of `repository`, and waits until nobody else has it open.
    pub(super) fn open(repository: &'a Repository, loader: &'a Loader<'_>) -> Result<Self, F::Problem> {
        let (options, cancel) = (&loader.options, loader.cancel);
        let keyring = F::keyring(repository)?;
        Ok(Self {
            store: Store::open(&options.metadata_dir, repository, cancel)?,
            repository,
            options,
            cancel,
            keyring,
            transport: loader.transport,
            fetched_bytes: AtomicU64::new(0),
            format: PhantomData,
        })
    }

    /// [`Transport::get`], counted and cancellable.
    pub(super) fn get(&self, url: &str, limit_bytes: u64, known: Option<&Validators>) -> Result<Reply, FetchError> {
        self.cancel.check()?;
        let reply = self.transport.get(url, limit_bytes, known)?;
        if let Reply::Body { bytes, .. } = &reply {
            self.fetched_bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        }
        Ok(reply)
    }

    /// Bytes that came over the network so far.
    pub(super) fn fetched_bytes(&self) -> u64 {
        self.fetched_bytes.load(Ordering::Relaxed)
    }
}
