//! The table of contents inside the tarball: a compressed copy of the index in the extra fields of empty gzip members
//! (RFC 1952, section 2.3.1.1) behind the end of the tar stream, which every reader of gzip skips. The last member is a
//! footer of fixed size, so that the table can be found from the end.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use zerocopy::{FromBytes as _, IntoBytes as _};

use super::SnapshotError;
use super::builder::Layout;
use super::disk::{self, before_crc};
use super::format::{HEADER_BYTES, Header};
use crate::durable::{AtomicFile, PathError};
use crate::package::Sha256;

/// Upper limit for an extra field: BusyBox refuses 30 KB; 8 KiB pass everywhere.
const EXTRA_BYTES_MAX: usize = 8 << 10;
/// Deflate, FEXTRA, no time, no flags, unknown system.
const GZIP: [u8; 10] = [0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 255];
const CHUNK_OVERHEAD_BYTES: usize = size_of::<disk::Chunk>();
/// An empty deflate block, CRC-32 and length of nothing.
const EMPTY: [u8; 10] = [3, 0, 0, 0, 0, 0, 0, 0, 0, 0];
const CHUNK_ID: [u8; 2] = *b"OI";
const FOOTER_ID: [u8; 2] = *b"OF";
const FOOTER_MAGIC: [u8; 8] = *b"OICTOC\0\x01";
const FOOTER_DATA_BYTES: usize = size_of::<disk::Footer>();
const FOOTER_BYTES: usize = CHUNK_OVERHEAD_BYTES + FOOTER_DATA_BYTES + EMPTY.len();
/// Upper limit for an index that is rebuilt (a million files take about 150 MB).
const INDEX_BYTES_MAX: u64 = 4 << 30;

/// The content of a tarball's footer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Footer {
    /// Offset of the table, where the tar stream's members end.
    pub(super) toc_offset: u64,
    /// Size of the table up to the footer, in bytes.
    toc_bytes: u64,
    /// Size of the decompressed index, in bytes.
    index_bytes: u64,
    /// SHA-256 of the table's payload.
    payload_digest: Sha256,
    pub(super) snapshot_id: Sha256,
}

fn gzip_chunk(out: &mut Vec<u8>, id: [u8; 2], data: &[u8]) {
    let data_bytes = data.len() as u16;
    let head = disk::Chunk {
        gzip: GZIP,
        extra_bytes: (data_bytes + 4).into(),
        id,
        data_bytes: data_bytes.into(),
    };
    out.extend(head.as_bytes());
    out.extend(data);
    out.extend(EMPTY);
}

/// Encodes the table of contents of `layout`, to be appended at `toc_offset`.
pub(super) fn encode(layout: &Layout, toc_offset: u64) -> io::Result<Vec<u8>> {
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::new(6));
    encoder.write_all(&layout.header.encode())?;
    encoder.write_all(&layout.rest)?;
    let payload = encoder.finish()?;
    let mut out = Vec::with_capacity(payload.len() + payload.len() / 256 + 1024);
    for data in payload.chunks(EXTRA_BYTES_MAX - 4) {
        gzip_chunk(&mut out, CHUNK_ID, data);
    }
    let mut footer = disk::Footer {
        magic: FOOTER_MAGIC,
        toc_offset: toc_offset.into(),
        toc_bytes: (out.len() as u64).into(),
        index_bytes: ((HEADER_BYTES + layout.rest.len()) as u64).into(),
        payload_digest: Sha256::of(&payload).0,
        snapshot_id: layout.header.snapshot_id.0,
        crc: 0.into(),
    };
    footer.crc = crc32fast::hash(before_crc(&footer)).into();
    gzip_chunk(&mut out, FOOTER_ID, footer.as_bytes());
    Ok(out)
}

/// Reads the footer of the tarball `file`; `path` is its name in messages.
pub(super) fn footer(file: &File, path: &Path) -> Result<Footer, SnapshotError> {
    let fail = |problem: &str| SnapshotError::Tarball {
        path: path.to_owned(),
        problem: problem.into(),
    };
    let size = file.metadata().map_err(PathError::on("read", path))?.len();
    let cut_short = || fail("it is cut short, or was not written by oic");
    let start = size.checked_sub(FOOTER_BYTES as u64).ok_or_else(cut_short)?;
    let mut bytes = [0; FOOTER_BYTES];
    file.read_exact_at(&mut bytes, start)
        .map_err(PathError::on("read", path))?;
    let data = chunk_data(&bytes, FOOTER_ID).ok_or_else(cut_short)?;
    let raw = disk::Footer::read_from_bytes(data).map_err(|_| cut_short())?;
    if crc32fast::hash(before_crc(&raw)) != raw.crc.get() {
        return Err(fail("its last bytes are damaged"));
    }
    if raw.magic != FOOTER_MAGIC {
        return Err(fail("its table of contents has an unknown format"));
    }
    let footer = Footer {
        toc_offset: raw.toc_offset.get(),
        toc_bytes: raw.toc_bytes.get(),
        index_bytes: raw.index_bytes.get(),
        payload_digest: Sha256(raw.payload_digest),
        snapshot_id: Sha256(raw.snapshot_id),
    };
    if footer.toc_offset.checked_add(footer.toc_bytes) != Some(start) {
        return Err(fail("its size is not what its last bytes say"));
    }
    Ok(footer)
}

/// Returns the data of the one subfield of the gzip member at the front of `bytes`.
fn chunk_data(bytes: &[u8], id: [u8; 2]) -> Option<&[u8]> {
    let (head, rest) = disk::Chunk::read_from_prefix(bytes).ok()?;
    let data_bytes = head.data_bytes.get();
    if head.gzip != GZIP || head.id != id || head.extra_bytes.get().checked_sub(4) != Some(data_bytes) {
        return None;
    }
    let (data, rest) = rest.split_at_checked(data_bytes.into())?;
    rest.starts_with(&EMPTY).then_some(data)
}

/// Makes the index of `tarball` again from the table of contents inside it.
///
/// # Errors
/// If the tarball is damaged, cut short or was not written by oic, or writing fails.
pub fn rebuild_index(tarball: &Path, index: &Path) -> Result<(), SnapshotError> {
    write_index(&layout(tarball)?, index)
}

/// Returns whether the file `index` has the bytes that the table of contents of `tarball` describes.
///
/// # Errors
/// If the tarball is damaged, cut short or was not written by oic, or the index cannot be read.
pub(super) fn is_index(tarball: &Path, index: &Path) -> Result<bool, SnapshotError> {
    let layout = layout(tarball)?;
    let found = std::fs::read(index).map_err(PathError::on("read", index))?;
    Ok(found.strip_prefix(&layout.header.encode()[..]) == Some(&layout.rest[..]))
}

/// Reads the parts of the index of `tarball` from the table of contents inside it.
fn layout(tarball: &Path) -> Result<Layout, SnapshotError> {
    let fail = |problem: String| SnapshotError::Tarball {
        path: tarball.to_owned(),
        problem,
    };
    let damaged = || fail("its table of contents is damaged".into());
    let file = File::open(tarball).map_err(PathError::on("open", tarball))?;
    let footer = footer(&file, tarball)?;
    if footer.index_bytes > INDEX_BYTES_MAX {
        return Err(damaged());
    }
    let payload = payload(&file, &footer)
        .map_err(PathError::on("read", tarball))?
        .filter(|payload| Sha256::of(payload) == footer.payload_digest)
        .ok_or_else(damaged)?;
    let mut bytes = Vec::new();
    flate2::read::ZlibDecoder::new(&payload[..])
        .take(footer.index_bytes + 1)
        .read_to_end(&mut bytes)
        .map_err(|_| damaged())?;
    if bytes.len() as u64 != footer.index_bytes {
        return Err(damaged());
    }
    let header = Header::decode(&bytes).map_err(|problem| fail(format!("in its table of contents, {problem}")))?;
    let mut layout = Layout {
        header,
        rest: bytes.split_off(HEADER_BYTES.min(bytes.len())),
    };
    layout.header.tarball_bytes = footer.toc_offset + footer.toc_bytes + FOOTER_BYTES as u64;
    Ok(layout)
}

/// Joins the payload of all chunks; `None` if one is malformed.
fn payload(file: &File, footer: &Footer) -> io::Result<Option<Vec<u8>>> {
    let mut payload = Vec::new();
    let mut left = footer.toc_bytes;
    let mut offset = footer.toc_offset;
    let mut buffer = vec![0; CHUNK_OVERHEAD_BYTES + EXTRA_BYTES_MAX - 4 + EMPTY.len()];
    while left > 0 {
        let size = (buffer.len() as u64).min(left) as usize;
        let Some(bytes) = buffer.get_mut(..size) else {
            return Ok(None);
        };
        file.read_exact_at(bytes, offset)?;
        let Some(data) = chunk_data(bytes, CHUNK_ID) else {
            return Ok(None);
        };
        payload.extend(data);
        offset += size as u64;
        left -= size as u64;
    }
    Ok(Some(payload))
}

/// Writes `layout` to the file `index`.
pub(super) fn write_index(layout: &Layout, index: &Path) -> Result<(), SnapshotError> {
    let mut file = AtomicFile::create_public(index)?;
    let out = file.file();
    out.write_all(&layout.header.encode())
        .and_then(|()| out.write_all(&layout.rest))
        .map_err(PathError::on("write", index))?;
    file.commit()?;
    Ok(())
}
