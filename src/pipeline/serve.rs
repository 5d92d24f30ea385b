//! Opens the layers that a mount server is asked for, and tells what was taken from them.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::mount::MountError;
use crate::mount::session::Session;
use crate::snapshot::Snapshot;

/// What was taken from the base.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerStats {
    /// Regular files in the base.
    pub files_total: u64,
    /// Regular files of which something was read.
    pub files_touched: u64,
    /// Bytes of all files.
    pub content_bytes_total: u64,
    /// Bytes that were inflated.
    pub bytes_inflated: u64,
}
