//! Methods of the cache that only tests use.

use std::fs::File;

use super::verify::{Glance, Inspected};
use super::{CacheError, PackageCache};
use crate::package::ResolvedPackage;

impl PackageCache {
    /// Opens the verified file of `package`; returns `None` if it is missing, or was bad and therefore deleted. The
    /// opened file itself is the one that was verified.
    ///
    /// # Errors
    /// As [`Self::lookup`].
    pub(super) fn open_verified(&self, package: &ResolvedPackage) -> Result<Option<File>, CacheError> {
        let path = self.path_of(package)?;
        match self.glance(package, &path)? {
            Glance::Good(file) => return Ok(Some(file)),
            Glance::Absent => return Ok(None),
            Glance::Bad { .. } | Glance::Unverified { .. } => {}
        }
        let partial = self.lock(package, &[])?;
        Ok(match self.inspect(package, &path, &[])? {
            Inspected::Good(file) => {
                partial.discard();
                Some(file)
            }
            Inspected::Absent | Inspected::Deleted(_) => None,
        })
    }
}
