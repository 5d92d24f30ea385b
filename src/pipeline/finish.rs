//! From the layers to the image, and what a build leaves beside it.

pub mod archive;
pub mod bills;
pub mod claim;
pub mod container;
pub mod handover;
pub mod image;
pub mod log;
pub mod manifest;
pub mod medium;
pub mod provenance;
pub mod unified;
pub mod written;
