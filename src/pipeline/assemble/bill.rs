//! The bill of materials of the image, which the last step writes into it.

use std::fs::File;
use std::path::{Path, PathBuf};

use super::{Assembly, BuildError, KeyBuilder};
use crate::durable::PathError;
use crate::image::merged::Merged;
use crate::root::Root;
use crate::sbom::{self, Build, Form, Subject};

/// The mode of its files.
const MODE: u32 = 0o644;

/// Returns the path in the image of the bill in the form `form`, of an image whose files begin with `stem`.
pub fn path(stem: &str, form: Form) -> PathBuf {
    Path::new(sbom::DIRECTORY).join(format!("{stem}.{}", form.suffix()))
}

impl Assembly<'_> {
    /// Adds to `key` what the bill is made of besides the tree.
    pub(super) fn add_bill(&self, key: &mut KeyBuilder) {
        let request = self.context.request;
        key.add("bill", sbom::VERSION.to_le_bytes());
        key.add("bill of", request.output_name());
        key.add("bill packages", self.selection.lockfile.seed().0);
        for repository in &self.selection.lockfile.repositories {
            key.add("bill repository", format!("{}\0{}", repository.id, repository.suite));
        }
        for stated in &request.loaded().template.stated {
            key.add("bill stated", format!("{stated:?}"));
        }
    }

    /// Writes the bill of `tree` to `root`, the same tree mounted. What the template or a command has put there stays.
    pub(super) fn write_bill(&self, root: &Root, tree: &Merged) -> Result<(), BuildError> {
        // What the mount still keeps to itself would be missing in the tree.
        let mounted = File::open(root.path()).map_err(PathError::on("open", root.path()))?;
        rustix::fs::syncfs(&mounted).map_err(|errno| PathError::on("sync", root.path())(errno.into()))?;
        let request = self.context.request;
        let template = &request.loaded().template;
        let stem = request.output_name();
        let bill = sbom::bill(
            tree,
            &Subject {
                name: &template.image.name,
                version: &request.loaded().provider.release_version,
                epoch_seconds: self.dates.image,
                build: Some(&Build {
                    lockfile: &self.selection.lockfile,
                    stated: &template.stated,
                }),
                with_files: false,
                threads: self.context.work.threads,
            },
        )?;
        for form in Form::ALL {
            let path = path(&stem, form);
            if !root.exists(&path)? {
                root.write(&path, bill.document(form), MODE)?;
            }
        }
        // The name under which the tool that oic replaces leaves it.
        let kind = bill.manager.package_word();
        let link = format!("{}/spdx_manifest_{kind}_{}.json", sbom::DIRECTORY, template.image.name);
        if !kind.is_empty() && !root.exists(&link)? {
            root.symlink(format!("{stem}.{}", Form::Spdx.suffix()), &link)?;
        }
        Ok(())
    }
}
