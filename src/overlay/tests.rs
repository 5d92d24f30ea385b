//! The overlay without a mount, against plain directories and the kernel's overlayfs.

mod behaviour;
mod differential;
mod memory_layer;
mod target;
