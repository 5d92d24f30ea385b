//! Why no machine runs.

use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;

use crate::cancel::Cancelled;
use crate::disk::DiskError;
use crate::durable::PathError;
use crate::hint::{Hint, Means};
use crate::image::file_system::FileSystemError;
use crate::package::Arch;

/// The reason why no machine runs, or why it ended.
#[derive(Debug, thiserror::Error)]
pub enum EmulatorError {
    /// The file is no disk image that oic reads.
    #[error("{}: {source}", path.display())]
    Disk {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: DiskError,
    },
    /// The part of the disk that says how it starts is damaged.
    #[error("{}: {problem}", path.display())]
    Damaged {
        /// The file of the disk.
        path: PathBuf,
        /// What is damaged.
        problem: String,
    },
    /// The file is nothing that a machine starts from.
    #[error("{} is neither a disk image nor a CD, nor an initrd with its kernel beside it", .0.display())]
    Unknown(PathBuf),
    /// The disk has nothing that a firmware starts.
    #[error("{} has neither an EFI system partition nor boot code for a BIOS", .0.display())]
    NothingToStart(PathBuf),
    /// The firmware does not exist for the architecture.
    #[error("machines of {arch} have no {what}")]
    NoSuchFirmware {
        /// The architecture.
        arch: Arch,
        /// The firmware.
        what: &'static str,
    },
    /// The UEFI firmware is not installed.
    #[error("no UEFI firmware for {arch}{} is installed on this host", kind.map(|kind| format!(" {kind}")).unwrap_or_default())]
    NoFirmware {
        /// The architecture.
        arch: Arch,
        /// What it must be able to do.
        kind: Option<&'static str>,
    },
    /// QEMU is not installed.
    #[error("{program} is not installed on this host")]
    NoProgram {
        /// The program.
        program: String,
        /// The architecture that it emulates.
        arch: Arch,
    },
    /// KVM was asked for and does not work.
    #[error("KVM does not work for this machine: {0}")]
    NoKvm(String),
    /// A disk cannot become smaller.
    #[error("the disk has {} MiB already: it can only grow", .0 >> 20)]
    Smaller(u64),
    /// Only disks grow.
    #[error("only a disk can grow, and {} is none", .0.display())]
    NotADisk(PathBuf),
    /// The configuration for cloud-init does not fit into its volume.
    #[error("the volume for cloud-init: {0}")]
    Volume(#[from] FileSystemError),
    /// QEMU failed; it has said why.
    #[error("{program} failed ({status})")]
    Failed {
        /// The program.
        program: String,
        /// How it ended.
        status: ExitStatus,
    },
    /// QEMU cannot be started or watched.
    #[error("cannot {action}: {source}")]
    Process {
        /// What could not be done.
        action: &'static str,
        /// The cause.
        source: io::Error,
    },
    /// A file could not be read or written.
    #[error(transparent)]
    Path(#[from] PathError),
    /// The user asked to stop.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
}

impl EmulatorError {
    /// Makes the constructor of [`Self::Process`] for `action`.
    pub(super) fn process(action: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Process { action, source }
    }

    /// Says what the user can do next.
    pub fn hint(&self) -> Option<Hint> {
        match self {
            Self::NothingToStart(_) => Some(Hint::new("choose the firmware yourself").by(Means::Firmware)),
            Self::NoFirmware { arch, .. } => Some(
                Hint::new(format!(
                    "install {}, or name its file",
                    match arch {
                        Arch::X86_64 => "the package ovmf (Debian, Ubuntu) or edk2-ovmf (Fedora)",
                        Arch::Aarch64 => "the package qemu-efi-aarch64 (Debian, Ubuntu) or edk2-aarch64 (Fedora)",
                        Arch::Armv7hl => "the package qemu-efi-arm (Debian, Ubuntu) or edk2-arm (Fedora)",
                    }
                ))
                .by(Means::FirmwareFile),
            ),
            Self::NoProgram { arch, .. } => Some(Hint::new(match arch {
                Arch::X86_64 => "install the package qemu-system-x86 (Debian, Ubuntu) or qemu-system-x86-core (Fedora)",
                Arch::Aarch64 => {
                    "install the package qemu-system-arm (Debian, Ubuntu) or qemu-system-aarch64-core (Fedora)"
                }
                Arch::Armv7hl => {
                    "install the package qemu-system-arm (Debian, Ubuntu) or qemu-system-arm-core (Fedora)"
                }
            })),
            Self::NoKvm(_) => Some(Hint::new("emulate the processor, which is slower").by(Means::Emulation)),
            _ => None,
        }
    }
}
