//! The copy-on-write file system over an upper, step layers, the base and the
//! package pool. No FUSE types here: it works without a mount.

pub mod layer;
