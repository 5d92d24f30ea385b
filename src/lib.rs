//! oic composes OS images: a YAML template and pre-built packages become a
//! bootable disk image, through one lazy copy-on-write overlay.
//!
//! The modules stand in the order in which a build goes through them.

// WHAT to build.
pub mod config;
mod data;
pub mod provider;
pub mod template;
pub mod yaml;

// WHICH packages, verified.
pub mod cache;
pub mod fetch;
pub mod package;
pub mod repo;
pub mod resolve;
pub mod rpmfile;
pub mod verify;

// The lazy layers and the overlay.
pub mod archive;
pub mod base;
pub mod layer;
pub mod mount;
pub mod overlay;
pub mod pool;
pub mod snapshot;

// Installing and configuring.
pub mod configure;
pub mod dpkg;
pub mod install;
pub mod root;
pub mod rpm;
pub mod sandbox;

// The disk.
pub mod boot;
pub mod image;

// What builds leave behind.
pub mod diff;
pub mod store;

// The whole build, and the command line.
pub mod cli;
pub mod pipeline;

// What all of them use.
pub mod cancel;
pub mod durable;
pub mod flight;
pub mod progress;
mod sync;
pub mod workspace;
