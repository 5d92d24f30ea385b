//! Resolution of deb packages: all that Debian Policy chapter 7 and
//! apt_preferences(5) say, with apt's choice where there are several answers.
//!
//! First a walk finds out what apt would choose, then the solver checks that and,
//! where it does not hold, finds what does while staying close to it.

mod facts;
mod index;
mod mention;
mod request;
mod universe;
mod walk;

use crate::package::{Arch, PackageRecord, Resolution, ResolvedPackage};

use super::answer::{Root, arrange, decide};
use super::explain::unsolvable;
use super::{Request, ResolveError, Wanted};
use universe::Universe;

/// What several requests are resolved from: records, indexed once.
#[derive(Debug)]
pub struct Resolver<'a>(Universe<'a>);

impl<'a> Resolver<'a> {
    /// Indexes `records`, those of all repositories for `arch`, in the order of the repositories;
    /// a version that several offer is taken from the first.
    pub fn new(arch: Arch, records: &'a [PackageRecord]) -> Self {
        Self(Universe::new(arch, records))
    }

    /// Finds the packages to install for `wanted`, which is for the same architecture. The packages of the
    /// result are in the order of installation: what a package needs comes before it,
    /// essential packages with what they need come before all others.
    ///
    /// # Errors
    /// If something is asked for that does not exist, or if no set of packages
    /// fulfils the request; the error says who needs or excludes whom.
    pub fn resolve(&self, wanted: &Wanted<'_>) -> Result<Resolution, ResolveError> {
        let universe = &self.0;
        let roots = request::roots(universe, wanted)?;
        let requested: Vec<_> = roots.iter().map(Root::preferred).collect();
        let proposal = walk::propose(universe, &requested);
        let packages =
            decide(universe, &roots, proposal).map_err(|contradiction| unsolvable(universe, &roots, &contradiction))?;
        Ok(arrange(universe, &roots, &packages))
    }
}

/// [`Resolver::resolve`] for one request.
///
/// # Errors
/// As there.
pub fn resolve(request: &Request, records: &[PackageRecord]) -> Result<Resolution, ResolveError> {
    Resolver::new(request.arch, records).resolve(&request.wanted())
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
        sha256: record.sha256,
        stanza: record.stanza.as_str().to_owned(),
    }
}

#[cfg(test)]
mod tests;
