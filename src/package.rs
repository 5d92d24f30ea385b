//! The vocabulary of packages that deb and rpm share: digests, architectures, the records of a repository, and the
//! packages of a resolution.

/// Implements the comparisons of a type with a lifetime by its [`Ord`].
macro_rules! compared_by_ord {
    ($type:ident) => {
        impl PartialOrd for $type<'_> {
            fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
                Some(self.cmp(other))
            }
        }

        impl PartialEq for $type<'_> {
            fn eq(&self, other: &Self) -> bool {
                self.cmp(other) == Ordering::Equal
            }
        }

        impl Eq for $type<'_> {}
    };
}

mod arch;
mod capability;
mod checksum;
mod digest;
mod evr;
mod filter;
pub mod glob;
mod record;
mod relation;
mod request;
mod rpm_record;
pub mod sealed;
mod version;

pub use arch::{Arch, ForeignArch, Targets, UnknownArch};
pub use capability::{Capability, CapabilityError, RpmDependency};
pub use checksum::{Algorithm, BadChecksum, Checksum, Hasher};
pub use digest::{BadDigest, Sha256};
pub use evr::Evr;
pub use filter::PackageFilter;
pub use record::{Dependency, DependencyKind, MultiArch, PackageRecord, Resolution, ResolvedPackage, Stanza};
pub use relation::{Operator, OrGroup, Relation, RelationError, parse_relation, parse_relations};
pub use request::asks_for;
pub use rpm_record::RpmRecord;
pub use version::DebVersion;
