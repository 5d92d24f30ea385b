//! A file of known size and digest: streamed, hashed on the way, resumed where
//! an earlier attempt stopped.
//!
//! Invariants: never more than the announced size is written; `Ok` means that
//! the file has exactly the announced size and digest.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use reqwest::header::{ACCEPT_ENCODING, CONTENT_RANGE, RANGE};
use reqwest::{Response, StatusCode, Url};
use sha2::Digest as _;

use super::client::{Engine, Pace};
use super::local::each_chunk;
use super::retry::Failure;
use super::{FetchError, Partial};
use crate::cancel::Cancel;
use crate::durable::PathError;
use crate::package::Sha256;

/// Progress of this size makes a failed attempt count for nothing: a large file
/// comes through a bad line in many pieces.
const WORTHWHILE_BYTES: u64 = 1024 * 1024;

/// What is to be downloaded.
#[derive(Debug, Clone, Copy)]
pub struct Download<'a> {
    /// Where from: `http`, `https` or `file`.
    pub url: &'a str,
    /// Its exact size in bytes.
    pub size_bytes: u64,
    /// Its digest.
    pub sha256: Sha256,
}

/// A download and how far it came.
pub(super) struct Transfer<'a> {
    wanted: Download<'a>,
    /// The URL without credentials, for messages.
    shown: &'a str,
    file: &'a File,
    path: &'a Path,
    hasher: sha2::Sha256,
    position_bytes: u64,
    received_bytes: u64,
    /// The start of the file came from an earlier response.
    pieced: bool,
    on_position: &'a dyn Fn(u64),
}

impl<'a> Transfer<'a> {
    /// Takes up what `partial` holds already.
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
            hasher: sha2::Sha256::new(),
            position_bytes: 0,
            received_bytes: 0,
            pieced: false,
            on_position,
        };
        transfer.take_up(stop)?;
        Ok(transfer)
    }

    /// Hashes what is in the file; a file longer than wanted is started over.
    fn take_up(&mut self, stop: &[&Cancel]) -> Result<(), FetchError> {
        let metadata = self.file.metadata().map_err(PathError::on("examine", self.path))?;
        if metadata.len() > self.wanted.size_bytes {
            return self.restart();
        }
        let (file, path) = (self.file, self.path);
        each_chunk(file.take(metadata.len()), path, stop, |bytes| {
            self.hasher.update(bytes);
            self.position_bytes += bytes.len() as u64;
            Ok(())
        })?;
        self.pieced = self.position_bytes > 0;
        (self.on_position)(self.position_bytes);
        Ok(())
    }

    /// Forgets everything that came so far.
    pub(super) fn restart(&mut self) -> Result<(), FetchError> {
        self.file.set_len(0).map_err(PathError::on("truncate", self.path))?;
        self.hasher = sha2::Sha256::new();
        self.position_bytes = 0;
        self.pieced = false;
        Ok(())
    }

    /// Refuses early what will not have the right size: `more_bytes` after `start_bytes`.
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

    /// Checks size and digest of a complete file; a wrong one is emptied.
    pub(super) fn finish(&mut self) -> Result<(), FetchError> {
        if self.position_bytes != self.wanted.size_bytes {
            return Err(self.wrong_size(self.position_bytes));
        }
        let actual = Sha256(self.hasher.clone().finalize().into());
        if actual == self.wanted.sha256 {
            return Ok(());
        }
        self.restart()?;
        Err(FetchError::WrongDigest {
            url: self.shown.to_owned(),
            expected: self.wanted.sha256,
            actual,
        })
    }

    fn is_complete(&self) -> bool {
        self.position_bytes == self.wanted.size_bytes
    }

    /// Bytes that came from the server, or were copied.
    pub(super) fn received_bytes(&self) -> u64 {
        self.received_bytes
    }
}

/// Makes attempts until `transfer` is complete and right, or none is left.
pub(super) async fn run(engine: &Engine, url: &Url, transfer: &mut Transfer<'_>) -> Result<(), FetchError> {
    let mut attempts = engine.attempts();
    let mut may_start_over = true;
    let mut furthest_bytes = transfer.position_bytes;
    loop {
        let failure = match attempt(engine, url, transfer).await {
            Ok(()) => {
                let pieced = transfer.pieced;
                match transfer.finish() {
                    Ok(()) => return Ok(()),
                    // The pieces do not belong together: not the server's fault.
                    Err(FetchError::WrongDigest { .. }) if pieced && may_start_over => {
                        tracing::warn!(url = transfer.shown, "the resumed download is wrong, starting over");
                        may_start_over = false;
                        continue;
                    }
                    Err(error @ FetchError::WrongDigest { .. }) => Failure::transient(error),
                    Err(error) => error.into(),
                }
            }
            Err(failure) => failure,
        };
        if transfer.position_bytes >= furthest_bytes.saturating_add(WORTHWHILE_BYTES) {
            furthest_bytes = transfer.position_bytes;
            attempts.renew();
        }
        attempts.wait_after(failure).await?;
    }
}

/// One request for what is missing, and its body.
async fn attempt(engine: &Engine, url: &Url, transfer: &mut Transfer<'_>) -> Result<(), Failure> {
    if transfer.is_complete() && transfer.wanted.size_bytes > 0 {
        return Ok(());
    }
    let mut request = engine.request(url)?.header(ACCEPT_ENCODING, "identity");
    if transfer.position_bytes > 0 {
        request = request.header(RANGE, format!("bytes={}-", transfer.position_bytes));
    }
    let mut pace = Pace::start(engine.stall_timeout());
    let mut response = engine.send(request, transfer.shown, &mut pace).await?;
    accept(&response, transfer)?;
    if let Some(more_bytes) = response.content_length() {
        transfer
            .check_announced(transfer.position_bytes, more_bytes)
            .map_err(Failure::transient)?;
    }
    transfer.pieced = transfer.position_bytes > 0;
    while let Some(chunk) = pace.chunk(&mut response, transfer.shown).await? {
        transfer.take(&chunk)?;
    }
    if transfer.is_complete() {
        return Ok(());
    }
    let (came, wanted) = (transfer.position_bytes, transfer.wanted.size_bytes);
    let reason = format!("the connection ended after {came} of {wanted} bytes");
    Err(Failure::network(transfer.shown, reason))
}

/// Decides whether the body continues the file, starts it again, or is none of it.
fn accept(response: &Response, transfer: &mut Transfer<'_>) -> Result<(), Failure> {
    match response.status() {
        StatusCode::OK => Ok(transfer.restart()?),
        StatusCode::PARTIAL_CONTENT if range_start(response) == Some(transfer.position_bytes) => Ok(()),
        StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE => {
            transfer.restart()?;
            let reason = "the server cannot continue the download where it stopped";
            Err(Failure::network(transfer.shown, reason))
        }
        status => Err(Failure::from_status(transfer.shown, status, response.headers())),
    }
}

/// The first position of `Content-Range: bytes 5-9/10` (RFC 9110, 14.4).
fn range_start(response: &Response) -> Option<u64> {
    let range = response.headers().get(CONTENT_RANGE)?.to_str().ok()?;
    range.strip_prefix("bytes ")?.split_once('-')?.0.trim().parse().ok()
}
