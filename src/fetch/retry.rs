//! Decides whether to retry a failed attempt, and how long to wait before that.

use std::hash::{BuildHasher as _, Hasher as _};
use std::time::Duration;

use reqwest::StatusCode;
use reqwest::header::{HeaderMap, RETRY_AFTER};
use rustls::AlertDescription;

use super::FetchError;

/// Longest wait between attempts, even if a server asks for more.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// The reason why one attempt failed.
#[derive(Debug)]
pub(super) enum Failure {
    /// Another attempt would fail the same way.
    Final(FetchError),
    /// Another attempt may succeed, after `wait` if the server named a time.
    Transient { error: FetchError, wait: Option<Duration> },
}

impl From<FetchError> for Failure {
    fn from(error: FetchError) -> Self {
        Self::Final(error)
    }
}

impl Failure {
    /// Makes a failure that may pass, without a waiting time from the server.
    pub(super) fn transient(error: FetchError) -> Self {
        Self::Transient { error, wait: None }
    }

    /// Makes a failure of the connection.
    pub(super) fn network(url: &str, reason: impl Into<String>) -> Self {
        Self::transient(FetchError::Network {
            url: url.to_owned(),
            reason: reason.into(),
        })
    }

    /// Converts an error of reqwest; a refused redirect or an impossible request is final.
    pub(super) fn from_client(url: &str, error: reqwest::Error) -> Self {
        let hopeless = error.is_redirect() || error.is_builder();
        let error = error.without_url();
        let (url, reason) = (url.to_owned(), causes(&error));
        let error = match tls_error(&error) {
            Some(rustls::Error::InvalidCertificate(_)) => FetchError::Certificate { url, reason },
            Some(rustls::Error::AlertReceived(alert)) if is_about_client(*alert) => {
                return Self::Final(FetchError::ClientCertificate { url, reason });
            }
            _ => FetchError::Network { url, reason },
        };
        if hopeless {
            Self::Final(error)
        } else {
            Self::transient(error)
        }
    }

    /// Converts an unexpected status.
    pub(super) fn from_status(url: &str, status: StatusCode, headers: &HeaderMap) -> Self {
        let url = url.to_owned();
        match status.as_u16() {
            404 | 410 => Self::Final(FetchError::NotFound { url }),
            status @ (408 | 425 | 429 | 500..=599) => Self::Transient {
                error: FetchError::Status { url, status },
                wait: retry_after(headers),
            },
            status => Self::Final(FetchError::Status { url, status }),
        }
    }
}

/// Returns the seconds in `Retry-After` (RFC 9110, 10.2.3); a date is ignored in favour of our own back-off.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

/// Finds the failure of TLS among the causes of an error.
fn tls_error<'e>(error: &'e (dyn std::error::Error + 'static)) -> Option<&'e rustls::Error> {
    let mut causes = std::iter::successors(Some(error), |error| error.source());
    causes.find_map(|error| unwrapped(error).downcast_ref())
}

/// Returns whether a server says with an alert (RFC 8446, 6.2) that it misses the client's certificate, or does not
/// accept it. TLS 1.2 has no alert of its own for a certificate that is missing.
fn is_about_client(alert: AlertDescription) -> bool {
    matches!(
        alert,
        AlertDescription::CertificateRequired
            | AlertDescription::HandshakeFailure
            | AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
            | AlertDescription::AccessDenied
    )
}

/// Takes an error out of the `io::Error`s around it, which return its source as their own instead of itself.
fn unwrapped<'e>(error: &'e (dyn std::error::Error + 'static)) -> &'e (dyn std::error::Error + 'static) {
    match error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref) {
        Some(inner) => unwrapped(inner),
        None => error,
    }
}

/// Returns the causes of `error` as a text, innermost last, without repetitions. The outermost text ("error sending
/// request") appears only if it is alone.
fn causes(error: &dyn std::error::Error) -> String {
    let outer = error.source().unwrap_or(error);
    let mut text = outer.to_string();
    let mut source = outer.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

/// The attempts that one request may make: exponential back-off with jitter.
#[derive(Debug)]
pub(super) struct Attempts {
    allowed: u32,
    failed: u32,
    first_backoff: Duration,
}

impl Attempts {
    /// Allows `allowed` attempts in all (at least one); the first wait is about `first_backoff`.
    pub(super) fn new(allowed: u32, first_backoff: Duration) -> Self {
        Self {
            allowed,
            failed: 0,
            first_backoff,
        }
    }

    /// Restarts the count, because the last attempt made progress.
    pub(super) fn renew(&mut self) {
        self.failed = 0;
    }

    /// Waits until the next attempt is due, or returns the error if none is left.
    pub(super) async fn wait_after(&mut self, failure: Failure) -> Result<(), FetchError> {
        let (error, wished) = match failure {
            Failure::Final(error) => return Err(error),
            Failure::Transient { error, wait } => (error, wait),
        };
        self.failed = self.failed.saturating_add(1);
        if self.failed >= self.allowed {
            return Err(error);
        }
        let wait = wished.unwrap_or_else(|| self.backoff()).min(LONGEST_WAIT);
        tracing::warn!(%error, attempt = self.failed, of = self.allowed, wait_ms = wait.as_millis(), "download failed, trying again");
        tokio::time::sleep(wait).await;
        Ok(())
    }

    /// Returns the next wait: doubled after each failure, minus a random part of up to a half.
    fn backoff(&self) -> Duration {
        let doublings = self.failed.saturating_sub(1).min(16);
        let whole = self.first_backoff.saturating_mul(1 << doublings);
        let random = std::hash::RandomState::new().build_hasher().finish();
        let random_percent = u32::try_from(random % 51).unwrap_or(0);
        whole.saturating_sub(whole.saturating_mul(random_percent) / 100)
    }
}
