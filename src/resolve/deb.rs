//! Resolution of deb packages, by the rules of Debian Policy chapter 7 and apt_preferences(5), with apt's choice where
//! there are several answers. Recommendations are followed where they are asked for.
//!
//! First a walk proposes the packages that apt would choose. Then the solver checks the proposal and, where it does not
//! hold, finds a solution close to it.

mod facts;
mod index;
mod mention;
mod request;
mod universe;
mod walk;

use crate::package::{PackageRecord, Resolution, ResolvedPackage, Targets};

use super::answer::{arrange, decide};
use super::explain::unsolvable;
use super::{Request, ResolveError, Wanted};
use universe::Universe;

/// A resolver of several requests over the same records, which are indexed once.
#[derive(Debug)]
pub struct Resolver<'a>(Universe<'a>);

impl<'a> Resolver<'a> {
    /// Indexes `records`, those of all repositories for `targets`, in the order of the repositories; a version that
    /// several offer is taken from the first. Packages with a name of `without` are left out.
    pub fn new<'t>(targets: impl Into<Targets<'t>>, records: &'a [PackageRecord], without: &[String]) -> Self {
        Self(Universe::new(targets.into(), records, without))
    }

    /// Finds the packages to install for `wanted`, which is for the same architecture. They are in the order of
    /// installation: a package's needs come before it, and essential packages with their needs come before all others.
    ///
    /// # Errors
    /// If a requested package does not exist, or if no set of packages fulfils the request; the error says which
    /// package needs or excludes which.
    pub fn resolve(&self, wanted: &Wanted<'_>) -> Result<Resolution, ResolveError> {
        let universe = &self.0;
        let roots = request::roots(universe, wanted)?;
        let proposal = walk::propose(universe, &roots);
        let decided =
            decide(universe, &roots, proposal).map_err(|contradiction| unsolvable(universe, &roots, &contradiction))?;
        Ok(arrange(universe, &roots, &decided))
    }
}

/// Does the same as [`Resolver::resolve`] for one request.
///
/// # Errors
/// Those of [`Resolver::resolve`].
pub fn resolve(request: &Request, records: &[PackageRecord]) -> Result<Resolution, ResolveError> {
    Resolver::new(request.arch, records, &[]).resolve(&request.wanted())
}

fn resolved(record: &PackageRecord) -> ResolvedPackage {
    ResolvedPackage {
        name: record.name.to_string(),
        version: record.version.to_string(),
        architecture: record.architecture.to_string(),
        repository: record.repository.to_string(),
        path: record.path.to_string(),
        size_bytes: record.size_bytes,
        installed_size_bytes: record.installed_size_bytes,
        checksum: record.checksum,
        stanza: record.stanza.as_str().to_owned(),
    }
}

#[cfg(test)]
mod tests;
