//! Packages of the RPM distribution that `oic_testkit::rpm_fixture` makes, as oic sees them.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use oic::package::{Arch, ResolvedPackage, RpmRecord};
use oic::repo::rpm::{FileOwners, parse_filelists, parse_primary};
use oic::resolve::{Request, ResolveError, rpm::resolve};
use oic_testkit::rpm_fixture::{directory, index};

/// What `names` and all that they need are in the repository `name`, in installation order, with their files.
pub fn packages(name: &str, names: &[&str]) -> Vec<(ResolvedPackage, PathBuf)> {
    let repository = directory().join(name);
    let records = records(&repository);
    let request = Request {
        arch: Arch::X86_64,
        packages: names.iter().map(|name| (*name).to_owned()).collect(),
        recommending: Vec::new(),
        include_essential: false,
    };
    let find = |paths: &BTreeSet<String>| -> Result<FileOwners, ResolveError> {
        Ok(parse_filelists(index(&repository, "filelists"), paths).unwrap())
    };
    let resolution = resolve(&request, &records, find).unwrap_or_else(|error| panic!("{error}"));
    let packages = resolution.packages.into_iter();
    packages
        .map(|package| (package.clone(), repository.join(&package.path)))
        .collect()
}

fn records(repository: &Path) -> Vec<RpmRecord> {
    parse_primary(index(repository, "primary"), &"fixture".into(), 500, &|_| true)
        .unwrap()
        .records
}

/// A directory with the packages under the names that the package pool has.
pub fn pool(packages: &[(ResolvedPackage, PathBuf)]) -> tempfile::TempDir {
    let pool = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    for (package, file) in packages {
        fs::hard_link(file, pool.path().join(package.file_name())).unwrap();
    }
    pool
}

/// Unpacks a package as oic does.
pub fn unpack(file: &Path, root: &Path) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    use std::os::fd::AsFd as _;
    let root = File::open(root)?;
    oic::archive::rpm::extract(file, root.as_fd(), &oic::archive::unpack::UnpackOptions::default())?;
    Ok(())
}
