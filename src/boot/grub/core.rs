//! GRUB's core image: what grub-mkimage(1) of the image puts together of GRUB's modules, for a firmware that the image has
//! no whole program for. It and the modules go where grub-install(8) puts them, so that the commands of a menu that the
//! running system writes find theirs.

use std::path::{Path, PathBuf};

use super::directory;
use super::place::Place;
use crate::boot::BootError;
use crate::boot::tree::Tree;
use crate::package::Arch;
use crate::root::Root;
use crate::sandbox::{Command, Sandbox, SandboxFile, SandboxSpec};
use crate::work::Work;

/// What the program is called, as distributions name it.
const PROGRAMS: [&str; 2] = ["grub-mkimage", "grub2-mkimage"];
/// The first commands of a core image, inside the sandbox.
const COMMANDS: &str = "/run/oic-grub.cfg";

/// A firmware.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// BIOS, from a disk.
    Bios,
    /// BIOS, from an optical medium, which may be a disk.
    Medium,
    /// UEFI.
    Efi(Arch),
}

/// What a core image is made from.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The mounted tree.
    pub root: &'a Root,
    /// The directory of the menu.
    pub home: &'a Place,
    /// Name of the operating system; of UEFI, the directory of the core image's configuration.
    pub id: &'a str,
}

impl Target {
    /// Returns GRUB's name of the firmware.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bios | Self::Medium => "i386-pc",
            Self::Efi(arch) => efi_target(arch),
        }
    }

    /// Returns GRUB's name of the format of the core image.
    fn format(self) -> &'static str {
        match self {
            Self::Medium => "i386-pc-eltorito",
            other => other.name(),
        }
    }

    /// Returns the path of the core image.
    ///
    /// # Errors
    /// If the tree cannot be looked at.
    pub fn core(self, tree: &dyn Tree) -> Result<PathBuf, BootError> {
        let name = match self {
            Self::Bios => "core.img",
            Self::Medium => "eltorito.img",
            Self::Efi(_) => "core.efi",
        };
        Ok(self.home(tree)?.join(name))
    }

    /// Returns the directory of the core image and its modules.
    fn home(self, tree: &dyn Tree) -> Result<PathBuf, BootError> {
        Ok(Path::new("/boot").join(directory(tree)?).join(self.name()))
    }

    /// Returns the directory of the modules in their package.
    fn modules(self) -> PathBuf {
        Path::new("/usr/lib/grub").join(self.name())
    }

    /// Says whether the image can make a core image.
    ///
    /// # Errors
    /// If the tree cannot be looked at.
    pub fn can_be_made(self, tree: &dyn Tree) -> Result<bool, BootError> {
        Ok(tree.has(&self.modules().join("kernel.img"))? && maker(tree)?.is_some())
    }

    /// Makes the core image, with what it needs to find the menu, and copies the modules.
    ///
    /// # Errors
    /// [`BootError`] if the program fails, or a file cannot be written.
    pub fn make(self, request: &Request<'_>, mut spec: SandboxSpec, work: Work<'_>) -> Result<(), BootError> {
        let (from, to, home) = (self.modules(), self.home(request.root)?, request.home);
        let is_needed = |name: &Path| {
            let is_module = name.extension().is_some_and(|end| end == "mod" || end == "lst");
            is_module || (self == Self::Bios && name == Path::new("boot.img"))
        };
        for name in request.root.names(&from)? {
            if is_needed(Path::new(&name))
                && let Some(contents) = request.root.read(from.join(&name))?
            {
                request.root.write(to.join(&name), contents, 0o644)?;
            }
        }
        let maker = maker(request.root)?.unwrap_or(PROGRAMS[0]);
        let mut command = Command::new([maker, "--format", self.format(), "--directory"]);
        command
            .argv
            .extend([from.into(), "--output".into(), self.core(request.root)?.into()]);
        command.argv.push("--prefix".into());
        match self {
            Self::Bios | Self::Medium => {
                let text = format!("search.fs_uuid {} root\nset prefix=($root){}\n", home.uuid, home.path);
                spec.files.push(SandboxFile {
                    target: COMMANDS.into(),
                    mode: 0o644,
                    contents: text.into_bytes(),
                });
                command
                    .argv
                    .extend([home.path.clone().into(), "--config".into(), COMMANDS.into()]);
                command.argv.push("biosdisk".into());
            }
            Self::Efi(_) => {
                command.argv.push(format!("/EFI/{}", request.id).into());
                command
                    .argv
                    .extend(["part_gpt", "part_msdos", "fat", "normal", "configfile"].map(Into::into));
            }
        }
        command.argv.extend(home.modules.map(Into::into));
        command.argv.push("search_fs_uuid".into());
        let mut on_line = |line: &str| work.progress.detail(line);
        Sandbox::new(spec).run(&command, &mut on_line, work.cancel)?;
        Ok(())
    }
}

/// Returns the name of the program that makes core images, if the image has it.
fn maker(tree: &dyn Tree) -> Result<Option<&'static str>, BootError> {
    for name in PROGRAMS {
        if tree.has(&Path::new("/usr/bin").join(name))? {
            return Ok(Some(name));
        }
    }
    Ok(None)
}

/// Returns GRUB's name of UEFI on `arch`.
pub fn efi_target(arch: Arch) -> &'static str {
    match arch {
        Arch::X86_64 => "x86_64-efi",
        Arch::Aarch64 => "arm64-efi",
        Arch::Armv7hl => "arm-efi",
    }
}
