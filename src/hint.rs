//! What a user can do about an error. The text is written where the error is made; only a program's interface knows
//! how its user invokes the means for it.

use std::fmt;
use std::ops::Deref;

use serde::{Deserialize, Serialize};

/// A next step, and the means for it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hint {
    text: String,
    means: Vec<Means>,
    value: Option<String>,
}

/// Something that an interface lets its user do or choose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Means {
    /// Names the mirror of an archive.
    Mirror,
    /// Works from the cache only.
    Offline,
    /// Allows downloads.
    Online,
    /// Gives user names and passwords for servers.
    Credentials,
    /// Names a proxy.
    Proxy,
    /// Names the file of the trusted certificate authorities.
    CertificateFile,
    /// Names the files of a client's certificate and key.
    ClientCertificate,
    /// Chooses the directory of the package cache.
    CacheDir,
    /// Chooses the directory of bases and images.
    WorkDir,
    /// Chooses the directory for short-lived files.
    TempDir,
    /// Makes a lockfile anew.
    UpdateLock,
    /// Lets oic's own file system merge the layers.
    FuseOverlay,
    /// Unmounts.
    Unmount,
    /// Unmounts what is still in use.
    UnmountLazily,
    /// Deletes the bases of a provider.
    CleanWorkspace,
    /// Deletes cached packages.
    CleanCache,
    /// Deletes what no build needs any more.
    CollectGarbage,
    /// Verifies cached packages.
    VerifyCache,
    /// Trusts a key with a fingerprint.
    TrustKey,
    /// Chooses the firmware of a machine.
    Firmware,
    /// Names the files of a machine's firmware.
    FirmwareFile,
    /// Emulates the processor of a machine.
    Emulation,
}

impl Hint {
    /// Makes a hint of a text that needs no means of the interface.
    pub fn new(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            means: Vec::new(),
            value: None,
        }
    }

    /// Adds the value that the user gives to the means, where the error knows it.
    #[must_use]
    pub fn with(mut self, value: Option<String>) -> Self {
        self.value = value;
        self
    }

    /// Returns the value that the user gives to the means, if the error knows it.
    pub fn value(&self) -> Option<&str> {
        self.value.as_deref()
    }

    /// Adds a means that the text mentions.
    #[must_use]
    pub fn by(mut self, means: Means) -> Self {
        self.means.push(means);
        self
    }

    /// Returns the means in the order of the text.
    pub fn means(&self) -> &[Means] {
        &self.means
    }
}

impl<T: Into<String>> From<T> for Hint {
    fn from(text: T) -> Self {
        Self::new(text)
    }
}

impl Deref for Hint {
    type Target = str;

    fn deref(&self) -> &str {
        &self.text
    }
}

impl PartialEq<&str> for Hint {
    fn eq(&self, other: &&str) -> bool {
        self.text == *other
    }
}

impl fmt::Display for Hint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
