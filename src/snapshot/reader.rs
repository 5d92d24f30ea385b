//! An open snapshot: content is unpacked member by member as it is read.

use std::fs::File;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

use super::checksums::Checksums;
use super::foreign;
use super::format::{Member, Packing};
use super::hints::Hints;
use super::index::Index;
use super::member_id::MemberId;
use super::members::MemberStates;
use super::memory::Memory;
use super::paths::SnapshotPaths;
use super::store::Store;
use super::tarball::Tarball;
use super::unpacking::{Counts, Parts, Unpacking};
use super::{SnapshotError, toc};
use crate::cancel::Cancel;
use crate::durable::PathError;
use crate::package::Sha256;
use crate::parallel;
use crate::sync::{Mutex, lock};

/// Upper limit in bytes for the members kept in memory while the backing store cannot be written.
const KEPT_BYTES_MAX: usize = 64 << 20;

/// The totals of a snapshot, and how much of it this process used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotStats {
    /// Regular files in the snapshot.
    pub files_total: u64,
    /// Sum of the sizes of these files in bytes.
    pub content_bytes_total: u64,
    /// Gzip members in the snapshot.
    pub members_total: u64,
    /// Members that this process inflated.
    pub members_inflated: u64,
    /// Bytes inflated from them.
    pub bytes_inflated: u64,
    /// Members found unpacked in the backing store.
    pub members_reused: u64,
    /// Members that were unpacked (or found unpacked) before a reader needed them.
    pub members_ahead: u64,
    /// Regular files from which this process read.
    pub files_touched: u64,
    /// Bytes kept in memory because the backing store cannot be written.
    pub bytes_kept: u64,
}

/// An open snapshot. Use it as a [`Layer`](crate::overlay::layer::Layer).
#[derive(Debug)]
pub struct Snapshot {
    pub(super) index: Index,
    pub(super) tarball: Tarball,
    pub(super) store: Store,
    pub(super) members: MemberStates,
    pub(super) memory: Memory,
    pub(super) checksums: Checksums,
    first_use: Mutex<Vec<MemberId>>,
    /// One bit per node: set after the first read.
    touched: Vec<AtomicU64>,
    pub(super) counts: Counts,
    pub(super) hints: Hints,
}

impl Snapshot {
    /// Opens a snapshot in a time that does not depend on its size. Makes an index that is absent, damaged or of
    /// another tarball again from the tarball; for a tarball from elsewhere, call [`foreign::prepare`] before.
    ///
    /// # Errors
    /// If the tarball is absent, cut short, or from elsewhere and not prepared, if its table of contents is needed and
    /// damaged, or if the backing store cannot be opened for writing.
    pub fn open(paths: &SnapshotPaths) -> Result<Self, SnapshotError> {
        let file = File::open(&paths.tarball).map_err(PathError::on("open", &paths.tarball))?;
        let index = match toc::footer(&file, &paths.tarball) {
            Ok(footer) => own_index(paths, &footer, &file)?,
            Err(error) => foreign::index_of(&file, paths).ok_or(error)?,
        };
        let (header, members) = (index.header(), index.members());
        let store = Store::open(&paths.backing_dir, header.snapshot_id, header.tar_bytes, members)?;
        Ok(Self {
            tarball: Tarball::new(file, &paths.tarball, header.foreign.is_some()),
            members: MemberStates::new(members),
            memory: Memory::new(KEPT_BYTES_MAX),
            checksums: Checksums::new(members),
            touched: (0..index.nodes().div_ceil(64)).map(|_| AtomicU64::new(0)).collect(),
            first_use: Mutex::default(),
            counts: Counts::default(),
            hints: Hints::default(),
            index,
            store,
        })
    }

    /// Returns whether the tarball is from elsewhere.
    pub fn is_foreign(&self) -> bool {
        self.tarball.is_foreign()
    }

    /// Returns the base key with which it was written.
    pub fn base_key(&self) -> Sha256 {
        self.index.header().base_key
    }

    /// Returns the digest of the whole content: base key, tree, metadata and bytes.
    pub fn id(&self) -> Sha256 {
        self.index.header().snapshot_id
    }

    /// Returns the totals, and how much of them this process used.
    pub fn stats(&self) -> SnapshotStats {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let header = self.index.header();
        SnapshotStats {
            files_total: header.files.into(),
            content_bytes_total: header.content_bytes,
            members_total: self.index.members().into(),
            members_inflated: count(&self.counts.members_inflated),
            bytes_inflated: count(&self.counts.bytes_inflated),
            members_reused: count(&self.counts.members_reused),
            members_ahead: count(&self.counts.members_ahead),
            files_touched: count(&self.counts.files_touched),
            bytes_kept: self.memory.bytes() as u64,
        }
    }

    /// Returns the members in the order in which this process first read from them.
    pub fn first_use(&self) -> Vec<MemberId> {
        lock(&self.first_use).clone()
    }

    /// Saves [`Self::first_use`] beside the backing store, for the next process to read ahead.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn save_first_use(&self) -> Result<(), SnapshotError> {
        Ok(self.store.save_order(&self.first_use())?)
    }

    /// Returns the order saved last for this snapshot; empty without one.
    pub fn saved_first_use(&self) -> Vec<MemberId> {
        self.store.saved_order()
    }

    /// Unpacks `members` in order on `threads` threads, ahead of their use. Logs a failure and leaves it to the read
    /// that needs the member; skips unknown numbers.
    pub fn prefetch(&self, members: &[MemberId], threads: usize, cancel: &Cancel) {
        parallel::map(threads.clamp(1, 64), members, |id| {
            if !cancel.is_cancelled() {
                self.unpack_ahead(*id);
            }
        });
    }

    /// Returns every member, in the order of the stream.
    pub fn all_members(&self) -> impl Iterator<Item = MemberId> + use<> {
        (0..self.index.members()).map(MemberId)
    }

    /// Prepares to unpack `member`, which has the number `id`.
    pub(super) fn unpacking(&self, id: MemberId, member: Member) -> Unpacking<'_> {
        let parts = Parts {
            tarball: &self.tarball,
            index: &self.index,
            store: &self.store,
            memory: &self.memory,
            checksums: &self.checksums,
            counts: &self.counts,
        };
        Unpacking::new(parts, id, member)
    }

    /// Unpacks a member that was not asked for yet.
    pub(super) fn unpack_ahead(&self, id: MemberId) {
        if id.0 >= self.index.members() || !self.members.is_untouched(id) {
            return;
        }
        let ensured = self
            .index
            .member(id)
            .and_then(|member| self.members.ensure(id, &self.unpacking(id, member)));
        match ensured {
            Ok(_) => drop(self.counts.members_ahead.fetch_add(1, Ordering::Relaxed)),
            Err(error) => tracing::warn!("reading ahead: {error}"),
        }
    }

    /// Returns whether the tar stream's bytes from `start` to `end` are available without unpacking.
    pub(super) fn range_is_ready(&self, start: u64, end: u64) -> Result<bool, SnapshotError> {
        let mut position = start;
        while position < end {
            let (id, member) = self.index.member_at(position)?;
            if !self.members.is_ready(id) {
                return Ok(false);
            }
            position = member.tar_offset + u64::from(member.tar_bytes);
        }
        Ok(true)
    }

    /// Fills `buffer` with the tar stream's bytes from `position`.
    pub(super) fn read_stream(&self, mut position: u64, mut buffer: &mut [u8]) -> Result<(), SnapshotError> {
        while !buffer.is_empty() {
            let (id, member) = self.index.member_at(position)?;
            let within = position - member.tar_offset;
            let there = (u64::from(member.tar_bytes) - within).min(buffer.len() as u64) as usize;
            let Some((part, rest)) = buffer.split_at_mut_checked(there) else {
                return Err(self.index.damage("a member is empty"));
            };
            self.read_member(id, &member, within, part)?;
            self.note_use(id);
            position += there as u64;
            buffer = rest;
        }
        Ok(())
    }

    /// Fills `buffer` with bytes of a member from `within` on.
    fn read_member(&self, id: MemberId, member: &Member, within: u64, buffer: &mut [u8]) -> Result<(), SnapshotError> {
        let mut problem = None;
        for _ in 0..2 {
            let unpacking = self.unpacking(id, *member);
            if let Some(bytes) = self.members.ensure(id, &unpacking)? {
                let from = bytes.get(within as usize..).and_then(|rest| rest.get(..buffer.len()));
                buffer.copy_from_slice(from.ok_or_else(|| self.index.damage("a member has another length"))?);
                return Ok(());
            }
            let read = |buffer: &mut [u8], within: u64| match member.packing {
                Packing::Stored => self.tarball.read(buffer, member.offset.saturating_add(within)),
                _ => Ok(self.store.read(buffer, member.tar_offset.saturating_add(within))?),
            };
            match self.checksums.read(id, within, buffer, read) {
                Ok(true) => return Ok(()),
                Ok(false) => {}
                Err(error) => problem = Some(error),
            }
            tracing::warn!(
                "member {} has changed since it was verified; it is looked at again",
                id.0
            );
            self.members.forget(id);
        }
        Err(problem.unwrap_or_else(|| self.tarball.damage(member, "it changes while it is read")))
    }

    /// Returns the verified bytes of a member for one use, without keeping them.
    pub(super) fn member_bytes(&self, id: MemberId, member: &Member) -> Result<Vec<u8>, SnapshotError> {
        if self.store.is_marked(id)
            && let Some(bytes) = self.store.verified(member)
        {
            self.counts.members_reused.fetch_add(1, Ordering::Relaxed);
            return Ok(bytes);
        }
        self.unpacking(id, *member).verified_bytes()
    }

    /// Counts a file at the first read from it.
    pub(super) fn note_touch(&self, node: u32) {
        let bit = 1 << (node % 64);
        if let Some(word) = self.touched.get(node as usize / 64)
            && word.load(Ordering::Relaxed) & bit == 0
            && word.fetch_or(bit, Ordering::Relaxed) & bit == 0
        {
            self.counts.files_touched.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn note_use(&self, id: MemberId) {
        if self.members.is_first_use(id) {
            lock(&self.first_use).push(id);
            self.hints.used(id);
        }
    }
}

/// Opens the index of a tarball that oic has written; makes it again if needed.
fn own_index(paths: &SnapshotPaths, footer: &toc::Footer, tarball: &File) -> Result<Index, SnapshotError> {
    let index = match open_index(&paths.index, footer.snapshot_id) {
        Ok(index) => index,
        Err(error) => {
            tracing::warn!("{error}; it is made again from {:?}", paths.tarball);
            toc::rebuild_index(&paths.tarball, &paths.index)?;
            open_index(&paths.index, footer.snapshot_id)?
        }
    };
    let size = tarball.metadata().map_err(PathError::on("read", &paths.tarball))?.len();
    if index.header().tarball_bytes != size {
        return Err(SnapshotError::Tarball {
            path: paths.tarball.clone(),
            problem: format!("it is {size} bytes long and should be {}", index.header().tarball_bytes),
        });
    }
    Ok(index)
}

/// Opens the index of the snapshot `snapshot_id`.
fn open_index(path: &Path, snapshot_id: Sha256) -> Result<Index, SnapshotError> {
    let index = Index::open(path)?;
    if index.header().snapshot_id != snapshot_id {
        return Err(index.damage("it belongs to another tarball"));
    }
    Ok(index)
}
