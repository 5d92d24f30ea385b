//! The table of contents inside the tarball: a compressed copy of the index in the extra
//! fields of empty gzip members (RFC 1952, section 2.3.1.1) behind the end of the tar
//! stream, which every reader of gzip passes over. The last member is a footer of fixed
//! size, so that the table is found from the end.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use super::SnapshotError;
use super::builder::Layout;
use super::format::{Fields, HEADER_BYTES, Header};
use crate::durable::{AtomicFile, PathError};
use crate::package::Sha256;

/// BusyBox refuses gzip extra fields of 30 KB; 8 KiB pass everywhere.
const EXTRA_BYTES_MAX: usize = 8 << 10;
/// Gzip header with FEXTRA and XLEN, and the subfield's own header.
const CHUNK_OVERHEAD_BYTES: usize = 16;
/// An empty deflate block, CRC-32 and length of nothing.
const EMPTY: [u8; 10] = [3, 0, 0, 0, 0, 0, 0, 0, 0, 0];
const CHUNK_ID: [u8; 2] = *b"OI";
const FOOTER_ID: [u8; 2] = *b"OF";
const FOOTER_MAGIC: [u8; 8] = *b"OICTOC\0\x01";
const FOOTER_DATA_BYTES: usize = 100;
const FOOTER_BYTES: usize = CHUNK_OVERHEAD_BYTES + FOOTER_DATA_BYTES + EMPTY.len();
/// An index larger than this is not rebuilt (a million files take about 150 MB).
const INDEX_BYTES_MAX: u64 = 4 << 30;

/// What the end of a tarball says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Footer {
    /// Where the tar stream's members end and the table begins.
    pub(super) toc_offset: u64,
    /// Size of the table up to the footer.
    toc_bytes: u64,
    /// Size of the index, decompressed.
    index_bytes: u64,
    /// SHA-256 of the table's payload.
    payload_digest: Sha256,
    pub(super) snapshot_id: Sha256,
}

fn gzip_chunk(out: &mut Vec<u8>, id: [u8; 2], data: &[u8]) {
    // Deflate, FEXTRA, no time, no flags, unknown system.
    out.extend([0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 255]);
    out.extend((data.len() as u16 + 4).to_le_bytes());
    out.extend(id);
    out.extend((data.len() as u16).to_le_bytes());
    out.extend(data);
    out.extend(EMPTY);
}

/// The table of contents of `layout`, to be appended at `toc_offset`.
pub(super) fn encode(layout: &Layout, toc_offset: u64) -> io::Result<Vec<u8>> {
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::new(6));
    encoder.write_all(&layout.header.encode())?;
    encoder.write_all(&layout.rest)?;
    let payload = encoder.finish()?;
    let mut out = Vec::with_capacity(payload.len() + payload.len() / 256 + 1024);
    for data in payload.chunks(EXTRA_BYTES_MAX - 4) {
        gzip_chunk(&mut out, CHUNK_ID, data);
    }
    let mut data = Vec::with_capacity(FOOTER_DATA_BYTES);
    data.extend(FOOTER_MAGIC);
    for number in [toc_offset, out.len() as u64, (HEADER_BYTES + layout.rest.len()) as u64] {
        data.extend(number.to_le_bytes());
    }
    data.extend(Sha256::of(&payload).0);
    data.extend(layout.header.snapshot_id.0);
    data.extend(crc32fast::hash(&data).to_le_bytes());
    gzip_chunk(&mut out, FOOTER_ID, &data);
    Ok(out)
}

/// Reads the footer of the tarball at `path`.
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
    let (covered, crc) = data.split_last_chunk::<4>().ok_or_else(cut_short)?;
    if crc32fast::hash(covered).to_le_bytes() != *crc {
        return Err(fail("its last bytes are damaged"));
    }
    let footer =
        parse_footer(&mut Fields(covered)).ok_or_else(|| fail("its table of contents has an unknown format"))?;
    if footer.toc_offset.checked_add(footer.toc_bytes) != Some(start) {
        return Err(fail("its size is not what its last bytes say"));
    }
    Ok(footer)
}

fn parse_footer(fields: &mut Fields<'_>) -> Option<Footer> {
    if fields.array()? != FOOTER_MAGIC {
        return None;
    }
    Some(Footer {
        toc_offset: fields.u64()?,
        toc_bytes: fields.u64()?,
        index_bytes: fields.u64()?,
        payload_digest: Sha256(fields.array()?),
        snapshot_id: Sha256(fields.array()?),
    })
}

/// The data of the one subfield of the gzip member at the front of `bytes`.
fn chunk_data(bytes: &[u8], id: [u8; 2]) -> Option<&[u8]> {
    let mut fields = Fields(bytes);
    if fields.array()? != [0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 255] {
        return None;
    }
    let extra = fields.u16()?;
    if fields.array()? != id {
        return None;
    }
    let length = fields.u16()?;
    if extra.checked_sub(4) != Some(length) {
        return None;
    }
    let data = fields.bytes(length.into())?;
    (fields.array()? == EMPTY).then_some(data)
}

/// Makes the index of `tarball` again from the table of contents inside it.
///
/// # Errors
/// If the tarball is damaged, cut short or was not written by oic, or writing fails.
pub fn rebuild_index(tarball: &Path, index: &Path) -> Result<(), SnapshotError> {
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
    write_index(&layout, index)
}

/// The payload of all chunks; `None` if one is malformed.
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
    let mut file = AtomicFile::create(index)?;
    let out = file.file();
    out.write_all(&layout.header.encode())
        .and_then(|()| out.write_all(&layout.rest))
        .map_err(PathError::on("write", index))?;
    file.commit()?;
    Ok(())
}
