//! Compresses a large sparse file in chunks, on several threads, to one stream.
//!
//! gzip members, xz streams and zstd frames may follow each other in a file and
//! read as one (RFC 1952, 2.2; The .xz File Format, 2; RFC 8878, 3), so chunks
//! need nothing of each other. The result does not depend on the threads, and a
//! chunk that is a hole is compressed once for all of them.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt as _;
use std::sync::{OnceLock, mpsc};
use std::thread;

use super::raw::next_data;
use crate::cancel::Cancel;
use crate::template::model::Compression;

/// Bytes of a chunk: large against the window of the method.
fn chunk_bytes(method: Compression) -> u64 {
    match method {
        Compression::Gzip => 4 << 20,
        Compression::Xz => 32 << 20,
        Compression::Zstd | Compression::Bzip2 => 16 << 20,
    }
}

/// Compresses `input` of `size_bytes` into `output` with `threads` threads;
/// `advance` hears of every chunk that is done.
pub(super) fn compress(
    input: &File,
    size_bytes: u64,
    method: Compression,
    threads: usize,
    output: &mut dyn Write,
    advance: &dyn Fn(u64),
    cancel: &Cancel,
) -> io::Result<()> {
    let step = chunk_bytes(method);
    let mut chunks = (0..size_bytes).step_by(usize::try_from(step).unwrap_or(usize::MAX));
    let hole = OnceLock::new();
    thread::scope(|scope| {
        // One slot for each thread: the memory in use stays bounded.
        let workers: Vec<_> = (0..threads.max(1))
            .map(|_| {
                let (sender, receiver) = mpsc::sync_channel::<(u64, io::Result<Vec<u8>>)>(1);
                let (orders, inbox) = mpsc::sync_channel::<u64>(1);
                let hole = &hole;
                scope.spawn(move || {
                    for offset in inbox {
                        let count = step.min(size_bytes - offset);
                        let result = one(input, offset, count, step, method, hole, cancel);
                        if sender.send((count, result)).is_err() {
                            return;
                        }
                    }
                });
                (orders, receiver)
            })
            .collect();
        let mut order =
            |worker: &mpsc::SyncSender<u64>| chunks.next().is_some_and(|offset| worker.send(offset).is_ok());
        let mut waiting = workers.iter().filter(|(orders, _)| order(orders)).count();
        for (orders, receiver) in workers.iter().cycle() {
            if waiting == 0 {
                break;
            }
            let Ok((count, result)) = receiver.recv() else {
                return Err(io::Error::other("a compression thread ended early"));
            };
            waiting -= 1;
            output.write_all(&result?)?;
            advance(count);
            if order(orders) {
                waiting += 1;
            }
        }
        Ok(())
    })
}

/// The chunk at `offset`, compressed.
fn one(
    input: &File,
    offset: u64,
    count: u64,
    step: u64,
    method: Compression,
    hole: &OnceLock<Vec<u8>>,
    cancel: &Cancel,
) -> io::Result<Vec<u8>> {
    cancel.check().map_err(io::Error::other)?;
    let is_hole = next_data(input, offset, offset + count)?.0 >= offset + count;
    let mut chunk = vec![0; usize::try_from(count).map_err(io::Error::other)?];
    if is_hole && count == step {
        if let Some(known) = hole.get() {
            return Ok(known.clone());
        }
        let made = encode(&chunk, method)?;
        return Ok(hole.get_or_init(|| made).clone());
    }
    if !is_hole {
        input.read_exact_at(&mut chunk, offset)?;
    }
    encode(&chunk, method)
}

fn encode(chunk: &[u8], method: Compression) -> io::Result<Vec<u8>> {
    match method {
        Compression::Gzip => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(6));
            encoder.write_all(chunk)?;
            encoder.finish()
        }
        Compression::Xz => {
            let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 6);
            encoder.write_all(chunk)?;
            encoder.finish()
        }
        Compression::Zstd => {
            let mut encoder = zstd::bulk::Compressor::new(6)?;
            encoder.include_checksum(true)?;
            encoder.compress(chunk)
        }
        Compression::Bzip2 => Err(io::ErrorKind::Unsupported.into()),
    }
}
