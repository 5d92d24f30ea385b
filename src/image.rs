//! SERIALIZE: a disk plan and a tree become one sparse `.raw`, written in user
//! space: no loop device, no kernel mount of what is written.
//!
//! Invariant: whatever is written is a function of the plan, the contents and
//! the epoch alone; clocks and random numbers have no say.
//!
//! Nothing is read but layers: no mount, no copy of the tree.
//!
//! The way through: [`plan::plan`] → [`populate::sources`] → [`raw::write`] →
//! [`digest::digest`] and [`artifacts::make`].

pub mod artifacts;
pub mod canvas;
mod chunked;
pub mod content;
pub mod digest;
pub mod earlier;
pub mod ext4;
pub mod fat;
mod frontier;
pub mod gpt;
pub mod labels;
pub mod merged;
pub mod partition_type;
pub mod plan;
pub mod populate;
pub mod raw;
pub mod seed;
pub mod stream;
pub mod swap;
pub mod tool;
pub mod tree;
