//! An open snapshot: content is unpacked member by member as it is read.

use std::collections::HashSet;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use super::ahead::Hints;
use super::format::{Member, MemberId};
use super::index::Index;
use super::pack::GZIP_HEADER_BYTES;
use super::store::Store;
use super::{SnapshotError, toc};
use crate::cancel::Cancel;
use crate::durable::PathError;
use crate::package::Sha256;

/// Where a snapshot's files are.
#[derive(Debug, Clone)]
pub struct SnapshotPaths {
    /// `chrootenv.tar.gz`.
    pub tarball: PathBuf,
    /// `chrootenv.idx`.
    pub index: PathBuf,
    /// The directory of the backing store; it is made if absent.
    pub backing_dir: PathBuf,
}

/// What a snapshot holds, and what this process has taken from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SnapshotStats {
    /// Regular files in the snapshot.
    pub files_total: u64,
    /// Bytes of these files.
    pub content_bytes_total: u64,
    /// Gzip members in the snapshot.
    pub members_total: u64,
    /// Members that this process inflated.
    pub members_inflated: u64,
    /// Bytes that came out of them.
    pub bytes_inflated: u64,
    /// Members found unpacked in the backing store.
    pub members_reused: u64,
    /// Members that were unpacked (or found unpacked) before a reader needed them.
    pub members_ahead: u64,
    /// Regular files of which something was read.
    pub files_touched: u64,
}

/// The member's bytes in the backing store were verified by this process.
const READY: u8 = 1;
/// Something in the member was read by a user of the layer.
const USED: u8 = 2;

/// An open snapshot. Use it as a [`Layer`](crate::overlay::layer::Layer).
#[derive(Debug)]
pub struct Snapshot {
    pub(super) index: Index,
    tarball: File,
    tarball_path: PathBuf,
    pub(super) store: Store,
    /// Per member: [`READY`] and [`USED`].
    states: Vec<AtomicU8>,
    /// Members that some thread is unpacking.
    busy: Mutex<HashSet<MemberId>>,
    idle: Condvar,
    first_use: Mutex<Vec<MemberId>>,
    /// One bit per node: it was read.
    touched: Vec<AtomicU64>,
    counts: Counts,
    store_failed: AtomicBool,
    pub(super) hints: Hints,
}

#[derive(Debug, Default)]
struct Counts {
    members_inflated: AtomicU64,
    bytes_inflated: AtomicU64,
    members_reused: AtomicU64,
    members_ahead: AtomicU64,
    files_touched: AtomicU64,
}

impl Snapshot {
    /// Opens a snapshot in a time that does not depend on its size. An index that is
    /// absent, damaged or of another tarball is made again from the tarball.
    ///
    /// # Errors
    /// If the tarball is absent, cut short or not one of oic's, if its table of contents is
    /// damaged when it is needed, or if the backing store cannot be opened for writing.
    pub fn open(paths: &SnapshotPaths) -> Result<Self, SnapshotError> {
        let tarball = File::open(&paths.tarball).map_err(PathError::on("open", &paths.tarball))?;
        let footer = toc::footer(&tarball, &paths.tarball)?;
        let index = match open_index(&paths.index, footer.snapshot_id) {
            Ok(index) => index,
            Err(error) => {
                tracing::warn!("{error}; it is made again from {:?}", paths.tarball);
                toc::rebuild_index(&paths.tarball, &paths.index)?;
                open_index(&paths.index, footer.snapshot_id)?
            }
        };
        let (header, members) = (index.header(), index.members());
        let size = tarball.metadata().map_err(PathError::on("read", &paths.tarball))?.len();
        if header.tarball_bytes != size {
            return Err(SnapshotError::Tarball {
                path: paths.tarball.clone(),
                problem: format!("it is {size} bytes long and should be {}", header.tarball_bytes),
            });
        }
        let store = Store::open(&paths.backing_dir, header.snapshot_id, header.tar_bytes, members)?;
        Ok(Self {
            states: (0..members).map(|_| AtomicU8::new(0)).collect(),
            touched: (0..index.nodes().div_ceil(64)).map(|_| AtomicU64::new(0)).collect(),
            tarball_path: paths.tarball.clone(),
            busy: Mutex::default(),
            idle: Condvar::new(),
            first_use: Mutex::default(),
            counts: Counts::default(),
            store_failed: AtomicBool::new(false),
            hints: Hints::default(),
            tarball,
            index,
            store,
        })
    }

    /// The base key it was written with.
    pub fn base_key(&self) -> Sha256 {
        self.index.header().base_key
    }

    /// Identifies the whole content: base key, tree, metadata and bytes.
    pub fn id(&self) -> Sha256 {
        self.index.header().snapshot_id
    }

    /// Totals and what this process used of them.
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
        }
    }

    /// The members in the order in which this process first read something in them.
    pub fn first_use(&self) -> Vec<MemberId> {
        lock(&self.first_use).clone()
    }

    /// Keeps [`Self::first_use`] beside the backing store, for the next process to read ahead.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn save_first_use(&self) -> Result<(), SnapshotError> {
        Ok(self.store.save_order(&self.first_use())?)
    }

    /// The order that was kept last for this snapshot; empty if there is none.
    pub fn saved_first_use(&self) -> Vec<MemberId> {
        self.store.saved_order()
    }

    /// Unpacks `members` in order on `threads` threads, ahead of their use. What fails is
    /// logged and left to the read that needs it; unknown numbers are passed over.
    pub fn prefetch(&self, members: &[MemberId], threads: usize, cancel: &Cancel) {
        let next = AtomicU64::new(0);
        let work = || {
            while !cancel.is_cancelled() {
                let place = next.fetch_add(1, Ordering::Relaxed) as usize;
                let Some(id) = members.get(place) else { return };
                self.unpack_ahead(*id);
            }
        };
        std::thread::scope(|scope| {
            for _ in 0..threads.clamp(1, 64) {
                scope.spawn(work);
            }
        });
    }

    /// Every member, in the order of the stream.
    pub fn all_members(&self) -> impl Iterator<Item = MemberId> + use<> {
        (0..self.index.members()).map(MemberId)
    }

    /// Unpacks a member that nobody has asked for yet.
    pub(super) fn unpack_ahead(&self, id: MemberId) {
        let is_idle = self.state(id).is_some_and(|state| state.load(Ordering::Relaxed) == 0);
        if !is_idle {
            return;
        }
        match self.index.member(id).and_then(|member| self.ensure(id, &member)) {
            Ok(_) => drop(self.counts.members_ahead.fetch_add(1, Ordering::Relaxed)),
            Err(error) => tracing::warn!("reading ahead: {error}"),
        }
    }

    /// Whether the tar stream's bytes from `start` to `end` can be had without work.
    pub(super) fn range_is_ready(&self, start: u64, end: u64) -> Result<bool, SnapshotError> {
        let mut position = start;
        while position < end {
            let (id, member) = self.index.member_at(position)?;
            if self
                .state(id)
                .is_none_or(|state| state.load(Ordering::Acquire) & READY == 0)
            {
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
            match self.ensure(id, &member)? {
                None => self.store.read(part, position)?,
                Some(bytes) => {
                    let from = bytes.get(within as usize..within as usize + there);
                    part.copy_from_slice(from.ok_or_else(|| self.damage(&member, "a member has another length"))?);
                }
            }
            self.note_use(id);
            position += there as u64;
            buffer = rest;
        }
        Ok(())
    }

    /// Counts a file of which something was read.
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
        if let Some(state) = self.state(id)
            && state.load(Ordering::Relaxed) & USED == 0
            && state.fetch_or(USED, Ordering::Relaxed) & USED == 0
        {
            lock(&self.first_use).push(id);
            self.hints.used(id);
        }
    }

    fn state(&self, id: MemberId) -> Option<&AtomicU8> {
        self.states.get(id.0 as usize)
    }

    /// Makes sure that the backing store holds verified bytes of the member; gives the
    /// bytes themselves if it cannot. One thread works, others that need it wait.
    fn ensure(&self, id: MemberId, member: &Member) -> Result<Option<Vec<u8>>, SnapshotError> {
        let state = self
            .state(id)
            .ok_or_else(|| self.index.damage("a member has no number"))?;
        if state.load(Ordering::Acquire) & READY != 0 {
            return Ok(None);
        }
        let mut busy = lock(&self.busy);
        while busy.contains(&id) {
            busy = self.idle.wait(busy).unwrap_or_else(PoisonError::into_inner);
        }
        if state.load(Ordering::Acquire) & READY != 0 {
            return Ok(None);
        }
        busy.insert(id);
        drop(busy);
        let _claim = Claim { snapshot: self, id };
        let bytes = self.unpack(id, member)?;
        if bytes.is_none() {
            state.fetch_or(READY, Ordering::Release);
        }
        Ok(bytes)
    }

    fn unpack(&self, id: MemberId, member: &Member) -> Result<Option<Vec<u8>>, SnapshotError> {
        if self.store.is_marked(id) {
            if self.store.holds(member) {
                self.counts.members_reused.fetch_add(1, Ordering::Relaxed);
                return Ok(None);
            }
            tracing::warn!("the backing store lost member {}; it is unpacked again", id.0);
        }
        let bytes = self.inflate(member)?;
        self.counts.members_inflated.fetch_add(1, Ordering::Relaxed);
        self.counts
            .bytes_inflated
            .fetch_add(bytes.len() as u64, Ordering::Relaxed);
        match self.store.put(id, member, &bytes) {
            Ok(()) => Ok(None),
            Err(error) => {
                if !self.store_failed.swap(true, Ordering::Relaxed) {
                    tracing::warn!("{error}; the base is read without its backing store, which is slow");
                }
                Ok(Some(bytes))
            }
        }
    }

    /// The bytes of a member: verified before and after inflating.
    pub(super) fn inflate(&self, member: &Member) -> Result<Vec<u8>, SnapshotError> {
        let mut compressed = vec![0; member.compressed_bytes as usize];
        self.tarball
            .read_exact_at(&mut compressed, member.offset)
            .map_err(PathError::on("read", &self.tarball_path))?;
        if Sha256::of(&compressed) != member.digest {
            return Err(self.damage(member, "its SHA-256 is wrong"));
        }
        let mut bytes = Vec::with_capacity(member.tar_bytes as usize);
        let deflated = compressed.get(GZIP_HEADER_BYTES..).unwrap_or_default();
        let status =
            flate2::Decompress::new(false).decompress_vec(deflated, &mut bytes, flate2::FlushDecompress::Finish);
        if !matches!(status, Ok(flate2::Status::StreamEnd))
            || bytes.len() != member.tar_bytes as usize
            || crc32fast::hash(&bytes) != member.crc
        {
            return Err(self.damage(member, "it does not unpack to what it should"));
        }
        Ok(bytes)
    }

    /// The bytes of a member for somebody who needs them once: verified, not kept.
    pub(super) fn member_once(&self, id: MemberId, member: &Member) -> Result<Vec<u8>, SnapshotError> {
        if self.store.is_marked(id)
            && let Some(bytes) = self.store.get(member)
        {
            self.counts.members_reused.fetch_add(1, Ordering::Relaxed);
            return Ok(bytes);
        }
        let bytes = self.inflate(member)?;
        self.counts.members_inflated.fetch_add(1, Ordering::Relaxed);
        self.counts
            .bytes_inflated
            .fetch_add(bytes.len() as u64, Ordering::Relaxed);
        Ok(bytes)
    }

    pub(super) fn damage(&self, member: &Member, problem: &str) -> SnapshotError {
        let end = member.offset + u64::from(member.compressed_bytes);
        SnapshotError::Tarball {
            path: self.tarball_path.clone(),
            problem: format!("it is damaged between bytes {} and {end} ({problem})", member.offset),
        }
    }
}

/// Open index that belongs to the tarball with this snapshot id.
fn open_index(path: &Path, snapshot_id: Sha256) -> Result<Index, SnapshotError> {
    let index = Index::open(path)?;
    if index.header().snapshot_id != snapshot_id {
        return Err(index.damage("it belongs to another tarball"));
    }
    Ok(index)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Held by the thread that unpacks a member.
#[derive(Debug)]
struct Claim<'a> {
    snapshot: &'a Snapshot,
    id: MemberId,
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        lock(&self.snapshot.busy).remove(&self.id);
        self.snapshot.idle.notify_all();
    }
}
