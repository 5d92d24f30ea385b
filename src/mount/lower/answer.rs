//! Answers that take more than a line.

use std::cell::RefCell;
use std::ffi::OsString;

use fuser::{INodeNo, ReplyData};

use super::counters::{Counters, count};
use crate::overlay::layer::{Errno, Layer, LayerError, NodeId};

/// Names as listxattr(2) gives them: each ended by a NUL.
pub(in crate::mount) fn joined(names: &[OsString]) -> Vec<u8> {
    let mut all = Vec::new();
    for name in names {
        all.extend_from_slice(name.as_encoded_bytes());
        all.push(0);
    }
    all
}

pub(super) fn report(counters: &Counters, request: &str, ino: INodeNo, error: &LayerError) -> fuser::Errno {
    if ![Errno::NOENT, Errno::NODATA].contains(&error.errno) {
        count(&counters.errors, 1);
        tracing::warn!(inode = ino.0, "{request} fails: {error}");
    }
    fuser::Errno::from_i32(error.errno.raw_os_error())
}

/// Reads and replies, on whatever thread this is.
pub(super) fn read(
    layer: &dyn Layer,
    node: NodeId,
    ino: INodeNo,
    range: (u64, usize),
    counters: &Counters,
    reply: ReplyData,
) {
    thread_local! {
        static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    }
    let (offset, length) = range;
    BUFFER.with_borrow_mut(|buffer| {
        if buffer.len() < length {
            buffer.resize(length, 0);
        }
        let Some(part) = buffer.get_mut(..length) else {
            return reply.error(fuser::Errno::EIO);
        };
        match layer.read_at(node, offset, part) {
            Ok(given) => {
                count(&counters.read_bytes, given as u64);
                reply.data(part.get(..given).unwrap_or_default());
            }
            Err(error) => reply.error(report(counters, "read", ino, &error)),
        }
    });
}
