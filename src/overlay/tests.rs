//! The overlay without a mount, against plain directories and the kernel's overlayfs.

mod behaviour;
pub(crate) mod differential;
mod listings;
pub(crate) mod memory_layer;
pub(crate) mod target;
