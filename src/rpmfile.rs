//! The head of an `.rpm` file: lead, signature header and main header, up to where the payload
//! starts (rpm-package-format(7), RPM V4 package format).
//!
//! Invariant: sizes and counts that a hostile file claims are compared with the bytes that exist before anything is
//! allocated or read, and a main header is whole: all of it lies in its immutable region, which signatures cover.

mod header;
mod tag;
#[cfg(test)]
pub(crate) mod testing;

use std::io::{self, Read};

pub use header::Header;
pub use tag::Tag;

/// Size of the fixed first part, obsolete but for its magic and kind.
const LEAD_BYTES: usize = 96;
const LEAD_MAGIC: [u8; 4] = [0xed, 0xab, 0xee, 0xdb];
/// Upper limit; signatures of files (IMA), some hundred bytes for each, are in there too.
const SIGNATURE_LIMIT_BYTES: u32 = 64 << 20;
/// Upper limit, that of rpm.
const HEADER_LIMIT_BYTES: u32 = 256 << 20;

/// The reason why a file is not readable as an RPM package.
#[derive(Debug, thiserror::Error)]
pub enum RpmFileError {
    /// It cannot be read, or ends too early.
    #[error("cannot read the package: {0}")]
    Io(#[from] io::Error),
    /// It does not have the form of an RPM package.
    #[error("not a valid RPM package: {part} {reason}")]
    Malformed {
        /// The part of the file.
        part: &'static str,
        /// The problem, worded to follow the part's name.
        reason: String,
    },
}

impl RpmFileError {
    /// Makes the error that `part` breaks the rules of the format.
    pub(crate) fn malformed(part: &'static str, reason: impl Into<String>) -> Self {
        Self::Malformed {
            part,
            reason: reason.into(),
        }
    }
}

/// Everything before the payload.
#[derive(Debug, Clone)]
pub struct RpmHead {
    /// Digests and signatures; this header itself is not signed.
    pub signature: Header,
    /// The package's description of itself and its files.
    pub header: Header,
    /// Offset of the compressed payload in the file, in bytes. It ends with the file.
    pub payload_offset: u64,
}

impl RpmHead {
    /// Reads the head of a binary package and leaves `reader` at the payload. Nothing is verified.
    ///
    /// # Errors
    /// [`RpmFileError`] if it is cut off, malformed, or a source package.
    pub fn read(reader: &mut impl Read) -> Result<Self, RpmFileError> {
        let mut lead = [0; LEAD_BYTES];
        reader.read_exact(&mut lead)?;
        if lead[..4] != LEAD_MAGIC {
            return Err(RpmFileError::malformed("lead", "has another magic number"));
        }
        if !matches!(lead[4], 3 | 4) {
            let reason = format!("is of format version {}, which is not known", lead[4]);
            return Err(RpmFileError::malformed("lead", reason));
        }
        if lead[6..8] != [0, 0] {
            return Err(RpmFileError::malformed("lead", "is that of a source package"));
        }
        let signature = Header::read(reader, "signature header", SIGNATURE_LIMIT_BYTES)?;
        let padding = signature.as_bytes().len().wrapping_neg() % 8;
        reader.read_exact(&mut [0; 8][..padding])?;
        let header = Header::read(reader, "header", HEADER_LIMIT_BYTES)?;
        header.check_region(Tag::HEADER_IMMUTABLE)?;
        let length = LEAD_BYTES + signature.as_bytes().len() + padding + header.as_bytes().len();
        Ok(Self {
            signature,
            header,
            payload_offset: length as u64,
        })
    }

    /// Returns `name-[epoch:]version-release.arch`, for messages, without absent parts.
    pub fn nevra(&self) -> String {
        let text = |tag| self.header.string(tag).ok().flatten().unwrap_or_default();
        format!("{}-{}.{}", text(Tag::NAME), self.evr(), text(Tag::ARCH))
    }

    /// Returns the paths of the package's files.
    ///
    /// # Errors
    /// [`RpmFileError`] if a file has no directory, or a value is malformed or not UTF-8.
    pub fn paths(&self) -> Result<Vec<String>, RpmFileError> {
        // Unlike the database, a package that is about to be installed must have names in UTF-8.
        self.header.strings(Tag::DIR_NAMES)?;
        self.header.strings(Tag::BASE_NAMES)?;
        self.header.paths()
    }

    /// Returns `[epoch:]version-release`, without an epoch of 0.
    pub fn evr(&self) -> String {
        self.header.evr()
    }
}

#[cfg(test)]
mod tests;
