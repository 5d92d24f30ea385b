//! oic composes OS images: a YAML template and pre-built packages become a
//! bootable disk image, through one lazy copy-on-write overlay.
//!
//! The modules stand in the order in which a build goes through them.

pub mod base;
pub mod cancel;
pub mod configure;
pub mod dpkg;
pub mod durable;
pub mod fetch;
pub mod install;
pub mod overlay;
pub mod package;
pub mod progress;
pub mod repo;
pub mod root;
pub mod sandbox;
pub mod template;
