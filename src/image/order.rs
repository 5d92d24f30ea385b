//! The order of contents in a file system: chosen so that a small change of the tree moves little.

use std::cmp::Reverse;

use super::tree::{FileContent, Index};
use crate::overlay::layer::NodeId;

/// The order of contents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Order {
    /// Contents of the base, in its order.
    Base(NodeId),
    /// Other contents, by the power of two in their size, the largest first.
    Other(Reverse<u32>, Index),
}

impl Order {
    /// Returns the place of the file `index`, whose `content` has `blocks`.
    pub(super) fn of(content: &FileContent, blocks: u64, index: Index) -> Self {
        match content.digest {
            Some(_) => Self::Base(content.node),
            None => Self::Other(Reverse(blocks.checked_ilog2().map_or(0, |power| power + 1)), index),
        }
    }

    /// Says whether it is that of contents of the base.
    pub(super) fn is_base(self) -> bool {
        matches!(self, Self::Base(_))
    }
}
