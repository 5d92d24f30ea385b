//! What makes an image boot: a unified kernel image and systemd-boot, as files
//! for the EFI system partition.
//!
//! Everything comes from the image's own tree; no file of the host, and no
//! program of either, is used.

pub mod kernel;
pub mod pe;
pub mod uki;

use std::path::{Path, PathBuf};

use uuid::Uuid;

use crate::durable::PathError;
use crate::image::content::Source;
use crate::image::merged::Merged;
use crate::package::Arch;
use crate::template::model::{BootProvider, BootType, Bootloader, Kernel};

/// Where systemd keeps its EFI programs.
const EFI_PROGRAMS: &str = "/usr/lib/systemd/boot/efi";
/// An EFI program larger than this is not one.
const EFI_PROGRAM_LIMIT_BYTES: u64 = 16 << 20;
const OS_RELEASE_LIMIT_BYTES: u64 = 64 << 10;
/// Where the unified kernel image lies on the ESP (UAPI.5, "Type #2").
pub const UKI_PATH: &str = "EFI/Linux/linux.efi";

/// Why an image would not boot.
#[derive(Debug, thiserror::Error)]
pub enum BootError {
    /// What a field asks for is not made by this version.
    #[error("{field}: {what} is not supported yet")]
    Unsupported {
        /// The field, as a path from the template's top.
        field: &'static str,
        /// What it asks for.
        what: &'static str,
        /// What to use instead.
        hint: &'static str,
    },
    /// A file is not in the tree.
    #[error("the image has no {}", path.display())]
    Missing {
        /// The file, from the image's root.
        path: PathBuf,
        /// What to do.
        hint: String,
    },
    /// A kernel command line cannot hold this.
    #[error("systemConfig.kernel.cmdline: a kernel command line is one line of text")]
    CommandLine,
    /// A file in the tree is not a usable EFI program.
    #[error("{}: {source}", path.display())]
    Program {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: pe::PeError,
    },
    /// Reading failed.
    #[error(transparent)]
    Io(#[from] PathError),
}

impl BootError {
    /// What the author of the template can do.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Unsupported { hint, .. } => Some((*hint).to_owned()),
            Self::Missing { hint, .. } => Some(hint.clone()),
            _ => None,
        }
    }
}

/// Checks, before any work starts, that `bootloader` is one that oic can install.
///
/// # Errors
/// [`BootError::Unsupported`], naming the field.
pub fn check_supported(bootloader: Bootloader) -> Result<(), BootError> {
    if bootloader.boot_type == BootType::Legacy {
        return Err(BootError::Unsupported {
            field: "systemConfig.bootloader.bootType",
            what: "`legacy` (BIOS) boot",
            hint: "use `bootType: efi`",
        });
    }
    match bootloader.provider {
        BootProvider::SystemdBoot => Ok(()),
        BootProvider::Grub => Err(BootError::Unsupported {
            field: "systemConfig.bootloader.provider",
            what: "`grub`",
            hint: "use `provider: systemd-boot`",
        }),
    }
}

/// What goes onto the EFI system partition.
#[derive(Debug, Clone)]
pub struct EspContents {
    /// Files by their path on the partition.
    pub files: Vec<(PathBuf, Source)>,
    /// Version of the kernel that boots.
    pub kernel_version: String,
    /// Its command line.
    pub command_line: String,
}

/// Collects what the EFI system partition needs from the installed tree `root`:
/// systemd-boot as the default loader of the medium (UEFI 2.10, 3.5.1.1) and
/// under its own name, its configuration, and a unified kernel image of the
/// newest kernel (or of the one that `kernel.version` names).
///
/// `root_partuuid` becomes `root=PARTUUID=…`, unless the template's command line
/// has a `root=` of its own. A `loader.conf` that the tree has at `esp` (where
/// the partition is mounted in the image) is left as it is.
///
/// # Errors
/// [`BootError`]; where something is not installed its hint names a package.
pub fn prepare(
    root: &Merged,
    arch: Arch,
    kernel: &Kernel,
    root_partuuid: Uuid,
    esp: Option<&Path>,
) -> Result<EspContents, BootError> {
    let program = |name: String| {
        let path = Path::new(EFI_PROGRAMS).join(name);
        let contents = match root.has(&path) {
            true => root.read_at_most(&path, EFI_PROGRAM_LIMIT_BYTES)?,
            false => {
                let hint =
                    "add the package systemd-boot-efi (Debian; elsewhere systemd-boot) to systemConfig.packages".into();
                return Err(BootError::Missing { path, hint });
            }
        };
        Ok((path, contents))
    };
    let (loader_path, loader) = program(format!("systemd-boot{}.efi", arch.efi()))?;
    pe::check(&loader, arch).map_err(|source| BootError::Program {
        path: loader_path,
        source,
    })?;
    let (stub_path, stub) = program(format!("linux{}.efi.stub", arch.efi()))?;
    let found = kernel::find(root, arch, kernel.version.as_deref())?;
    let command_line = command_line(&kernel.command_line, root_partuuid)?;
    let parts = uki::Parts {
        stub,
        os_release: os_release(root)?,
        command_line: command_line.clone(),
        uname: found.version.clone(),
        initrd: root.file(&found.initrd)?,
        linux: root.file(&found.image)?,
    };
    let uki = uki::build(arch, parts).map_err(|source| BootError::Program {
        path: stub_path,
        source,
    })?;
    let name = arch.efi();
    let mut files = vec![
        (
            PathBuf::from(format!("EFI/BOOT/BOOT{}.EFI", name.to_ascii_uppercase())),
            Source::Bytes(loader.clone()),
        ),
        (
            PathBuf::from(format!("EFI/systemd/systemd-boot{name}.efi")),
            Source::Bytes(loader),
        ),
        (PathBuf::from(UKI_PATH), uki),
    ];
    if !esp.is_some_and(|esp| root.has(&esp.join("loader/loader.conf"))) {
        files.push(("loader/loader.conf".into(), "timeout 0\n".into()));
    }
    Ok(EspContents {
        files,
        kernel_version: found.version,
        command_line,
    })
}

/// The command line with `root=`, one space between words.
fn command_line(template: &str, root_partuuid: Uuid) -> Result<String, BootError> {
    if template.trim().contains(|c: char| c.is_control() && c != '\t') {
        return Err(BootError::CommandLine);
    }
    // Inside quotes white space means something: the text stays as it is.
    let template = template.trim();
    let has_root = template.split_ascii_whitespace().any(|word| word.starts_with("root="));
    let separator = if template.is_empty() { "" } else { " " };
    Ok(match has_root {
        true => template.to_owned(),
        false => format!("root=PARTUUID={root_partuuid}{separator}{template}"),
    })
}

/// os-release(5) of the image.
fn os_release(root: &Merged) -> Result<Vec<u8>, BootError> {
    let paths = ["/etc/os-release", "/usr/lib/os-release"].map(Path::new);
    match paths.into_iter().find(|path| root.has(path)) {
        Some(path) => Ok(root.read_at_most(path, OS_RELEASE_LIMIT_BYTES)?),
        None => Err(BootError::Missing {
            path: "/etc/os-release".into(),
            hint: "add the package base-files to systemConfig.packages".into(),
        }),
    }
}

#[cfg(test)]
mod tests;
