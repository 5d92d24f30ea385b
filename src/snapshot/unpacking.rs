//! Unpacks a member of an open snapshot and keeps it: in the backing store, or in memory if that is full.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::SnapshotError;
use super::checksums::Checksums;
use super::format::{Member, Packing};
use super::index::Index;
use super::member_id::MemberId;
use super::members::Keeping;
use super::memory::Memory;
use super::store::{Claim, Store};
use super::tarball::Tarball;

/// The counters of a process's use of a snapshot.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) members_inflated: AtomicU64,
    pub(super) bytes_inflated: AtomicU64,
    pub(super) members_reused: AtomicU64,
    pub(super) members_ahead: AtomicU64,
    pub(super) files_touched: AtomicU64,
    store_failed: AtomicBool,
}

/// What a snapshot unpacks its members from and to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Parts<'a> {
    pub(super) tarball: &'a Tarball,
    pub(super) index: &'a Index,
    pub(super) store: &'a Store,
    pub(super) memory: &'a Memory,
    pub(super) checksums: &'a Checksums,
    pub(super) counts: &'a Counts,
}

/// One member of a snapshot, about to be unpacked.
#[derive(Debug)]
pub(super) struct Unpacking<'a> {
    parts: Parts<'a>,
    id: MemberId,
    member: Member,
}

impl<'a> Unpacking<'a> {
    /// Prepares to unpack `member`, which has the number `id`.
    pub(super) fn new(parts: Parts<'a>, id: MemberId, member: Member) -> Self {
        Self { parts, id, member }
    }

    /// Reads and verifies the bytes of the member in the tarball.
    pub(super) fn bytes(&self) -> Result<Vec<u8>, SnapshotError> {
        let Parts {
            tarball, index, store, ..
        } = self.parts;
        tarball.unpack(index, &self.member, &|id, member, bytes| {
            if !store.is_marked(id) {
                self.count(bytes);
                self.keep(id, member, bytes);
            }
        })
    }

    /// Returns verified bytes of the member for one use, without keeping them.
    pub(super) fn verified_bytes(&self) -> Result<Vec<u8>, SnapshotError> {
        let bytes = self.bytes()?;
        self.count(&bytes);
        Ok(bytes)
    }

    fn count(&self, bytes: &[u8]) {
        let counts = self.parts.counts;
        counts.members_inflated.fetch_add(1, Ordering::Relaxed);
        counts.bytes_inflated.fetch_add(bytes.len() as u64, Ordering::Relaxed);
    }

    /// Puts `bytes` into the backing store; returns whether that worked.
    fn keep(&self, id: MemberId, member: &Member, bytes: &[u8]) -> bool {
        match self.parts.store.put(id, member, bytes) {
            Ok(()) => true,
            Err(error) => {
                if !self.parts.counts.store_failed.swap(true, Ordering::Relaxed) {
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

    fn remembered(&self, id: MemberId) -> Option<Arc<[u8]>> {
        self.parts.memory.get(id)
    }

    fn holds(&self, id: MemberId) -> bool {
        let Parts {
            store,
            counts,
            checksums,
            ..
        } = self.parts;
        let found = match self.member.packing {
            Packing::Stored => self.bytes().ok(),
            _ if store.is_marked(self.id) => store.verified(&self.member),
            _ => None,
        };
        let Some(bytes) = found else { return false };
        checksums.learn(id, &bytes);
        counts.members_reused.fetch_add(1, Ordering::Relaxed);
        true
    }

    fn claim(&self, id: MemberId) -> Self::Claim {
        // A member that is not copied needs no lock.
        let copied = self.member.packing != Packing::Stored;
        copied.then(|| self.parts.store.claim(id, &self.member))
    }

    fn unpack(&self, id: MemberId) -> Result<Option<Arc<[u8]>>, SnapshotError> {
        let bytes = self.bytes()?;
        if self.member.packing == Packing::Stored {
            self.parts.checksums.learn(id, &bytes);
            return Ok(None);
        }
        if self.parts.store.is_marked(self.id) {
            tracing::warn!("the backing store lost member {}; it was unpacked again", id.0);
        }
        self.count(&bytes);
        if self.keep(self.id, &self.member, &bytes) {
            self.parts.checksums.learn(id, &bytes);
            return Ok(None);
        }
        let bytes = Arc::from(bytes);
        self.parts.memory.put(id, &bytes);
        Ok(Some(bytes))
    }
}
