//! Download over HTTP(S) and from `file:` URLs. What arrives here is not trusted
//! yet: `verify`, `repo` and `cache` decide what may be used.

use serde::{Deserialize, Serialize};

use crate::cancel::Cancelled;
use crate::durable::PathError;

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
    /// Writing what arrived failed.
    #[error(transparent)]
    Path(#[from] PathError),
    /// The user asked to stop.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
}

/// Fetches small resources (metadata) whole.
pub trait Transport: Send + Sync {
    /// Gets `url`, at most `limit_bytes` of it; with `known` validators the request is conditional.
    ///
    /// # Errors
    /// [`FetchError`]; a 404 or a missing file is [`FetchError::NotFound`].
    fn get(&self, url: &str, limit_bytes: u64, known: Option<&Validators>) -> Result<Reply, FetchError>;
}
