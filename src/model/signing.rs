//! Keys that sign what firmware starts: `systemConfig.signing`, and the keys of `systemConfig.immutability`.

use std::path::PathBuf;

use crate::words::words;

/// What signs the programs that the firmware starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signing {
    /// File of the private key; without one the sign command of the configuration has it.
    pub key: Option<PathBuf>,
    /// File of its certificate.
    pub certificate: PathBuf,
    /// File of the certificate that the EFI system partition gets for people, DER.
    pub shown_certificate: Option<PathBuf>,
    /// The passphrase of the key, if it is encrypted.
    pub passphrase: Option<PassphraseSource>,
    /// When systemd-boot enrolls the certificate, if the image has it for this purpose.
    pub enrollment: Option<Enrollment>,
}

/// Where a passphrase comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PassphraseSource {
    /// A file.
    File(PathBuf),
    /// A credential of the service manager (systemd.exec(5), "LoadCredential=").
    Credential(String),
}

/// When systemd-boot enrolls the keys of the image in a firmware that has none: `secure-boot-enroll` of loader.conf(5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Enrollment {
    /// If a person chooses it.
    Manual,
    /// By itself in a virtual machine.
    IfSafe,
    /// By itself.
    Force,
}

words!(Enrollment {
    (Self::Manual): "manual",
    (Self::IfSafe): "if-safe",
    (Self::Force): "force",
});

/// `bootloader.secureBoot`: whose signatures the firmware verifies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SecureBoot {
    /// Those that the template's keys make, if it has some.
    #[default]
    Own,
    /// Those of the distribution, behind its shim, which Microsoft has signed.
    Distribution,
}

words!(SecureBoot {
    (Self::Own): "own",
    (Self::Distribution): "distribution",
});
