//! Sends the kernel files before it requests them.
//!
//! A program that reads one file after the other (`tar`, `cp -a`, writing an image) pays a round trip for each,
//! however fast it is answered. Once a reader follows the layer's order, the small files that come next are put into
//! the kernel's page cache (`FUSE_NOTIFY_STORE`), from where they are read without a message.
//!
//! A store waits for a read of the same page that is under way, so it happens on a thread of its own, on which
//! no read depends.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use fuser::{INodeNo, Notifier};

use super::ids;
use crate::mount::adapter::counters::{Counters, count};
use crate::mount::adapter::workers::Workers;
use crate::overlay::layer::{Layer, NodeId};

/// The largest file that is sent; larger ones are left to the kernel's own read-ahead.
const FILE_BYTES_MAX: usize = 128 * 1024;
/// The largest amount that is sent ahead of the reader at once.
const BURST_BYTES_MAX: usize = 1024 * 1024;
/// The numbers of files that are sent at once: first, and at most.
const FILES_FIRST: usize = 4;
const FILES_MAX: usize = 128;
/// The number of steps in order after which a reader is expected to go on like that.
const STEPS_BELIEVED: u32 = 2;

/// A watcher of reads that sends the next files.
#[derive(Debug)]
pub(super) struct Pusher {
    kernel: OnceLock<Notifier>,
    reader: Mutex<Reader>,
    worker: Workers,
    counters: Arc<Counters>,
}

/// The reader that was seen last.
#[derive(Debug, Default)]
struct Reader {
    layer: usize,
    /// The range of its next read if it goes in order: something from here…
    from: NodeId,
    /// …to here, which is the first file that was not sent.
    to: NodeId,
    steps: u32,
    files: usize,
    /// Whether files are being sent to it now.
    busy: bool,
}

impl Pusher {
    /// Makes a pusher that is not connected to the kernel yet.
    pub(super) fn new(counters: Arc<Counters>) -> Self {
        Self {
            kernel: OnceLock::new(),
            reader: Mutex::default(),
            worker: Workers::new(1),
            counters,
        }
    }

    /// Connects the pusher to the kernel: from now on, files can be sent.
    pub(super) fn connect(&self, kernel: Notifier) {
        // This function is called once.
        let _ = self.kernel.set(kernel);
    }

    fn lock(&self) -> MutexGuard<'_, Reader> {
        self.reader.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records that the kernel requests the start of the file `node` of layer number `index`.
    pub(super) fn asked(self: &Arc<Self>, index: usize, layer: &Arc<dyn Layer>, node: NodeId) {
        let mut reader = self.lock();
        if reader.busy {
            return;
        }
        let in_order = reader.layer == index && (reader.from..=reader.to).contains(&node);
        let Some(next) = layer.following(node) else { return };
        (reader.layer, reader.from) = (index, next);
        // A file that was sent and is requested all the same is not in the kernel's cache any more.
        reader.to = if in_order { reader.to.max(next) } else { next };
        if !in_order {
            (reader.steps, reader.files) = (0, 0);
            return;
        }
        reader.steps = reader.steps.saturating_add(1);
        if reader.steps < STEPS_BELIEVED || self.kernel.get().is_none() {
            return;
        }
        reader.files = (reader.files * 2).clamp(FILES_FIRST, FILES_MAX);
        reader.busy = true;
        let files = reader.files;
        drop(reader);
        let (pusher, layer) = (Arc::clone(self), Arc::clone(layer));
        self.worker.run(move || {
            let to = pusher.give(index, &*layer, next, files);
            let mut reader = pusher.lock();
            (reader.to, reader.busy) = (to, false);
        });
    }

    /// Sends up to `files` files from `node` on; returns the first that was not sent.
    fn give(&self, index: usize, layer: &dyn Layer, mut node: NodeId, files: usize) -> NodeId {
        let mut buffer = vec![0; FILE_BYTES_MAX];
        let mut left = BURST_BYTES_MAX;
        for _ in 0..files {
            let Some(size) = self.give_one(index, layer, node, &mut buffer) else {
                break;
            };
            let Some(next) = layer.following(node) else { break };
            node = next;
            left = left.saturating_sub(size);
            if left == 0 {
                break;
            }
        }
        node
    }

    /// Sends a file, unless it is large; returns its size. `None` if it cannot be read: the read that asks for it
    /// reports why.
    fn give_one(&self, index: usize, layer: &dyn Layer, node: NodeId, buffer: &mut [u8]) -> Option<usize> {
        let size = usize::try_from(layer.attributes(node).ok()?.size_bytes).ok()?;
        let Some(part) = buffer.get_mut(..size) else {
            return Some(0);
        };
        if layer.read_at(node, 0, part).ok()? != size {
            return None;
        }
        let ino: INodeNo = ids::pack(index, node).ok()?;
        self.kernel.get()?.store(ino, 0, part).ok()?;
        count(&self.counters.given, 1);
        Some(size)
    }
}
