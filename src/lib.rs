//! oic composes OS images: a YAML template and pre-built packages become a
//! bootable disk image, through one lazy copy-on-write overlay.
//!
//! The modules are grouped by subject.
// Tables of tests may be long.
#![cfg_attr(not(test), warn(clippy::too_many_lines))]

// The request.
pub mod config;
mod data;
pub mod model;
pub mod provider;
pub mod template;
pub mod yaml;

// The packages, verified.
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
pub mod layers;
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
pub mod secrets;
pub mod sign;
pub mod system;

// The disk.
pub mod boot;
pub mod disk;
pub mod image;

// The results of builds.
pub mod audit;
pub mod compare;
pub mod diff;
pub mod emulator;
pub mod inspect;
pub mod installed;
pub mod installer;
pub mod manifest;
pub mod sbom;
pub mod store;

// The whole build, and the command line.
pub mod cli;
pub mod pipeline;

// Parts that all of them use.
pub mod accounts;
pub mod cancel;
mod date;
pub mod durable;
pub mod flight;
pub mod hint;
mod parallel;
#[cfg(test)]
mod parallel_tests;
pub mod path_bytes;
pub mod progress;
mod sync;
pub mod terminal;
pub mod words;
pub mod work;
pub mod workspace;
