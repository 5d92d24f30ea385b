//! Which repositories an image's own package manager can use, and what their files are called.

use crate::repo::Repository;

/// Gives the repository's id in the form for file names.
pub(super) fn file_name(repository: &Repository) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    repository.id.replace(|c| !is_plain(c), "-")
}

/// Says whether `url` means the same on another machine: neither a file nor a server on this one.
pub(super) fn is_public(url: &str) -> bool {
    let host = url.split("://").nth(1).unwrap_or_default();
    url.starts_with("http") && !["localhost", "127.", "[::1]"].iter().any(|own| host.starts_with(own))
}
