//! Files of the template's own.

use std::path::PathBuf;

use crate::package::Sha256;

/// `systemConfig.additionalFiles[]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdditionalFile {
    /// The origin of its content.
    pub source: FileSource,
    /// Its path in the image; absolute.
    pub destination: String,
    /// `owner`: `user` or `user:group`, names of the image or numbers. Without it the user of the home directory that
    /// the file lies in owns it, and elsewhere root.
    pub owner: Option<String>,
    /// Its permission bits, if the template gives them.
    pub mode: Option<u32>,
}

impl AdditionalFile {
    /// Gives the permission bits in the image of a file that has `host_mode` on the build host. Of these, only the
    /// owner's right to execute counts, as in git: the umask of a checkout decides on the others.
    pub fn mode_of(&self, host_mode: u32) -> u32 {
        mode_in_image(self.mode, host_mode)
    }
}

/// Gives the permission bits of an additional file for which the template says `given`; see [`AdditionalFile::mode_of`].
pub fn mode_in_image(given: Option<u32>, host_mode: u32) -> u32 {
    const EXECUTABLE: u32 = 0o100;
    let by_host = if host_mode & EXECUTABLE == 0 { 0o644 } else { 0o755 };
    given.unwrap_or(by_host)
}

/// The content of an additional file.
#[derive(Clone, PartialEq, Eq)]
pub enum FileSource {
    /// A file on the build host, absolute.
    Host(PathBuf),
    /// A symbolic link with this target.
    Link(PathBuf),
    /// A file that came with oic: samples have no directory of their own.
    Embedded(&'static [u8]),
    /// This text.
    Text(String),
    /// What a server has at the URL; its digest.
    Fetched(String, Sha256),
    /// None: a directory.
    Directory,
}

impl std::fmt::Debug for FileSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Host(path) => f.debug_tuple("Host").field(path).finish(),
            Self::Link(target) => f.debug_tuple("Link").field(target).finish(),
            Self::Embedded(bytes) => write!(f, "Embedded({} bytes)", bytes.len()),
            // It may hold a password.
            Self::Text(text) => write!(f, "Text({} bytes)", text.len()),
            Self::Fetched(url, sha256) => f.debug_tuple("Fetched").field(url).field(sha256).finish(),
            Self::Directory => f.write_str("Directory"),
        }
    }
}
