//! Packages in JSON with their stanzas, which a lockfile leaves out. For `#[serde(with)]`.

use serde::{Deserialize, Deserializer, Serializer};

use crate::package::ResolvedPackage;

/// Writes a list of pairs: a package, and its stanza.
///
/// # Errors
/// Those of the serializer.
pub(super) fn serialize<S: Serializer>(packages: &[ResolvedPackage], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(packages.iter().map(|package| (package, &package.stanza)))
}

/// Reads such a list.
///
/// # Errors
/// Those of the deserializer.
pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<ResolvedPackage>, D::Error> {
    let pairs = Vec::<(ResolvedPackage, String)>::deserialize(deserializer)?;
    let joined = |(package, stanza)| ResolvedPackage { stanza, ..package };
    Ok(pairs.into_iter().map(joined).collect())
}

#[cfg(test)]
mod tests {
    use super::super::PoolRequest;
    use super::*;
    use crate::package::Sha256;

    #[test]
    fn stanzas_cross_with_their_packages() {
        let package = ResolvedPackage {
            name: "alpha".to_owned(),
            version: "1".to_owned(),
            architecture: "all".to_owned(),
            repository: "main".to_owned(),
            path: "pool/alpha.deb".to_owned(),
            size_bytes: 1,
            installed_size_bytes: 2,
            checksum: Sha256::of(b"").into(),
            stanza: "Package: alpha\n".to_owned(),
        };
        let request = PoolRequest {
            cache_dir: "/c".into(),
            provider_id: "test".to_owned(),
            packages: vec![package],
            base_urls: Default::default(),
            offline: true,
            network: Default::default(),
        };
        let text = serde_json::to_string(&request).unwrap();
        let back: PoolRequest = serde_json::from_str(&text).unwrap();
        assert_eq!(back.packages[0].stanza, "Package: alpha\n");
        assert_eq!(back.packages, request.packages);
    }
}
