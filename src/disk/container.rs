//! The formats of disk images: qcow2, VHD, VHDX, VMDK, VDI. A format is a map from the blocks of the disk to the places of
//! their bytes in the file; everything else is common. The records are those of the writers
//! ([`crate::image::containers`]).
//!
//! What depends on another file (a backing file, a parent) is refused: the name of that file is the image's own, and it
//! could be any file of the host.

mod mapped;
mod qcow2;
mod vdi;
mod vhd;
mod vhdx;
mod vmdk;

use std::sync::Arc;

use super::DiskError;
use super::area::Area;
use super::medium::Medium;

const START: &str = "the start of the image";

/// The format of a disk image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// The bytes of the disk as they are.
    Raw,
    /// QEMU's.
    Qcow2,
    /// Microsoft's older one.
    Vhd,
    /// Microsoft's newer one.
    Vhdx,
    /// VMware's.
    Vmdk,
    /// VirtualBox's.
    Vdi,
}

impl Format {
    /// Returns its word, as templates have it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Qcow2 => "qcow2",
            Self::Vhd => "vhd",
            Self::Vhdx => "vhdx",
            Self::Vmdk => "vmdk",
            Self::Vdi => "vdi",
        }
    }
}

/// The first bytes of files that are compressed as a whole, with the name of the program.
const COMPRESSED: [(&[u8], &str); 4] = [
    (b"\x1f\x8b\x08", "gzip"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"\xfd7zXZ\0", "xz"),
    (b"BZh", "bzip2"),
];

/// Opens the disk that `file` contains, by its first and last bytes.
///
/// # Errors
/// [`DiskError::Damaged`] if its format is contradicted; [`DiskError::Unsupported`] if it depends on another file, is
/// encrypted or compressed as a whole.
pub fn open(file: Arc<dyn Medium>) -> Result<(Format, Arc<dyn Medium>), DiskError> {
    let area = Area::whole(Arc::clone(&file));
    let length = area.size_bytes().min(512) as usize;
    let start = area.bytes(START, 0, length)?;
    if let Some((_, program)) = COMPRESSED.iter().find(|(magic, _)| start.starts_with(magic)) {
        return Err(DiskError::Unsupported(format!(
            "it is compressed by {program}; decompress it first"
        )));
    }
    if start.starts_with(b"QFI\xfb") {
        return Ok((Format::Qcow2, qcow2::open(area)?));
    }
    if start.starts_with(b"vhdxfile") {
        return Ok((Format::Vhdx, vhdx::open(area)?));
    }
    if start.starts_with(b"KDMV") {
        return Ok((Format::Vmdk, vmdk::open(area)?));
    }
    if start.starts_with(b"# Disk DescriptorFile") {
        return Err(DiskError::Unsupported(
            "it is a VMDK whose data are in other files".into(),
        ));
    }
    if vdi::is_at(&start) {
        return Ok((Format::Vdi, vdi::open(area)?));
    }
    if let Some(disk) = vhd::open(&area, &start)? {
        return Ok((Format::Vhd, disk));
    }
    Ok((Format::Raw, file))
}

#[cfg(test)]
mod tests;
