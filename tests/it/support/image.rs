//! A writable image root for tests: an overlay above the Debian base, unmounted when dropped.

use std::path::{Path, PathBuf};

use super::program::own_mounts;
use oic::cancel::Cancel;
use oic::install::{InitrdRequest, InstallError, InstallReport, InstallRequest, Marks};
use oic::package::{Arch, ResolvedPackage};
use oic::repo::deb::Deb;
use oic::root::Root;
use oic::system::System as _;
use oic::work::Work;
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

/// `SOURCE_DATE_EPOCH` of the tests' images, in seconds.
pub const EPOCH: u64 = 1_760_000_000;

#[derive(Debug)]
pub struct Image {
    directory: tempfile::TempDir,
}

impl Image {
    pub fn over(base: &Path) -> Self {
        own_mounts();
        let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let at = |name: &str| directory.path().join(name);
        for name in ["upper", "work", "root"] {
            std::fs::create_dir(at(name)).unwrap();
        }
        let options = format!(
            "lowerdir={},upperdir={},workdir={},volatile",
            base.display(),
            at("upper").display(),
            at("work").display()
        );
        let options = std::ffi::CString::new(options).unwrap();
        mount(
            "overlay",
            at("root"),
            "overlay",
            MountFlags::empty(),
            Some(options.as_c_str()),
        )
        .unwrap();
        Self { directory }
    }

    pub fn root(&self) -> PathBuf {
        self.directory.path().join("root")
    }

    pub fn upper(&self) -> PathBuf {
        self.directory.path().join("upper")
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        let _ = unmount(self.root(), UnmountFlags::DETACH);
    }
}

/// Installs `packages` from `pool`.
pub fn install_packages(
    image: &Image,
    pool: &Path,
    packages: &[ResolvedPackage],
    requested: &[&str],
) -> Result<InstallReport, InstallError> {
    let requested: Vec<_> = requested.iter().map(|name| (*name).to_owned()).collect();
    let (directory, cancel) = (image.root(), Cancel::default());
    let status = std::fs::read_to_string(directory.join("var/lib/dpkg/status")).unwrap();
    let before = status.lines().filter_map(|line| line.strip_prefix("Package: "));
    let before = before.map(str::to_owned).collect();
    let request = InstallRequest {
        root: &directory,
        packages,
        pool: Path::new("/cdrom/cache-repo"),
        pool_source: Some(pool),
        temporary: Path::new(env!("CARGO_TARGET_TMPDIR")),
        arch: Arch::X86_64,
        foreign: &[],
        file_systems: &["ext4"],
        answers: &[],
        epoch: EPOCH,
        helper: Path::new(env!("CARGO_BIN_EXE_oic")),
    };
    let report = Deb.install(&request, Work::quiet(&cancel))?;
    let initrds = InitrdRequest {
        root: &directory,
        modules: &[],
        file_systems: &["ext4"],
        epoch: EPOCH,
        helper: request.helper,
    };
    Deb.make_initrds(&initrds, Work::quiet(&cancel))?;
    let marks = Marks {
        before: &before,
        packages,
        requested: &requested,
        arch: Arch::X86_64,
    };
    Deb.mark(&Root::open(&directory)?, &marks)?;
    Ok(report)
}

/// Writes the index of a pool that consists of these packages.
pub fn pool(packages: Vec<(ResolvedPackage, PathBuf)>) -> (PathBuf, Vec<ResolvedPackage>) {
    let directory = packages[0].1.parent().unwrap().to_owned();
    let packages: Vec<_> = packages.into_iter().map(|(package, _)| package).collect();
    let index: Vec<_> = packages.iter().map(|package| package.stanza.as_str()).collect();
    std::fs::write(directory.join("Packages"), index.join("\n")).unwrap();
    (directory, packages)
}
