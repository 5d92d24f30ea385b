//! The manifest beside the image: its files, each with what vouches for it.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::disk::image::Image;
use crate::disk::system::System;
use crate::disk::walk;
use crate::durable::{AtomicFile, PathError};
use crate::image::ImageError;
use crate::image::artifacts::{Beside, Body};
use crate::image::merged::Merged;
use crate::installed::visit::Seen;
use crate::installed::{Database, Owners};
use crate::manifest::{self, Manifest, ManifestLayer, Origin, Sources, Voucher, Vouching, VouchingPackage};
use crate::overlay::Ino;
use crate::overlay::layer::{FileKind, Layer, LayerResult};
use crate::package::Sha256;
use crate::pipeline::context::Context;
use crate::resolve::lockfile::Lockfile;
use crate::sbom;
use crate::work::Work;

/// The end of its name.
pub const SUFFIX: &str = "manifest.json";
/// The version of what is made here; it counts up when the same image would get another manifest.
const VERSION: u32 = 1;
/// The steps in which packages are installed.
const OF_PACKAGES: [&str; 4] = ["base", "system", "packages", "packages with answers"];
/// What the build itself writes in the last step, besides the template's files.
const OF_SETTINGS: [&str; 22] = [
    "/boot",
    "/etc/apt",
    "/etc/dnf",
    "/etc/yum.repos.d",
    "/etc/fstab",
    "/etc/hostname",
    "/etc/hosts",
    "/etc/image-id",
    "/etc/locale.conf",
    "/etc/localtime",
    "/etc/machine-id",
    "/etc/modules-load.d",
    "/etc/netplan",
    "/etc/resolv.conf",
    "/etc/sudoers.d",
    "/etc/sysctl.d",
    "/etc/systemd",
    "/etc/timezone",
    "/etc/vconsole.conf",
    "/etc/default",
    "/var/lib/apt",
    "/var/lib/systemd",
];
/// Databases of users, which the template's users change.
const OF_USERS: [&str; 8] = [
    "/etc/passwd",
    "/etc/group",
    "/etc/shadow",
    "/etc/gshadow",
    "/etc/subuid",
    "/etc/subgid",
    "/home",
    "/root",
];

/// Digests of the manifest before, by layer and path.
type Known<'a> = HashMap<(Sha256, &'a str), Sha256>;

/// What a manifest is made of.
pub struct Making<'a> {
    /// What the rooms of the build share.
    pub context: &'a Context<'a>,
    /// The tree.
    pub merged: &'a Merged,
    /// The layers that it is merged of, the topmost first.
    pub layers: Vec<ManifestLayer>,
    /// The packages.
    pub lockfile: &'a Lockfile,
    /// The upper limit of all times in the image, in seconds since 1970.
    pub epoch_seconds: u64,
    /// The file of the image.
    pub raw: PathBuf,
}

/// Returns the manifest of an image, to be made unless that of an earlier build is the same. `content` tells the
/// contents of the image from others.
pub fn beside<'a>(making: Making<'a>, content: &str) -> Beside<'a> {
    let name = format!("{}.{SUFFIX}", making.context.request.output_name());
    let identity = Sha256::of(format!(
        "{VERSION} {content} {} {}",
        making.lockfile.digest(),
        making.epoch_seconds
    ));
    let make = move |target: &Path, work: Work<'_>| {
        let manifest = making.make(target, work)?;
        let text = manifest.to_json();
        let mut file = AtomicFile::create(target)?;
        let written = std::io::Write::write_all(file.file(), &text).and_then(|()| file.file().sync_all());
        written.map_err(PathError::on("write", target))?;
        Ok((file, Sha256::of(&text)))
    };
    Beside {
        name,
        body: Body::Made(identity, Box::new(make)),
    }
}

impl Making<'_> {
    /// Makes the manifest. `before` is where that of the build before lies.
    fn make(&self, before: &Path, work: Work<'_>) -> Result<Manifest, ImageError> {
        let raw = &self.raw;
        let failed = |error: &dyn std::fmt::Display| {
            ImageError::Io(PathError::on("list the files of", raw)(std::io::Error::other(
                error.to_string(),
            )))
        };
        let database = Database::read(self.merged).map_err(|error| failed(&error))?;
        let owners = Owners::read(self.merged, &database).map_err(|error| failed(&error))?;
        let earlier = fs::read(before).ok().and_then(|text| Manifest::from_json(&text).ok());
        let known = earlier.as_ref().map(Manifest::known).unwrap_or_default();
        let origin = |path: &Path, file: &Seen| self.origin(path, file, &known);
        let package = |path: &str| {
            let index = owners.of(path)?;
            database.packages.get(index).map(|package| package.name.clone())
        };
        let voucher = |path: &str, layer: Option<usize>| self.voucher(path, layer, package(path));
        let sources = Sources {
            origin: &origin,
            voucher: &voucher,
            threads: work.threads,
            cancel: work.cancel,
        };
        let template = &self.context.loaded().template;
        // What is encrypted cannot be read back; the tree is what was written.
        let is_readable = template.target.image_type.has_disk() && template.system.encryption.is_none();
        let files = match is_readable {
            true => {
                let image = Image::open(raw).map_err(|error| failed(&error))?;
                let system = System::of(&image).map_err(|error| failed(&error))?;
                manifest::entries(&system, &sources)
            }
            false => manifest::entries(self.merged, &sources),
        };
        work.cancel.check()?;
        let packages = self.lockfile.packages.iter().map(|package| VouchingPackage {
            name: package.name.clone(),
            version: package.version.clone(),
            architecture: package.architecture.clone(),
            repository: package.repository.clone(),
            checksum: format!("{}:{}", package.checksum.algorithm().name(), package.checksum),
        });
        let repositories = self.lockfile.repositories.iter().map(|repository| Vouching {
            id: repository.id.clone(),
            suite: repository.suite.clone(),
            date: repository.date.clone(),
            digest: repository.digest.clone(),
        });
        Ok(Manifest {
            image: self.context.request.output_name(),
            provider: self.lockfile.provider.clone(),
            epoch_seconds: self.epoch_seconds,
            repositories: repositories.collect(),
            packages: packages.collect(),
            layers: self.layers.clone(),
            files: files.map_err(|error| failed(&error))?,
            ..Manifest::new()
        })
    }

    /// Finds the layer of a file; its digest is that of the layer or of the manifest before, if either has one.
    fn origin(&self, path: &Path, file: &Seen, known: &Known<'_>) -> LayerResult<Option<Origin>> {
        let node = match walk::find(self.merged, path, false) {
            Ok(node) => node,
            Err(error) if walk::is_absence(&error) => return Ok(None),
            Err(error) => return Err(error),
        };
        let attributes = self.merged.attributes(node)?;
        let is_same = attributes.kind == file.attributes.kind
            && (attributes.kind != FileKind::Regular || attributes.size_bytes == file.attributes.size_bytes);
        if !is_same {
            return Ok(None);
        }
        let (layer, _) = self.merged.overlay().origin(Ino(node.0))?;
        let key = self.layers.get(layer).and_then(|layer| layer.key);
        let of_earlier = || known.get(&(key?, path.to_str()?)).copied();
        Ok(Some(Origin {
            layer,
            digest: self.merged.digest(node)?.or_else(of_earlier),
        }))
    }

    /// Says what vouches for the file `path` of a layer, which belongs to `package`.
    fn voucher(&self, path: &str, layer: Option<usize>, package: Option<String>) -> Option<Voucher> {
        let Some(layer) = layer else {
            // Only the writer of the image adds files to the tree.
            return Some(Voucher::Build("boot loader".to_owned()));
        };
        let step = self.layers.get(layer).map_or("", |layer| layer.step.as_str());
        if OF_PACKAGES.contains(&step) {
            return Some(package.map_or_else(|| Voucher::Scripts(step.to_owned()), Voucher::Package));
        }
        let system = &self.context.loaded().template.system;
        let is_below = |places: &[&str]| places.iter().any(|place| Path::new(path).starts_with(place));
        let template = |field: &str| Some(Voucher::Template(field.to_owned()));
        match step {
            "initrd" => Some(Voucher::Build("initrd".to_owned())),
            "accounts" => template("systemConfig.users"),
            _ if system.destinations().any(|given| given == path) => {
                template(&format!("systemConfig.additionalFiles: {path}"))
            }
            _ if is_below(&[sbom::DIRECTORY]) => Some(Voucher::Build("bill of materials".to_owned())),
            _ if is_below(&OF_USERS) => template("systemConfig.users"),
            // Without commands, all of it follows from the template.
            _ if is_below(&OF_SETTINGS) || system.commands.is_empty() => template("systemConfig"),
            _ => None,
        }
    }
}
