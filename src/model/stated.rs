//! What a template says about packages, for its bill of materials.

/// An entry of `sbomPackageMetadata`. Texts are empty where it says nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StatedPackage {
    /// Name of the package, or of software that no package manager knows.
    pub name: String,
    /// Version; empty for any.
    pub version: String,
    /// Licence.
    pub licence: String,
    /// Who maintains or sells it.
    pub supplier: String,
    /// The place that it can be fetched from.
    pub download: String,
    /// Home page.
    pub homepage: String,
    /// What it is, in one line.
    pub summary: String,
    /// Digests of its file: the algorithm in the words of SPDX, and the value.
    pub checksums: Vec<(String, String)>,
}
