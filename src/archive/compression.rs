//! The stream compressions of packages and of repository indexes, opened within bounds.

use std::io::{self, BufRead, Read};

/// Memory that an xz stream may ask for, in bytes; `xz -9` needs 65 MiB.
const XZ_MEMORY_BYTES: u64 = 256 << 20;
/// Largest accepted zstd window, as a power of two: 128 MiB, the limit of the `zstd` program and of `zstd --long`.
pub const ZSTD_WINDOW_LOG_MAX: u32 = 27;

/// Returns an upper limit for the decompressed size of an index whose size is not signed, in bytes: it follows the
/// `packed_bytes`, since text shrinks to a twentieth at best, and leaves room for repetitions in a small one.
pub fn plausible_bytes(packed_bytes: u64) -> u64 {
    packed_bytes.saturating_mul(64).saturating_add(64 << 20)
}

/// How a stream is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// xz: `.xz`.
    Xz,
    /// Zstandard (RFC 8878): `.zst`.
    Zstd,
    /// gzip (RFC 1952): `.gz`.
    Gzip,
    /// bzip2: `.bz2`.
    Bzip2,
    /// No compression.
    Plain,
}

impl Compression {
    /// All compressions but [`Self::Plain`].
    pub const ALL: [Self; 4] = [Self::Xz, Self::Zstd, Self::Gzip, Self::Bzip2];

    /// Returns the ending of a file name, dot included.
    pub fn suffix(self) -> &'static str {
        match self {
            Self::Xz => ".xz",
            Self::Zstd => ".zst",
            Self::Gzip => ".gz",
            Self::Bzip2 => ".bz2",
            Self::Plain => "",
        }
    }

    /// Finds the compression that a suffix names; the empty suffix names [`Self::Plain`].
    pub fn from_suffix(suffix: &[u8]) -> Option<Self> {
        let mut all = Self::ALL.into_iter().chain([Self::Plain]);
        all.find(|compression| compression.suffix().as_bytes() == suffix)
    }

    /// Decompresses `reader` as a stream, with all its members or frames. The decoder's memory is bounded, no matter
    /// what the stream asks for; the caller bounds the output.
    ///
    /// # Errors
    /// If the decoder cannot be set up.
    pub fn decoder<'a>(self, reader: impl BufRead + 'a) -> io::Result<Box<dyn Read + 'a>> {
        Ok(match self {
            Self::Plain => Box::new(reader),
            Self::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(reader)),
            Self::Bzip2 => Box::new(bzip2::bufread::MultiBzDecoder::new(reader)),
            Self::Zstd => {
                let mut decoder = zstd::Decoder::with_buffer(reader)?;
                decoder.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
                Box::new(decoder)
            }
            Self::Xz => {
                let stream =
                    liblzma::stream::Stream::new_stream_decoder(XZ_MEMORY_BYTES, liblzma::stream::CONCATENATED)?;
                Box::new(liblzma::bufread::XzDecoder::new_stream(reader, stream))
            }
        })
    }

    /// Decompresses all of `data`, to at most `limit_bytes`.
    ///
    /// # Errors
    /// If `data` is damaged or cut off, or decompresses to more than `limit_bytes`.
    pub fn decompress(self, data: Vec<u8>, limit_bytes: u64) -> io::Result<Vec<u8>> {
        match self {
            Self::Plain if data.len() as u64 <= limit_bytes => Ok(data),
            Self::Plain => Err(too_large(limit_bytes)),
            compressed => drain(compressed.decoder(&*data)?, limit_bytes),
        }
    }
}

/// Reads `reader` to its end and returns the bytes; refuses more than `limit_bytes`.
fn drain(reader: impl Read, limit_bytes: u64) -> io::Result<Vec<u8>> {
    let mut plain = Vec::new();
    reader.take(limit_bytes.saturating_add(1)).read_to_end(&mut plain)?;
    if plain.len() as u64 > limit_bytes {
        Err(too_large(limit_bytes))
    } else {
        Ok(plain)
    }
}

/// Makes the error for a stream of more than `limit_bytes`.
fn too_large(limit_bytes: u64) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("it holds more than the {limit_bytes} bytes that it should"),
    )
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    /// Compresses `data` with the program that archives use.
    pub(crate) fn compress(compression: Compression, data: &[u8]) -> Vec<u8> {
        let program = match compression {
            Compression::Xz => "xz",
            Compression::Zstd => "zstd",
            Compression::Gzip => "gzip",
            Compression::Bzip2 => "bzip2",
            Compression::Plain => return data.to_vec(),
        };
        let mut input = tempfile::tempfile().unwrap();
        io::Write::write_all(&mut input, data).unwrap();
        io::Seek::rewind(&mut input).unwrap();
        let run = Command::new(program).arg("-c").stdin(Stdio::from(input)).output();
        let output = run.unwrap_or_else(|_| panic!("this test needs the program {program}: install its package"));
        assert!(output.status.success());
        output.stdout
    }

    #[test]
    fn opens_what_the_tools_write_and_nothing_less_or_more() {
        let text = "Package: x\nVersion: 1\n\n".repeat(4000).into_bytes();
        let size_bytes = text.len() as u64;
        for compression in Compression::ALL.into_iter().chain([Compression::Plain]) {
            let data = compress(compression, &text);
            assert_eq!(compression.decompress(data.clone(), size_bytes).unwrap(), text);
            assert_eq!(
                compression
                    .decompress([&data[..], &data].concat(), size_bytes * 2)
                    .unwrap()
                    .len(),
                text.len() * 2
            );
            assert!(
                compression.decompress(data.clone(), size_bytes - 1).is_err(),
                "{compression:?} over the limit"
            );
            if compression != Compression::Plain {
                for cut in [data.len() / 2, data.len() - 1, 1] {
                    assert!(
                        compression.decompress(data[..cut].to_vec(), size_bytes).is_err(),
                        "{compression:?} cut"
                    );
                }
                assert!(
                    compression
                        .decompress(b"<html>not found</html>".to_vec(), size_bytes)
                        .is_err()
                );
            }
        }
    }

    #[test]
    fn a_suffix_names_its_compression() {
        for compression in Compression::ALL.into_iter().chain([Compression::Plain]) {
            assert_eq!(
                Compression::from_suffix(compression.suffix().as_bytes()),
                Some(compression)
            );
        }
        assert_eq!(Compression::from_suffix(b".lzma"), None);
    }
}
