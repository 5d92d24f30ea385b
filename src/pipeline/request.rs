//! What the caller asks a build for.

use std::path::PathBuf;
use std::time::SystemTime;

use crate::durable::Owner;
use crate::fetch::Network;
use crate::image::artifacts;
use crate::model::{Artifact, ArtifactFormat, Compression};
use crate::mount::Engine;
use crate::provider::mirror::Mirrors;
use crate::resolve::lockfile::Lockfile;
use crate::template::Loaded;
use crate::workspace::{ImageBuild, Workspace};

/// Which packages to select, and where they may come from.
#[derive(Debug, Clone)]
pub struct Selecting {
    /// The template, and the provider it names.
    pub loaded: Loaded,
    /// Where packages may come from.
    pub mirrors: Mirrors,
    /// Directory of the package cache.
    pub cache_dir: PathBuf,
    /// Directory of bases and images.
    pub work_dir: PathBuf,
    /// Number of downloads at once.
    pub workers: usize,
    /// Proxies and credentials for downloads.
    pub network: Network,
    /// Whether only what is cached may be used.
    pub offline: bool,
    /// The time that `Valid-Until` is compared with.
    pub now: SystemTime,
}

/// What the build host gives a build to sign with.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SigningMeans {
    /// The program that signs, with its arguments; empty for none.
    pub command: Vec<String>,
    /// The directory of the credentials of this process, if it has some (systemd.exec(5)).
    pub credentials: Option<PathBuf>,
}

/// What to build, and with what.
#[derive(Debug, Clone)]
pub struct BuildRequest {
    /// Which packages, and from where.
    pub selecting: Selecting,
    /// The lockfile with exactly the packages to install.
    pub lock: Option<Lockfile>,
    /// Whether to reuse nothing of an earlier build: no resolution, no base, no step layer, no image.
    pub from_scratch: bool,
    /// Whether to compute the SHA-256 of a raw image that is delivered; that takes the time of its size, holes too.
    pub sha256: bool,
    /// The engine that merges the layers; the image is the same.
    pub engine: Engine,
    /// Where to write the dependency graph as well.
    pub dot_file: Option<PathBuf>,
    /// Whether that graph leaves out what the template did not ask for by name.
    pub system_packages_only: bool,
    /// Upper limit of all times in the image, in seconds since 1970; by default the newest package's date.
    pub source_date_epoch: Option<u64>,
    /// The user that gets the delivered files; by default they are the caller's.
    pub owner: Option<Owner>,
    /// What the build host signs with.
    pub signing: SigningMeans,
    /// What a medium installs.
    pub payload: Option<Payload>,
}

/// A finished disk image that a medium installs.
#[derive(Debug, Clone)]
pub struct Payload {
    /// The image, compressed with zstd.
    pub image: PathBuf,
    /// Its size in bytes when it is unpacked.
    pub size_bytes: u64,
    /// Tells its contents from others.
    pub digest: String,
}

impl BuildRequest {
    /// Makes a request for the image of `selecting`, without any option.
    pub fn new(selecting: Selecting) -> Self {
        Self {
            selecting,
            lock: None,
            from_scratch: false,
            sha256: false,
            engine: Engine::default(),
            dot_file: None,
            system_packages_only: false,
            source_date_epoch: None,
            owner: None,
            signing: SigningMeans::default(),
            payload: None,
        }
    }

    /// Gives the template and its provider.
    pub fn loaded(&self) -> &Loaded {
        &self.selecting.loaded
    }

    /// Says where the provider's files are.
    pub(super) fn workspace(&self) -> Workspace {
        let Selecting {
            loaded,
            cache_dir,
            work_dir,
            ..
        } = &self.selecting;
        Workspace::new(cache_dir, work_dir, &loaded.provider.id())
    }

    /// Says where the image's files are.
    pub(super) fn image_build(&self) -> ImageBuild {
        self.workspace().image_build(&self.loaded().template.system.name)
    }

    /// Gives the base name of the output files, `{image.name}-{version}`.
    pub(super) fn output_name(&self) -> String {
        let Loaded { template, provider, .. } = self.loaded();
        format!("{}-{}", template.image.name, provider.release_version)
    }

    /// Lists what is delivered: what the template names, or the one thing that an image without a disk consists of.
    pub(super) fn artifacts(&self) -> Vec<Artifact> {
        let template = &self.loaded().template;
        let mut artifacts = template.disk.artifacts.clone();
        if let Some(format) = template.target.image_type.archive().filter(|_| artifacts.is_empty()) {
            artifacts.push(Artifact {
                format,
                compression: Some(Compression::Gzip),
                level: None,
            });
        }
        for unified in artifacts.clone() {
            if unified.format != ArtifactFormat::Uki {
                continue;
            }
            // It is made of an initrd that is delivered as well.
            let initrd = initrd_of(&unified);
            if artifacts.iter().all(|other| *other != initrd) {
                artifacts.push(initrd);
            }
        }
        artifacts
    }

    /// Says where the raw image goes if it is delivered.
    fn delivered_raw(&self) -> PathBuf {
        let directory = self.image_build().directory().to_owned();
        directory.join(format!("{}.raw", self.output_name()))
    }

    /// Says whether the raw image is delivered.
    pub(super) fn delivers_raw(&self) -> bool {
        artifacts::keeps_raw(&self.artifacts())
    }

    /// Says where the raw image goes: to its name if it is delivered, or else to the state of the build.
    pub(super) fn raw_path(&self) -> PathBuf {
        match self.delivers_raw() {
            true => self.delivered_raw(),
            false => self.image_build().image_state(),
        }
    }

    /// Lists where a machine finds what it can start, if it was built: the raw image, or the archive that takes its place.
    pub fn bootable(&self) -> Vec<PathBuf> {
        if self.loaded().template.target.image_type.archive().is_none() {
            return self.earlier_raws().into();
        }
        let name = |artifact: &Artifact| artifacts::file_name(&self.output_name(), artifact);
        let directory = self.image_build().directory().to_owned();
        self.artifacts()
            .iter()
            .map(|artifact| directory.join(name(artifact)))
            .collect()
    }

    /// Lists where the raw image of the build before may lie: its template may have delivered it, or not.
    pub(super) fn earlier_raws(&self) -> [PathBuf; 2] {
        [self.delivered_raw(), self.image_build().image_state()]
    }
}

/// Returns the initrd of which a unified kernel image is made: one with gzip, unless it names another compression.
pub(super) fn initrd_of(unified: &Artifact) -> Artifact {
    Artifact {
        format: ArtifactFormat::Img,
        compression: Some(unified.compression.unwrap_or(Compression::Gzip)),
        level: unified.level,
    }
}
