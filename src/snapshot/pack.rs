//! Cuts a tar stream into gzip members and compresses them on several threads. The cuts and the output do not depend on
//! the number of threads.

use std::io::{self, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::Scope;

use super::format::{Member, Packing};
use crate::package::Sha256;
use crate::sync::{Mutex, lock};

/// Size in bytes from which an open member ends before the next file's header.
const MEMBER_BYTES: usize = 128 << 10;
/// Size in bytes above which a file starts its own member, and in steps of which it is cut.
pub(super) const CHUNK_BYTES: u64 = 1 << 20;

/// The error of a dropped receiver: the writing thread failed, and its result has the reason.
#[derive(Debug)]
pub(super) struct Stopped;

/// A buffer that collects the tar stream and passes on whole members.
#[derive(Debug)]
pub(super) struct Cutter {
    /// The member being filled.
    pub(super) open: Vec<u8>,
    /// Offset of `open` in the tar stream.
    start: u64,
    sink: Sink,
}

impl Cutter {
    /// Starts a tar stream whose members go to `sink`.
    pub(super) fn new(sink: Sink) -> Self {
        Self {
            open: Vec::new(),
            start: 0,
            sink,
        }
    }

    /// Starts an entry with `content` bytes; called before its headers are appended.
    pub(super) fn begin_entry(&mut self, content: u64) -> Result<(), Stopped> {
        if self.open.len() >= MEMBER_BYTES || (content > CHUNK_BYTES && !self.open.is_empty()) {
            self.cut()?;
        }
        Ok(())
    }

    /// Returns the offset in the tar stream of the next appended byte.
    pub(super) fn position(&self) -> u64 {
        self.start + self.open.len() as u64
    }

    /// Ends the open member.
    pub(super) fn cut(&mut self) -> Result<(), Stopped> {
        let tar = std::mem::take(&mut self.open);
        self.start += tar.len() as u64;
        self.sink.send(tar)
    }

    /// Ends the tar stream.
    pub(super) fn finish(mut self) -> Result<(), Stopped> {
        // POSIX ustar: at least two blocks of zeros.
        self.open.resize(self.open.len() + 1024, 0);
        self.cut()
    }
}

#[derive(Debug)]
struct Job {
    tar: Vec<u8>,
    reply: SyncSender<io::Result<Packed>>,
}

#[derive(Debug)]
struct Packed {
    gzip: Vec<u8>,
    tar_bytes: u32,
    crc: u32,
    digest: Sha256,
}

/// The way for members to the threads, in order; it blocks when too many are under way.
#[derive(Debug)]
pub(super) struct Sink {
    jobs: SyncSender<Job>,
    order: SyncSender<Receiver<io::Result<Packed>>>,
}

impl Sink {
    fn send(&self, tar: Vec<u8>) -> Result<(), Stopped> {
        let (reply, packed) = sync_channel(1);
        self.order.send(packed).map_err(|_| Stopped)?;
        self.jobs.send(Job { tar, reply }).map_err(|_| Stopped)
    }
}

/// The written members, or the writer's error.
pub(super) type Written = io::Result<Vec<Member>>;

/// Starts `threads` compressing threads and one that writes to `out`. Dropping the sink ends them; the handle then
/// returns the written members.
pub(super) fn start<'scope, 'env>(
    scope: &'scope Scope<'scope, 'env>,
    out: impl Write + Send + 'scope,
    threads: usize,
    level: u32,
) -> (Sink, std::thread::ScopedJoinHandle<'scope, Written>) {
    let threads = threads.clamp(1, 64);
    let (jobs, queue) = sync_channel::<Job>(threads);
    let (order, results) = sync_channel(threads * 2);
    let queue = std::sync::Arc::new(Mutex::new(queue));
    for _ in 0..threads {
        let queue = std::sync::Arc::clone(&queue);
        scope.spawn(move || {
            loop {
                let job = lock(&queue).recv();
                let Ok(Job { tar, reply }) = job else { return };
                // A failed send means that the writer stopped; its result has the reason.
                let _ = reply.send(pack(&tar, level));
            }
        });
    }
    let writer = scope.spawn(move || write_in_order(out, &results));
    (Sink { jobs, order }, writer)
}

fn write_in_order(mut out: impl Write, results: &Receiver<Receiver<io::Result<Packed>>>) -> Written {
    let mut members: Vec<Member> = Vec::new();
    for packed in results {
        let packed = packed
            .recv()
            .map_err(|_| io::Error::other("a compressing thread died"))??;
        out.write_all(&packed.gzip)?;
        let (offset, tar_offset) = members.last().map_or((0, 0), |last| {
            (
                last.offset + u64::from(last.compressed_bytes),
                last.tar_offset + u64::from(last.tar_bytes),
            )
        });
        members.push(Member {
            offset,
            tar_offset,
            compressed_bytes: packed.gzip.len() as u32,
            tar_bytes: packed.tar_bytes,
            crc: packed.crc,
            packing: Packing::Gzip,
            digest: packed.digest,
        });
    }
    out.flush()?;
    Ok(members)
}

fn pack(tar: &[u8], level: u32) -> io::Result<Packed> {
    let too_large = |_| io::Error::other("a member is too large");
    let tar_bytes = u32::try_from(tar.len()).map_err(too_large)?;
    let out = Vec::with_capacity(tar.len() / 2 + 64);
    let mut encoder = flate2::GzBuilder::new()
        .operating_system(255)
        .write(out, flate2::Compression::new(level.min(9)));
    encoder.write_all(tar)?;
    let gzip = encoder.finish()?;
    u32::try_from(gzip.len()).map_err(too_large)?;
    Ok(Packed {
        tar_bytes,
        crc: crc32fast::hash(tar),
        digest: Sha256::of(&gzip),
        gzip,
    })
}
