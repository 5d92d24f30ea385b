//! The compressed forms of an index, opened within a bound.

use std::io::{self, Read};

/// How an index file is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// `.xz`
    Xz,
    /// `.zst`
    Zstd,
    /// `.gz`
    Gzip,
    /// `.bz2`
    Bzip2,
    /// Not at all.
    Plain,
}

/// Memory that an xz stream may ask for; `xz -9` needs 65 MiB.
const XZ_MEMORY_BYTES: u64 = 256 << 20;
/// Largest zstd window, as a power of two: 128 MiB, the `zstd` program's own limit.
const ZSTD_WINDOW_LOG: u32 = 27;

impl Compression {
    /// Those of a Debian index, the preferred (smallest to download) first.
    pub const PREFERENCE: [Self; 4] = [Self::Xz, Self::Zstd, Self::Gzip, Self::Plain];

    /// What the file's name ends with, dot included.
    pub fn suffix(self) -> &'static str {
        match self {
            Self::Xz => ".xz",
            Self::Zstd => ".zst",
            Self::Gzip => ".gz",
            Self::Bzip2 => ".bz2",
            Self::Plain => "",
        }
    }

    /// The form of a file by its name's ending; `None` if it is compressed in another way.
    pub fn of_name(name: &str) -> Option<Self> {
        let all = [Self::Xz, Self::Zstd, Self::Gzip, Self::Bzip2];
        let known = all.into_iter().find(|form| name.ends_with(form.suffix()));
        known.or_else(|| name.ends_with(".xml").then_some(Self::Plain))
    }

    /// What `data` decompresses to, as a stream. The decoder's memory is bounded; the caller bounds
    /// how much it reads.
    ///
    /// # Errors
    /// If the decoder cannot be set up.
    pub fn decoder<'a>(self, data: &'a [u8]) -> io::Result<Box<dyn Read + 'a>> {
        Ok(match self {
            Self::Plain => Box::new(data),
            Self::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(data)),
            Self::Bzip2 => Box::new(bzip2::bufread::MultiBzDecoder::new(data)),
            Self::Zstd => {
                let mut decoder = zstd::Decoder::with_buffer(data)?;
                decoder.window_log_max(ZSTD_WINDOW_LOG)?;
                Box::new(decoder)
            }
            Self::Xz => {
                let stream =
                    liblzma::stream::Stream::new_stream_decoder(XZ_MEMORY_BYTES, liblzma::stream::CONCATENATED)?;
                Box::new(liblzma::bufread::XzDecoder::new_stream(data, stream))
            }
        })
    }

    /// Decompresses all of `data`, to at most `limit_bytes`.
    ///
    /// # Errors
    /// If `data` is damaged or cut off, or more than `limit_bytes` come out.
    pub fn decompress(self, data: Vec<u8>, limit_bytes: u64) -> io::Result<Vec<u8>> {
        match self {
            Self::Plain if data.len() as u64 <= limit_bytes => Ok(data),
            Self::Plain => Err(too_large(limit_bytes)),
            compressed => drain(compressed.decoder(&data)?, limit_bytes),
        }
    }
}

fn drain(reader: impl Read, limit_bytes: u64) -> io::Result<Vec<u8>> {
    let mut plain = Vec::new();
    reader.take(limit_bytes.saturating_add(1)).read_to_end(&mut plain)?;
    if plain.len() as u64 > limit_bytes {
        Err(too_large(limit_bytes))
    } else {
        Ok(plain)
    }
}

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

    /// Compresses with the program that archives use.
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
        for compression in Compression::PREFERENCE.into_iter().chain([Compression::Bzip2]) {
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
}
