//! The build, from a template to an image: [`build`] reads as the product's flow.
//!
//! Vocabulary lies at the bottom (`request`, `context`, `error`, `report`, `shared`). Above it are three rooms, which a
//! build enters in this order: `select` (which packages), `assemble` (the base and the layers above it), `finish` (the
//! image). `packages` fetches between the first two, and `build` is the list.

mod assemble;
mod build;
pub mod check;
mod context;
mod damaged;
mod encryption;
mod error;
mod finish;
mod full;
mod heal;
mod medium;
mod obstacles;
mod package_files;
mod packages;
pub mod report;
mod request;
mod resolved;
mod reused;
mod select;
mod several;
mod shared;
mod signing;

pub use error::BuildError;
pub use medium::build;
pub use obstacles::obstacles;
pub use request::{BuildRequest, Selecting, SigningMeans};
pub use resolved::{Resolved, catalogue, resolve};
pub use select::mirrors;
pub use several::build_all;

#[cfg(test)]
mod tests;
