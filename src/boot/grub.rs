//! GRUB: its menu and its settings in the tree, and its programs for the firmware.
//!
//! Nothing of it is installed by grub-install(8), which asks the devices of the machine that it runs on. The tree gets
//! what that program would write below `/boot/grub`; the partitions get the programs that the image's packages have.

pub mod bios;
mod core;
mod defaults;
mod entries;
pub mod medium;
mod menu;
mod place;
mod prefix;
mod program;
mod quote;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use core::Target;
use defaults::Defaults;
use menu::{Bootable, Menu};
use place::Place;
use program::Program;
pub use quote::Unpassable;

use super::tree::Tree;
use super::{BootError, entry, kernel, os_release};
use crate::image::content::Source;
use crate::image::merged::Merged;
use crate::image::plan::DiskPlan;
use crate::model::{BootType, Kernel};
use crate::package::Arch;
use crate::root::Root;
use crate::sandbox::{Sandbox, SandboxSpec};
use crate::work::Work;

/// The version of what is written to the tree; it counts up when the same request would write something else.
pub const VERSION: u32 = 1;
/// The size of GRUB's environment block in bytes (GRUB manual, "Environment block").
const ENVIRONMENT_BYTES: usize = 1024;
/// The program whose presence names the directory of GRUB.
const GRUB2_MKCONFIG: &str = "/usr/sbin/grub2-mkconfig";
/// The script by which update-grub makes the entries of Linux.
const MENU_SCRIPT: &str = "/etc/grub.d/10_linux";
/// Bound for its length in bytes.
const MENU_SCRIPT_LIMIT: u64 = 1 << 20;
/// What it gives to entries for recovery on x86, in some versions: the kernel loads no microcode.
const WITHOUT_MICROCODE: &str = "dis_ucode_ldr";
/// The menu for repairs of Ubuntu and Debian.
const RECOVERY_MENU: &str = "/lib/recovery-mode/recovery-menu";

/// What the tree gets its GRUB from.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The mounted tree, with kernels and initrds; it spares the files of the template.
    pub root: &'a Root,
    /// The disk, laid out.
    pub plan: &'a DiskPlan,
    /// The architecture.
    pub arch: Arch,
    /// The firmware that the template asks for; the image starts on others too, where it can.
    pub boot_type: BootType,
    /// The kernel that starts, and its command line.
    pub kernel: &'a Kernel,
    /// The environment of the image's programs.
    pub env: &'a [(OsString, OsString)],
    /// Path of the `oic` executable (see [`SandboxSpec::helper`]).
    pub helper: &'a Path,
}

/// Checks that GRUB can hand the command line of `kernel` to a kernel.
///
/// # Errors
/// [`BootError::GrubCommandLine`].
pub fn check(kernel: &Kernel) -> Result<(), BootError> {
    Ok(quote::command_line(&kernel.command_line).map(drop)?)
}

/// Writes the template's command line to `/etc/default/grub`, before the template's files and commands, which may change
/// it.
///
/// # Errors
/// [`BootError`] if the command line cannot be passed, or the file cannot be read or written.
pub fn write_defaults(request: &Request<'_>) -> Result<(), BootError> {
    let root = request.root;
    if root.is_spared(defaults::PATH) {
        return Ok(());
    }
    let before = root.read(defaults::PATH)?.unwrap_or_default();
    let mut variables = vec![
        ("GRUB_CMDLINE_LINUX_DEFAULT", String::new()),
        ("GRUB_CMDLINE_LINUX", quote::command_line(&request.kernel.command_line)?),
    ];
    if let Some(version) = kernel::chosen(root, request.kernel.version.as_deref())?
        && let Some(planned) = request.plan.root()
    {
        variables.push(("GRUB_DEFAULT", menu::default_of(&version, &place::uuid(planned))));
    }
    let text = defaults::with(&String::from_utf8_lossy(&before), &variables);
    Ok(root.write(defaults::PATH, text, 0o644)?)
}

/// Writes what GRUB reads at boot below `/boot`: its core images where the image has no whole program, the menu, with an
/// entry for each kernel, and the environment block. Files that the template has stay.
///
/// # Errors
/// [`BootError`] if there is no kernel, or `/etc/default/grub` cannot be read.
pub fn install(request: &Request<'_>, work: Work<'_>) -> Result<(), BootError> {
    let root = request.root;
    kernel::find(root, request.arch, request.kernel.version.as_deref())?;
    let mut spec = SandboxSpec::new(root.path());
    spec.helper = request.helper.to_owned();
    spec.env = request.env.to_vec();
    let os = String::from_utf8_lossy(&os_release(root)?).into_owned();
    make_cores(request, &os, &spec, work)?;
    let defaults = Defaults::read(&Sandbox::new(spec), work)?;
    let kernels = bootable(root, request.plan)?;
    let menu = Menu {
        defaults: &defaults,
        root_uuid: &request.plan.root().map(place::uuid).unwrap_or_default(),
        recovery: &recovery(root, request.arch, &os)?,
        kernels: &kernels,
    };
    let home = Path::new("/boot").join(directory(root)?);
    let program = Program::find(root, request.arch, esp(request.plan))?;
    let entries = Place::of(request.plan, Path::new(entries::DIRECTORY))?;
    let has_entries = program.is_some_and(|program| program.has_entries()) && entries::can_name(&kernels, &entries);
    let text = match has_entries {
        true => {
            entries::write(root, &kernels, &os, &menu.options())?;
            menu.of_entries(&entries)
        }
        false => menu.text(),
    };
    provide(root, &home.join("grub.cfg"), text.as_bytes(), 0o444)?;
    provide(root, &home.join("grubenv"), &environment(), 0o644)
}

/// Makes the core images that the disk has room for and that the image can make: for BIOS, and for UEFI where the image
/// has no whole program.
fn make_cores(request: &Request<'_>, os_release: &str, spec: &SandboxSpec, work: Work<'_>) -> Result<(), BootError> {
    let (root, plan) = (request.root, request.plan);
    let mut targets = Vec::new();
    if request.arch == Arch::X86_64 && plan.boot_room().is_some() {
        targets.push(Target::Bios);
    }
    if plan.find_esp().is_some() && Program::find(root, request.arch, esp(plan))?.is_none() {
        targets.push(Target::Efi(request.arch));
    }
    for target in targets {
        if target.can_be_made(root)? {
            let made = core::Request {
                root,
                home: &Place::of(plan, &Path::new("/boot").join(directory(root)?))?,
                id: &entry::id(os_release, "ID").unwrap_or_else(|| "linux".to_owned()),
            };
            target.make(&made, spec.clone(), work)?;
        }
    }
    Ok(())
}

/// Returns the files of the EFI system partition of the disk `plan`, by their path: GRUB, and what leads it to the menu.
/// None if `boot_type` is not UEFI and the image has no GRUB for it.
///
/// # Errors
/// [`BootError`]; if the image has no GRUB for UEFI and needs one, its hint names packages.
pub fn prepare(
    root: &Merged,
    arch: Arch,
    plan: &DiskPlan,
    boot_type: BootType,
) -> Result<Vec<(PathBuf, Source)>, BootError> {
    let found = match plan.find_esp() {
        Some(_) => Program::find(root, arch, esp(plan))?,
        None => None,
    };
    if found.is_none() && boot_type == BootType::Legacy {
        return Ok(Vec::new());
    }
    let program = found.ok_or_else(|| BootError::Missing {
        path: format!("/usr/lib/grub/{}/monolithic/grub{}.efi", core::efi_target(arch), arch.efi()).into(),
        hint: format!(
            "add grub-efi-{0}-bin, or grub-efi-{0}-signed and shim-signed (Debian; elsewhere grub2-efi-{1} and shim-{1}), \
             to systemConfig.packages",
            arch.deb(),
            arch.efi()
        ),
    })?;
    let home = Place::of(plan, &Path::new("/boot").join(directory(root)?))?;
    let stub = format!(
        "search.fs_uuid {} root\nset prefix=($root){}\nconfigfile $prefix/grub.cfg\n",
        home.uuid, home.path
    );
    Ok(program.files(arch, &stub))
}

/// Returns the mount point of the EFI system partition.
fn esp(plan: &DiskPlan) -> Option<&Path> {
    plan.find_esp()?.partition.mount_point.as_deref().map(Path::new)
}

/// Returns the name of GRUB's directory below `/boot`.
fn directory(root: &dyn Tree) -> Result<&'static str, BootError> {
    let is_second = root.has(Path::new(GRUB2_MKCONFIG))? || root.has(Path::new("/boot/grub2"))?;
    Ok(if is_second { "grub2" } else { "grub" })
}

/// Lists the kernels that the menu offers, with the places of their files.
fn bootable(root: &dyn Tree, plan: &DiskPlan) -> Result<Vec<Bootable>, BootError> {
    let placed = |found: kernel::Found| {
        Ok(Bootable {
            linux: Place::of(plan, &found.image)?,
            initrd: Place::of(plan, &found.initrd)?,
            version: found.version,
        })
    };
    kernel::all(root)?.into_iter().map(placed).collect()
}

/// Returns what the kernel of an entry for recovery gets, as the distributions have it.
fn recovery(root: &dyn Tree, arch: Arch, os_release: &str) -> Result<String, BootError> {
    let mut words = match root.has(Path::new(RECOVERY_MENU))? {
        true => "recovery".to_owned(),
        false => "single".to_owned(),
    };
    if entry::id(os_release, "ID").as_deref() == Some("ubuntu") {
        words += " nomodeset";
    }
    let script = root.read_if_present(Path::new(MENU_SCRIPT), MENU_SCRIPT_LIMIT)?;
    let script = script.unwrap_or_default();
    let leaves_microcode = script
        .windows(WITHOUT_MICROCODE.len())
        .any(|part| part == WITHOUT_MICROCODE.as_bytes());
    if arch == Arch::X86_64 && leaves_microcode {
        words = format!("{words} {WITHOUT_MICROCODE}");
    }
    Ok(words)
}

/// Makes an environment block without variables.
fn environment() -> Vec<u8> {
    let mut block = b"# GRUB Environment Block\n".to_vec();
    block.resize(ENVIRONMENT_BYTES, b'#');
    block
}

/// Writes a file of oic's own, unless the template has a file for the same place.
fn provide(root: &Root, path: &Path, contents: &[u8], mode: u32) -> Result<(), BootError> {
    match root.is_spared(path) {
        true => Ok(()),
        false => Ok(root.write(path, contents, mode)?),
    }
}

#[cfg(test)]
mod tests;
