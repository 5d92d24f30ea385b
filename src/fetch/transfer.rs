//! A file on its way: its source, its bytes so far, and their digest.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use super::{FetchError, Partial};
use crate::cancel::Cancel;
use crate::durable::{PathError, each_piece};
use crate::package::{Checksum, Hasher};

/// A file to download.
#[derive(Debug, Clone, Copy)]
pub struct Download<'a> {
    /// Source: an `http`, `https` or `file` URL.
    pub url: &'a str,
    /// Its exact size in bytes.
    pub size_bytes: u64,
    /// Its digest.
    pub checksum: Checksum,
}

/// A download and its state.
pub(super) struct Transfer<'a> {
    pub(super) wanted: Download<'a>,
    /// The URL without credentials, for messages.
    pub(super) shown: &'a str,
    file: &'a File,
    path: &'a Path,
    hasher: Hasher,
    pub(super) position_bytes: u64,
    received_bytes: u64,
    /// Whether the start of the file came from an earlier response.
    pub(super) pieced: bool,
    on_position: &'a dyn Fn(u64),
}

impl<'a> Transfer<'a> {
    /// Continues from the content of `partial`.
    pub(super) fn new(
        wanted: Download<'a>,
        shown: &'a str,
        partial: &'a Partial,
        on_position: &'a dyn Fn(u64),
        stop: &[&Cancel],
    ) -> Result<Self, FetchError> {
        let mut transfer = Self {
            wanted,
            shown,
            file: partial.file(),
            path: partial.path(),
            hasher: wanted.checksum.algorithm().hasher(),
            position_bytes: 0,
            received_bytes: 0,
            pieced: false,
            on_position,
        };
        transfer.take_up(stop)?;
        Ok(transfer)
    }

    /// Hashes the content of the file; restarts a file that is longer than wanted.
    fn take_up(&mut self, stop: &[&Cancel]) -> Result<(), FetchError> {
        let metadata = self.file.metadata().map_err(PathError::on("examine", self.path))?;
        if metadata.len() > self.wanted.size_bytes {
            return self.restart();
        }
        let (file, path) = (self.file, self.path);
        each_piece::<FetchError>(file.take(metadata.len()), path, stop, |bytes| {
            self.hasher.update(bytes);
            self.position_bytes += bytes.len() as u64;
            Ok(())
        })?;
        self.pieced = self.position_bytes > 0;
        (self.on_position)(self.position_bytes);
        Ok(())
    }

    /// Discards all bytes so far.
    pub(super) fn restart(&mut self) -> Result<(), FetchError> {
        self.file.set_len(0).map_err(PathError::on("truncate", self.path))?;
        self.hasher = self.wanted.checksum.algorithm().hasher();
        self.position_bytes = 0;
        self.pieced = false;
        Ok(())
    }

    /// Refuses early a file that will have the wrong size: `more_bytes` after `start_bytes`.
    pub(super) fn check_announced(&self, start_bytes: u64, more_bytes: u64) -> Result<(), FetchError> {
        let actual_bytes = start_bytes.saturating_add(more_bytes);
        if actual_bytes == self.wanted.size_bytes {
            return Ok(());
        }
        Err(self.wrong_size(actual_bytes))
    }

    fn wrong_size(&self, actual_bytes: u64) -> FetchError {
        FetchError::WrongSize {
            url: self.shown.to_owned(),
            expected_bytes: self.wanted.size_bytes,
            actual_bytes,
        }
    }

    /// Writes and hashes the next bytes.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Result<(), FetchError> {
        let end_bytes = self.position_bytes.saturating_add(bytes.len() as u64);
        if end_bytes > self.wanted.size_bytes {
            return Err(FetchError::TooLarge {
                url: self.shown.to_owned(),
                limit_bytes: self.wanted.size_bytes,
            });
        }
        self.file
            .write_all_at(bytes, self.position_bytes)
            .map_err(PathError::on("write", self.path))?;
        self.hasher.update(bytes);
        self.position_bytes = end_bytes;
        self.received_bytes += bytes.len() as u64;
        (self.on_position)(end_bytes);
        Ok(())
    }

    /// Checks size and digest of a complete file; empties one with a wrong digest.
    pub(super) fn finish(&mut self) -> Result<(), FetchError> {
        if self.position_bytes != self.wanted.size_bytes {
            return Err(self.wrong_size(self.position_bytes));
        }
        let fresh = self.wanted.checksum.algorithm().hasher();
        let actual = std::mem::replace(&mut self.hasher, fresh).finish();
        if actual == self.wanted.checksum {
            return Ok(());
        }
        self.restart()?;
        Err(FetchError::WrongDigest {
            url: self.shown.to_owned(),
            expected: Box::new(self.wanted.checksum),
            actual: Box::new(actual),
        })
    }

    /// Returns whether all bytes are there.
    pub(super) fn is_complete(&self) -> bool {
        self.position_bytes == self.wanted.size_bytes
    }

    /// Returns the bytes received from the server, or copied.
    pub(super) fn received_bytes(&self) -> u64 {
        self.received_bytes
    }
}
