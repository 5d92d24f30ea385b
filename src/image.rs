//! SERIALIZE: a disk plan and a tree become one sparse `.raw`, written in user space: without a loop device and without
//! mounting it. Images without a disk are an archive of the tree ([`archive`]). An optical
//! medium ([`iso`]) is made of files.
//!
//! Invariant: every byte written is a function of the plan, the contents and the epoch alone, never of clocks or random
//! numbers.
//!
//! The writer reads layers alone; it needs no mount and no copy of the tree.
//!
//! The flow: [`plan::plan`] → [`populate::contents`] → [`raw::write`] → [`artifacts::make`].

pub mod archive;
pub mod artifacts;
pub mod canvas;
pub mod code;
pub mod containers;
pub mod content;
pub mod digest;
pub mod earlier;
pub mod erofs;
mod error;
pub mod ext4;
pub mod fat;
pub mod file_system;
pub(crate) mod file_type;
pub mod gpt;
mod holes;
pub mod host;
pub mod iso;
mod kinds;
pub mod labels;
pub mod luks;
pub(crate) mod mbr;
pub mod merged;
pub mod oci;
mod order;
pub mod plan;
pub mod populate;
pub mod raw;
pub mod region;
pub mod sealed;
pub mod seed;
pub mod stream;
pub mod swap;
#[cfg(test)]
pub(crate) mod tool;
pub mod tree;
pub mod verity;

pub use error::ImageError;
