//! The one date of an image: that of its newest package, so that it changes when packages do, and not each time that a
//! repository signs its index again.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::archive::deb::Deb;
use crate::archive::{self, ArchiveError};
use crate::package::Sha256;
use crate::provider::PackageSystem;

use super::packages::Selection;
use super::{BuildError, BuildRequest};

/// 2446-05-10, the last second that ext4 has a number for (kernel documentation, ext4, "Inode Timestamps").
const LAST_SECOND: u64 = (1 << 34) - (1 << 31) - 1;

/// Dates in seconds since 1970, instead of the clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Dates {
    /// No time in the image is later: the newest package's.
    pub image: u64,
    /// What packages' scripts take for the current time: that of the newest package in the base. All images of the
    /// provider have it, and so the same steps.
    pub scripts: u64,
}

impl Dates {
    /// The dates of `selection`, whose package files, of base and image, lie in `paths`; neither is later than the request's own.
    pub fn of(
        request: &BuildRequest,
        selection: &Selection,
        paths: &BTreeMap<Sha256, PathBuf>,
    ) -> Result<Self, BuildError> {
        let system = request.loaded.provider.package_system;
        let of_base = selection.base.packages.iter().map(|package| package.sha256);
        let of_base: BTreeSet<Sha256> = of_base.collect();
        let (mut base, mut image) = (0, 0);
        for (digest, path) in paths {
            let seconds = build_seconds(system, path)?.min(LAST_SECOND);
            image = seconds.max(image);
            if of_base.contains(digest) {
                base = seconds.max(base);
            }
        }
        let image = request.source_date_epoch.unwrap_or(image);
        Ok(Self {
            image,
            scripts: base.min(image),
        })
    }
}

fn build_seconds(system: PackageSystem, path: &Path) -> Result<u64, ArchiveError> {
    match system {
        PackageSystem::Deb => Ok(Deb::open(path)?.build_seconds()),
        PackageSystem::Rpm => archive::rpm::build_seconds(path),
    }
}
