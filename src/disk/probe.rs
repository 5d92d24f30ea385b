//! What a partition holds: a file system that oic reads, or something else, by its magic number. Labels and UUIDs are those
//! that blkid(8) prints.

use std::sync::Arc;

use uuid::Uuid;

use super::DiskError;
use super::area::Area;
use super::erofs::{self, Erofs};
use super::ext4::{self, Ext};
use super::fat::{self, Fat};
use super::squashfs::{self, Squashfs};
use crate::overlay::layer::Layer;

const SIGNATURE: &str = "the start of a partition";

/// The contents of a partition.
#[derive(Debug, Clone)]
pub struct Contents {
    /// The kind, in the words of blkid(8): `ext4`, `vfat`, `swap`; empty if it is not known.
    pub kind: &'static str,
    /// The label; empty if there is none.
    pub label: String,
    /// The UUID, or what takes its place; empty if there is none.
    pub uuid: String,
    /// The file system, if oic reads it.
    pub file_system: Option<FileSystem>,
}

/// A file system that oic reads.
#[derive(Debug, Clone)]
pub enum FileSystem {
    /// One of the ext family, and its facts.
    Ext(Arc<Ext>, ext4::Facts),
    /// erofs, and its facts.
    Erofs(Arc<Erofs>, erofs::Facts),
    /// squashfs, and its facts.
    Squashfs(Arc<Squashfs>, squashfs::Facts),
    /// FAT, and its facts.
    Fat(Arc<Fat>, fat::Facts),
}

impl FileSystem {
    /// Returns the tree.
    pub fn layer(&self) -> Arc<dyn Layer> {
        match self {
            Self::Ext(ext, _) => Arc::clone(ext) as Arc<dyn Layer>,
            Self::Erofs(erofs, _) => Arc::clone(erofs) as Arc<dyn Layer>,
            Self::Squashfs(squashfs, _) => Arc::clone(squashfs) as Arc<dyn Layer>,
            Self::Fat(fat, _) => Arc::clone(fat) as Arc<dyn Layer>,
        }
    }
}

/// Something that is known by its magic number alone.
struct Known {
    kind: &'static str,
    /// The magic number, and its offset in bytes.
    magic: (u64, &'static [u8]),
    /// The offset of the UUID, if there is one.
    uuid: Option<u64>,
    /// The offset and the length of the label, if there is one.
    label: Option<(u64, usize)>,
}

const KNOWN: &[Known] = &[
    known("crypto_LUKS", (0, b"LUKS\xba\xbe"), None, None),
    known("DM_verity_hash", (0, b"verity\0\0"), Some(16), None),
    known("xfs", (0, b"XFSB"), Some(32), Some((108, 12))),
    known("btrfs", (0x1_0040, b"_BHRfS_M"), Some(0x1_0020), Some((0x1_012b, 256))),
    known("iso9660", (0x8001, b"CD001"), None, Some((0x8028, 32))),
    known("LVM2_member", (512, b"LABELONE"), None, None),
    known("swap", (4086, b"SWAPSPACE2"), Some(1036), Some((1052, 16))),
];
/// The offset of the UUID of LUKS, as a text of 40 bytes.
const LUKS_UUID: (u64, usize) = (168, 40);

const fn known(
    kind: &'static str,
    magic: (u64, &'static [u8]),
    uuid: Option<u64>,
    label: Option<(u64, usize)>,
) -> Known {
    Known {
        kind,
        magic,
        uuid,
        label,
    }
}

impl Contents {
    /// Looks at what is in `area`.
    ///
    /// # Errors
    /// If it begins like a file system that oic reads, and is damaged or has features that oic does not read.
    pub fn of(area: &Area) -> Result<Self, DiskError> {
        if Ext::is_at(area)? {
            let ext = Ext::open(area.clone())?;
            let facts = ext.facts();
            return Ok(Self {
                kind: facts.kind,
                label: facts.label.clone(),
                uuid: facts.uuid.to_string(),
                file_system: Some(FileSystem::Ext(Arc::new(ext), facts)),
            });
        }
        if Erofs::is_at(area)? {
            let erofs = Erofs::open(area.clone())?;
            let facts = erofs.facts();
            return Ok(Self {
                kind: "erofs",
                label: facts.label.clone(),
                uuid: uuid(&facts.uuid),
                file_system: Some(FileSystem::Erofs(Arc::new(erofs), facts)),
            });
        }
        if Squashfs::is_at(area)? {
            let squashfs = Squashfs::open(area.clone())?;
            let facts = squashfs.facts();
            return Ok(Self {
                kind: "squashfs",
                label: String::new(),
                uuid: String::new(),
                file_system: Some(FileSystem::Squashfs(Arc::new(squashfs), facts)),
            });
        }
        if let Some(known) = KNOWN
            .iter()
            .find(|known| text(area, known.magic.0, known.magic.1.len()) == known.magic.1)
        {
            return Ok(Self::known(area, known));
        }
        if Fat::is_at(area)? {
            let fat = Fat::open(area.clone())?;
            let facts = fat.facts()?;
            return Ok(Self {
                kind: "vfat",
                label: facts.label.clone(),
                uuid: facts.uuid.clone(),
                file_system: Some(FileSystem::Fat(Arc::new(fat), facts)),
            });
        }
        Ok(Self {
            kind: "",
            label: String::new(),
            uuid: String::new(),
            file_system: None,
        })
    }

    fn known(area: &Area, known: &Known) -> Self {
        let string = |bytes: Vec<u8>| {
            let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
            String::from_utf8_lossy(&bytes[..end]).trim_end().to_owned()
        };
        let uuid = match known.uuid {
            Some(at) => Uuid::from_slice(&text(area, at, 16))
                .ok()
                .filter(|uuid| !uuid.is_nil())
                .map(|uuid| uuid.to_string()),
            None if known.kind == "crypto_LUKS" => Some(string(text(area, LUKS_UUID.0, LUKS_UUID.1))),
            None => None,
        };
        Self {
            kind: known.kind,
            label: known
                .label
                .map(|(at, length)| string(text(area, at, length)))
                .unwrap_or_default(),
            uuid: uuid.unwrap_or_default(),
            file_system: None,
        }
    }
}

/// Returns a UUID as text; empty if it says nothing.
fn uuid(uuid: &Uuid) -> String {
    match uuid.is_nil() {
        true => String::new(),
        false => uuid.to_string(),
    }
}

/// Reads `length` bytes at `offset`; none if the area ends before.
fn text(area: &Area, offset: u64, length: usize) -> Vec<u8> {
    area.bytes(SIGNATURE, offset, length).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;
    use crate::disk::medium::RawFile;
    use crate::image::tool::tests::run;

    #[test]
    fn blkid_agrees() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("disk");
        let file = path.to_str().unwrap();
        let uuid = "01234567-89ab-4def-8123-456789abcdef";
        let made: [(&str, &str, &[&str]); 4] = [
            (
                "e2fsprogs",
                "mke2fs",
                &["-q", "-F", "-L", "a label", "-U", uuid, "-t", "ext3"],
            ),
            (
                "e2fsprogs",
                "mke2fs",
                &["-q", "-F", "-L", "sixteen bytes ok", "-t", "ext4"],
            ),
            ("dosfstools", "mkfs.fat", &["-n", "BOOT", "-i", "0123abcd"]),
            ("util-linux", "mkswap", &["-L", "my swap", "-U", uuid]),
        ];
        for (package, program, options) in made {
            let _ = std::fs::remove_file(&path);
            File::create(&path).unwrap().set_len(16 << 20).unwrap();
            run(package, program, &[options, &[file]].concat());
            let found = Contents::of(&Area::whole(Arc::new(RawFile::open(&path).unwrap()))).unwrap();
            let theirs = run("util-linux", "blkid", &["-p", "-o", "export", file]);
            let line = |key: &str| {
                let line = theirs.lines().find_map(|line| line.strip_prefix(key));
                line.unwrap_or_else(|| panic!("{key}: {theirs}")).replace('\\', "")
            };
            assert_eq!(found.kind, line("TYPE="));
            assert_eq!(found.uuid, line("UUID="));
            assert_eq!(found.label, line("LABEL="));
        }
        std::fs::write(&path, [0; 100]).unwrap();
        let nothing = Contents::of(&Area::whole(Arc::new(RawFile::open(&path).unwrap()))).unwrap();
        assert_eq!(nothing.kind, "");
    }
}
