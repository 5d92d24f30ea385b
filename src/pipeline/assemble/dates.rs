//! The one date of an image: that of its newest package. So it changes when packages do, and not each time that a
//! repository signs its index again.

use std::collections::BTreeSet;

use crate::package::Checksum;

use crate::pipeline::context::Context;
use crate::pipeline::error::BuildError;
use crate::pipeline::packages::Cached;
use crate::pipeline::select::selection::Selection;
use crate::resolve::lockfile::Newest;

/// The last second that ext4 has a number for: 2446-05-10 (kernel documentation, ext4, "Inode Timestamps").
const LAST_SECOND: u64 = (1 << 34) - (1 << 31) - 1;

/// Dates in seconds since 1970, instead of the clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dates {
    /// Upper limit of all times in the image: that of the newest package.
    pub image: u64,
    /// The time that packages' scripts take for the current one: that of the newest package in the base. All images of
    /// the provider share it, and so share steps.
    pub scripts: u64,
}

impl Dates {
    /// Makes the dates of packages of which the newest are `newest`; none is later than the request's own.
    pub fn of(context: &Context<'_>, newest: Newest) -> Self {
        let image = context.request.source_date_epoch.unwrap_or(newest.image_seconds);
        Self {
            image,
            scripts: newest.base_seconds.min(image),
        }
    }
}

/// Reads the dates of the newest packages of `selection`: those that its lockfile has, or else those of the packages
/// themselves, which are `cached`.
///
/// # Errors
/// If a package is damaged.
pub fn newest(context: &Context<'_>, selection: &Selection, cached: &Cached) -> Result<Newest, BuildError> {
    if let Some(known) = selection.lockfile.newest {
        return Ok(known);
    }
    let of_base = selection.base.packages.iter().map(|package| package.checksum);
    let of_base: BTreeSet<Checksum> = of_base.collect();
    let (mut base_seconds, mut image_seconds) = (0, 0);
    for (digest, path) in cached.paths() {
        let seconds = context.system.build_seconds(path)?.min(LAST_SECOND);
        image_seconds = seconds.max(image_seconds);
        if of_base.contains(digest) {
            base_seconds = seconds.max(base_seconds);
        }
    }
    Ok(Newest {
        base_seconds,
        image_seconds,
    })
}
