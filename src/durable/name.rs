//! Names that the directories of oic have in common.

/// The prefix of every temporary file and directory of oic.
pub const TEMPORARY_PREFIX: &str = ".oic-tmp-";
