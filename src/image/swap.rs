//! The header of Linux swap space: version 1, pages of 4 KiB (mkswap(8);
//! `union swap_header` in the kernel's `include/linux/swap.h`).

use super::file_system::{FileSystem, FileSystemError, Files, Unfit, Volume};
use super::region::Region;
use crate::work::Work;

const PAGE_BYTES: usize = 4096;
/// The smallest swap space: mkswap refuses less than ten pages.
const MINIMUM_BYTES: u64 = 10 * PAGE_BYTES as u64;

/// Swap space, which holds no files.
#[derive(Debug)]
pub struct Swap;

impl FileSystem for Swap {
    fn is_unix(&self) -> bool {
        false
    }

    fn check(&self, size_bytes: u64, _label: Option<&str>) -> Result<(), Unfit> {
        match size_bytes < MINIMUM_BYTES {
            true => Err(Unfit::Size("too small for swap space".into())),
            false => Ok(()),
        }
    }

    /// Writes the header. The label is cut at 15 bytes.
    fn write(
        &self,
        region: Region<'_>,
        volume: &Volume<'_>,
        _files: Files<'_>,
        _work: Work<'_>,
    ) -> Result<(), FileSystemError> {
        let mut page = vec![0_u8; PAGE_BYTES];
        let pages = u32::try_from(region.size_bytes() / PAGE_BYTES as u64).unwrap_or(u32::MAX);
        let mut put = |offset: usize, bytes: &[u8]| page[offset..offset + bytes.len()].copy_from_slice(bytes);
        put(1024, &1_u32.to_le_bytes());
        put(1028, &pages.saturating_sub(1).to_le_bytes());
        put(1036, volume.uuid.as_bytes());
        let label = volume.label.unwrap_or_default().as_bytes();
        put(1052, &label[..label.len().min(15)]);
        put(PAGE_BYTES - 10, b"SWAPSPACE2");
        Ok(region.put(0, &page)?)
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use uuid::Uuid;

    use super::*;
    use crate::cancel::Cancel;
    use crate::image::canvas::Canvas;
    use crate::image::tool::tests::run;
    use crate::image::tree::Tree;

    /// blkid and swaplabel (package util-linux) know it as swap space.
    #[test]
    fn util_linux_agrees() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("swap");
        let file = File::create_new(&path).unwrap();
        file.set_len(1 << 20).unwrap();
        let uuid = Uuid::from_u128(0x1234_5678_9abc_8def_8123_4567_89ab_cdef);
        let canvas = Canvas::new(&file, &path, None);
        let volume = Volume {
            uuid,
            hash_seed: uuid,
            label: Some("swappy"),
            compression: None,
            epoch_seconds: 0,
        };
        let (tree, cancel) = (Tree::empty(), Cancel::default());
        let files = Files {
            tree: &tree,
            added: &[],
        };
        let region = Region::new(&canvas, 0, 1 << 20);
        Swap.write(region, &volume, files, Work::quiet(&cancel)).unwrap();
        let path = path.to_str().unwrap();
        let found = run("util-linux", "blkid", &["-p", "-o", "export", path]);
        assert!(found.contains("TYPE=swap") && found.contains("LABEL=swappy"), "{found}");
        let found = run("util-linux", "swaplabel", &[path]);
        assert!(found.contains(&uuid.to_string()), "{found}");
        // The kernel's own tool computes the same header.
        let made = directory.path().join("made");
        File::create_new(&made).unwrap().set_len(1 << 20).unwrap();
        run(
            "util-linux",
            "mkswap",
            &["-L", "swappy", "-U", &uuid.to_string(), made.to_str().unwrap()],
        );
        assert_eq!(
            std::fs::read(made).unwrap()[..4096],
            std::fs::read(path).unwrap()[..4096]
        );
    }
}
