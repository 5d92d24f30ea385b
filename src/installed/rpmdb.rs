//! The files in which rpm keeps the headers of installed packages, read alone: SQLite, rpm's own `ndb`, Berkeley DB.
//!
//! Of each of them only one table is read from one end to the other, which takes a tenth of what their libraries are.

mod bdb;
mod ndb;
mod sqlite;

use crate::rpmfile::RpmFileError;

/// The largest header, in bytes: that of rpm.
const BLOB_BYTES_MAX: u64 = 256 << 20;
/// The most packages of a database.
const PACKAGES_MAX: usize = 200_000;

/// The kind of a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// SQLite 3, with its log of changes beside it.
    Sqlite,
    /// rpm's own `ndb`.
    Ndb,
    /// A hash table of Berkeley DB.
    Bdb,
}

/// The damage of a database.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// It has another form than its kind.
    #[error("{structure} at byte {offset} {reason}")]
    Malformed {
        /// The structure.
        structure: &'static str,
        /// Its offset in bytes.
        offset: u64,
        /// The problem, worded to follow the structure's name.
        reason: &'static str,
    },
    /// A header in it is malformed.
    #[error(transparent)]
    Header(#[from] RpmFileError),
}

impl DatabaseError {
    fn new(structure: &'static str, offset: u64, reason: &'static str) -> Self {
        Self::Malformed {
            structure,
            offset,
            reason,
        }
    }
}

/// Returns the headers in `file`, a database of `kind`; `log` is the log of changes beside a SQLite database, or empty.
///
/// # Errors
/// [`DatabaseError`].
pub fn blobs(kind: Kind, file: &[u8], log: &[u8]) -> Result<Vec<Vec<u8>>, DatabaseError> {
    match kind {
        Kind::Sqlite => sqlite::blobs(file, log),
        Kind::Ndb => ndb::blobs(file),
        Kind::Bdb => bdb::blobs(file),
    }
}

/// Returns the number of `N` bytes at `at`, in the order that `of` reads; `None` beyond the end.
fn number<const N: usize, T>(bytes: &[u8], at: usize, of: fn([u8; N]) -> T) -> Option<T> {
    bytes.get(at..at.checked_add(N)?)?.try_into().ok().map(of)
}

#[cfg(test)]
mod tests;
