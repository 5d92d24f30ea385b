//! What the boot loader has in the tree: a part of the last step.

use std::ffi::OsString;
use std::path::Path;

use super::Assembly;
use crate::boot::grub;
use crate::image::iso;
use crate::layer::KeyBuilder;
use crate::model::{BootProvider, ImageType};
use crate::mount::session::THIS_PROGRAM;
use crate::pipeline::error::BuildError;
use crate::root::Root;

impl Assembly<'_> {
    /// Says whether GRUB starts the image's disk.
    fn has_grub(&self) -> bool {
        let template = &self.context.loaded().template;
        template.target.image_type.has_disk() && template.system.bootloader.provider == BootProvider::Grub
    }

    /// Says whether the image is an optical medium.
    fn is_medium(&self) -> bool {
        self.context.loaded().template.target.image_type == ImageType::Iso
    }

    /// Adds to `key` what the step takes from the disk: its mount points, and what GRUB's files depend on.
    pub(super) fn add_disk(&self, key: &mut KeyBuilder) {
        for partition in &self.plan.partitions {
            key.add("mount point", format!("{:?}", partition.partition.mount_point));
        }
        if self.is_medium() {
            key.add("medium", format!("{} {}", grub::VERSION, self.dates.image));
        }
        if self.has_grub() {
            let system = &self.context.loaded().template.system;
            key.add("grub", grub::VERSION.to_le_bytes());
            key.add(
                "grub's input",
                format!("{:?}", (&system.kernel, system.bootloader, self.plan)),
            );
        }
    }

    /// Writes the loader's settings to the tree `root`, before the template's own; `env` is that of its programs.
    pub(super) fn write_loader_defaults(&self, root: &Root, env: &[(OsString, OsString)]) -> Result<(), BuildError> {
        match self.has_grub() {
            true => Ok(grub::write_defaults(&self.of_grub(&self.spared(root), env))?),
            false => Ok(()),
        }
    }

    /// Writes the loader's menu to the tree `root`, when kernels and initrds are complete.
    pub(super) fn install_loader(&self, root: &Root, env: &[(OsString, OsString)]) -> Result<(), BuildError> {
        if self.is_medium() {
            let (request, uuid) = (self.of_grub(root, env), iso::modified(self.dates.image));
            return Ok(grub::medium::install(&request, &uuid, self.context.work)?);
        }
        match self.has_grub() {
            true => Ok(grub::install(
                &self.of_grub(&self.spared(root), env),
                self.context.work,
            )?),
            false => Ok(()),
        }
    }

    /// Returns the tree `root`, with the files of the template spared.
    fn spared(&self, root: &Root) -> Root {
        root.sparing(self.context.loaded().template.system.destinations())
    }

    fn of_grub<'a>(&'a self, root: &'a Root, env: &'a [(OsString, OsString)]) -> grub::Request<'a> {
        let template = &self.context.loaded().template;
        grub::Request {
            root,
            plan: self.plan,
            arch: template.target.arch,
            boot_type: template.system.bootloader.boot_type,
            kernel: &template.system.kernel,
            env,
            helper: Path::new(THIS_PROGRAM),
        }
    }
}
