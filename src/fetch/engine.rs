//! The HTTP client, its settings, and its limits for slow servers.

use std::sync::OnceLock;
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, LOCATION};
use reqwest::{Client, ClientBuilder, Proxy, RequestBuilder, Response, StatusCode, Url, redirect};
use tokio::time::Instant;

use super::FetchError;
use super::credentials::Credentials;
use super::proxy::Proxies;
use super::retry::{Attempts, Failure};
use super::tls::{Certificates, HostFiles};
use crate::sync::{Mutex, lock};

/// Fewer bytes than this within the stall timeout mean a stalled server.
const STALL_BYTES: usize = 1024;
/// Limit as in curl and browsers; a mirror network needs two or three.
const MAX_REDIRECTS: usize = 10;

/// The way to servers, and the credentials and certificates for them; by default, requests go there directly and without
/// any. The environment is ignored.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Network {
    /// The proxies.
    pub proxies: Proxies,
    /// Names and passwords.
    pub credentials: Credentials,
    /// Certificates of clients and authorities.
    pub certificates: Certificates,
}

/// The settings of a [`Fetcher`].
#[derive(Debug, Clone)]
pub struct FetchOptions {
    /// Downloads that run at once (connections kept open per host).
    pub workers: usize,
    /// Longest wait for a connection.
    pub connect_timeout: Duration,
    /// Longest time without noteworthy progress (1 KiB).
    pub stall_timeout: Duration,
    /// Attempts per request without progress, the first included.
    pub attempts: u32,
    /// Wait after the first failure; doubles with each further one.
    pub first_backoff: Duration,
    /// Whether only `file:` URLs may be used.
    pub offline: bool,
    /// Whether servers may have any certificate; for files of which the digest is known.
    pub any_certificate: bool,
    /// `User-Agent` header.
    pub user_agent: String,
    /// Proxies and credentials.
    pub network: Network,
}

impl Default for FetchOptions {
    fn default() -> Self {
        Self {
            workers: 16,
            connect_timeout: Duration::from_secs(15),
            stall_timeout: Duration::from_secs(30),
            attempts: 3,
            first_backoff: Duration::from_millis(500),
            offline: false,
            any_certificate: false,
            user_agent: concat!("oic/", env!("CARGO_PKG_VERSION")).to_owned(),
            network: Network::default(),
        }
    }
}

/// The HTTP client and its settings.
#[derive(Debug)]
pub(super) struct Engine {
    /// Made at its first use: reading the host's certificates takes 10 ms.
    client: OnceLock<Result<Client, String>>,
    /// The clients for hosts with certificates of their own.
    own: Mutex<Vec<(HostFiles, Client)>>,
    options: FetchOptions,
}

impl Engine {
    /// Checks the settings; makes no client yet.
    pub(super) fn new(options: FetchOptions) -> Result<Self, FetchError> {
        // A malformed proxy fails at once.
        let routes = options.network.proxies.routes().map(drop);
        routes.map_err(|reason| FetchError::SetUp { reason })?;
        Ok(Self {
            client: OnceLock::new(),
            own: Mutex::default(),
            options,
        })
    }

    /// Returns the client for requests to `url`.
    fn client_for(&self, url: &Url) -> Result<Client, FetchError> {
        let files = self.options.network.certificates.for_url(url);
        if files == HostFiles::default() {
            return self.client().cloned();
        }
        let mut own = lock(&self.own);
        if let Some((_, client)) = own.iter().find(|(known, _)| *known == files) {
            return Ok(client.clone());
        }
        let build = |builder: ClientBuilder| builder.build().map_err(|error| error.to_string());
        let client = builder(&self.options)
            .and_then(|builder| files.apply(builder))
            .and_then(build)
            .map_err(|reason| FetchError::SetUp { reason })?;
        own.push((files, client.clone()));
        Ok(client)
    }

    fn client(&self) -> Result<&Client, FetchError> {
        let client = self.client.get_or_init(|| {
            let build = |builder: ClientBuilder| builder.build().map_err(|error| error.to_string());
            let with_roots = builder(&self.options).and_then(build);
            // A host without ca-certificates has no roots: http still works, https refuses every certificate.
            with_roots.or_else(|error| {
                tracing::warn!(%error, "no certificate authorities of the host can be used; https will not work");
                builder(&self.options).and_then(|builder| build(builder.tls_certs_only([])))
            })
        });
        client
            .as_ref()
            .map_err(|reason| FetchError::SetUp { reason: reason.clone() })
    }

    /// Returns whether only `file:` URLs may be used.
    pub(super) fn is_offline(&self) -> bool {
        self.options.offline
    }

    /// Returns the attempts that one request may make.
    pub(super) fn attempts(&self) -> Attempts {
        Attempts::new(self.options.attempts, self.options.first_backoff)
    }

    /// Returns the longest time without noteworthy progress.
    pub(super) fn stall_timeout(&self) -> Duration {
        self.options.stall_timeout
    }

    /// Prepares a GET request for `url`, with the credentials for it. A redirect to another host or port leaves them
    /// behind.
    pub(super) fn request(&self, url: &Url) -> Result<RequestBuilder, FetchError> {
        let request = self.client_for(url)?.get(url.clone());
        let has_own = !url.username().is_empty() || url.password().is_some();
        let known = self.options.network.credentials.for_url(url);
        Ok(match known.filter(|_| !has_own) {
            Some((login, password)) => request.basic_auth(login, Some(password)),
            None => request,
        })
    }

    /// Sends `request` and waits for the head of the answer.
    pub(super) async fn send(
        &self,
        request: RequestBuilder,
        shown: &str,
        pace: &mut Pace,
    ) -> Result<Response, Failure> {
        // Connecting has its own limit on top.
        let limit = self.options.connect_timeout.saturating_add(pace.timeout);
        let answer = tokio::time::timeout(limit, self.follow(request)).await;
        *pace = Pace::start(pace.timeout);
        match answer {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(Lost::Client(error))) => Err(Failure::from_client(shown, error)),
            Ok(Err(Lost::SetUp(error))) => Err(error.into()),
            Err(_) => Err(pace.stalled(shown)),
        }
    }
}

impl Engine {
    /// Sends `request`, and follows redirects to hosts that need another client. A redirect leaves credentials behind.
    async fn follow(&self, request: RequestBuilder) -> Result<Response, Lost> {
        let (mut client, request) = request.build_split();
        let mut request = request?;
        for _ in 0..MAX_REDIRECTS {
            let again = request.try_clone();
            let response = client.execute(request).await?;
            let (Some(next), Some(mut again)) = (redirected(&response), again) else {
                return Ok(response);
            };
            again.headers_mut().remove(AUTHORIZATION);
            *again.url_mut() = next;
            client = self.client_for(again.url())?;
            request = again;
        }
        Ok(client.execute(request).await?)
    }
}

/// Why no answer came.
enum Lost {
    /// The request failed.
    Client(reqwest::Error),
    /// It could not be made.
    SetUp(FetchError),
}

impl From<reqwest::Error> for Lost {
    fn from(error: reqwest::Error) -> Self {
        Self::Client(error)
    }
}

impl From<FetchError> for Lost {
    fn from(error: FetchError) -> Self {
        Self::SetUp(error)
    }
}

/// Returns where a redirect leads that the client has not followed.
fn redirected(response: &Response) -> Option<Url> {
    let is_redirect = response.status().is_redirection() && response.status() != StatusCode::NOT_MODIFIED;
    let location = response.headers().get(LOCATION).filter(|_| is_redirect)?;
    response.url().join(location.to_str().ok()?).ok()
}

/// Prepares a client; its error says which setting is malformed.
fn builder(options: &FetchOptions) -> Result<ClientBuilder, String> {
    let routes = options.network.proxies.routes()?;
    let certificates = options.network.certificates.clone();
    Ok(Client::builder()
        .user_agent(options.user_agent.as_str())
        .connect_timeout(options.connect_timeout)
        .pool_max_idle_per_host(options.workers.max(1))
        .http2_adaptive_window(true)
        .tls_danger_accept_invalid_certs(options.any_certificate)
        .redirect(redirect::Policy::custom(move |attempt| follow(attempt, &certificates)))
        .no_proxy()
        .proxy(Proxy::custom(move |url| routes.proxy_for(url))))
}

/// Follows redirects up to [`MAX_REDIRECTS`], and never from https to anything else. Stops at a host with other
/// certificates: [`Engine::follow`] goes on with the client for that.
fn follow(attempt: redirect::Attempt<'_>, certificates: &Certificates) -> redirect::Action {
    let was_secure = attempt.previous().iter().any(|url| url.scheme() == "https");
    if was_secure && attempt.url().scheme() != "https" {
        return attempt.error("refusing a redirect from https to an insecure URL");
    }
    if attempt.previous().len() > MAX_REDIRECTS {
        return attempt.error("too many redirects");
    }
    let before = attempt.previous().last().map(|url| certificates.for_url(url));
    if before.is_some_and(|before| before != certificates.for_url(attempt.url())) {
        return attempt.stop();
    }
    attempt.follow()
}

/// A check for servers that send nothing, or almost nothing.
pub(super) struct Pace {
    timeout: Duration,
    deadline: Instant,
    bytes_since: usize,
}

impl Pace {
    /// Starts the clock: after `timeout` without noteworthy progress, the server counts as stalled.
    pub(super) fn start(timeout: Duration) -> Self {
        // A century stands for "never" where adding overflows.
        let far = Duration::from_secs(100 * 365 * 24 * 3600);
        let now = Instant::now();
        Self {
            timeout,
            deadline: now + timeout.min(far),
            bytes_since: 0,
        }
    }

    /// Waits for the next part of the body; `None` at its end.
    pub(super) async fn chunk(
        &mut self,
        response: &mut Response,
        shown: &str,
    ) -> Result<Option<impl std::ops::Deref<Target = [u8]> + use<>>, Failure> {
        let chunk = tokio::time::timeout_at(self.deadline, response.chunk())
            .await
            .map_err(|_| self.stalled(shown))?
            .map_err(|error| Failure::from_client(shown, error))?;
        self.bytes_since += chunk.as_ref().map_or(0, |chunk| chunk.len());
        if self.bytes_since >= STALL_BYTES {
            *self = Self::start(self.timeout);
        }
        Ok(chunk)
    }

    fn stalled(&self, shown: &str) -> Failure {
        let seconds = self.timeout.as_secs_f32();
        Failure::network(shown, format!("the server sent nothing for {seconds} seconds"))
    }
}
