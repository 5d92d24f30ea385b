//! Signatures: certificates, the keys behind them, and the messages that firmware verifies.
//!
//! Nothing here asks a clock or draws a random number: the same key, certificate and bytes give the same signature. A key
//! is read from a file, or stays with a program of the user's ([`command`]).

pub mod certificate;
pub mod command;
mod der;
pub mod key;
pub mod message;
pub mod remembered;
pub mod variables;

use std::fmt::Debug;
use std::path::PathBuf;

use crate::durable::PathError;
use crate::hint::Hint;
pub use certificate::Certificate;

/// Something that signs with the private key of a certificate.
pub trait Signer: Debug + Send + Sync {
    /// Returns the certificate with the public key.
    fn certificate(&self) -> &Certificate;

    /// Signs the SHA-256 digest of `message`: RSA by PKCS #1 v1.5 (RFC 8017, 8.2), big-endian; ECDSA as the DER sequence of
    /// its two numbers (RFC 3279, 2.2.3).
    ///
    /// # Errors
    /// [`SignError`] if the key cannot be used.
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError>;
}

/// The reason why nothing was signed. No variant has a part of a key or a passphrase.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// A file cannot be read.
    #[error(transparent)]
    Io(#[from] PathError),
    /// A file holds no usable key.
    #[error("{}: {problem}", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// The defect.
        problem: &'static str,
    },
    /// A key is encrypted, and there is no passphrase for it, or another one.
    #[error("{}: {problem}", path.display())]
    Passphrase {
        /// The file of the key.
        path: PathBuf,
        /// The defect.
        problem: &'static str,
    },
    /// A passphrase is a credential of the service manager, and this process has none of this name.
    #[error("the credential {0:?} is not there")]
    Credential(String),
    /// A file holds no usable certificate.
    #[error("{}: {problem}", path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// The defect.
        problem: String,
    },
    /// A certificate is not valid at this time.
    #[error("{}: the certificate is valid from {from} to {until}", path.display())]
    NotValid {
        /// The file.
        path: PathBuf,
        /// The first instant, as a text.
        from: String,
        /// The last one.
        until: String,
    },
    /// A key is not that of the certificate.
    #[error("{} is not the key of the certificate {}", key.display(), certificate.display())]
    Mismatch {
        /// The file of the key.
        key: PathBuf,
        /// The file of the certificate.
        certificate: PathBuf,
    },
    /// There is neither a key nor a program that has it.
    #[error("there is no private key for the certificate {}", .0.display())]
    NoKey(PathBuf),
    /// The program that signs failed.
    #[error("the sign command {program}: {problem}")]
    Command {
        /// The program.
        program: String,
        /// What went wrong.
        problem: String,
    },
    /// A signature is not one of the certificate's key.
    #[error("the signature is not one of the key of the certificate {0}")]
    Foreign(String),
    /// The user asked to stop.
    #[error(transparent)]
    Cancelled(#[from] crate::cancel::Cancelled),
}

impl SignError {
    /// Returns what the user can do next.
    pub fn hint(&self) -> Option<Hint> {
        match self {
            Self::Passphrase { .. } => Some("name the file with its passphrase in passphraseFile".into()),
            Self::Credential(_) => Some("give it to the service with LoadCredential= (systemd.exec(5))".into()),
            Self::NotValid { .. } => Some("use a certificate that is valid now".into()),
            Self::Mismatch { .. } => Some("give the certificate that was made for this key".into()),
            Self::NoKey(_) => Some("name its file in signing.key, or set sign_command in the configuration".into()),
            Self::Foreign(_) => Some("check that the sign command uses the key of this certificate".into()),
            Self::Io(_) | Self::Key { .. } | Self::Certificate { .. } | Self::Command { .. } | Self::Cancelled(_) => {
                None
            }
        }
    }
}
