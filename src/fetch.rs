//! Downloads over HTTP(S) and from `file:` URLs. Nothing that arrives here is trusted yet: `verify`, `repo` and `cache`
//! decide what may be used.

mod client;
mod credentials;
mod download;
mod engine;
mod local;
mod partial;
mod proxy;
mod retry;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod tls;
#[cfg(test)]
mod tls_tests;
mod transfer;

use serde::{Deserialize, Serialize};

use crate::cancel::Cancelled;
use crate::durable::PathError;
use crate::hint::{Hint, Means};
use crate::package::Checksum;

pub use client::Fetcher;
pub use credentials::{Credentials, CredentialsFormat, shown};
pub use engine::{FetchOptions, Network};
pub use local::file_url;
pub use partial::{Committed, Partial};
pub(crate) use partial::{is_download, sweep};
pub use proxy::Proxies;
pub use tls::Certificates;
pub use transfer::Download;

/// A server's identification of a version of a resource (RFC 9110, 8.8), for the next conditional request.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Validators {
    /// `ETag`.
    pub etag: Option<String>,
    /// `Last-Modified`.
    pub last_modified: Option<String>,
}

/// The answer to [`Transport::get`].
#[derive(Debug, Clone)]
pub enum Reply {
    /// The version that the validators name is still current.
    NotModified,
    /// The resource.
    Body {
        /// All its bytes.
        bytes: Vec<u8>,
        /// Validators for the next request.
        validators: Validators,
    },
}

/// The reason why a download failed.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The server, or the directory of a `file:` URL, does not have it.
    #[error("there is nothing at {url}")]
    NotFound {
        /// The requested URL.
        url: String,
    },
    /// The server refused for another reason.
    #[error("{url}: the server answered {status}")]
    Status {
        /// The requested URL.
        url: String,
        /// HTTP status code.
        status: u16,
    },
    /// The server could not be reached, or the connection broke, on every attempt.
    #[error("cannot download {url}: {reason}")]
    Network {
        /// The requested URL.
        url: String,
        /// The cause, in words.
        reason: String,
    },
    /// The server's certificate is not accepted.
    #[error("cannot download {url}: {reason}")]
    Certificate {
        /// The requested URL.
        url: String,
        /// The cause, in words.
        reason: String,
    },
    /// The server wants a certificate of the client, and got none or one that it does not accept.
    #[error("cannot download {url}: the server does not accept this client: {reason}")]
    ClientCertificate {
        /// The requested URL.
        url: String,
        /// The cause, in words.
        reason: String,
    },
    /// The body is longer than announced or allowed.
    #[error("{url} is larger than the {limit_bytes} bytes that are allowed for it")]
    TooLarge {
        /// The requested URL.
        url: String,
        /// The limit in bytes.
        limit_bytes: u64,
    },
    /// The body is not as long as the index says.
    #[error("{url} has {actual_bytes} bytes, expected {expected_bytes}")]
    WrongSize {
        /// The requested URL.
        url: String,
        /// The size in the index, in bytes.
        expected_bytes: u64,
        /// The received size, in bytes.
        actual_bytes: u64,
    },
    /// The body does not have the digest in the index.
    #[error("{url} has the wrong content: {} {actual}, expected {expected}", actual.algorithm())]
    WrongDigest {
        /// The requested URL.
        url: String,
        /// The digest in the index.
        expected: Box<Checksum>,
        /// The digest of the received bytes.
        actual: Box<Checksum>,
    },
    /// The URL cannot be used.
    #[error("{url} is not a usable URL: {reason}")]
    BadUrl {
        /// The text.
        url: String,
        /// The cause, in words.
        reason: String,
    },
    /// The network must not be used.
    #[error("{url} is not in the cache, and downloads are not allowed (offline)")]
    Offline {
        /// The URL that would have been requested.
        url: String,
    },
    /// The runtime or the HTTP client could not be set up.
    #[error("cannot set up downloads: {reason}")]
    SetUp {
        /// The cause, in words.
        reason: String,
    },
    /// Reading a `file:` URL or writing the received bytes failed.
    #[error(transparent)]
    Path(#[from] PathError),
    /// The user asked to stop.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
}

impl FetchError {
    /// Returns what the user can do about it, if anything is known to help.
    pub fn hint(&self) -> Option<Hint> {
        Some(match self {
            Self::NotFound { .. } => {
                let text = "the mirror may have moved on since the index or lockfile was made: \
                            make the lockfile anew, or choose another mirror";
                Hint::new(text).by(Means::UpdateLock).by(Means::Mirror)
            }
            Self::Status { status: 401 | 403, .. } => {
                let text = "the server wants a user name and password: give them beside the URL, not in it";
                Hint::new(text).by(Means::Credentials)
            }
            Self::Status { status: 407, .. } => Hint::new("the proxy wants a user name and password").by(Means::Proxy),
            Self::Status { .. } => {
                Hint::new("the mirror has trouble: try again later, or choose another one").by(Means::Mirror)
            }
            Self::Certificate { .. } => {
                let text = "check the host's clock and its ca-certificates package; for an authority of your own, \
                            name the file with its certificate";
                Hint::new(text).by(Means::CertificateFile)
            }
            Self::ClientCertificate { .. } => {
                let text = "name the files with the certificate and the key that the server's owner gave you";
                Hint::new(text).by(Means::ClientCertificate)
            }
            Self::Network { .. } => Hint::new("check the network and the proxy, or choose another mirror")
                .by(Means::Proxy)
                .by(Means::Mirror),
            Self::WrongSize { .. } | Self::WrongDigest { .. } => {
                let text = "the mirror is out of step with its index, or something alters downloads: \
                            try again later, or choose another mirror";
                Hint::new(text).by(Means::Mirror)
            }
            Self::Offline { .. } => Hint::new("allow downloads once to fill the cache").by(Means::Online),
            Self::TooLarge { .. } | Self::BadUrl { .. } | Self::SetUp { .. } | Self::Path(_) | Self::Cancelled(_) => {
                return None;
            }
        })
    }
}

/// Fetches small resources (metadata) whole.
pub trait Transport: Send + Sync {
    /// Gets `url`, at most `limit_bytes` of it; with `known` validators the request is conditional.
    ///
    /// # Errors
    /// [`FetchError`]; a 404 or a missing file is [`FetchError::NotFound`].
    fn get(&self, url: &str, limit_bytes: u64, known: Option<&Validators>) -> Result<Reply, FetchError>;
}
