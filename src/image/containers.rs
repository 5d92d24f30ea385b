//! The formats of disk images: files that hold the bytes of a raw image together with a map of them.
//!
//! A format is a pure function: from the size of a disk, the ranges of its data and an identifier it makes a [`Layout`],
//! the ordered list of the pieces of the file. [`contents::Contents`] reads a layout as if the file existed, for what writes
//! or compresses it. A format of compressed blocks is a [`packed::Packer`].
//!
//! Invariant: the same disk gives the same bytes. No format knows a clock, a random number or the host.

pub mod contents;
pub mod disk;
pub mod format;
pub mod gcp;
pub mod layout;
pub mod ova;
pub mod packed;
pub mod qcow2;
pub mod qcow2_packed;
pub(crate) mod qcow2_records;
pub mod vdi;
pub mod vhd;
pub mod vhdx;
pub(crate) mod vhdx_records;
pub mod vmdk;
pub(crate) mod vmdk_records;
pub mod vmdk_stream;

pub use disk::Disk;
pub use layout::{Layout, Piece};

#[cfg(test)]
mod tests;
