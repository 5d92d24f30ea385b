//! The head of an `.rpm` file: lead, signature header and main header, up to where the payload
//! starts (rpm-package-format(7), RPM V4 package format).
//!
//! Invariant: what a hostile file claims about sizes and counts is held against what there is before
//! anything is allocated or read, and a main header is whole: all of it lies in its immutable region,
//! which is what signatures are over.

mod header;
mod tag;
#[cfg(test)]
pub(crate) mod testing;

use std::io::{self, Read};

pub use header::Header;
pub use tag::Tag;

/// The fixed first part, obsolete but for its magic and kind.
const LEAD_BYTES: usize = 96;
const LEAD_MAGIC: [u8; 4] = [0xed, 0xab, 0xee, 0xdb];
/// Signatures of files (IMA) are in there too, some hundred bytes for each.
const SIGNATURE_LIMIT_BYTES: u32 = 64 << 20;
/// rpm's own limit.
const HEADER_LIMIT_BYTES: u32 = 256 << 20;

/// Why a file cannot be read as an RPM package.
#[derive(Debug, thiserror::Error)]
pub enum RpmFileError {
    /// It cannot be read, or ends too early.
    #[error("cannot read the package: {0}")]
    Io(#[from] io::Error),
    /// It is not what an RPM package looks like.
    #[error("not a valid RPM package: {part} {reason}")]
    Malformed {
        /// The part of the file.
        part: &'static str,
        /// What is wrong with it, to follow the part's name.
        reason: String,
    },
}

impl RpmFileError {
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
    /// Digests and signatures; nothing vouches for this header itself.
    pub signature: Header,
    /// What the package says of itself and its files.
    pub header: Header,
    /// Where the compressed payload starts, in bytes from the start of the file. It goes on to the end.
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

    /// `name-[epoch:]version-release.arch`, for messages; parts that are absent are left out.
    pub fn nevra(&self) -> String {
        let text = |tag| self.header.string(tag).ok().flatten().unwrap_or_default();
        format!("{}-{}.{}", text(Tag::NAME), self.evr(), text(Tag::ARCH))
    }

    /// `[epoch:]version-release`; an epoch of 0 is left out.
    pub fn evr(&self) -> String {
        let text = |tag| self.header.string(tag).ok().flatten().unwrap_or_default();
        let epoch = self
            .header
            .numbers(Tag::EPOCH)
            .ok()
            .and_then(|all| all.first().copied());
        let epoch = epoch.filter(|epoch| *epoch != 0).map(|epoch| format!("{epoch}:"));
        format!(
            "{}{}-{}",
            epoch.unwrap_or_default(),
            text(Tag::VERSION),
            text(Tag::RELEASE)
        )
    }
}

#[cfg(test)]
mod tests;
