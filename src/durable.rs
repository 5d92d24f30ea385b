//! Files that are complete or absent, locks between processes, and removal that
//! stays inside one mount.
//!
//! Invariant: a file under its final name was written whole and synced; names
//! that start with [`TEMPORARY_PREFIX`] are leftovers, and a process that holds the directory's lock may delete them.

mod directory;
mod error;
mod file;
mod file_name;
mod full;
mod lock;
mod name;
mod owner;
mod pieces;
mod regular;
mod tree;
mod writeback;
mod xattr;

pub use directory::{close, private_directory, private_scratch, public_directory, take_own_umask};
pub use error::PathError;
pub use file::{AtomicFile, create_private, sync_directory, write_file, write_public_file};
pub use file_name::{BadFileName, FileName};
pub use full::FullDisk;
pub use lock::{FileLock, LockError};
pub use name::TEMPORARY_PREFIX;
pub use owner::{Owner, real_name};
pub use pieces::each_piece;
pub use regular::{descriptor_path, kind_in_words, open_regular, read_at_most, reopen_regular, require};
pub use tree::{ScratchDir, remove_tree, sweep_temporaries};
pub use writeback::{start_write_back, start_write_back_of, write_back};
pub use xattr::{is_of_file_system, is_of_image};
