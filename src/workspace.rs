//! Where everything lies on disk (DESIGN "On disk"): names only, no I/O.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The directories of one provider.
///
/// ```text
/// {cache_dir}/pkgCache/{provider-id}/      packages, metadata/, chrootpkgs.dot
/// {work_dir}/{provider-id}/
///     chrootenv/                           mount point of the live base
///     chrootbuild/chrootenv.tar.gz, .idx   the snapshot and its index
///     chrootbuild/chroot/                  the backing store
///     chrootbuild/layers/{key}/            step layers
///     imagebuild/{systemConfigName}/       one build: upper/ and what it made
///     mounts/{name}/                       the writable layer of `oic mount --upper {name}`
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workspace {
    package_cache: PathBuf,
    provider: PathBuf,
}

impl Workspace {
    /// The directories of `provider_id` below `cache_dir` and `work_dir`.
    pub fn new(cache_dir: &Path, work_dir: &Path, provider_id: &str) -> Self {
        Self {
            package_cache: cache_dir.join("pkgCache").join(provider_id),
            provider: work_dir.join(provider_id),
        }
    }

    /// The same, but with packages and metadata in `directory`.
    #[must_use]
    pub fn with_package_cache(mut self, directory: &Path) -> Self {
        self.package_cache = directory.to_owned();
        self
    }

    /// Verified packages, flat.
    pub fn package_cache(&self) -> &Path {
        &self.package_cache
    }

    /// Verified repository indexes.
    pub fn metadata(&self) -> PathBuf {
        self.package_cache.join("metadata")
    }

    /// Resolutions that are remembered.
    pub fn resolutions(&self) -> PathBuf {
        self.metadata().join("resolutions")
    }

    /// The dependency graph of what was resolved last.
    pub fn dependency_graph(&self) -> PathBuf {
        self.package_cache.join("chrootpkgs.dot")
    }

    /// The provider's directory.
    pub fn provider(&self) -> &Path {
        &self.provider
    }

    /// Where `oic mount` shows the base.
    pub fn chrootenv(&self) -> PathBuf {
        self.provider.join("chrootenv")
    }

    /// The snapshot's directory.
    pub fn chrootbuild(&self) -> PathBuf {
        self.provider.join("chrootbuild")
    }

    /// The snapshot.
    pub fn tarball(&self) -> PathBuf {
        self.chrootbuild().join("chrootenv.tar.gz")
    }

    /// The snapshot index.
    pub fn index(&self) -> PathBuf {
        self.chrootbuild().join("chrootenv.idx")
    }

    /// The backing store of the base.
    pub fn backing_store(&self) -> PathBuf {
        self.chrootbuild().join("chroot")
    }

    /// Held exclusively while a base is made, shared while one is used.
    pub fn base_lock(&self) -> PathBuf {
        self.chrootbuild().join("lock")
    }

    /// Held shared by whoever uses the package cache, exclusively by whoever removes from it.
    /// It lies beside the directory, so that it outlives it.
    pub fn cache_lock(&self) -> PathBuf {
        beside(&self.package_cache, ".lock")
    }

    /// As [`Self::cache_lock`], for the provider's directory. Its time of last modification is
    /// when the provider was last used.
    pub fn work_lock(&self) -> PathBuf {
        beside(&self.provider, ".lock")
    }

    /// Step layers.
    pub fn layers(&self) -> PathBuf {
        self.chrootbuild().join(LAYERS)
    }

    /// The directory that holds those of all image builds.
    pub fn image_builds(&self) -> PathBuf {
        self.provider.join("imagebuild")
    }

    /// The writable layers of `oic mount`.
    pub fn mounts(&self) -> PathBuf {
        self.provider.join("mounts")
    }

    /// The directory of one image build.
    pub fn image_build(&self, system_config: &str) -> ImageBuild {
        ImageBuild {
            directory: self.image_builds().join(system_config),
        }
    }
}

/// The directory for what belongs to a tarball that came from elsewhere. It can be deleted as a whole; the next
/// mount makes it again.
///
/// ```text
/// {tarball}.oic/  or  {work_dir}/tarballs/{digest of its path}/
///     chrootenv/                           mount point
///     chrootenv.idx                        its index
///     chroot/                              the backing store
///     mounts/{name}/                       the writable layer of `oic mount --upper {name}`
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TarballPlace {
    directory: PathBuf,
}

impl TarballPlace {
    /// Beside `tarball`.
    pub fn beside(tarball: &Path) -> Self {
        Self {
            directory: beside(tarball, ".oic"),
        }
    }

    /// In the work directory, under `name`.
    pub fn in_work_dir(work_dir: &Path, name: &str) -> Self {
        Self {
            directory: work_dir.join("tarballs").join(name),
        }
    }

    /// The directory itself.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The tarball's index.
    pub fn index(&self) -> PathBuf {
        self.directory.join("chrootenv.idx")
    }

    /// Its backing store.
    pub fn backing_store(&self) -> PathBuf {
        self.directory.join("chroot")
    }

    /// Where it is shown.
    pub fn mount_point(&self) -> PathBuf {
        self.directory.join("chrootenv")
    }

    /// Writable layers over it.
    pub fn mounts(&self) -> PathBuf {
        self.directory.join("mounts")
    }
}

/// `path` with `suffix` appended to its name.
fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(suffix);
    path.with_file_name(name)
}

/// The directory of one image build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageBuild {
    directory: PathBuf,
}

impl ImageBuild {
    /// The build whose directory is `directory`.
    pub fn at(directory: PathBuf) -> Self {
        Self { directory }
    }

    /// The directory itself.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Held exclusively by the build. It lies beside the directory, which a build removes.
    pub fn lock(&self) -> PathBuf {
        beside(&self.directory, ".lock")
    }

    /// The build's thin layer.
    pub fn upper(&self) -> PathBuf {
        self.directory.join("upper")
    }

    /// What the upper lies on: the keys of the base and of step layers.
    pub fn below(&self) -> PathBuf {
        self.directory.join("upper.base")
    }

    /// What the upper says of itself, as a step layer does.
    pub fn upper_manifest(&self) -> PathBuf {
        self.directory.join("upper.json")
    }

    /// The directory of the build before, while this one runs.
    pub fn previous(&self) -> Self {
        let mut name = std::ffi::OsString::from(".oic-tmp-previous-");
        name.push(self.directory.file_name().unwrap_or_default());
        Self {
            directory: self.directory.with_file_name(name),
        }
    }

    /// The kernel overlay's work directory: same file system as the upper, gone after the build.
    pub fn work(&self) -> PathBuf {
        self.directory.join(".oic-tmp-work")
    }

    /// Mount point of the merged tree, in the build's own mount namespace.
    pub fn merged_mount(&self) -> PathBuf {
        self.directory.join(".oic-tmp-merged")
    }

    /// What the scripts of packages and the template's commands printed.
    pub fn log(&self) -> PathBuf {
        self.directory.join("build.log")
    }

    /// What is where in the raw image, so that the next build writes only what differs.
    pub fn image_record(&self) -> PathBuf {
        self.directory.join(".image-record")
    }

    /// Where the raw image of the build before is kept while the next one is made, beside the directory; a
    /// temporary file.
    pub fn earlier_image(&self) -> PathBuf {
        let mut name = OsString::from(".oic-tmp-earlier-");
        name.push(self.directory.file_name().unwrap_or_default());
        self.directory.with_file_name(name)
    }

    /// The lockfile of what was installed.
    pub fn lockfile(&self, image: &str) -> PathBuf {
        self.directory.join(format!("{image}{LOCKFILE_SUFFIX}"))
    }
}

/// The name of the directory of step layers.
pub const LAYERS: &str = "layers";

/// Names of lockfiles end like this.
pub const LOCKFILE_SUFFIX: &str = ".lock.json";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_layout_is_the_documented_one() {
        let workspace = Workspace::new(Path::new("/c"), Path::new("/w"), "debian-debian13-x86_64");
        assert_eq!(
            workspace.package_cache(),
            Path::new("/c/pkgCache/debian-debian13-x86_64")
        );
        assert_eq!(
            workspace.tarball(),
            Path::new("/w/debian-debian13-x86_64/chrootbuild/chrootenv.tar.gz")
        );
        let build = workspace.image_build("edge.1");
        assert_eq!(
            build.directory(),
            Path::new("/w/debian-debian13-x86_64/imagebuild/edge.1")
        );
        assert_eq!(
            build.earlier_image(),
            Path::new("/w/debian-debian13-x86_64/imagebuild/.oic-tmp-earlier-edge.1")
        );
        assert_eq!(
            build.lock(),
            Path::new("/w/debian-debian13-x86_64/imagebuild/edge.1.lock")
        );
    }
}
