//! oic composes OS images: a YAML template and pre-built packages become a
//! bootable disk image, through one lazy copy-on-write overlay.
//!
//! The modules stand in the order in which a build goes through them.

pub mod cache;
pub mod archive;
pub mod boot;
pub mod cancel;
pub mod config;
mod data;
pub mod base;
pub mod cancel;
pub mod dpkg;
pub mod durable;
pub mod fetch;
pub mod mount;
pub mod image;
pub mod overlay;
pub mod package;
pub mod pool;
pub mod progress;
pub mod provider;
pub mod repo;
pub mod snapshot;
pub mod resolve;
pub mod root;
pub mod sandbox;
pub mod template;
pub mod verify;
pub mod yaml;
