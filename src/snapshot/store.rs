//! The backing store: keeps unpacked members for every mount and process.
//!
//! One sparse file holds the tar stream's bytes at their own offsets, and a map beside it has one byte per member, the
//! mark for "unpacked". The bytes are written first, then the mark. Neither is synced: after a crash a mark may have
//! outlived its bytes, so this process checks a marked member against its CRC-32 before it uses it for the first time.
//! A mark is thus only a hint, and two processes that unpack the same member at once write the same bytes. This is
//! rare: a process locks the member's byte in the map while it unpacks.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, fcntl};

use super::format::Member;
use super::member_id::MemberId;
use crate::durable::{AtomicFile, FileLock, PathError};
use crate::package::Sha256;

const MAP_MAGIC: [u8; 8] = *b"OICMAP\0\x01";
/// Size of the map's header: magic, snapshot id, CRC-32 of both, padding.
const MAP_HEADER_BYTES: u64 = 64;
const ORDER_MAGIC: [u8; 8] = *b"OICORD\0\x01";
/// The mark; not 1, so that a stray bit does not make one.
const UNPACKED: u8 = 0xa5;
/// Longest wait for another process, which may be stopped; then both do the work.
const PATIENCE: Duration = Duration::from_secs(5);
/// Shortest and longest pause between two attempts to lock.
const GLANCE: std::ops::RangeInclusive<Duration> = Duration::from_micros(100)..=Duration::from_millis(10);
/// Offset, behind any map, of the lock bytes that stand for all parts of one frame or block.
const FRAME_LOCKS: u64 = 1 << 62;

/// Start of the name of every file of a store.
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
    /// Opens the store of the snapshot `id` in `directory`, and makes it if it is absent. Removes stores of other
    /// snapshots; a process that still has one open can go on using it.
    pub(super) fn open(directory: &Path, id: Sha256, tar_bytes: u64, members: u32) -> Result<Self, PathError> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)
            .map_err(PathError::on("create", directory))?;
        let _lock = FileLock::exclusive(directory.join("lock"))?;
        let stem = stem(id);
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

    /// Finds the damaged ones of the store's small files in `directory`, with the problem of each. `id` and `members`
    /// are those of the snapshot. Call it before [`Self::open`], which makes a damaged map anew.
    pub(super) fn damaged_files(directory: &Path, id: Sha256, members: u32) -> Vec<(PathBuf, String)> {
        let stem = stem(id);
        let mut damaged = Vec::new();
        let mut look = |name: String, problem: &dyn Fn(&[u8]) -> Option<&'static str>| {
            let path = directory.join(name);
            let problem = match fs::read(&path) {
                Ok(bytes) => problem(&bytes).map(str::to_owned),
                Err(error) if error.kind() == io::ErrorKind::NotFound => None,
                Err(error) => Some(format!("it cannot be read: {error}")),
            };
            damaged.extend(problem.map(|problem| (path, problem)));
        };
        look(format!("{stem}.map"), &|bytes| {
            let (header, marks) = bytes.split_at_checked(MAP_HEADER_BYTES as usize).unwrap_or_default();
            let are_marks = marks.iter().all(|mark| matches!(*mark, 0 | UNPACKED));
            let is_sound = header == map_header(id) && marks.len() == members as usize && are_marks;
            (!is_sound).then_some("its header or its marks are damaged")
        });
        look(format!("{stem}.order"), &|bytes| {
            let is_sound = parse_order(bytes).is_some();
            (!is_sound).then_some("its content is not what its checksum says")
        });
        damaged
    }

    /// Returns the path of the file with the unpacked bytes.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns whether a process has unpacked `member`.
    pub(super) fn is_marked(&self, member: MemberId) -> bool {
        let mut mark = [0];
        let read = self.map.read_exact_at(&mut mark, mark_offset(member));
        read.is_ok() && mark == [UNPACKED]
    }

    /// Reads the bytes kept for `member`; `None` if they are not the right ones.
    pub(super) fn verified(&self, member: &Member) -> Option<Vec<u8>> {
        let mut bytes = vec![0; member.tar_bytes as usize];
        self.data.read_exact_at(&mut bytes, member.tar_offset).ok()?;
        (crc32fast::hash(&bytes) == member.crc).then_some(bytes)
    }

    /// Waits until no other process unpacks `member` (or the frame or block that it is part of), and makes others wait.
    /// Continues without the lock if locks are unsupported (`F_OFD_SETLK`, fcntl(2)) or the wait exceeds [`PATIENCE`].
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
        // Zeros become a hole, which is punched: it may replace damage.
        let hole = rustix::fs::FallocateFlags::PUNCH_HOLE | rustix::fs::FallocateFlags::KEEP_SIZE;
        let zero = bytes.iter().all(|byte| *byte == 0);
        if !zero || rustix::fs::fallocate(&self.data, hole, member.tar_offset, bytes.len() as u64).is_err() {
            self.data.write_all_at(bytes, member.tar_offset).map_err(fail())?;
        }
        self.map.write_all_at(&[UNPACKED], mark_offset(id)).map_err(fail())
    }

    /// Removes the mark of `member`.
    pub(super) fn unmark(&self, member: MemberId) -> Result<(), PathError> {
        self.map
            .write_all_at(&[0], mark_offset(member))
            .map_err(PathError::on("write", &self.path))
    }

    /// Saves an order of members for a later process.
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

    /// Returns the order saved last; empty if it is absent or damaged.
    pub(super) fn saved_order(&self) -> Vec<MemberId> {
        let bytes = fs::read(&self.order_path).unwrap_or_default();
        parse_order(&bytes).unwrap_or_default()
    }

    /// Fills `buffer` from `tar_offset`.
    pub(super) fn read(&self, buffer: &mut [u8], tar_offset: u64) -> Result<(), PathError> {
        self.data
            .read_exact_at(buffer, tar_offset)
            .map_err(PathError::on("read", &self.path))
    }
}

/// A guard held while a member is unpacked.
#[derive(Debug)]
pub(super) struct Claim<'a> {
    map: &'a File,
    /// The locked byte, unless locking failed.
    byte: Option<u64>,
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        if let Some(byte) = self.byte {
            // Unlocking a held lock cannot fail; and closing the file releases it at the latest.
            let _ = set_lock(self.map, byte, libc::F_UNLCK);
        }
    }
}

/// Locks or unlocks one byte, for the open file rather than the process: two stores open in one process exclude each
/// other, too.
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

/// Returns the offset in the map of the mark of `member`.
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

/// Returns the start of the names of the files of the snapshot `id`.
fn stem(id: Sha256) -> String {
    format!("{PREFIX}{}", hex::encode(id.0.get(..16).unwrap_or_default()))
}

/// Makes the header of the map of the snapshot `id`.
fn map_header(id: Sha256) -> Vec<u8> {
    let mut header = Vec::from(MAP_MAGIC);
    header.extend(id.0);
    header.extend(crc32fast::hash(&header).to_le_bytes());
    header.resize(MAP_HEADER_BYTES as usize, 0);
    header
}

/// Parses a file with an order of members; `None` if it is damaged.
fn parse_order(bytes: &[u8]) -> Option<Vec<MemberId>> {
    let (covered, crc) = bytes.split_last_chunk::<4>()?;
    if crc32fast::hash(covered).to_le_bytes() != *crc {
        return None;
    }
    let (numbers, _) = covered.strip_prefix(&ORDER_MAGIC)?.as_chunks();
    let numbers = numbers.iter().map(|number| MemberId(u32::from_le_bytes(*number)));
    Some(numbers.collect())
}

/// Starts the map anew, without marks, unless it belongs to this snapshot.
fn prepare_map(map: &File, id: Sha256, members: u32) -> io::Result<()> {
    let header = map_header(id);
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
