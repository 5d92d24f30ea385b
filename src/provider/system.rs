//! Package systems as provider files name them, with the rules for their repositories.

use crate::repo::Signed;
use crate::words::words;

/// The package systems.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PackageSystem {
    /// `.deb`, dpkg and apt.
    Deb,
    /// `.rpm`.
    Rpm,
}

words!(PackageSystem {
    (Self::Deb): "deb",
    (Self::Rpm): "rpm",
});

/// The rules for all packages and repositories of one package system.
#[derive(Debug)]
pub struct Policy {
    /// The package system.
    pub system: PackageSystem,
    /// The data that must be signed in every repository of a provider, whatever its file says; `None` if the file
    /// decides.
    pub signed: Option<Signed>,
    /// The data that must be signed in a repository that a template adds.
    pub added: Signed,
    /// Repositories have suites and components.
    pub has_suites: bool,
    /// Repositories have groups of packages.
    pub has_groups: bool,
}

static DEB: Policy = Policy {
    system: PackageSystem::Deb,
    signed: Some(Signed::Metadata),
    added: Signed::Metadata,
    has_suites: true,
    has_groups: false,
};

static RPM: Policy = Policy {
    system: PackageSystem::Rpm,
    signed: None,
    // The same as dnf requires of a repository that a user adds.
    added: Signed::Packages,
    has_suites: false,
    has_groups: true,
};

impl PackageSystem {
    /// Returns the ending of the names of package files, without its dot.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Deb => "deb",
            Self::Rpm => "rpm",
        }
    }

    /// Returns the rules for all packages of the system.
    pub fn policy(self) -> &'static Policy {
        match self {
            Self::Deb => &DEB,
            Self::Rpm => &RPM,
        }
    }
}
