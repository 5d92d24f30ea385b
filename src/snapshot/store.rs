//! The backing store: what was unpacked once, kept for every mount and process.
//!
//! One sparse file holds the tar stream's bytes at their own offsets, and a map beside it
//! one byte per member that says "unpacked". The bytes are written first, then the mark.
//! Neither is synced: after a crash a mark may have outlived its bytes, so a marked
//! member is checked against its CRC-32 before this process uses it for the first time.
//! A mark is thus only a hint, and two processes that unpack the same member at once
//! write the same bytes. They seldom do: who unpacks holds a lock on the member's byte of the map.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, fcntl};

use super::format::{Fields, Member, MemberId};
use crate::durable::{AtomicFile, FileLock, PathError};
use crate::package::Sha256;

const MAP_MAGIC: [u8; 8] = *b"OICMAP\0\x01";
/// Magic, snapshot id, CRC-32 of both, padding.
const MAP_HEADER_BYTES: u64 = 64;
const ORDER_MAGIC: [u8; 8] = *b"OICORD\0\x01";
/// Not 1, so that a stray bit does not make a mark.
const UNPACKED: u8 = 0xa5;
/// How long to wait for another process. It may be stopped; then both do the work.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often to look, at first and at last.
const GLANCE: std::ops::RangeInclusive<Duration> = Duration::from_micros(100)..=Duration::from_millis(10);
/// Where, behind any map, the bytes lie that stand for all parts of one frame or block.
const FRAME_LOCKS: u64 = 1 << 62;

/// Every file of a store starts like this.
const PREFIX: &str = "members-";

/// An open backing store.
#[derive(Debug)]
pub(super) struct Store {
    data: File,
    map: File,
    path: PathBuf,
    order_path: PathBuf,
}

impl Store {
    /// Opens the store of the snapshot `id` in `directory`, and makes it if it is not there.
    /// Stores of other snapshots are removed; who still has one open keeps it.
    pub(super) fn open(directory: &Path, id: Sha256, tar_bytes: u64, members: u32) -> Result<Self, PathError> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)
            .map_err(PathError::on("create", directory))?;
        let _lock = FileLock::exclusive(directory.join("lock"))?;
        let stem = format!("{PREFIX}{}", hex::encode(id.0.get(..16).unwrap_or_default()));
        remove_others(directory, &stem).map_err(PathError::on("clean", directory))?;
        let path = directory.join(format!("{stem}.data"));
        let data = open(&path)?;
        let size = data.metadata().map_err(PathError::on("read", &path))?.len();
        if size != tar_bytes {
            data.set_len(tar_bytes).map_err(PathError::on("resize", &path))?;
        }
        let map_path = directory.join(format!("{stem}.map"));
        let map = open(&map_path)?;
        prepare_map(&map, id, members).map_err(PathError::on("prepare", &map_path))?;
        Ok(Self {
            order_path: directory.join(format!("{stem}.order")),
            data,
            map,
            path,
        })
    }

    /// Whether some process has unpacked `member`.
    pub(super) fn is_marked(&self, member: MemberId) -> bool {
        let mut mark = [0];
        let read = self.map.read_exact_at(&mut mark, mark_offset(member));
        read.is_ok() && mark == [UNPACKED]
    }

    /// The bytes kept for `member`, if they are the right ones.
    pub(super) fn verified(&self, member: &Member) -> Option<Vec<u8>> {
        let mut bytes = vec![0; member.tar_bytes as usize];
        self.data.read_exact_at(&mut bytes, member.tar_offset).ok()?;
        (crc32fast::hash(&bytes) == member.crc).then_some(bytes)
    }

    /// Waits until no other process unpacks `member` (or what it is part of), and makes others wait.
    /// Does without where locks do not work (`F_OFD_SETLK`, fcntl(2)), and if somebody holds one for very long.
    pub(super) fn claim(&self, id: MemberId, member: &Member) -> Claim<'_> {
        let byte = match member.packing.is_part() {
            true => FRAME_LOCKS.saturating_add(member.offset.min(FRAME_LOCKS / 2)),
            false => mark_offset(id),
        };
        let (deadline, mut pause) = (Instant::now() + PATIENCE, *GLANCE.start());
        let held = loop {
            match set_lock(&self.map, byte, libc::F_WRLCK) {
                Ok(()) => break true,
                Err(nix::Error::EAGAIN | nix::Error::EACCES | nix::Error::EINTR) if Instant::now() < deadline => {
                    std::thread::sleep(pause);
                    pause = (pause * 2).min(*GLANCE.end());
                }
                Err(_) => break false,
            }
        };
        Claim {
            map: &self.map,
            byte: held.then_some(byte),
        }
    }

    /// Keeps `bytes` as those of `member`.
    pub(super) fn put(&self, id: MemberId, member: &Member, bytes: &[u8]) -> Result<(), PathError> {
        let fail = || PathError::on("write", &self.path);
        // A hole where all is zero, but punched: there may be damage to overwrite.
        let hole = rustix::fs::FallocateFlags::PUNCH_HOLE | rustix::fs::FallocateFlags::KEEP_SIZE;
        let zero = bytes.iter().all(|byte| *byte == 0);
        if !zero || rustix::fs::fallocate(&self.data, hole, member.tar_offset, bytes.len() as u64).is_err() {
            self.data.write_all_at(bytes, member.tar_offset).map_err(fail())?;
        }
        self.map.write_all_at(&[UNPACKED], mark_offset(id)).map_err(fail())
    }

    /// Takes the mark of `member` away.
    pub(super) fn unmark(&self, member: MemberId) -> Result<(), PathError> {
        self.map
            .write_all_at(&[0], mark_offset(member))
            .map_err(PathError::on("write", &self.path))
    }

    /// Keeps an order of members for a later process.
    pub(super) fn save_order(&self, order: &[MemberId]) -> Result<(), PathError> {
        let mut bytes = Vec::from(ORDER_MAGIC);
        bytes.extend(order.iter().flat_map(|id| id.0.to_le_bytes()));
        bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
        let mut file = AtomicFile::create(&self.order_path)?;
        file.file()
            .write_all(&bytes)
            .map_err(PathError::on("write", &self.order_path))?;
        file.commit().map(drop)
    }

    /// The order kept last; empty if there is none or it is damaged.
    pub(super) fn saved_order(&self) -> Vec<MemberId> {
        let bytes = fs::read(&self.order_path).unwrap_or_default();
        let numbers = bytes
            .split_last_chunk::<4>()
            .filter(|(covered, crc)| crc32fast::hash(covered).to_le_bytes() == **crc)
            .and_then(|(covered, _)| covered.strip_prefix(&ORDER_MAGIC))
            .unwrap_or_default();
        numbers
            .chunks_exact(4)
            .filter_map(|number| Fields(number).u32().map(MemberId))
            .collect()
    }

    /// Fills `buffer` from `tar_offset`.
    pub(super) fn read(&self, buffer: &mut [u8], tar_offset: u64) -> Result<(), PathError> {
        self.data
            .read_exact_at(buffer, tar_offset)
            .map_err(PathError::on("read", &self.path))
    }
}

/// Held while a member is unpacked.
#[derive(Debug)]
pub(super) struct Claim<'a> {
    map: &'a File,
    /// The locked byte, unless locking did not work.
    byte: Option<u64>,
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        if let Some(byte) = self.byte {
            // Cannot fail for a lock that is held; and closing the file releases it at the latest.
            let _ = set_lock(self.map, byte, libc::F_UNLCK);
        }
    }
}

/// Locks or unlocks one byte, for the open file rather than the process, so that threads are no obstacle.
fn set_lock(file: &File, byte: u64, kind: i32) -> nix::Result<()> {
    let lock = libc::flock {
        l_type: kind as i16,
        l_whence: libc::SEEK_SET as i16,
        l_start: i64::try_from(byte).unwrap_or(i64::MAX),
        l_len: 1,
        l_pid: 0,
    };
    fcntl(file, FcntlArg::F_OFD_SETLK(&lock)).map(drop)
}

/// Where the map has the mark of `member`.
fn mark_offset(member: MemberId) -> u64 {
    MAP_HEADER_BYTES + u64::from(member.0)
}

fn open(path: &Path) -> Result<File, PathError> {
    OpenOptions::new()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW)
        .open(path)
        .map_err(PathError::on("open", path))
}

/// Starts the map anew, without marks, unless it is this snapshot's.
fn prepare_map(map: &File, id: Sha256, members: u32) -> io::Result<()> {
    let mut header = Vec::from(MAP_MAGIC);
    header.extend(id.0);
    header.extend(crc32fast::hash(&header).to_le_bytes());
    header.resize(MAP_HEADER_BYTES as usize, 0);
    let size = MAP_HEADER_BYTES + u64::from(members);
    let mut found = [0; MAP_HEADER_BYTES as usize];
    let known = map.read_exact_at(&mut found, 0).is_ok() && found[..] == header[..];
    if known && map.metadata()?.len() == size {
        return Ok(());
    }
    map.set_len(0)?;
    map.set_len(size)?;
    map.write_all_at(&header, 0)
}

fn remove_others(directory: &Path, stem: &str) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let name = entry?.file_name();
        let other = |name: &OsStr| {
            let name = name.as_encoded_bytes();
            name.starts_with(PREFIX.as_bytes()) && !name.starts_with(stem.as_bytes())
        };
        if other(&name) {
            fs::remove_file(directory.join(name))?;
        }
    }
    Ok(())
}
