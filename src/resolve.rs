//! The choice of packages: oic turns a request and the records of all repositories into a
//! [`Resolution`](crate::package::Resolution), the exact set in the order of installation.
//!
//! Invariant: the same request and records give the same resolution, byte for byte.

pub mod deb;
pub mod dot;
pub mod lockfile;
pub mod memo;
pub mod rpm;

mod answer;
mod error;
mod explain;
mod order;
mod recommended;
mod relations;
mod solver;
mod why;

pub use error::ResolveError;
pub use recommended::recommended;
pub use why::{is_called, why};

use crate::package::Arch;

/// The version of the resolver; it increases when the same request and records would give another resolution than
/// before.
pub const VERSION: u32 = 1;

/// A request for packages.
#[derive(Debug, Clone)]
pub struct Request {
    /// The target architecture.
    pub arch: Arch,
    /// Packages: `name`, `name=version`, `name:architecture`, or a pattern with `*`, `?`, `[…]`; of RPM repositories
    /// also `name.arch`, `name-version[-release][.arch]`, a path, a capability, or `(name if other)`: the first if the
    /// second is among the packages then. Groups were expanded before ([`rpm::groups::expand`]).
    pub packages: Vec<String>,
    /// Those of `packages`, as written there, that come with the packages that they and their needs recommend. Packages
    /// before them count as installed already.
    pub recommending: Vec<String>,
    /// Every package is included that is `Essential: yes` (Debian Policy 3.8).
    pub include_essential: bool,
}

impl Request {
    /// Returns the request without the architecture.
    fn wanted(&self) -> Wanted<'_> {
        Wanted {
            packages: &self.packages,
            recommending: &self.recommending,
            include_essential: self.include_essential,
        }
    }
}

/// A [`Request`] to a resolver, which already has an architecture.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// The same as [`Request::packages`].
    pub packages: &'a [String],
    /// The same as [`Request::recommending`].
    pub recommending: &'a [String],
    /// The same as [`Request::include_essential`].
    pub include_essential: bool,
}

#[cfg(test)]
mod test_support {
    use crate::package::{Dependency, DependencyKind, Resolution, ResolvedPackage, Sha256};

    /// Makes a resolution of packages that have little more than a name.
    pub(super) fn resolution(names: &[&str], edges: &[(usize, usize)], requested: &[usize]) -> Resolution {
        let package = |name: &&str| ResolvedPackage {
            name: (*name).to_owned(),
            version: "1:1.0-1".to_owned(),
            architecture: "amd64".to_owned(),
            repository: "main".to_owned(),
            path: format!("pool/{name}.deb"),
            size_bytes: 1000,
            installed_size_bytes: 4096,
            checksum: Sha256::of(name).into(),
            stanza: String::new(),
        };
        let edge = |&(from, to): &(usize, usize)| Dependency {
            from,
            to,
            kind: DependencyKind::Depends,
        };
        Resolution {
            packages: names.iter().map(package).collect(),
            dependencies: edges.iter().map(edge).collect(),
            requested: requested.to_vec(),
        }
    }
}
