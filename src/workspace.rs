//! The paths of everything on disk ("On disk" in `docs/architecture.md`): names only, no I/O.

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
///     imagebuild/{systemConfigName}/       one build: upper/, what it made, and .image-state.raw
///     mounts/{name}/                       the writable layer of `oic mount --upper {name}`
/// ```
///
/// `{work_dir}/{provider-id}/` has mode 0700: uppers and layers keep the owners and set-id bits of an image, which
/// mean something on the build host too. The package cache is open to read: what is in it is public.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workspace {
    package_cache: PathBuf,
    provider: PathBuf,
}

impl Workspace {
    /// Returns the directories of `provider_id` below `cache_dir` and `work_dir`.
    pub fn new(cache_dir: &Path, work_dir: &Path, provider_id: &str) -> Self {
        Self {
            package_cache: cache_dir.join("pkgCache").join(provider_id),
            provider: work_dir.join(provider_id),
        }
    }

    /// Returns the workspace with packages and metadata in `directory`.
    #[must_use]
    pub fn with_package_cache(mut self, directory: &Path) -> Self {
        self.package_cache = directory.to_owned();
        self
    }

    /// Returns the directory of verified packages, flat.
    pub fn package_cache(&self) -> &Path {
        &self.package_cache
    }

    /// Returns the directory of verified repository indexes.
    pub fn metadata(&self) -> PathBuf {
        self.package_cache.join("metadata")
    }

    /// Returns the directory of remembered resolutions.
    pub fn resolutions(&self) -> PathBuf {
        self.metadata().join("resolutions")
    }

    /// Returns the file with the dependency graph of the last resolution.
    pub fn dependency_graph(&self) -> PathBuf {
        self.package_cache.join("chrootpkgs.dot")
    }

    /// Returns the provider's directory.
    pub fn provider(&self) -> &Path {
        &self.provider
    }

    /// Returns the mount point at which `oic mount` shows the base.
    pub fn chrootenv(&self) -> PathBuf {
        self.provider.join("chrootenv")
    }

    /// Returns the snapshot's directory.
    pub fn chrootbuild(&self) -> PathBuf {
        self.provider.join("chrootbuild")
    }

    /// Returns the path of the snapshot.
    pub fn tarball(&self) -> PathBuf {
        self.chrootbuild().join("chrootenv.tar.gz")
    }

    /// Returns the snapshot index.
    pub fn index(&self) -> PathBuf {
        self.chrootbuild().join("chrootenv.idx")
    }

    /// Returns the backing store of the base.
    pub fn backing_store(&self) -> PathBuf {
        self.chrootbuild().join("chroot")
    }

    /// Returns the lock file that is held exclusively while a base is made, shared while one is used.
    pub fn base_lock(&self) -> PathBuf {
        self.chrootbuild().join("lock")
    }

    /// Returns the lock file that is held shared by users of the package cache, exclusively to remove from it. It
    /// lies beside the directory, so that it outlives it.
    pub fn cache_lock(&self) -> PathBuf {
        beside(&self.package_cache, ".lock")
    }

    /// Returns a lock file like that of [`Self::cache_lock`] for the provider's directory. Its time of last
    /// modification is when the provider was last used.
    pub fn work_lock(&self) -> PathBuf {
        beside(&self.provider, ".lock")
    }

    /// Returns the directory of step layers.
    pub fn layers(&self) -> PathBuf {
        self.chrootbuild().join(LAYERS)
    }

    /// Returns the directory that contains those of all image builds.
    pub fn image_builds(&self) -> PathBuf {
        self.provider.join("imagebuild")
    }

    /// Returns the directory of the writable layers of `oic mount`.
    pub fn mounts(&self) -> PathBuf {
        self.provider.join("mounts")
    }

    /// Returns the directory of one image build.
    pub fn image_build(&self, system_config: &str) -> ImageBuild {
        ImageBuild {
            directory: self.image_builds().join(system_config),
        }
    }
}

/// The directory for the files that belong to a tarball from elsewhere. It can be deleted as a whole; the next mount
/// makes it again.
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
    /// Returns the place beside `tarball`.
    pub fn beside(tarball: &Path) -> Self {
        Self {
            directory: beside(tarball, ".oic"),
        }
    }

    /// Returns the place in the work directory, under `name`.
    pub fn in_work_dir(work_dir: &Path, name: &str) -> Self {
        Self {
            directory: Self::directory_in(work_dir).join(name),
        }
    }

    /// Returns the directory of all places in the work directory.
    pub fn directory_in(work_dir: &Path) -> PathBuf {
        work_dir.join("tarballs")
    }

    /// Returns the place whose directory is `directory`.
    pub fn at(directory: PathBuf) -> Self {
        Self { directory }
    }

    /// Returns the directory itself.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Returns the tarball's index.
    pub fn index(&self) -> PathBuf {
        self.directory.join("chrootenv.idx")
    }

    /// Returns its backing store.
    pub fn backing_store(&self) -> PathBuf {
        self.directory.join("chroot")
    }

    /// Returns its mount point.
    pub fn mount_point(&self) -> PathBuf {
        self.directory.join("chrootenv")
    }

    /// Returns the directory of the writable layers over it.
    pub fn mounts(&self) -> PathBuf {
        self.directory.join("mounts")
    }
}

/// Returns `path` with `suffix` appended to its name.
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
    /// Returns the build whose directory is `directory`.
    pub fn at(directory: PathBuf) -> Self {
        Self { directory }
    }

    /// Returns the directory itself.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Returns the lock file that the build holds exclusively. It lies beside the directory, which a build removes.
    pub fn lock(&self) -> PathBuf {
        beside(&self.directory, ".lock")
    }

    /// Returns the directory that has the upper alone. Its mode is 0700, whatever that of the image's root directory: what
    /// a build delivers may be open to its user, programs with the image's privileges are not.
    pub fn upper_room(&self) -> PathBuf {
        self.directory.join("upper")
    }

    /// Returns the build's thin layer.
    pub fn upper(&self) -> PathBuf {
        self.upper_room().join("tree")
    }

    /// Returns the file with the keys of the base and of the step layers below the upper.
    pub fn below(&self) -> PathBuf {
        self.directory.join("upper.base")
    }

    /// Returns the manifest of the upper, like that of a step layer.
    pub fn upper_manifest(&self) -> PathBuf {
        self.directory.join("upper.json")
    }

    /// Returns the checksums of the upper's files, like those of a step layer.
    pub fn upper_sums(&self) -> PathBuf {
        self.directory.join("upper.sums")
    }

    /// Returns the directory of the build before, while this one runs.
    pub fn previous(&self) -> Self {
        let mut name = OsString::from(PREVIOUS);
        name.push(self.directory.file_name().unwrap_or_default());
        Self {
            directory: self.directory.with_file_name(name),
        }
    }

    /// Says whether `path` is named as [`Self::previous`] of some build is.
    pub fn is_previous(path: &Path) -> bool {
        let name = path.file_name().unwrap_or_default();
        name.as_encoded_bytes().starts_with(PREVIOUS.as_bytes())
    }

    /// Returns the kernel overlay's work directory: same file system as the upper, gone after the build.
    pub fn work(&self) -> PathBuf {
        self.directory.join(".oic-tmp-work")
    }

    /// Returns the mount point of the merged tree, in the build's own mount namespace.
    pub fn merged_mount(&self) -> PathBuf {
        self.directory.join(".oic-tmp-merged")
    }

    /// Returns the log of what the scripts of packages and the template's commands printed.
    pub fn log(&self) -> PathBuf {
        self.directory.join("build.log")
    }

    /// Returns the record of the raw image's layout, from which the next build writes only what differs.
    pub fn image_record(&self) -> PathBuf {
        self.directory.join(".image-record")
    }

    /// Returns the signatures of the build, which the next one takes for what did not change.
    pub fn signatures(&self) -> PathBuf {
        self.directory.join(".signatures")
    }

    /// Returns the seed of the keys of encrypted partitions, if it came from chance.
    pub fn disk_seed(&self) -> PathBuf {
        self.directory.join(".disk-seed")
    }

    /// Returns the record of the delivered artifacts, from which the next build takes what did not change.
    pub fn artifact_record(&self) -> PathBuf {
        self.directory.join(".artifact-record")
    }

    /// Returns the raw image of a build that does not deliver it: the state from which the next build starts.
    pub fn image_state(&self) -> PathBuf {
        self.directory.join(IMAGE_STATE)
    }

    /// Returns the path, beside the directory, where the raw image of the build before is kept while the next one is
    /// made; a temporary file.
    pub fn earlier_image(&self) -> PathBuf {
        let mut name = OsString::from(".oic-tmp-earlier-");
        name.push(self.directory.file_name().unwrap_or_default());
        self.directory.with_file_name(name)
    }

    /// Returns the lockfile of the packages installed in `image`.
    pub fn lockfile(&self, image: &str) -> PathBuf {
        self.directory.join(format!("{image}{LOCKFILE_SUFFIX}"))
    }
}

/// The start of the name of a build's directory that the next one has put aside.
const PREVIOUS: &str = ".oic-tmp-previous-";

/// The name of the raw image that is the state of a build.
pub const IMAGE_STATE: &str = ".image-state.raw";

/// The name of the directory of step layers.
pub const LAYERS: &str = "layers";

/// The suffix of the names of lockfiles.
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
