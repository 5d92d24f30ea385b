//! Inode numbers of a mount: the layer and its node packed into one number, so that nothing has to be remembered per
//! inode and a number means the same after a remount.

use fuser::INodeNo;

use crate::overlay::layer::{Errno, LayerError, LayerResult, NodeId};

/// Bits of an inode number that name the layer.
const LAYER_BITS: u32 = 6;
/// The first layer code: 0 and 1 stay free, so that no node gets 0 ("none") or 1 (`FUSE_ROOT_ID`).
const FIRST_CODE: u64 = 2;
/// The largest number of layers that one mount can serve.
pub(super) const MAX_LAYERS: usize = (1 << LAYER_BITS) - FIRST_CODE as usize;

/// Returns the inode number of `node` of layer number `layer` (below [`MAX_LAYERS`]).
pub(super) fn pack(layer: usize, node: NodeId) -> LayerResult<INodeNo> {
    if node.0 >> (u64::BITS - LAYER_BITS) != 0 {
        return Err(LayerError::new(
            Errno::OVERFLOW,
            format!("node {} does not fit into an inode number", node.0),
        ));
    }
    Ok(INodeNo((node.0 << LAYER_BITS) | (layer as u64 + FIRST_CODE)))
}

/// Returns the layer number and node of `ino`, if it can be one of ours.
pub(super) fn unpack(ino: INodeNo) -> Option<(usize, NodeId)> {
    let code = ino.0 & ((1 << LAYER_BITS) - 1);
    let layer = usize::try_from(code.checked_sub(FIRST_CODE)?).ok()?;
    Some((layer, NodeId(ino.0 >> LAYER_BITS)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn packing_is_reversible(layer in 0..MAX_LAYERS, node in 0_u64..1 << 58) {
            let ino = pack(layer, NodeId(node)).unwrap();
            prop_assert!(ino.0 > 1);
            prop_assert_eq!(unpack(ino), Some((layer, NodeId(node))));
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        assert_eq!(pack(0, NodeId(1 << 58)).unwrap_err().errno, Errno::OVERFLOW);
        assert_eq!(unpack(INodeNo(0)), None);
        assert_eq!(unpack(INodeNo::ROOT), None);
    }
}
