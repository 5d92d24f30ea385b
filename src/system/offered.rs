//! What people read of a package that a repository offers.

use serde::Serialize;

/// One version of a package in one repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Offered {
    /// The package's name.
    pub name: String,
    /// Its full version.
    pub version: String,
    /// Its architecture, as the package system writes it.
    pub architecture: String,
    /// The id of the repository.
    pub repository: String,
    /// Size of the package file in bytes.
    pub size_bytes: u64,
    /// Space that its files take when installed, in bytes.
    pub installed_size_bytes: u64,
    /// What it is, in one line; empty if the repository does not say.
    pub summary: String,
    /// What else the repository says of it, in the order in which people read it.
    pub details: Vec<Detail>,
}

/// A further field of a package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Detail {
    /// The package system's word for it.
    pub name: &'static str,
    /// Its value; lists of relations have one entry per line.
    pub value: String,
}

impl Detail {
    /// Makes details of those of `fields` that have a value.
    pub fn of<'a>(fields: impl IntoIterator<Item = (&'static str, &'a str)>) -> Vec<Self> {
        let filled = fields.into_iter().filter(|(_, value)| !value.is_empty());
        filled
            .map(|(name, value)| Self {
                name,
                value: value.to_owned(),
            })
            .collect()
    }
}
