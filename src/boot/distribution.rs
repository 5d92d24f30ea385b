//! Secure Boot with the distribution's signatures: shim, which Microsoft has signed, starts the distribution's signed
//! loader, and that its signed kernel. No key is needed; initrd and command line have no signature.

use std::path::{Path, PathBuf};

use super::{BootError, EFI_PROGRAM_LIMIT_BYTES, EFI_PROGRAMS, pe};
use crate::image::content::Source;
use crate::image::merged::Merged;
use crate::model::{BootProvider, SystemConfig};
use crate::package::Arch;

/// The directory of the Debian package shim-signed.
const SHIM: &str = "/usr/lib/shim";
/// The largest kernel, in bytes.
const KERNEL_LIMIT_BYTES: u64 = 256 << 20;
/// The directory of the medium's default loader.
const FALLBACK: &str = "EFI/BOOT";

/// Names the `.deb` packages of the signed programs that `system` starts on `arch`.
fn packages(system: &SystemConfig, arch: Arch) -> [String; 2] {
    let loader = match system.bootloader.provider {
        BootProvider::SystemdBoot => format!("systemd-boot-efi-{}-signed", arch.deb()),
        BootProvider::Grub => format!("grub-efi-{}-signed", arch.deb()),
    };
    ["shim-signed".to_owned(), loader]
}

/// Checks, before anything is fetched, that the `.deb` packages `names` have the signed programs that `system` starts.
///
/// # Errors
/// [`BootError::Packages`].
pub fn check_names<'a>(
    system: &SystemConfig,
    arch: Arch,
    names: impl Iterator<Item = &'a str>,
) -> Result<(), BootError> {
    let names: Vec<&str> = names.collect();
    let mut missing = packages(system, arch).to_vec();
    missing.retain(|name| !names.contains(&name.as_str()));
    match missing.is_empty() {
        true => Ok(()),
        false => Err(BootError::Packages(missing)),
    }
}

/// Replaces systemd-boot among `files` of the EFI system partition by what the distribution has signed of `root`: shim as
/// the medium's default loader, systemd-boot beside it under the name that shim starts. Checks that the kernel is signed.
///
/// # Errors
/// [`BootError`] if something signed is missing.
pub fn replace(root: &Merged, arch: Arch, files: &mut Vec<(PathBuf, Source)>) -> Result<(), BootError> {
    let name = arch.efi();
    for (path, source) in files
        .iter()
        .filter(|(path, _)| path.file_name().is_some_and(|name| name == "linux"))
    {
        is_signed(path, source)?;
    }
    files.retain(|(path, _)| !path.extension().is_some_and(|end| end.eq_ignore_ascii_case("efi")));
    let at = |name: String| Path::new(FALLBACK).join(name);
    let loader = program(
        root,
        arch,
        &Path::new(EFI_PROGRAMS).join(format!("systemd-boot{name}.efi.signed")),
    )?;
    files.push((
        at(format!("BOOT{}.EFI", name.to_ascii_uppercase())),
        shim(root, arch, "shim")?,
    ));
    files.push((at(format!("grub{name}.efi")), loader.clone()));
    files.push((at(format!("mm{name}.efi")), shim(root, arch, "mm")?));
    files.push((format!("EFI/systemd/systemd-boot{name}.efi").into(), loader));
    Ok(())
}

/// Reads a program of shim.
fn shim(root: &Merged, arch: Arch, stem: &str) -> Result<Source, BootError> {
    let name = format!("{stem}{}.efi.signed", arch.efi());
    program(root, arch, &Path::new(SHIM).join(name))
}

/// Reads the signed EFI program `path`.
fn program(root: &Merged, arch: Arch, path: &Path) -> Result<Source, BootError> {
    let Some(bytes) = root.read_if_present(path, EFI_PROGRAM_LIMIT_BYTES)? else {
        return Err(BootError::Missing {
            path: path.to_owned(),
            hint: "add shim-signed and the distribution's signed boot loader to systemConfig.packages".into(),
        });
    };
    let wrong = |source| BootError::Program {
        path: path.to_owned(),
        source,
    };
    pe::check(&bytes, arch).map_err(wrong)?;
    let source = Source::Bytes(bytes);
    is_signed(path, &source)?;
    Ok(source)
}

/// Checks that a program has a signature, whoever has made it.
fn is_signed(path: &Path, source: &Source) -> Result<(), BootError> {
    let wrong = |source| BootError::Program {
        path: path.to_owned(),
        source,
    };
    let bytes = crate::durable::read_at_most(source.reader(), KERNEL_LIMIT_BYTES)
        .map_err(crate::durable::PathError::on("read", path))?;
    match pe::signature_places(&bytes).map_err(wrong)?.table {
        Some(_) => Ok(()),
        None => Err(BootError::NotSigned(path.to_owned())),
    }
}
