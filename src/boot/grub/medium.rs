//! GRUB on an optical medium, which both firmwares start; the same medium starts as a disk.
//!
//! The medium has a menu of its own, not that of a system: its kernel and initrd are [`KERNEL`] and [`INITRD`].

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::core::{Request as CoreRequest, Target};
use super::place::Place;
use super::program::Program;
use super::{Request as GrubRequest, quote};
use crate::boot::BootError;
use crate::boot::entry;
use crate::image::content::Source;
use crate::image::merged::Merged;
use crate::model::Kernel;
use crate::package::Arch;
use crate::sandbox::SandboxSpec;
use crate::work::Work;

/// The kernel, from the top of the medium.
pub const KERNEL: &str = "/images/vmlinuz";
/// The initrd, from there.
pub const INITRD: &str = "/images/initrd.img";
/// The directory of the menu and the modules, from there.
const HOME: &str = "/boot/grub";
/// The modules and the core image for a BIOS.
const BIOS_HOME: &str = "/boot/grub/i386-pc";
/// The code for the first sector of a medium that is a disk.
const HYBRID: &str = "/usr/lib/grub/i386-pc/boot_hybrid.img";
/// Bounds for sizes in bytes.
const CORE_LIMIT_BYTES: u64 = 4 << 20;
const SECTOR_BYTES: u64 = 512;

/// What the medium gets.
#[derive(Debug, Clone, Default)]
pub struct Loader {
    /// For a BIOS: the path of the core image on the medium, the image, and the code for the first sector.
    pub bios: Option<(PathBuf, Vec<u8>, Option<Vec<u8>>)>,
    /// The files of the EFI system partition.
    pub esp: Vec<(PathBuf, Source)>,
    /// Other files of the medium: the modules.
    pub files: Vec<(PathBuf, Source)>,
}

/// Makes the core images of a medium whose file system has the UUID `uuid`, as GRUB writes it, in the tree.
///
/// # Errors
/// [`BootError`] if a program of the image fails, or a file cannot be read or written.
pub fn install(request: &GrubRequest<'_>, uuid: &str, work: Work<'_>) -> Result<(), BootError> {
    let (root, arch) = (request.root, request.arch);
    let mut spec = SandboxSpec::new(root.path());
    spec.helper = request.helper.to_owned();
    spec.env = request.env.to_vec();
    let os = String::from_utf8_lossy(&crate::boot::os_release(root)?).into_owned();
    let mut targets = Vec::new();
    if arch == Arch::X86_64 {
        targets.push(Target::Medium);
    }
    if Program::find(root, arch, None)?.is_none() {
        targets.push(Target::Efi(arch));
    }
    let home = home(uuid);
    for target in targets {
        if target.can_be_made(root)? {
            let made = CoreRequest {
                root,
                home: &home,
                id: &entry::id(&os, "ID").unwrap_or_else(|| "linux".to_owned()),
            };
            target.make(&made, spec.clone(), work)?;
        }
    }
    Ok(())
}

/// Returns what such a medium needs, from the tree for which [`install`] ran.
///
/// # Errors
/// [`BootError`]; if the image has no GRUB for any firmware, its hint names packages.
pub fn prepare(root: &Merged, arch: Arch, uuid: &str) -> Result<Loader, BootError> {
    let mut loader = Loader::default();
    let core = Target::Medium.core(root)?;
    if let Some(bytes) = root.read_if_present(&core, CORE_LIMIT_BYTES)? {
        let path = Path::new(BIOS_HOME).join("eltorito.img");
        loader.bios = Some((path, bytes, root.read_if_present(Path::new(HYBRID), SECTOR_BYTES)?));
        let directory = core.parent().unwrap_or(Path::new("/")).to_owned();
        for (name, is_directory) in crate::boot::tree::Tree::entries(root, &directory)? {
            if !is_directory
                && Path::new(&name)
                    .extension()
                    .is_some_and(|end| end == "mod" || end == "lst")
            {
                let file = root.file(&directory.join(&name))?;
                loader.files.push((Path::new(BIOS_HOME).join(&name), file));
            }
        }
    }
    if let Some(program) = Program::find(root, arch, None)? {
        let stub = format!("search.fs_uuid {uuid} root\nset prefix=($root){HOME}\nconfigfile $prefix/grub.cfg\n");
        // In a drive for CDs, GRUB takes the medium itself for the file system that its prefix is on.
        let beside = Path::new("/").join(program.stub());
        if beside.parent() != Some(Path::new(HOME)) {
            loader.files.push((beside, stub.as_str().into()));
        }
        loader.esp = program.files(arch, &stub);
    }
    if loader.bios.is_none() && loader.esp.is_empty() {
        return Err(BootError::Missing {
            path: Target::Efi(arch).core(root)?,
            hint:
                "add GRUB to systemConfig.packages: grub-pc-bin, grub-common, grub-efi-amd64-signed and shim-signed on \
                   Debian, grub2-pc-modules, grub2-tools and grub2-efi-x64-modules elsewhere"
                    .into(),
        });
    }
    Ok(loader)
}

/// The first serial port, for GRUB's command `serial`.
const SERIAL: [&str; 2] = ["--unit=0", "--speed=115200"];

/// Writes the menu of a medium with this title.
///
/// # Errors
/// [`BootError`] if GRUB cannot hand on the command line.
pub fn menu(title: &str, kernel: &Kernel) -> Result<String, BootError> {
    let line = quote::command_line(&crate::boot::in_memory(&kernel.command_line))?;
    let mut text = format!(
        "set default=0\nset timeout=5\nif [ \"$grub_platform\" = pc ]; then\n  insmod serial\n  if serial {}; then\n    \
         terminal_input console serial\n    terminal_output console serial\n  fi\nfi\n",
        SERIAL.join(" ")
    );
    for (title, first) in [(title.to_owned(), ""), (format!("{title} (shell)"), "rdinit=/bin/sh ")] {
        let title = quote::single(&title);
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            "menuentry {title} {{\n  linux {KERNEL} {first}{line}\n  initrd {INITRD}\n}}\n"
        );
    }
    text.push_str("menuentry 'Next device of the firmware' {\n  exit\n}\n");
    Ok(text)
}

fn home(uuid: &str) -> Place {
    Place {
        uuid: uuid.to_owned(),
        modules: ["part_gpt", "iso9660"],
        path: HOME.into(),
    }
}
