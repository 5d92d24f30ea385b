//! Reading and writing content: which thread does it, and what the kernel's cache must not keep.

use std::sync::Arc;

use fuser::{FileHandle, INodeNo, OpenFlags, ReplyData, ReplyWrite, WriteFlags};

use super::Cow;
use super::credentials::Asker;
use super::direct::Direct;
use crate::mount::adapter::counters::{Counters, count};
use crate::mount::adapter::{Call, fail, read};
use crate::overlay::layer::LayerResult;
use crate::overlay::{Access, Ino, Overlay};

/// A request for content.
#[derive(Debug, Clone, Copy)]
pub(super) struct Transfer {
    pub(super) call: Call,
    pub(super) ino: INodeNo,
    pub(super) handle: FileHandle,
    pub(super) offset: u64,
    /// The flags of the open file (open(2)).
    pub(super) flags: OpenFlags,
}

/// A request to write.
#[derive(Debug, Clone, Copy)]
pub(super) struct Write {
    pub(super) to: Transfer,
    pub(super) asker: Asker,
    pub(super) write_flags: WriteFlags,
    pub(super) is_synced: bool,
}

impl Write {
    fn perform(&self, overlay: &Overlay, data: &[u8]) -> LayerResult<usize> {
        let Transfer { ino, offset, flags, .. } = self.to;
        let written = match self.write_flags {
            flags if flags.contains(WriteFlags::FUSE_WRITE_CACHE) => overlay.write_back(Ino(ino.0), offset, data),
            flags if flags.contains(WriteFlags::FUSE_WRITE_KILL_SUIDGID) => {
                overlay.write(Ino(ino.0), offset, data, Some(&self.asker))
            }
            _ => overlay.write(Ino(ino.0), offset, data, None),
        }?;
        if self.is_synced {
            overlay.sync(Ino(ino.0), flags.0 & libc::O_SYNC != libc::O_SYNC)?;
        }
        Ok(written)
    }

    fn answer(&self, written: LayerResult<usize>, counters: &Counters, reply: ReplyWrite) {
        match written {
            Ok(written) => {
                count(&counters.written_bytes, written as u64);
                reply.written(u32::try_from(written).unwrap_or(u32::MAX));
            }
            Err(error) => reply.error(fail(counters, self.to.call, &error)),
        }
    }
}

impl Cow {
    /// Answers a request for `length` bytes: here, or on a worker if they are not there yet.
    pub(super) fn read_content(&self, from: Transfer, length: usize, reply: ReplyData) {
        let Transfer { call, offset, .. } = from;
        let ino = Ino(from.ino.0);
        if self.direct.refuses(from.flags, offset, length) {
            return match self.overlay.getattr(ino) {
                // Nothing is transferred.
                Ok(stat) if offset >= stat.size_bytes => reply.data(&[]),
                Ok(_) => reply.error(fuser::Errno::EINVAL),
                Err(error) => reply.error(self.desk.fail(call, &error)),
            };
        }
        self.overlay.mark_read(ino);
        let access = match from.flags.0 & libc::O_NOATIME {
            0 => self.view.files(),
            _ => Access::Unnoted,
        };
        let is_ready = self.overlay.is_ready(ino, offset, length);
        let (overlay, counters) = self.shared();
        let work = move || {
            read(&counters, call, length, reply, |buffer| {
                overlay.read(ino, offset, buffer, access)
            });
        };
        if is_ready {
            return work();
        }
        count(&self.desk.counters.slow_reads, 1);
        self.workers.run(work);
    }

    /// Writes `data`: here, or on another thread if that takes long.
    pub(super) fn write_content(&self, write: Write, data: &[u8], reply: ReplyWrite) {
        let Transfer {
            ino,
            handle,
            offset,
            flags,
            ..
        } = write.to;
        let is_past_cache = Direct::is_past_cache(handle, flags, write.write_flags);
        if is_past_cache && self.direct.refuses(flags, offset, data.len()) {
            return reply.error(fuser::Errno::EINVAL);
        }
        let written_bytes = data.len();
        let (overlay, counters) = self.shared();
        let direct = Arc::clone(&self.direct);
        let finish = move |written| {
            let answer = move || write.answer(written, &counters, reply);
            // Asked after the writing: a read that begins later finds the new content.
            if is_past_cache && overlay.was_read(Ino(ino.0)) {
                direct.drop_pages_then(ino, offset, written_bytes, answer);
            } else {
                answer();
            }
        };
        if write.is_synced || self.pressure.is_high() || self.overlay.is_slow_to_change(Ino(ino.0)) {
            let (data, overlay) = (data.to_vec(), Arc::clone(&self.overlay));
            self.workers.run(move || finish(write.perform(&overlay, &data)));
        } else {
            self.pressure.watch(|| finish(write.perform(&self.overlay, data)));
        }
    }
}
