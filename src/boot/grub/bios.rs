//! GRUB for BIOS on a disk: the first sector, and the core image that it loads.
//!
//! The places of values are those that grub-bios-setup(8) fills (GRUB, `include/grub/i386/pc/boot.h`,
//! `include/grub/offsets.h`).

use super::core::Target;
use crate::boot::BootError;
use crate::image::code::{BootCode, CODE_BYTES};
use crate::image::merged::Merged;
use crate::image::plan::{DiskPlan, SECTOR_BYTES, Table};
use crate::model::BootType;

const SECTOR: usize = SECTOR_BYTES as usize;
/// In `boot.img`: the sector of the core image, in 64 bits.
const CORE_LBA: usize = 0x5c;
/// In `boot.img`: a jump that the workaround for firmware with a wrong number of the drive replaces.
const DRIVE_CHECK: usize = 0x66;
/// The same, without an effect.
const NOTHING: [u8; 2] = [0x90, 0x90];
/// In the first sector of the core image: where the rest of it lies. First sector (64 bits), sectors (16), segment (16).
const BLOCK_LIST: usize = SECTOR - 12;
/// The segment that the rest is loaded to.
const SEGMENT: u16 = 0x820;
/// The largest core image that is read, in bytes; larger ones do not fit into the memory of a BIOS.
const CORE_LIMIT_BYTES: u64 = 1 << 20;

/// Returns the code for the disk `plan`; `None` if the disk has no room for it, or the tree no core image.
///
/// # Errors
/// [`BootError`] if a file is none of GRUB, or the room is too small; or if there is no core image, and `boot_type` needs
/// one.
pub fn prepare(root: &Merged, plan: &DiskPlan, boot_type: BootType) -> Result<Option<BootCode>, BootError> {
    let path = Target::Bios.core(root)?;
    let Some(room) = plan.boot_room() else {
        return Ok(None);
    };
    let Some(core) = root.read_if_present(&path, CORE_LIMIT_BYTES)? else {
        return match boot_type {
            BootType::Efi => Ok(None),
            BootType::Legacy => Err(BootError::Missing {
                path,
                hint: "add grub-pc-bin and grub-common (Debian; elsewhere grub2-pc) to systemConfig.packages".into(),
            }),
        };
    };
    let first = root.read_at_most(&path.with_file_name("boot.img"), SECTOR_BYTES)?;
    let sectors = (core.len() as u64).div_ceil(SECTOR_BYTES);
    if sectors > room.end - room.start {
        // Then the image starts on UEFI alone.
        if boot_type == BootType::Efi {
            return Ok(None);
        }
        return Err(BootError::Room {
            what: match plan.table {
                Table::Gpt => "the BIOS boot partition",
                Table::Mbr { .. } => "what is free before the first partition",
            },
            room_bytes: (room.end - room.start) * SECTOR_BYTES,
            needed_bytes: sectors * SECTOR_BYTES,
        });
    }
    let code = embedded(&first, core, room.start);
    code.map(Some).ok_or(BootError::NoCore(path))
}

/// Makes the code of `first`, GRUB's `boot.img`, and of `core`, its core image, which will lie at `lba`; `None` if they
/// are none.
fn embedded(first: &[u8], mut core: Vec<u8>, lba: u64) -> Option<BootCode> {
    if first.len() != SECTOR || !first.ends_with(&[0x55, 0xaa]) {
        return None;
    }
    let mut code = [0; CODE_BYTES];
    code.copy_from_slice(first.get(..CODE_BYTES)?);
    code.get_mut(CORE_LBA..CORE_LBA + 8)?
        .copy_from_slice(&lba.to_le_bytes());
    code.get_mut(DRIVE_CHECK..DRIVE_CHECK + 2)?.copy_from_slice(&NOTHING);
    core.resize(core.len().next_multiple_of(SECTOR), 0);
    let rest = u16::try_from(core.len() / SECTOR).map_or(0, |sectors| sectors.saturating_sub(1));
    if rest == 0 {
        return None;
    }
    let list = core.get_mut(BLOCK_LIST..SECTOR)?;
    let entry = [
        &(lba + 1).to_le_bytes()[..],
        &rest.to_le_bytes(),
        &SEGMENT.to_le_bytes(),
    ]
    .concat();
    list.copy_from_slice(&entry);
    Some(BootCode { code, lba, core })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::tool::tests::run;

    const DIRECTORY: &str = "/usr/lib/grub/i386-pc";

    fn core() -> Vec<u8> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("core.img");
        let path = path.to_str().unwrap();
        let args = [
            "-O",
            "i386-pc",
            "-p",
            "/boot/grub",
            "-o",
            path,
            "biosdisk",
            "part_gpt",
            "ext2",
        ];
        run("grub-common", "grub-mkimage", &args);
        std::fs::read(path).unwrap()
    }

    #[test]
    fn the_places_that_grub_bios_setup_fills() {
        let first = std::fs::read(format!("{DIRECTORY}/boot.img")).expect("this test needs the package grub-pc-bin");
        // What is filled in is there, and has the value that GRUB's sources give it.
        assert_eq!(first[CORE_LBA..CORE_LBA + 8], 1_u64.to_le_bytes());
        assert_eq!((first[0x64], first[DRIVE_CHECK]), (0xff, 0xeb));
        let core = core();
        assert_eq!(core[BLOCK_LIST..BLOCK_LIST + 8], 2_u64.to_le_bytes());
        assert_eq!(core[SECTOR - 2..SECTOR], SEGMENT.to_le_bytes());

        let made = embedded(&first, core.clone(), 2048).unwrap();
        let mut expected = first[..CODE_BYTES].to_vec();
        expected[0x5c..0x64].copy_from_slice(&[0, 8, 0, 0, 0, 0, 0, 0]);
        expected[0x66..0x68].fill(0x90);
        assert_eq!(made.code[..], expected);
        assert_eq!(made.core.len(), core.len().next_multiple_of(512));
        assert_eq!(made.core[..0x1f4], core[..0x1f4]);
        let rest = (made.core.len() / 512 - 1) as u16;
        assert_eq!(
            made.core[0x1f4..0x1fe],
            [&[1, 8, 0, 0, 0, 0, 0, 0], &rest.to_le_bytes()[..]].concat()
        );
        assert_eq!(made.core[0x1fe..core.len()], core[0x1fe..]);
    }

    #[test]
    fn what_is_no_core_image_is_refused() {
        let mut sector = vec![0; 512];
        assert!(embedded(&sector, vec![0; 1024], 1).is_none());
        sector[510..].copy_from_slice(&[0x55, 0xaa]);
        assert!(embedded(&sector, vec![0; 1024], 1).is_some());
        for length in [0, 1, 511, 512, 512 * 65_537] {
            assert!(embedded(&sector, vec![0; length], 1).is_none(), "{length}");
        }
        assert!(embedded(&sector[..511], vec![0; 1024], 1).is_none());
    }
}
