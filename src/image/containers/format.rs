//! The format of each kind of artifact, and the disks that it can hold.

use super::disk::{Disk, SECTOR_BYTES};
use super::layout::Layout;
use super::packed::{Pack, Packer};
use super::{gcp, qcow2, qcow2_packed, vdi, vhd, vhdx, vmdk, vmdk_stream};
use crate::model::ArtifactFormat;

/// The file of a format, as it is to be written.
#[derive(Debug)]
pub enum Container {
    /// All of it is known.
    Laid(Layout),
    /// It depends on how short its blocks become.
    Packed(Box<dyn Packer>),
}

/// Makes the container of `format` for `disk`; an OVA file's is the disk in it. `name` is the name of the file.
pub fn container(format: ArtifactFormat, disk: &Disk<'_>, name: &str) -> Container {
    Container::Laid(match format {
        // An archive is what takes the place of the raw image.
        ArtifactFormat::Raw | ArtifactFormat::Img | ArtifactFormat::Tar | ArtifactFormat::Uki | ArtifactFormat::Oci => {
            let mut layout = Layout::default();
            layout.raw(0..disk.size_bytes);
            layout
        }
        ArtifactFormat::Qcow2 => qcow2::layout(disk),
        ArtifactFormat::Vhd | ArtifactFormat::Azure => vhd::fixed(disk),
        ArtifactFormat::VhdDynamic => vhd::dynamic(disk),
        ArtifactFormat::Vhdx => vhdx::layout(disk),
        ArtifactFormat::VmdkSparse => vmdk::sparse(disk, name),
        ArtifactFormat::Vdi => vdi::layout(disk),
        ArtifactFormat::Gcp => gcp::layout(disk),
        ArtifactFormat::Qcow2Zstd => return Container::Packed(Box::new(qcow2_packed::Packed::new(disk))),
        ArtifactFormat::Vmdk | ArtifactFormat::Aws | ArtifactFormat::Ova => {
            return Container::Packed(Box::new(vmdk_stream::Stream::new(disk, name)));
        }
    })
}

/// Returns the function that compresses the blocks of `format`; `None` if it has no compressed blocks.
pub fn pack(format: ArtifactFormat) -> Option<Pack> {
    match format {
        ArtifactFormat::Qcow2Zstd => Some(qcow2_packed::pack),
        ArtifactFormat::Vmdk | ArtifactFormat::Aws | ArtifactFormat::Ova => Some(vmdk_stream::pack),
        _ => None,
    }
}

/// Returns what the size of a disk in `format` must be a multiple of, in bytes.
pub fn unit_bytes(format: ArtifactFormat) -> u64 {
    match format {
        ArtifactFormat::Vhd | ArtifactFormat::Azure => vhd::FIXED_UNIT_BYTES,
        ArtifactFormat::Gcp => gcp::UNIT_BYTES,
        _ => SECTOR_BYTES,
    }
}

/// Returns the largest size of a disk in `format`, in bytes.
pub fn max_bytes(format: ArtifactFormat) -> u64 {
    match format {
        ArtifactFormat::VhdDynamic => vhd::DYNAMIC_MAX_BYTES,
        ArtifactFormat::Vhdx => vhdx::MAX_BYTES,
        ArtifactFormat::Vmdk | ArtifactFormat::VmdkSparse | ArtifactFormat::Aws | ArtifactFormat::Ova => {
            vmdk::MAX_BYTES
        }
        ArtifactFormat::Vdi => vdi::MAX_BYTES,
        _ => i64::MAX.cast_unsigned(),
    }
}
