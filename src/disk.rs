//! READ: disks, and the file systems on them, in this process: without root, loop devices or the kernel's drivers.
//!
//! Everything that is read may be hostile. Invariants: no byte outside of its area is read; memory is bounded by
//! constants and by what the caller asks for; a structure that is damaged is an error that names it and its offset in
//! bytes; nothing is ever written.
//!
//! The flow: a [`medium::Medium`] (the bytes of a disk, out of a [`container`]) → [`table`] (its partitions) → an [`area::Area`] (the bytes of one)
//! → a file system ([`ext4`], [`fat`], [`erofs`], [`squashfs`]), which is a [`Layer`](crate::overlay::layer::Layer). [`image::Image`] does all of this,
//! and [`system`] puts the file systems together.

pub mod area;
pub mod container;
pub mod erofs;
mod error;
pub mod ext4;
pub mod fat;
pub mod image;
#[cfg(any(test, fuzzing))]
pub mod listing;
mod lz4;
pub mod medium;
pub mod probe;
pub mod squashfs;
pub mod system;
pub mod table;
pub mod walk;

pub use error::DiskError;
