//! A file whose reads fail on command: a FUSE file system of one file, which passes everything on to another one.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fuser::{
    BackgroundSession, BsdFileFlags, Config, Errno, FileAttr, FileHandle, FileType, Filesystem, Generation, INodeNo,
    LockOwner, OpenFlags, ReplyAttr, ReplyData, ReplyEmpty, ReplyEntry, ReplyWrite, Request, TimeOrNow, WriteFlags,
};

const NAME: &str = "image";
const FILE: INodeNo = INodeNo(2);
const TTL: Duration = Duration::from_secs(1);

/// The file and its file system, which is unmounted when this is dropped.
pub struct Faulty {
    path: PathBuf,
    ranges: Ranges,
    _session: BackgroundSession,
}

impl std::fmt::Debug for Faulty {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Faulty")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

/// The bytes that cannot be read.
type Ranges = Arc<Mutex<Vec<Range<u64>>>>;

impl Faulty {
    /// Mounts a view of `file` beside it.
    pub fn over(file: &Path) -> Self {
        let at = file.with_extension("faulty");
        fs::create_dir_all(&at).unwrap();
        let ranges = Ranges::default();
        let view = View {
            file: File::options().read(true).write(true).open(file).unwrap(),
            ranges: Arc::clone(&ranges),
        };
        let session = fuser::spawn_mount(view, &at, &Config::default()).expect("/dev/fuse");
        Self {
            path: at.join(NAME),
            ranges,
            _session: session,
        }
    }

    /// Returns the path of the file that can fail.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes reads of these bytes fail with `EIO`, and no others.
    pub fn fail(&self, ranges: Vec<Range<u64>>) {
        *self.ranges.lock().unwrap() = ranges;
    }
}

struct View {
    file: File,
    ranges: Ranges,
}

impl View {
    fn attributes(&self, inode: INodeNo) -> FileAttr {
        let is_file = inode == FILE;
        let size = if is_file {
            self.file.metadata().unwrap().len()
        } else {
            0
        };
        FileAttr {
            ino: inode,
            size,
            blocks: size / 512,
            atime: UNIX_EPOCH,
            mtime: UNIX_EPOCH,
            ctime: UNIX_EPOCH,
            crtime: UNIX_EPOCH,
            kind: if is_file {
                FileType::RegularFile
            } else {
                FileType::Directory
            },
            perm: if is_file { 0o600 } else { 0o700 },
            nlink: 1,
            uid: 0,
            gid: 0,
            rdev: 0,
            blksize: 4096,
            flags: 0,
        }
    }

    fn fails(&self, asked: &Range<u64>) -> bool {
        let ranges = self.ranges.lock().unwrap();
        ranges.iter().any(|bad| bad.start < asked.end && asked.start < bad.end)
    }
}

impl Filesystem for View {
    fn lookup(&self, _: &Request, _: INodeNo, name: &OsStr, reply: ReplyEntry) {
        match name == NAME {
            true => reply.entry(&TTL, &self.attributes(FILE), Generation(0)),
            false => reply.error(Errno::ENOENT),
        }
    }

    fn getattr(&self, _: &Request, inode: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        reply.attr(&TTL, &self.attributes(inode));
    }

    fn setattr(
        &self,
        _: &Request,
        inode: INodeNo,
        _: Option<u32>,
        _: Option<u32>,
        _: Option<u32>,
        _: Option<u64>,
        _: Option<TimeOrNow>,
        _: Option<TimeOrNow>,
        _: Option<SystemTime>,
        _: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        reply.attr(&TTL, &self.attributes(inode));
    }

    fn read(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        if self.fails(&(offset..offset + u64::from(size))) {
            return reply.error(Errno::EIO);
        }
        let mut bytes = vec![0; size as usize];
        match self.file.read_at(&mut bytes, offset) {
            Ok(count) => reply.data(&bytes[..count]),
            Err(_) => reply.error(Errno::EIO),
        }
    }

    fn write(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        match self.file.write_all_at(data, offset) {
            Ok(()) => reply.written(u32::try_from(data.len()).unwrap()),
            Err(_) => reply.error(Errno::EIO),
        }
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.ok();
    }

    fn fsync(&self, _: &Request, _: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        reply.ok();
    }
}
