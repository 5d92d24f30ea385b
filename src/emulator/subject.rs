//! What a machine starts from, as the file itself says it.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use uuid::{Uuid, uuid};

use super::EmulatorError;
use crate::disk::area::Area;
use crate::disk::container::Format;
use crate::disk::image::{Image, Volume};
use crate::disk::medium::{Medium as _, RawFile};
use crate::disk::probe::FileSystem;
use crate::disk::table::PartitionKind;
use crate::disk::walk;
use crate::overlay::layer::{Errno, Layer};
use crate::package::Arch;

/// The type of an EFI system partition (UEFI specification 2.10, section 5.3.3), and its code in an MBR.
const ESP: Uuid = uuid!("c12a7328-f81f-11d2-ba4b-00a0c93ec93b");
const ESP_CODE: u8 = 0xef;
/// The bytes of an MBR before its table and its signature: the code from which a BIOS starts.
const CODE_BYTES: usize = 440;
/// The offset and the magic number of ISO 9660.
const ISO: (u64, &[u8]) = (0x8001, b"CD001");
/// The start of the name of a kernel beside its initrd.
const KERNEL: &str = "vmlinuz-";
/// What the names of initrds contain, and what their files start with: a compression, or a cpio archive.
const INITRD_NAMES: [&str; 4] = [".img", ".cpio", "initrd", "initramfs"];
const INITRD_STARTS: [&[u8]; 5] = [b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"\xfd7zXZ\0", b"BZh", b"07070"];

/// What starts the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Firmware {
    /// UEFI.
    Uefi,
    /// A BIOS.
    Bios,
}

/// The file that a machine starts from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// Its path, absolute.
    pub path: PathBuf,
    /// The architecture of its programs.
    pub arch: Arch,
    /// Its kind.
    pub kind: Kind,
}

/// The kind of such a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A disk.
    Disk {
        /// The format of its file, a word of QEMU.
        format: &'static str,
        /// Its size in bytes.
        size_bytes: u64,
        /// The size of its sectors in bytes.
        sector_bytes: u64,
        /// What it can be started by.
        firmware: Option<Firmware>,
    },
    /// A CD.
    Cd,
    /// An initrd and its kernel.
    Initrd {
        /// The kernel.
        kernel: PathBuf,
        /// The size of the initrd's file in bytes.
        size_bytes: u64,
    },
}

impl Subject {
    /// Looks into the file at `path`.
    ///
    /// # Errors
    /// If it cannot be read, or no machine starts from it.
    pub fn of(path: &Path) -> Result<Self, EmulatorError> {
        let path = &std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let failed = |source| EmulatorError::Disk {
            path: path.clone(),
            source,
        };
        let file = RawFile::open(path).map_err(failed)?;
        let size_bytes = file.size_bytes();
        let area = Area::whole(Arc::new(file));
        let bytes = |offset, length| area.bytes("the file", offset, length).unwrap_or_default();
        if bytes(ISO.0, ISO.1.len()) == ISO.1 {
            return Ok(Self::new(path, Arch::X86_64, Kind::Cd));
        }
        let start = bytes(0, 512.min(size_bytes as usize));
        if INITRD_STARTS.iter().any(|magic| start.starts_with(magic))
            && let Some(initrd) = initrd(path, size_bytes)
        {
            return Ok(initrd);
        }
        let image = Image::open(path).map_err(failed)?;
        if image.volumes.is_empty() {
            return Err(EmulatorError::Unknown(path.clone()));
        }
        let (firmware, arch) = firmware(&image).map_err(|problem| EmulatorError::Damaged {
            path: path.clone(),
            problem,
        })?;
        let kind = Kind::Disk {
            format: word(image.format),
            size_bytes: image.disk.size_bytes(),
            sector_bytes: image.table.as_ref().map_or(512, |table| table.sector_bytes),
            firmware,
        };
        Ok(Self::new(path, arch, kind))
    }

    fn new(path: &Path, arch: Arch, kind: Kind) -> Self {
        Self {
            path: path.to_owned(),
            arch,
            kind,
        }
    }

    /// Returns the firmware that starts it. An initrd needs none.
    ///
    /// # Errors
    /// If it has nothing to start.
    pub fn firmware(&self) -> Result<Firmware, EmulatorError> {
        match &self.kind {
            Kind::Disk { firmware, .. } => firmware.ok_or_else(|| EmulatorError::NothingToStart(self.path.clone())),
            Kind::Cd => Ok(Firmware::Uefi),
            Kind::Initrd { .. } => Ok(Firmware::Bios),
        }
    }
}

/// Returns the word of QEMU for `format`.
fn word(format: Format) -> &'static str {
    match format {
        Format::Vhd => "vpc",
        other => other.word(),
    }
}

/// Finds the newest kernel beside the initrd at `path`.
fn initrd(path: &Path, size_bytes: u64) -> Option<Subject> {
    let name = path.file_name()?.to_string_lossy();
    if !INITRD_NAMES.iter().any(|part| name.contains(part)) {
        return None;
    }
    let entries = fs::read_dir(path.parent()?).ok()?;
    let kernels = entries.filter_map(|entry| {
        let entry = entry.ok()?;
        let is_kernel = entry.file_name().as_encoded_bytes().starts_with(KERNEL.as_bytes());
        is_kernel.then(|| entry.path())
    });
    let kernel = kernels.max_by_key(|path| path.metadata().and_then(|known| known.modified()).ok())?;
    let arch = kernel_arch(&kernel)?;
    Some(Subject::new(path, arch, Kind::Initrd { kernel, size_bytes }))
}

/// Recognizes the architecture of the kernel at `path` by its header (Linux, `Documentation/arch`: `x86/boot.rst`,
/// `arm64/booting.rst`).
fn kernel_arch(path: &Path) -> Option<Arch> {
    let area = Area::whole(Arc::new(RawFile::open(path).ok()?));
    let start = area.bytes("the kernel", 0, 1024).ok()?;
    if start.get(0x202..0x206) == Some(b"HdrS") {
        return Some(Arch::X86_64);
    }
    (start.get(0x38..0x3c) == Some(b"ARM\x64")).then_some(Arch::Aarch64)
}

/// Returns what `image` can be started by, UEFI before a BIOS, and the architecture of its programs.
///
/// # Errors
/// If what would say so is damaged; the text names it.
fn firmware(image: &Image) -> Result<(Option<Firmware>, Arch), String> {
    for volume in &image.volumes {
        if let Some(layer) = esp(volume)? {
            let programs = [
                ("BOOTX64.EFI", Arch::X86_64),
                ("BOOTAA64.EFI", Arch::Aarch64),
                ("BOOTARM.EFI", Arch::Armv7hl),
            ];
            for (name, arch) in programs {
                if has(&*layer, &Path::new("EFI/BOOT").join(name))? {
                    return Ok((Some(Firmware::Uefi), arch));
                }
            }
            return Ok((Some(Firmware::Uefi), Arch::X86_64));
        }
    }
    let code = image
        .disk
        .bytes("the MBR", 0, CODE_BYTES)
        .map_err(|error| error.to_string())?;
    let has_code = code.iter().any(|byte| *byte != 0);
    Ok((has_code.then_some(Firmware::Bios), Arch::X86_64))
}

/// Returns the files of `volume` if it is an EFI system partition, or has programs as one.
fn esp(volume: &Volume) -> Result<Option<Arc<dyn Layer>>, String> {
    let is_typed = match volume.partition.as_ref().map(|partition| &partition.kind) {
        Some(PartitionKind::Gpt { type_uuid, .. }) => *type_uuid == ESP,
        Some(PartitionKind::Mbr { code, .. }) => *code == ESP_CODE,
        None => false,
    };
    let contents = match &volume.contents {
        Ok(contents) => contents,
        Err(error) if is_typed => return Err(error.to_string()),
        // Nothing starts from it.
        Err(_) => return Ok(None),
    };
    let Some(system @ FileSystem::Fat(..)) = &contents.file_system else {
        return Ok(None);
    };
    let layer = system.layer();
    let is_one = is_typed || has(&*layer, Path::new("EFI/BOOT"))?;
    Ok(is_one.then_some(layer))
}

/// Says whether `layer` has `path`.
fn has(layer: &dyn Layer, path: &Path) -> Result<bool, String> {
    match walk::find(layer, path, true) {
        Ok(_) => Ok(true),
        Err(error) if [Errno::NOENT, Errno::NOTDIR].contains(&error.errno) => Ok(false),
        Err(error) => Err(format!("{}: {error}", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_nothing_starts_from_says_why() {
        let directory = tempfile::tempdir().unwrap();
        let told = |name: &str, bytes: &[u8]| {
            let path = directory.path().join(name);
            fs::write(&path, bytes).unwrap();
            Subject::of(&path).map_err(|error| error.to_string())
        };
        let refused = |name: &str, bytes: &[u8]| told(name, bytes).unwrap_err();
        let packed = b"\x1f\x8b\x08 and so on";
        assert!(refused("x.raw.gz", packed).contains("compressed by gzip"));
        assert!(refused("x.img", packed).contains("compressed by gzip"));
        assert!(refused("zeros", &[0; 4096]).contains("neither a disk image"));
        // The kernel beside an initrd makes the difference.
        let mut kernel = vec![0; 2048];
        kernel[0x202..0x206].copy_from_slice(b"HdrS");
        fs::write(directory.path().join("vmlinuz-6.12"), &kernel).unwrap();
        let subject = told("x.img", packed).unwrap();
        assert_eq!(subject.arch, Arch::X86_64);
        assert!(matches!(subject.kind, Kind::Initrd { kernel, .. } if kernel.ends_with("vmlinuz-6.12")));
        assert!(refused("x.raw.gz", packed).contains("compressed by gzip"));
    }
}
