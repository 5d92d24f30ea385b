//! The stream compressions of package archives, chosen by file name suffix.

use std::io::{self, BufReader, Read};

/// Memory the xz decoder may take: the largest dictionary that `xz -9` uses, with room.
const XZ_MEMORY_LIMIT_BYTES: u64 = 256 << 20;
/// Largest zstd window that is accepted, as a power of two (128 MiB).
const ZSTD_WINDOW_LOG_MAX: u32 = 27;

/// How a stream is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip (RFC 1952).
    Gzip,
    /// bzip2.
    Bzip2,
    /// xz.
    Xz,
    /// Zstandard (RFC 8878).
    Zstd,
}

impl Compression {
    /// The compression that a suffix (``, `.gz`, `.bz2`, `.xz`, `.zst`) names.
    pub fn from_suffix(suffix: &[u8]) -> Option<Self> {
        Some(match suffix {
            b"" => Self::None,
            b".gz" => Self::Gzip,
            b".bz2" => Self::Bzip2,
            b".xz" => Self::Xz,
            b".zst" => Self::Zstd,
            _ => return None,
        })
    }

    /// The decompressed bytes of `reader`, all members or frames of it. The decoder's
    /// memory is bounded, whatever the stream asks for.
    ///
    /// # Errors
    /// If the decoder cannot be set up.
    pub fn decoder<'a>(self, reader: impl Read + 'a) -> io::Result<Box<dyn Read + 'a>> {
        let reader = BufReader::with_capacity(128 << 10, reader);
        Ok(match self {
            Self::None => Box::new(reader),
            Self::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(reader)),
            Self::Bzip2 => Box::new(bzip2::bufread::MultiBzDecoder::new(reader)),
            Self::Xz => {
                let stream =
                    liblzma::stream::Stream::new_stream_decoder(XZ_MEMORY_LIMIT_BYTES, liblzma::stream::CONCATENATED)?;
                Box::new(liblzma::bufread::XzDecoder::new_stream(reader, stream))
            }
            Self::Zstd => {
                let mut decoder = zstd::stream::read::Decoder::with_buffer(reader)?;
                decoder.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
                Box::new(decoder)
            }
        })
    }
}
