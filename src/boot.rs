//! The files that make an image boot: systemd-boot and a kernel, as a unified kernel image or with an entry that names
//! it, for the EFI system partition; or GRUB and its menu.
//!
//! Everything comes from the image's own tree; no file and no program of the host is used.

pub mod authenticode;
pub mod distribution;
pub mod entry;
pub mod grub;
pub mod kernel;
pub mod pe;
pub mod signed;
mod tree;
pub mod uki;
pub mod unlock;

use std::path::{Path, PathBuf};

use kernel::Found;
use tree::Tree;
use unlock::Unlocked;

use crate::durable::PathError;
use crate::hint::Hint;
use crate::image::content::{Promise, Source};
use crate::image::merged::Merged;
use crate::model::{BootProvider, BootType, Bootloader, Kernel, KernelForm, SystemConfig};
use crate::package::Arch;
use crate::sandbox::SandboxError;
use crate::sign::SignError;

/// The directory of systemd's EFI programs.
const EFI_PROGRAMS: &str = "/usr/lib/systemd/boot/efi";
/// The largest size of an EFI program; a larger file is not one.
const EFI_PROGRAM_LIMIT_BYTES: u64 = 16 << 20;
const OS_RELEASE_LIMIT_BYTES: u64 = 64 << 10;
/// The device of a verified root in the running system; its initrd makes it.
pub const VERIFIED_ROOT: &str = "/dev/mapper/root";
/// The path of the unified kernel image on the ESP (UAPI.5, "Type #2").
pub const UKI_PATH: &str = "EFI/Linux/linux.efi";

/// The reason why an image would not boot.
#[derive(Debug, thiserror::Error)]
pub enum BootError {
    /// This version cannot make what a field asks for.
    #[error("{field}: {what} is not supported yet")]
    Unsupported {
        /// The field, as a path from the template's top.
        field: &'static str,
        /// The value of the field, in words.
        what: &'static str,
        /// The value to use instead.
        hint: &'static str,
    },
    /// A file is not in the tree.
    #[error("the image has no {}", path.display())]
    Missing {
        /// The file, from the image's root.
        path: PathBuf,
        /// The next step for the user.
        hint: String,
    },
    /// A kernel command line cannot hold this.
    #[error("systemConfig.kernel.cmdline: a kernel command line is one line of text")]
    CommandLine,
    /// GRUB would change the command line on its way to the kernel.
    #[error("systemConfig.kernel.cmdline: {0}")]
    GrubCommandLine(#[from] grub::Unpassable),
    /// A GRUB does not say where its configuration lies.
    #[error("{}: its configuration would lie nowhere on the EFI system partition", .0.display())]
    Prefix(PathBuf),
    /// A file is no part of a GRUB for BIOS.
    #[error("{}: neither it nor boot.img beside it is what GRUB starts from on a BIOS", .0.display())]
    NoCore(PathBuf),
    /// GRUB does not fit onto the disk.
    #[error("GRUB needs {} KiB, and {what} has {} KiB", needed_bytes.div_ceil(1024), room_bytes / 1024)]
    Room {
        /// The place, in words.
        what: &'static str,
        /// Its size in bytes.
        room_bytes: u64,
        /// The size of what has to fit, in bytes.
        needed_bytes: u64,
    },
    /// GRUB cannot name a file.
    #[error("{}: GRUB cannot name this file", .0.display())]
    Name(PathBuf),
    /// A program of the image failed.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    /// A file in the tree is not a usable EFI program.
    #[error("{}: {source}", path.display())]
    Program {
        /// The file.
        path: PathBuf,
        /// The defect.
        source: pe::PeError,
    },
    /// A program could not be signed.
    #[error("{}: {source}", path.display())]
    Authenticode {
        /// Its path on the EFI system partition.
        path: PathBuf,
        /// The cause.
        source: authenticode::AuthenticodeError,
    },
    /// The image does not get the packages of signed programs.
    #[error(
        "systemConfig.bootloader.secureBoot: what the distribution has signed is in {}, which the image does not get",
        .0.join(" and ")
    )]
    Packages(Vec<String>),
    /// A program has no signature.
    #[error("{}: the distribution has not signed it", .0.display())]
    NotSigned(PathBuf),
    /// Nothing could be signed.
    #[error(transparent)]
    Sign(#[from] SignError),
    /// Reading failed.
    #[error(transparent)]
    Io(#[from] PathError),
}

impl BootError {
    /// Returns what the author of the template can do next.
    pub fn hint(&self) -> Option<Hint> {
        match self {
            Self::Unsupported { hint, .. } => Some((*hint).into()),
            Self::Missing { hint, .. } => Some(hint.clone().into()),
            Self::GrubCommandLine(_) => Some("leave it out, or use `provider: systemd-boot`".into()),
            Self::Prefix(_) => Some("use a GRUB that its distribution has made for UEFI".into()),
            Self::NoCore(_) => Some("use the grub-mkimage and the modules of one version of GRUB".into()),
            Self::Room { .. } => Some("make room of 1 MiB for it in disk.partitions".into()),
            Self::Packages(names) => Some(format!("add {} to systemConfig.packages", names.join(" and ")).into()),
            Self::NotSigned(_) => {
                Some("use the distribution's signed packages, such as linux-image-amd64 (Debian)".into())
            }
            Self::Sandbox(error) => error.hint(),
            Self::Sign(error)
            | Self::Authenticode {
                source: authenticode::AuthenticodeError::Sign(error),
                ..
            } => error.hint(),
            _ => None,
        }
    }
}

/// Checks, before any work starts, that oic can install the boot loader of `system` on a machine of `arch`.
///
/// # Errors
/// [`BootError`], naming the field.
pub fn check(system: &SystemConfig, arch: Arch) -> Result<(), BootError> {
    let Bootloader {
        boot_type, provider, ..
    } = system.bootloader;
    if boot_type == BootType::Legacy && (arch != Arch::X86_64 || provider == BootProvider::SystemdBoot) {
        return Err(BootError::Unsupported {
            field: "systemConfig.bootloader.bootType",
            what: "`legacy` (BIOS) boot of this architecture, or without GRUB,",
            hint: "use `bootType: efi`",
        });
    }
    match provider {
        BootProvider::SystemdBoot => Ok(()),
        BootProvider::Grub => grub::check(&system.kernel),
    }
}

/// The root file system, as the kernel command line names it.
#[derive(Debug, Clone)]
pub struct RootDevice {
    /// The value of `root=`.
    pub name: String,
    /// The root hash in hexadecimal digits, if the root is verified.
    pub hash: Option<Promise>,
    /// The encrypted partitions that the initrd opens.
    pub unlocked: Vec<Unlocked>,
}

impl RootDevice {
    /// Names the partition with this PARTUUID.
    pub fn partition(partuuid: &str) -> Self {
        Self {
            name: format!("PARTUUID={partuuid}"),
            hash: None,
            unlocked: Vec::new(),
        }
    }

    /// Names the device that systemd makes of the partitions which the root hash `hash` names
    /// (systemd-veritysetup-generator(8)).
    pub fn verified(hash: &Promise) -> Self {
        Self {
            name: VERIFIED_ROOT.into(),
            hash: Some(hash.clone()),
            unlocked: Vec::new(),
        }
    }

    /// Makes it one beside encrypted partitions, which the initrd opens; it may be one of them, of the id `id`.
    #[must_use]
    pub fn unlocking(self, id: &str, unlocked: Vec<Unlocked>) -> Self {
        let own = unlocked.iter().find(|partition| partition.name == id);
        let name = own.map_or(self.name, |own| format!("/dev/mapper/{}", own.name));
        Self { name, unlocked, ..self }
    }
}

/// The contents of the EFI system partition.
#[derive(Debug, Clone)]
pub struct EspContents {
    /// Files by their path on the partition.
    pub files: Vec<(PathBuf, Source)>,
    /// Version of the kernel that boots.
    pub kernel_version: String,
    /// Its command line, without the root hash of a verified root.
    pub command_line: String,
}

/// Collects the files that the EFI system partition needs from the installed tree `root`: systemd-boot as the default
/// loader of the medium (UEFI 2.10, 3.5.1.1) and under its own name, its configuration, and the newest kernel (or the
/// one that `kernel.version` names) with its initrd, in the form that the template asks for.
///
/// `device` becomes `root=…`, unless the template's command line has a `root=` of its own. An existing `loader.conf` below
/// `esp` (the partition's mount point in the image) is left as it is.
///
/// # Errors
/// [`BootError`]; where something is not installed its hint names a package.
pub fn prepare(
    root: &Merged,
    arch: Arch,
    kernel: &Kernel,
    device: &RootDevice,
    esp: Option<&Path>,
) -> Result<EspContents, BootError> {
    let (loader_path, loader) = efi_program(root, &format!("systemd-boot{}.efi", arch.efi()))?;
    pe::check(&loader, arch).map_err(|source| BootError::Program {
        path: loader_path,
        source,
    })?;
    let found = kernel::find(root, arch, kernel.version.as_deref())?;
    let command_line = command_line(&kernel.command_line, device)?;
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
    ];
    files.extend(match kernel.form {
        KernelForm::Unified => {
            let command_line = with_hash(&command_line, device);
            let initrd = unlock::with_keys(root.file(&found.initrd)?, &device.unlocked);
            vec![(
                PathBuf::from(UKI_PATH),
                unified(root, arch, (&found, initrd), command_line)?,
            )]
        }
        KernelForm::Separate => entry::files(entry::Parts {
            os_release: os_release(root)?,
            version: found.version.clone(),
            command_line: command_line.clone(),
            linux: root.file(&found.image)?,
            initrd: unlock::with_keys(root.file(&found.initrd)?, &device.unlocked),
        }),
    });
    let has_configuration = match esp {
        Some(esp) => root.has(&esp.join("loader/loader.conf"))?,
        None => false,
    };
    if !has_configuration {
        files.push((signed::LOADER_CONFIGURATION.into(), "timeout 0\n".into()));
    }
    Ok(EspContents {
        files,
        kernel_version: found.version,
        command_line,
    })
}

/// Reads the parts of a unified kernel image for a tree that is an initrd itself: all but the initrd, which is empty.
/// `version` is the kernel's, `image` its path.
///
/// # Errors
/// [`BootError`]; if the image has no stub, its hint names a package.
pub fn parts_without_initrd(
    root: &Merged,
    arch: Arch,
    command_line: &str,
    (version, image): (&str, &Path),
) -> Result<uki::Parts, BootError> {
    let (path, stub) = efi_program(root, &format!("linux{}.efi.stub", arch.efi()))?;
    pe::check(&stub, arch).map_err(|source| BootError::Program { path, source })?;
    Ok(uki::Parts {
        stub,
        os_release: os_release(root)?,
        command_line: in_memory(one_line(command_line)?).as_str().into(),
        uname: version.to_owned(),
        initrd: Source::Bytes(Vec::new()),
        linux: root.file(image)?,
    })
}

/// Makes the unified kernel image of the kernel `found` and its initrd.
fn unified(
    root: &Merged,
    arch: Arch,
    (found, initrd): (&Found, Source),
    command_line: Source,
) -> Result<Source, BootError> {
    let (path, stub) = efi_program(root, &format!("linux{}.efi.stub", arch.efi()))?;
    let parts = uki::Parts {
        stub,
        os_release: os_release(root)?,
        command_line,
        uname: found.version.clone(),
        initrd,
        linux: root.file(&found.image)?,
    };
    uki::build(arch, parts).map_err(|source| BootError::Program { path, source })
}

/// Reads the program `name` of systemd-boot from the image; gives its path and its bytes.
fn efi_program(root: &Merged, name: &str) -> Result<(PathBuf, Vec<u8>), BootError> {
    let path = Path::new(EFI_PROGRAMS).join(name);
    match root.read_if_present(&path, EFI_PROGRAM_LIMIT_BYTES)? {
        Some(contents) => Ok((path, contents)),
        None => {
            let hint = "add the package systemd-boot-efi (Debian; elsewhere systemd-boot) to systemConfig.packages";
            Err(BootError::Missing {
                path,
                hint: hint.into(),
            })
        }
    }
}

/// The command line with `root=`, one space between words.
fn command_line(template: &str, device: &RootDevice) -> Result<String, BootError> {
    let template = one_line(template)?;
    let has_root = template.split_ascii_whitespace().any(|word| word.starts_with("root="));
    let separator = if template.is_empty() { "" } else { " " };
    Ok(match has_root {
        true => format!("{}{template}", unlock::words(&device.unlocked)),
        false => {
            let read_only = if device.hash.is_some() { " ro" } else { "" };
            let unlock = unlock::words(&device.unlocked);
            format!("{unlock}root={}{read_only}{separator}{template}", device.name)
        }
    })
}

/// Returns `command_line` for a tree that is an initrd itself: its root may take all of the memory, unless the line names
/// another one (kernel, `Documentation/filesystems/ramfs-rootfs-initramfs.rst`).
fn in_memory(command_line: &str) -> String {
    match command_line
        .split_ascii_whitespace()
        .any(|word| word.starts_with("root="))
    {
        true => command_line.to_owned(),
        false => format!("root=ramfs {command_line}").trim_end().to_owned(),
    }
}

/// Returns the template's command line without space around it.
fn one_line(template: &str) -> Result<&str, BootError> {
    // Inside quotes white space means something: the text stays as it is.
    let template = template.trim();
    match template.contains(|c: char| c.is_control() && c != '\t') {
        true => Err(BootError::CommandLine),
        false => Ok(template),
    }
}

/// Returns `command_line` with the root hash of a verified root.
fn with_hash(command_line: &str, device: &RootDevice) -> Source {
    let line = Source::from(command_line);
    match &device.hash {
        Some(hash) => Source::Chain(vec![
            "roothash=".into(),
            Source::Promised(hash.clone()),
            " ".into(),
            line,
        ]),
        None => line,
    }
}

/// Reads the os-release(5) file of the image.
fn os_release(root: &dyn Tree) -> Result<Vec<u8>, BootError> {
    for path in ["/etc/os-release", "/usr/lib/os-release"] {
        if let Some(contents) = root.read_if_present(Path::new(path), OS_RELEASE_LIMIT_BYTES)? {
            return Ok(contents);
        }
    }
    Err(BootError::Missing {
        path: "/etc/os-release".into(),
        hint: "add the package base-files to systemConfig.packages".into(),
    })
}

#[cfg(test)]
mod tests;
