//! Recognizes files by their first bytes: the tarballs that can be read in parts, and other archives by their names,
//! so that a message says what a file is and what to do with it.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use super::super::{NotTarball, SnapshotError};
use crate::archive::stream;
use crate::durable::open_regular;

/// Longest tarball without members, in bytes. tar(1) fills the last record with zeros; its largest usual one has 1 MiB.
const EMPTY_BYTES_MAX: u64 = 1 << 20;

/// The compression of a tarball.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Gzip,
    Zstd,
    Plain,
}

/// What a file looks like.
#[derive(Debug)]
pub enum Kind {
    /// A tarball that [`prepare`](super::prepare) accepts, or one of oic's own.
    Tarball,
    /// A file of a known kind that is none; the error says which, and what to do.
    Other(SnapshotError),
    /// None of these, or not a regular file.
    Unknown,
}

impl Kind {
    /// Looks at the file at `path`.
    pub fn of(path: &Path) -> Self {
        let Ok(file) = open_regular(path) else {
            return Self::Unknown;
        };
        match start(&file).map(|start| Format::of(&start, &file)) {
            Ok(Ok(_)) => Self::Tarball,
            Ok(Err(problem)) if problem != NotTarball::UNKNOWN || is_named_so(path) => Self::Other(problem.of(path)),
            _ => Self::Unknown,
        }
    }
}

/// Reads up to a tar block from the start of `file`, wherever it is positioned.
pub(super) fn start(file: &File) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut reader = Positioned { file, offset: 0 };
    reader
        .by_ref()
        .take(stream::HEADER_BYTES as u64)
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Returns whether the file at `path` has the name of a tarball.
fn is_named_so(path: &Path) -> bool {
    const ENDINGS: [&str; 12] = [
        ".tar", ".tgz", ".taz", ".tzst", ".txz", ".tlz", ".tbz", ".tbz2", ".tz2", ".tar.gz", ".tar.zst", ".tar.Z",
    ];
    let name = path.file_name().unwrap_or_default().as_encoded_bytes();
    ENDINGS.iter().any(|ending| name.ends_with(ending.as_bytes()))
}

impl Format {
    /// Determines the format of `file` from its first bytes, up to a tar block.
    pub(super) fn of(start: &[u8], file: &File) -> Result<Self, NotTarball> {
        match start {
            // RFC 1952, section 2.3.1: deflate is the only method.
            [0x1f, 0x8b, 8, ..] => Ok(Self::Gzip),
            // RFC 8878, sections 3.1.1 and 3.1.2: a frame, or one to be skipped.
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Ok(Self::Zstd),
            start if stream::starts_with_header(start) || is_empty(start, file) => Ok(Self::Plain),
            _ => Err(NotTarball::recognize(file)),
        }
    }
}

/// Returns whether `file` is a tarball without members: nothing but zeros, at least one block of them.
fn is_empty(start: &[u8], file: &File) -> bool {
    let is_zero = |bytes: &[u8]| bytes.iter().all(|byte| *byte == 0);
    let length = file.metadata().map_or(u64::MAX, |metadata| metadata.len());
    if start.len() < stream::HEADER_BYTES || !is_zero(start) || length > EMPTY_BYTES_MAX {
        return false;
    }
    let mut bytes = Vec::new();
    let read = Positioned { file, offset: 0 }.read_to_end(&mut bytes);
    read.is_ok() && is_zero(&bytes)
}

/// Reads a file by offsets, so that its own position stays.
struct Positioned<'a> {
    file: &'a File,
    offset: u64,
}

impl std::io::Read for Positioned<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.file.read_at(buffer, self.offset)?;
        self.offset += count as u64;
        Ok(count)
    }
}

/// What to do with a compressed tarball.
const DECOMPRESS: &str = "decompress it and use the .tar file, or compress that by zstd or gzip";
/// What to do with an archive of another kind.
const REPACK: &str = "unpack it, and make a tarball of its files with tar";
/// What to do with an image of a disk or a file system.
const MOUNT: &str = "mount it, or its partitions, through a loop device (losetup)";

/// First bytes, what they begin, and what to do with that. The offset is in front (magic(5) has all of them).
const MAGIC: &[(u64, &[u8], NotTarball)] = &[
    (0, b"\xfd7zXZ\0", packed("xz")),
    (0, b"BZh", packed("bzip2")),
    (0, b"\x5d\0\0", packed("lzma")),
    (0, b"LZIP", packed("lzip")),
    (0, b"\x04\x22\x4d\x18", packed("lz4")),
    (0, b"\x02\x21\x4c\x18", packed("lz4")),
    (0, b"\x89LZO\0", packed("lzop")),
    (0, b"\x1f\x9d", packed("compress (.Z)")),
    (0, b"\x1f\xa0", packed("compress -H")),
    (0, b"\x1f\x8b", packed("gzip with an unknown method")),
    (0, b"\xce\xb2\xcf\x81", packed("brotli")),
    (0, b"PK\x03\x04", other("a zip archive", REPACK)),
    (0, b"PK\x05\x06", other("an empty zip archive", REPACK)),
    (0, b"7z\xbc\xaf\x27\x1c", other("a 7z archive", REPACK)),
    (0, b"Rar!\x1a\x07", other("a rar archive", REPACK)),
    (0, b"070701", other("a cpio archive", REPACK)),
    (0, b"070702", other("a cpio archive", REPACK)),
    (0, b"070707", other("a cpio archive", REPACK)),
    (0, b"\xc7\x71", other("a cpio archive", REPACK)),
    (0, b"\x71\xc7", other("a cpio archive", REPACK)),
    (0, b"MSCF", other("a cabinet archive", REPACK)),
    (0, b"xar!", other("a xar archive", REPACK)),
    (
        0,
        b"!<arch>\ndebian",
        other(
            "a .deb package",
            "unpack it with dpkg-deb, and make a tarball of its files",
        ),
    ),
    (0, b"!<arch>\n", other("an ar archive", REPACK)),
    (
        0,
        b"\xed\xab\xee\xdb",
        other("an .rpm package", "rpm2archive makes a tarball of it"),
    ),
    (
        0,
        b"hsqs",
        other("a squashfs image", "mount it, or make a tarball of its files"),
    ),
    (
        0,
        b"QFI\xfb",
        other("a qcow2 disk image", "mount it as a disk with qemu-nbd, or convert it"),
    ),
    (0, b"conectix", other("a VHD disk image", "convert it with qemu-img")),
    (0, b"vhdxfile", other("a VHDX disk image", "convert it with qemu-img")),
    (0, b"KDMV", other("a VMDK disk image", "convert it with qemu-img")),
    (0, b"XFSB", other("an image of an XFS file system", MOUNT)),
    (
        1024,
        b"\xe2\xe1\xf5\xe0",
        other("an image of an EROFS file system", MOUNT),
    ),
    (1080, b"\x53\xef", other("an image of an ext file system", MOUNT)),
    (32769, b"CD001", other("an ISO 9660 image", MOUNT)),
    (65600, b"_BHRfS_M", other("an image of a btrfs file system", MOUNT)),
    (510, b"\x55\xaa", other("a disk image", MOUNT)),
];

const fn packed(by: &'static str) -> NotTarball {
    NotTarball {
        what: by,
        is_packed: true,
        advice: DECOMPRESS,
    }
}

const fn other(what: &'static str, advice: &'static str) -> NotTarball {
    NotTarball {
        what,
        is_packed: false,
        advice,
    }
}

impl NotTarball {
    /// A file of no known kind.
    pub(super) const UNKNOWN: Self = other(
        "neither a .tar file nor one that is compressed",
        "check that it is the right file, and whole",
    );

    /// Determines what `file` is.
    fn recognize(file: &File) -> Self {
        let starts_at = |offset: u64, magic: &[u8]| {
            let mut bytes = vec![0; magic.len()];
            file.read_exact_at(&mut bytes, offset).is_ok() && bytes == magic
        };
        let mut known = MAGIC.iter();
        let found = known.find(|(offset, magic, _)| starts_at(*offset, magic));
        found.map_or(Self::UNKNOWN, |(_, _, what)| *what)
    }

    /// Makes the error about the file at `path`.
    pub(super) fn of(self, path: &Path) -> SnapshotError {
        SnapshotError::NotTarball {
            path: path.to_owned(),
            found: self,
        }
    }
}
