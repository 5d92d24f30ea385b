//! The settings for writing a snapshot.

use std::path::PathBuf;

use crate::cancel::Cancel;
use crate::durable;
use crate::layer::Times;
use crate::package::Sha256;

/// The settings for writing a snapshot.
#[derive(Debug, Clone)]
pub struct WriteOptions {
    /// Digest of what the tree was made from; kept in the index.
    pub base_key: Sha256,
    /// Number of compressing threads; the result does not depend on it.
    pub threads: usize,
    /// gzip level, 0 to 9.
    pub compression_level: u32,
    /// Paths relative to the tree that are left out, with everything below them.
    pub exclude: Vec<PathBuf>,
    /// Directories relative to the tree that are kept but emptied.
    pub exclude_contents: Vec<PathBuf>,
    /// Says whether an attribute of this name is kept.
    pub keep_attribute: fn(&[u8]) -> bool,
    /// If not `None`: directories get the epoch for their time, because that tells when and in which order the tree was
    /// put together; so do other files whose time is late.
    pub times: Option<Times>,
    /// The flag that stops the work between two files.
    pub cancel: Cancel,
}

impl WriteOptions {
    /// Makes settings with level 6, two threads and no exclusions, which keep all times and the attributes of users.
    pub fn new(base_key: Sha256) -> Self {
        Self {
            base_key,
            threads: 2,
            compression_level: 6,
            exclude: Vec::new(),
            exclude_contents: Vec::new(),
            keep_attribute: belongs,
            times: None,
            cancel: Cancel::default(),
        }
    }
}

/// Returns whether an attribute of this name belongs to a tree on any host: it is neither an overlay's mark, nor a
/// label of the host's own security module, nor made up by a file system.
pub(super) fn belongs(name: &[u8]) -> bool {
    let tree = [&b"user."[..], b"trusted.", b"security.", b"system.posix_acl_"];
    let host = [
        &b"trusted.overlay."[..],
        b"user.overlay.",
        b"security.selinux",
        b"security.ima",
        b"security.evm",
    ];
    tree.iter().any(|prefix| name.starts_with(prefix))
        && !host.iter().any(|prefix| name.starts_with(prefix))
        && !durable::is_of_file_system(name)
}
