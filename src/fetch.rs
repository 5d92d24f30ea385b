//! Download over HTTP(S) and from `file:` URLs. What arrives here is not trusted
//! yet: `verify`, `repo` and `cache` decide what may be used.

mod client;
mod download;
mod local;
mod partial;
mod retry;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tls_tests;

use serde::{Deserialize, Serialize};

use crate::cancel::Cancelled;
use crate::durable::PathError;
use crate::package::Sha256;

pub use client::{FetchOptions, Fetcher, Proxies};
pub use download::Download;
pub(crate) use local::each_chunk;
pub(crate) use partial::sweep;
pub use partial::{Committed, Partial};

/// What a server said about a version of a resource (RFC 9110, 8.8), for the next conditional request.
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
        /// All of it.
        bytes: Vec<u8>,
        /// For the next request.
        validators: Validators,
    },
}

/// Why something could not be downloaded.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The server, or the directory of a `file:` URL, does not have it.
    #[error("{url} does not exist on the server")]
    NotFound {
        /// What was asked for.
        url: String,
    },
    /// Another refusal.
    #[error("{url}: the server answered {status}")]
    Status {
        /// What was asked for.
        url: String,
        /// HTTP status code.
        status: u16,
    },
    /// The server could not be reached, or the connection broke, on every attempt.
    #[error("cannot download {url}: {reason}")]
    Network {
        /// What was asked for.
        url: String,
        /// The cause, in words.
        reason: String,
    },
    /// More came than was announced or allowed.
    #[error("{url} is larger than the {limit_bytes} bytes that are allowed for it")]
    TooLarge {
        /// What was asked for.
        url: String,
        /// The limit in bytes.
        limit_bytes: u64,
    },
    /// What came is not as long as the index says.
    #[error("{url} has {actual_bytes} bytes, expected {expected_bytes}")]
    WrongSize {
        /// What was asked for.
        url: String,
        /// The size in the index, in bytes.
        expected_bytes: u64,
        /// The size of what came, in bytes.
        actual_bytes: u64,
    },
    /// What came is not what the index names.
    #[error("{url} has the wrong content: SHA-256 {actual}, expected {expected}")]
    WrongDigest {
        /// What was asked for.
        url: String,
        /// The digest in the index.
        expected: Sha256,
        /// The digest of what came.
        actual: Sha256,
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
    #[error("{url} is not in the cache, and --offline forbids to download it")]
    Offline {
        /// What would have been asked for.
        url: String,
    },
    /// The runtime or the HTTP client could not be set up.
    #[error("cannot set up downloads: {reason}")]
    SetUp {
        /// The cause, in words.
        reason: String,
    },
    /// Reading a `file:` URL or writing what arrived failed.
    #[error(transparent)]
    Path(#[from] PathError),
    /// The user asked to stop.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
}

impl FetchError {
    /// What the user can do about it, if anything is known to help.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::NotFound { .. } => {
                "the mirror may have moved on since the index or lockfile was made: refresh it, or choose another mirror"
            }
            Self::Status {
                status: 401 | 403 | 407,
                ..
            } => "check the credentials in the URL or of the proxy",
            Self::Status { .. } => "the mirror has trouble: try again later, or choose another one with --mirror",
            Self::Network { reason, .. } if reason.contains("certificate") => {
                "check the host's clock and that its ca-certificates package is installed and current"
            }
            Self::Network { .. } => "check the network and the proxy, or choose another mirror with --mirror",
            Self::WrongSize { .. } | Self::WrongDigest { .. } => {
                "the mirror is out of step with its index, or something alters downloads: try again later, or choose another mirror with --mirror"
            }
            Self::Offline { .. } => "run once without --offline to fill the cache",
            Self::Path(error) if error.is_no_space() => "free some space, or choose another place with --cache-dir",
            Self::TooLarge { .. } | Self::BadUrl { .. } | Self::SetUp { .. } | Self::Path(_) | Self::Cancelled(_) => {
                return None;
            }
        };
        Some(hint.to_owned())
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
