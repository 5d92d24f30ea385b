//! Inode numbers: the layer and its node, or the upper's own number, packed into
//! one, so that a number means the same after copy-up and after a remount.

use super::layer::{Errno, LayerError, LayerResult, NodeId};

/// Bits of a number that name the layer.
const LAYER_BITS: u32 = 6;
/// The code of nodes that were made in the upper. With the number 0 (which no file system gives out) this is the
/// root.
const UPPER_CODE: u64 = 1;
/// The code of the bottom layer; those above it follow.
const FIRST_LAYER_CODE: u64 = 2;
/// The largest number of layers that an overlay can have below its upper.
pub const MAX_LAYERS: usize = (1 << LAYER_BITS) - FIRST_LAYER_CODE as usize;

/// The number of a node of the overlay, never 0; what `st_ino` shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ino(pub u64);

impl Ino {
    /// The root directory.
    pub const ROOT: Self = Self(UPPER_CODE);

    /// Returns the number of `node` in the layer that has `height` layers below it.
    ///
    /// # Errors
    /// `EOVERFLOW` if the node's id has more than 58 bits.
    pub(super) fn of_layer(height: usize, node: NodeId) -> LayerResult<Self> {
        Self::pack(node.0, height as u64 + FIRST_LAYER_CODE)
    }

    /// Returns the number of the node with the inode number `st_ino` in the upper's file system.
    ///
    /// # Errors
    /// As [`Self::of_layer`].
    pub(super) fn of_upper(st_ino: u64) -> LayerResult<Self> {
        Self::pack(st_ino, UPPER_CODE)
    }

    /// Returns whether the node began its life in the upper.
    pub(super) fn is_of_upper(self) -> bool {
        self.0 & ((1 << LAYER_BITS) - 1) == UPPER_CODE
    }

    fn pack(number: u64, code: u64) -> LayerResult<Self> {
        if number >> (u64::BITS - LAYER_BITS) != 0 {
            return Err(LayerError::new(
                Errno::OVERFLOW,
                format!("node {number} does not fit into an inode number"),
            ));
        }
        Ok(Self((number << LAYER_BITS) | code))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn numbers_differ_and_know_where_they_come_from() {
        let mut seen = HashSet::from([Ino::ROOT]);
        for number in [1, 2, 77, (1 << 58) - 1] {
            let upper = Ino::of_upper(number).unwrap();
            assert!(upper.is_of_upper() && seen.insert(upper));
            for height in [0, 1, MAX_LAYERS - 1] {
                let lower = Ino::of_layer(height, NodeId(number)).unwrap();
                assert!(!lower.is_of_upper() && seen.insert(lower));
            }
        }
        assert_eq!(Ino::of_upper(1 << 58).unwrap_err().errno, Errno::OVERFLOW);
    }
}
