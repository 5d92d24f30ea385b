//! The payload of an `.rpm` package: the header's list of its files, and a cpio archive of their content
//! (rpm-package-format(7)).
//!
//! Installing packages is rpm's work; this unpacks them where rpm cannot run yet.

mod files;

use std::io::{BufRead as _, BufReader, Read};
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use super::ArchiveError;
use super::compression::Compression;
use super::cpio::{Cpio, CpioError, Member};
use super::stream;
use super::unpack::tree::{Failure, Tree};
use super::unpack::{UnpackOptions, Unpacked};
use crate::durable::open_regular;
use crate::rpmfile::{RpmFileError, RpmHead, Tag};

use files::{Content, Files};

/// Unpacks the files of the package file `path` below the directory `root`: kinds, modes, times, links and content.
/// Everything belongs to root and has no capabilities: only rpm can do better, with the accounts of the installed
/// system. Files that the package only claims (`%ghost`) are not made.
///
/// # Errors
/// If the package is damaged or cut off; if its payload contradicts its header; if a name is not inside the root; if it
/// exceeds the bounds of `options`; or if creating fails. Members unpacked before the error stay.
pub fn extract(path: &Path, root: BorrowedFd<'_>, options: &UnpackOptions) -> Result<Unpacked, ArchiveError> {
    let file = open_regular(path).map_err(ArchiveError::read(path))?;
    extract_from(file, path, root, options)
}

/// Returns the build time of the package file `path`, in seconds since 1970; 0 if its header has none.
///
/// # Errors
/// If it cannot be read, or its header is damaged.
pub fn build_seconds(path: &Path) -> Result<u64, ArchiveError> {
    let file = open_regular(path).map_err(ArchiveError::read(path))?;
    let head = RpmHead::read(&mut BufReader::new(file)).map_err(bad(path))?;
    let times = head.header.numbers(Tag::BUILD_TIME).map_err(bad(path))?;
    Ok(times.first().copied().unwrap_or(0))
}

fn bad(path: &Path) -> impl Fn(RpmFileError) -> ArchiveError {
    move |error| match error {
        RpmFileError::Io(source) => ArchiveError::read(path)(source),
        other => ArchiveError::malformed(path, other.to_string()),
    }
}

/// Unpacks like [`extract`], but from a reader; `path` is the package's name in messages.
///
/// # Errors
/// As [`extract`].
pub fn extract_from(
    reader: impl Read,
    path: &Path,
    root: BorrowedFd<'_>,
    options: &UnpackOptions,
) -> Result<Unpacked, ArchiveError> {
    let mut reader = BufReader::new(reader);
    let bad = bad(path);
    let head = RpmHead::read(&mut reader).map_err(&bad)?;
    let files = Files::of(&head.header, path, options)?;
    let name = head.header.string(Tag::PAYLOAD_COMPRESSOR).map_err(&bad)?;
    let start = reader.fill_buf().map_err(ArchiveError::read(path))?;
    let compression = compression(name, start).ok_or_else(|| {
        let name = name.unwrap_or_default();
        ArchiveError::malformed(
            path,
            format!("its payload is compressed with {name}, which is not supported"),
        )
    })?;
    if let Some(format) = head.header.string(Tag::PAYLOAD_FORMAT).map_err(&bad)?
        && format != "cpio"
    {
        return Err(ArchiveError::malformed(
            path,
            format!("its payload is no cpio archive: {format}"),
        ));
    }
    let stream = compression.decoder(reader).map_err(ArchiveError::read(path))?;
    let mut payload = Payload {
        cpio: Cpio::new(stream),
        files,
        archive: path,
        tree: Tree::new(root),
        unpacked: Unpacked::default(),
    };
    while payload.place_next(options)? {}
    payload.finish()
}

/// Finds the compression that a header names; without a name, gzip or none, judged by the first bytes as in rpm.
fn compression(name: Option<&str>, start: &[u8]) -> Option<Compression> {
    const GZIP_MAGIC: &[u8] = &[0x1f, 0x8b];
    Some(match name {
        Some("gzip") => Compression::Gzip,
        Some("bzip2") => Compression::Bzip2,
        Some("xz") => Compression::Xz,
        Some("zstd") => Compression::Zstd,
        Some(_) => return None,
        None if start.starts_with(GZIP_MAGIC) => Compression::Gzip,
        None => Compression::Plain,
    })
}

/// A payload that is being unpacked into a tree.
struct Payload<'a, R> {
    cpio: Cpio<R>,
    files: Files,
    archive: &'a Path,
    tree: Tree<'a>,
    unpacked: Unpacked,
}

impl<R: Read> Payload<'_, R> {
    /// Places the next member; returns whether there was one.
    fn place_next(&mut self, options: &UnpackOptions) -> Result<bool, ArchiveError> {
        options.cancel.check()?;
        let archive = self.archive;
        let next = self.cpio.next().map_err(|error| match error {
            CpioError::Io(source) => ArchiveError::read(archive)(source),
            CpioError::Malformed(problem) => ArchiveError::malformed(archive, format!("its payload: {problem}")),
        })?;
        let (number, claimed) = match next {
            None => return Ok(false),
            Some(Member::Numbered(number)) => (number as usize, None),
            Some(Member::Named { name, size_bytes }) => {
                let name = Path::new(std::ffi::OsStr::from_bytes(&name));
                let refused = || ArchiveError::refused(archive, name, "the package's header does not list it");
                (self.files.find(name).ok_or_else(refused)?, Some(size_bytes))
            }
        };
        let content = self
            .files
            .take(number, claimed)
            .map_err(|(name, problem)| ArchiveError::refused(archive, &name, problem))?;
        match content {
            Content::Later => {}
            Content::Here { member, links } => {
                if claimed.is_none() {
                    self.cpio.set_size(self.files.stored_bytes(number));
                }
                self.place(&member, options)?;
                for link in &links {
                    self.place(link, options)?;
                }
            }
        }
        Ok(true)
    }

    fn place(&mut self, member: &stream::Member, options: &UnpackOptions) -> Result<(), ArchiveError> {
        let archive = self.archive;
        self.unpacked.count(member, archive, options)?;
        self.tree
            .place(member, &mut self.cpio)
            .map_err(|failure| failed(archive, &member.name, failure))?;
        self.unpacked.paths.push(member.path.clone());
        Ok(())
    }

    fn finish(self) -> Result<Unpacked, ArchiveError> {
        let archive = self.archive;
        if let Some(missing) = self.files.missing() {
            let problem = format!("its payload lacks {}", missing.display());
            return Err(ArchiveError::malformed(archive, problem));
        }
        super::to_the_end(&mut self.cpio.into_inner(), archive)?;
        self.tree
            .finish()
            .map_err(|(path, failure)| failed(archive, &path, failure))?;
        Ok(self.unpacked)
    }
}

fn failed(archive: &Path, member: &Path, (action, source): Failure) -> ArchiveError {
    ArchiveError::Place {
        archive: archive.to_owned(),
        member: member.to_owned(),
        action,
        source,
    }
}

#[cfg(test)]
mod tests;
