//! The vocabulary of packages that deb and rpm share: digests, architectures,
//! what a repository says about a package, and what a resolution keeps of it.

mod arch;
mod capability;
mod checksum;
mod digest;
mod evr;
mod filter;
pub mod glob;
mod record;
mod relation;
mod rpm_record;
mod version;

pub use arch::{Arch, UnknownArch};
pub use capability::{Capability, CapabilityError, RpmDependency};
pub use checksum::{Algorithm, BadChecksum, Checksum, Hasher};
pub use digest::{BadDigest, Sha256};
pub use evr::Evr;
pub use filter::PackageFilter;
pub use record::{Dependency, DependencyKind, MultiArch, PackageRecord, Resolution, ResolvedPackage, Stanza};
pub use relation::{Operator, OrGroup, Relation, RelationError, parse_relation, parse_relations};
pub use rpm_record::RpmRecord;
pub use version::DebVersion;
