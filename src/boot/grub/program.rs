//! GRUB as a program for UEFI: which one the image has, and where it lies on the EFI system partition.

use std::path::{Path, PathBuf};

use super::core::{Target, efi_target};
use super::prefix;
use crate::boot::tree::Tree;
use crate::boot::{BootError, EFI_PROGRAM_LIMIT_BYTES, pe};
use crate::image::content::Source;
use crate::package::Arch;

/// What the Debian package shim-signed brings.
const SHIM: &str = "/usr/lib/shim";

/// A GRUB for UEFI.
#[derive(Debug, Clone)]
pub struct Program {
    /// The program.
    bytes: Vec<u8>,
    /// Its configuration's directory on the EFI system partition, with a `/` at its beginning.
    prefix: String,
    /// The signed program that starts it where firmware checks signatures, with its helper, if the image has them.
    shim: Option<Shim>,
    /// Whether the medium has a default loader already, if packages have put GRUB there.
    installed: Option<bool>,
}

/// The first program of a Secure Boot.
#[derive(Debug, Clone)]
struct Shim {
    program: Source,
    /// `mm*.efi`, which enrols keys.
    manager: Option<Source>,
    /// The list of entries for the firmware, from which a machine that lost them restores them.
    list: Option<Source>,
}

impl Program {
    /// Finds the GRUB of the image: one that packages have put below `esp`, the mount point of the EFI system partition;
    /// the signed one if shim can start it; the one that the distribution has put together; the signed one alone; that
    /// which [`super::core`] has made.
    ///
    /// # Errors
    /// [`BootError`] if a file cannot be read, or is not a GRUB for `arch`.
    pub fn find(root: &dyn Tree, arch: Arch, esp: Option<&Path>) -> Result<Option<Self>, BootError> {
        let (name, target) = (format!("grub{}.efi", arch.efi()), efi_target(arch));
        if let Some(path) = esp.map(|esp| installed(root, esp, &name)).transpose()?.flatten() {
            let installed = esp.map(|esp| has_default(root, arch, esp)).transpose()?;
            return Ok(Self::load(root, arch, &path)?.map(|program| Self { installed, ..program }));
        }
        let signed = PathBuf::from(format!("/usr/lib/grub/{target}-signed/{name}.signed"));
        if let Some(shim) = Shim::find(root, arch)?
            && let Some(program) = Self::load(root, arch, &signed)?
        {
            let shim = Some(shim);
            return Ok(Some(Self { shim, ..program }));
        }
        let whole = PathBuf::from(format!("/usr/lib/grub/{target}/monolithic/{name}"));
        let own = Target::Efi(arch).core(root)?;
        for path in [whole, signed, own] {
            if let Some(program) = Self::load(root, arch, &path)? {
                return Ok(Some(program));
            }
        }
        Ok(None)
    }

    /// Reads the program `path`; `None` if there is none.
    fn load(root: &dyn Tree, arch: Arch, path: &Path) -> Result<Option<Self>, BootError> {
        let Some(bytes) = root.read_if_present(path, EFI_PROGRAM_LIMIT_BYTES)? else {
            return Ok(None);
        };
        let path = || path.to_owned();
        pe::check(&bytes, arch).map_err(|source| BootError::Program { path: path(), source })?;
        let prefix = prefix::of(&bytes, arch).ok_or_else(|| BootError::Prefix(path()))?;
        Ok(Some(Self {
            bytes,
            prefix,
            shim: None,
            installed: None,
        }))
    }

    /// Says whether it fills its menu from entries of the Boot Loader Specification.
    pub fn has_entries(&self) -> bool {
        const COMMAND: &[u8] = b"blscfg";
        self.bytes.windows(COMMAND.len()).any(|window| window == COMMAND)
    }

    /// Returns the path, on the file system that it starts from, of the stub that it reads first.
    pub fn stub(&self) -> PathBuf {
        self.home().join("grub.cfg")
    }

    /// Returns the directory that its prefix names, without the slash in front.
    fn home(&self) -> PathBuf {
        PathBuf::from(self.prefix.trim_start_matches('/'))
    }

    /// Returns its files on the EFI system partition by their path: the programs as the default loader of the medium
    /// (UEFI 2.10, 3.5.1.1) and in the directory of their distribution, and `stub`, which leads to the menu.
    ///
    /// There is no `fb*.efi` beside the default loader: it would make entries in the firmware's memory and restart.
    pub fn files(self, arch: Arch, stub: &str) -> Vec<(PathBuf, Source)> {
        let name = arch.efi();
        let (fallback, grub) = (Path::new("EFI/BOOT"), format!("grub{name}.efi"));
        let default = fallback.join(default_name(arch));
        let home = self.home();
        let mut files = vec![(self.stub(), stub.into())];
        let program = Source::Bytes(self.bytes);
        if let Some(has_default) = self.installed {
            // What packages have put there comes from the tree.
            files.extend((!has_default).then_some((default, program)));
            return files;
        }
        let own = match home.parent() == Some(Path::new("EFI")) && !home.ends_with("BOOT") {
            true => Some(home),
            false => None,
        };
        for directory in own.iter().map(PathBuf::as_path).chain([fallback]) {
            let is_default = directory == fallback;
            match &self.shim {
                Some(shim) => {
                    files.push((directory.join(&grub), program.clone()));
                    let first = directory.join(format!("shim{name}.efi"));
                    files.push((if is_default { default.clone() } else { first }, shim.program.clone()));
                    let manager = shim.manager.clone();
                    files.extend(manager.map(|manager| (directory.join(format!("mm{name}.efi")), manager)));
                    let list = shim.list.clone().filter(|_| !is_default);
                    let path = directory.join(format!("BOOT{}.CSV", name.to_ascii_uppercase()));
                    files.extend(list.map(|list| (path, list)));
                }
                None if is_default => files.push((default.clone(), program.clone())),
                None => files.push((directory.join(&grub), program.clone())),
            }
        }
        files
    }
}

impl Shim {
    /// Finds the signed shim of the image.
    fn find(root: &dyn Tree, arch: Arch) -> Result<Option<Self>, BootError> {
        let name = arch.efi();
        let file = |name: String| -> Result<Option<Source>, BootError> {
            let path = Path::new(SHIM).join(name);
            Ok(match root.has(&path)? {
                true => Some(root.file(&path)?),
                false => None,
            })
        };
        let Some(program) = file(format!("shim{name}.efi.signed"))? else {
            return Ok(None);
        };
        let manager = match file(format!("mm{name}.efi.signed"))? {
            Some(signed) => Some(signed),
            None => file(format!("mm{name}.efi"))?,
        };
        Ok(Some(Self {
            program,
            manager,
            list: file(format!("BOOT{}.CSV", name.to_ascii_uppercase()))?,
        }))
    }
}

/// Finds the program `name` in a directory of `esp`/EFI, that of a distribution before the default one.
fn installed(root: &dyn Tree, esp: &Path, name: &str) -> Result<Option<PathBuf>, BootError> {
    let directory = esp.join("EFI");
    if !root.has(&directory)? {
        return Ok(None);
    }
    let mut vendors = root.entries(&directory)?;
    vendors.retain(|(_, is_directory)| *is_directory);
    vendors.sort_by_key(|(vendor, _)| vendor.eq_ignore_ascii_case("BOOT"));
    for (vendor, _) in vendors {
        let path = directory.join(vendor).join(name);
        if root.has(&path)? {
            return Ok(Some(path));
        }
    }
    Ok(None)
}

/// Says whether the tree has a default loader below `esp`; case does not count (UEFI 2.10, 13.3).
fn has_default(root: &dyn Tree, arch: Arch, esp: &Path) -> Result<bool, BootError> {
    let directory = esp.join("EFI/BOOT");
    if !root.has(&directory)? {
        return Ok(false);
    }
    let name = default_name(arch);
    let entries = root.entries(&directory)?;
    Ok(entries.iter().any(|(entry, _)| entry.eq_ignore_ascii_case(&name)))
}

/// Returns the name of the default loader of a medium.
fn default_name(arch: Arch) -> String {
    format!("BOOT{}.EFI", arch.efi().to_ascii_uppercase())
}
