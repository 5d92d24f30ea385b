//! Unified kernel images: the systemd stub with kernel, initrd and command line
//! as further sections (UAPI.5, Unified Kernel Image).

use super::pe::{self, PeError};
use crate::image::content::Source;
use crate::package::Arch;

/// The parts of a unified kernel image.
#[derive(Debug, Clone)]
pub struct Parts {
    /// The EFI stub.
    pub stub: Vec<u8>,
    /// os-release(5) of the image.
    pub os_release: Vec<u8>,
    /// Kernel command line.
    pub command_line: Source,
    /// Kernel version.
    pub uname: String,
    /// The initrd.
    pub initrd: Source,
    /// The kernel, an EFI program itself.
    pub linux: Source,
}

/// Joins `parts` to a unified kernel image. The result refers to kernel and initrd, which are not read yet.
///
/// # Errors
/// [`PeError`] if the stub is not one for `arch` or has no room for the sections.
pub fn build(arch: Arch, parts: Parts) -> Result<Source, PeError> {
    pe::check(&parts.stub, arch)?;
    let sections = vec![
        (".osrel", Source::Bytes(parts.os_release)),
        (".cmdline", parts.command_line),
        (".uname", Source::Bytes(parts.uname.into_bytes())),
        (".initrd", parts.initrd),
        // Last, so that a kernel that unpacks itself in place overwrites nothing.
        (".linux", parts.linux),
    ];
    pe::append(parts.stub, sections)
}
