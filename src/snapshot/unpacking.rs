//! How a member of an open snapshot comes to be kept: in the backing store, or in memory if that is full.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::SnapshotError;
use super::format::{Member, MemberId, Packing};
use super::once::Keeping;
use super::reader::Snapshot;
use super::store::Claim;

/// What a process has taken from a snapshot.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) members_inflated: AtomicU64,
    pub(super) bytes_inflated: AtomicU64,
    pub(super) members_reused: AtomicU64,
    pub(super) members_ahead: AtomicU64,
    pub(super) files_touched: AtomicU64,
    store_failed: AtomicBool,
}

/// One member of a snapshot, about to be unpacked.
#[derive(Debug)]
pub(super) struct Unpacking<'a> {
    snapshot: &'a Snapshot,
    id: MemberId,
    member: Member,
}

impl<'a> Unpacking<'a> {
    pub(super) fn new(snapshot: &'a Snapshot, id: MemberId, member: Member) -> Self {
        Self { snapshot, id, member }
    }

    /// Member number `id`.
    pub(super) fn of(snapshot: &'a Snapshot, id: MemberId) -> Result<Self, SnapshotError> {
        Ok(Self::new(snapshot, id, snapshot.index.member(id)?))
    }

    /// Verified bytes of the member, out of the tarball.
    pub(super) fn bytes(&self) -> Result<Vec<u8>, SnapshotError> {
        let Snapshot {
            tarball, index, store, ..
        } = self.snapshot;
        tarball.unpack(index, &self.member, &|id, member, bytes| {
            if !store.is_marked(id) {
                self.count(bytes);
                self.keep(id, member, bytes);
            }
        })
    }

    /// Verified bytes of the member for somebody who needs them once: they are not kept.
    pub(super) fn once(&self) -> Result<Vec<u8>, SnapshotError> {
        let bytes = self.bytes()?;
        self.count(&bytes);
        Ok(bytes)
    }

    fn count(&self, bytes: &[u8]) {
        let counts = &self.snapshot.counts;
        counts.members_inflated.fetch_add(1, Ordering::Relaxed);
        counts.bytes_inflated.fetch_add(bytes.len() as u64, Ordering::Relaxed);
    }

    /// Puts `bytes` into the backing store; whether that worked.
    fn keep(&self, id: MemberId, member: &Member, bytes: &[u8]) -> bool {
        match self.snapshot.store.put(id, member, bytes) {
            Ok(()) => true,
            Err(error) => {
                if !self.snapshot.counts.store_failed.swap(true, Ordering::Relaxed) {
                    tracing::warn!("{error}; the base is read without its backing store, which is slow");
                }
                false
            }
        }
    }
}

impl<'a> Keeping for Unpacking<'a> {
    type Bytes = Arc<[u8]>;
    type Error = SnapshotError;
    type Claim = Option<Claim<'a>>;

    fn remembered(&self, id: u32) -> Option<Arc<[u8]>> {
        self.snapshot.kept.get(id)
    }

    fn holds(&self, id: u32) -> bool {
        let Snapshot {
            store, counts, sums, ..
        } = self.snapshot;
        let found = match self.member.packing {
            Packing::Stored => self.bytes().ok(),
            _ if store.is_marked(self.id) => store.verified(&self.member),
            _ => None,
        };
        let Some(bytes) = found else { return false };
        sums.learn(id, &bytes);
        counts.members_reused.fetch_add(1, Ordering::Relaxed);
        true
    }

    fn claim(&self, id: u32) -> Self::Claim {
        // What is not copied needs no turns.
        let copied = self.member.packing != Packing::Stored;
        copied.then(|| self.snapshot.store.claim(MemberId(id), &self.member))
    }

    fn unpack(&self, id: u32) -> Result<Option<Arc<[u8]>>, SnapshotError> {
        let bytes = self.bytes()?;
        if self.member.packing == Packing::Stored {
            self.snapshot.sums.learn(id, &bytes);
            return Ok(None);
        }
        if self.snapshot.store.is_marked(self.id) {
            tracing::warn!("the backing store lost member {id}; it was unpacked again");
        }
        self.count(&bytes);
        if self.keep(self.id, &self.member, &bytes) {
            self.snapshot.sums.learn(id, &bytes);
            return Ok(None);
        }
        let bytes = Arc::from(bytes);
        self.snapshot.kept.put(id, &bytes);
        Ok(Some(bytes))
    }
}
