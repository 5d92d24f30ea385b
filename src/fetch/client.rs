//! The one place that knows of tokio and reqwest: a blocking face over them.

use std::future::Future;
use std::sync::OnceLock;
use std::time::Duration;

use reqwest::header::{ETAG, HeaderMap, HeaderValue, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED};
use reqwest::{Client, ClientBuilder, NoProxy, Proxy, RequestBuilder, Response, StatusCode, Url, redirect};
use tokio::time::Instant;

use super::download::{self, Transfer};
use super::retry::{Attempts, Failure};
use super::{Download, FetchError, Partial, Reply, Transport, Validators, local};
use crate::cancel::{Cancel, Cancelled};

/// How often a waiting download looks at the flags that stop it.
const STOP_POLL: Duration = Duration::from_millis(50);
/// Fewer bytes than this within the stall timeout count as a stalled server.
const STALL_BYTES: usize = 1024;
/// As in curl and browsers; a mirror network needs two or three.
const MAX_REDIRECTS: usize = 10;

/// Proxies for requests; by default none. The environment is not looked at.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Proxies {
    /// Proxy URL for `http:` requests.
    pub http: Option<String>,
    /// Proxy URL for `https:` requests.
    pub https: Option<String>,
    /// Hosts that are asked directly, in the form of the variable `no_proxy`.
    pub exceptions: Option<String>,
}

/// How a [`Fetcher`] behaves.
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
    /// Only `file:` URLs may be used.
    pub offline: bool,
    /// `User-Agent` header.
    pub user_agent: String,
    /// Proxies.
    pub proxies: Proxies,
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
            user_agent: concat!("oic/", env!("CARGO_PKG_VERSION")).to_owned(),
            proxies: Proxies::default(),
        }
    }
}

/// Downloads for any number of threads at once. Every call blocks its thread and
/// ends within a tenth of a second once it is asked to stop.
#[derive(Debug)]
pub struct Fetcher {
    engine: Engine,
    cancel: Cancel,
    /// Taken out only when dropped.
    runtime: Option<tokio::runtime::Runtime>,
}

impl Fetcher {
    /// Starts the runtime. `cancel` ends everything that is under way.
    ///
    /// # Errors
    /// [`FetchError::SetUp`] if threads cannot be started or a proxy is malformed.
    pub fn new(options: FetchOptions, cancel: Cancel) -> Result<Self, FetchError> {
        // Bodies are written and hashed on the callers' threads; the runtime only moves bytes.
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(options.workers.clamp(1, 2))
            .thread_name("oic-fetch")
            .enable_all()
            .build()
            .map_err(|error| FetchError::SetUp {
                reason: error.to_string(),
            })?;
        Ok(Self {
            engine: Engine::new(options)?,
            cancel,
            runtime: Some(runtime),
        })
    }

    /// The flag that ends everything that is under way.
    pub fn cancel(&self) -> &Cancel {
        &self.cancel
    }

    /// Whether `url` may be asked for: always, unless offline and it is not a `file:` URL.
    pub fn may_fetch(&self, url: &str) -> bool {
        !self.engine.options.offline || url.starts_with("file:")
    }

    /// Downloads `wanted` into `partial`, continuing what is there. Returns how
    /// many bytes came from the server (or were copied). `on_position` is told
    /// how many bytes are there, which may also shrink; any of `stop` ends it.
    ///
    /// # Errors
    /// [`FetchError`] after all attempts; `partial` then holds what can be continued.
    pub fn download(
        &self,
        wanted: &Download<'_>,
        partial: &Partial,
        on_position: &dyn Fn(u64),
        stop: &[&Cancel],
    ) -> Result<u64, FetchError> {
        let target = Target::parse(wanted.url)?;
        let stop: Vec<&Cancel> = stop.iter().copied().chain([&self.cancel]).collect();
        let mut transfer = Transfer::new(*wanted, &target.shown, partial, on_position, &stop)?;
        if target.is_local() {
            local::copy(&target.url, &mut transfer, &stop)?;
        } else {
            self.check_online(&target)?;
            self.block_on(&stop, download::run(&self.engine, &target.url, &mut transfer))?;
        }
        Ok(transfer.received_bytes())
    }

    fn check_online(&self, target: &Target) -> Result<(), FetchError> {
        if self.engine.options.offline {
            let url = target.shown.clone();
            return Err(FetchError::Offline { url });
        }
        Ok(())
    }

    /// Runs `work` on this thread until it ends or one of `stop` is set.
    fn block_on<T>(
        &self,
        stop: &[&Cancel],
        work: impl Future<Output = Result<T, FetchError>>,
    ) -> Result<T, FetchError> {
        let Some(runtime) = &self.runtime else {
            return Err(Cancelled.into());
        };
        let stopped = async {
            while !stop.iter().any(|flag| flag.is_cancelled()) {
                tokio::time::sleep(STOP_POLL).await;
            }
        };
        runtime.block_on(async {
            tokio::select! {
                biased;
                () = stopped => Err(Cancelled.into()),
                result = work => result,
            }
        })
    }
}

impl Drop for Fetcher {
    fn drop(&mut self) {
        // A name lookup may hang for long; nothing waits for it.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Transport for Fetcher {
    fn get(&self, url: &str, limit_bytes: u64, known: Option<&Validators>) -> Result<Reply, FetchError> {
        let target = Target::parse(url)?;
        if target.is_local() {
            return local::get(&target.url, limit_bytes, known);
        }
        self.check_online(&target)?;
        let work = async {
            let mut attempts = self.engine.attempts();
            loop {
                match self.engine.get(&target, limit_bytes, known).await {
                    Ok(reply) => return Ok(reply),
                    Err(failure) => attempts.wait_after(failure).await?,
                }
            }
        };
        self.block_on(&[&self.cancel], work)
    }
}

/// A URL that can be used, and how messages show it.
struct Target {
    url: Url,
    shown: String,
}

impl Target {
    fn parse(text: &str) -> Result<Self, FetchError> {
        let bad = |reason: String| FetchError::BadUrl {
            url: text.to_owned(),
            reason,
        };
        let url = Url::parse(text).map_err(|error| bad(error.to_string()))?;
        if !matches!(url.scheme(), "http" | "https" | "file") {
            return Err(bad("expected http, https or file".to_owned()));
        }
        let mut public = url.clone();
        // Setting them fails only where a URL cannot have them.
        let _ = public.set_password(None);
        let _ = public.set_username("");
        let shown = public.to_string();
        Ok(Self { url, shown })
    }

    fn is_local(&self) -> bool {
        self.url.scheme() == "file"
    }
}

/// The HTTP client and its settings.
#[derive(Debug)]
pub(super) struct Engine {
    /// Made when it is first needed: reading the host's certificates takes 10 ms.
    client: OnceLock<Result<Client, String>>,
    options: FetchOptions,
}

impl Engine {
    fn new(options: FetchOptions) -> Result<Self, FetchError> {
        let set_up = |error: reqwest::Error| FetchError::SetUp {
            reason: error.to_string(),
        };
        // A malformed proxy shows at once.
        builder(&options).map(drop).map_err(set_up)?;
        let client = OnceLock::new();
        Ok(Self { client, options })
    }

    fn client(&self) -> Result<&Client, FetchError> {
        let client = self.client.get_or_init(|| {
            let with_roots = builder(&self.options).and_then(ClientBuilder::build);
            // A host without ca-certificates has no roots: http still works, https refuses every certificate.
            let without_roots = |error: reqwest::Error| {
                tracing::warn!(%error, "no certificate authorities of the host can be used; https will not work");
                builder(&self.options).and_then(|builder| builder.tls_certs_only([]).build())
            };
            with_roots.or_else(without_roots).map_err(|error| error.to_string())
        });
        client
            .as_ref()
            .map_err(|reason| FetchError::SetUp { reason: reason.clone() })
    }

    pub(super) fn attempts(&self) -> Attempts {
        Attempts::new(self.options.attempts, self.options.first_backoff)
    }

    pub(super) fn stall_timeout(&self) -> Duration {
        self.options.stall_timeout
    }

    pub(super) fn request(&self, url: &Url) -> Result<RequestBuilder, FetchError> {
        Ok(self.client()?.get(url.clone()))
    }

    /// Sends `request` and waits for the head of the answer.
    pub(super) async fn send(
        &self,
        request: RequestBuilder,
        shown: &str,
        pace: &mut Pace,
    ) -> Result<Response, Failure> {
        // Connecting has a limit of its own, on top.
        let limit = self.options.connect_timeout.saturating_add(pace.timeout);
        let answer = tokio::time::timeout(limit, request.send()).await;
        *pace = Pace::start(pace.timeout);
        match answer {
            Ok(response) => response.map_err(|error| Failure::from_client(shown, error)),
            Err(_) => Err(pace.stalled(shown)),
        }
    }

    /// One attempt at a small resource.
    async fn get(&self, target: &Target, limit_bytes: u64, known: Option<&Validators>) -> Result<Reply, Failure> {
        let request = self
            .request(&target.url)?
            .headers(known.map(conditions).unwrap_or_default());
        let mut pace = Pace::start(self.options.stall_timeout);
        let mut response = self.send(request, &target.shown, &mut pace).await?;
        match response.status() {
            StatusCode::OK => {}
            StatusCode::NOT_MODIFIED if known.is_some() => return Ok(Reply::NotModified),
            status => return Err(Failure::from_status(&target.shown, status, response.headers())),
        }
        let too_large = || FetchError::TooLarge {
            url: target.shown.clone(),
            limit_bytes,
        };
        if response.content_length().is_some_and(|length| length > limit_bytes) {
            return Err(too_large().into());
        }
        let validators = Validators {
            etag: text_header(&response, ETAG),
            last_modified: text_header(&response, LAST_MODIFIED),
        };
        let mut bytes = Vec::new();
        while let Some(chunk) = pace.chunk(&mut response, &target.shown).await? {
            if (bytes.len() as u64).saturating_add(chunk.len() as u64) > limit_bytes {
                return Err(too_large().into());
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(Reply::Body { bytes, validators })
    }
}

fn builder(options: &FetchOptions) -> Result<ClientBuilder, reqwest::Error> {
    let mut builder = Client::builder()
        .user_agent(options.user_agent.as_str())
        .connect_timeout(options.connect_timeout)
        .pool_max_idle_per_host(options.workers.max(1))
        .http2_adaptive_window(true)
        .redirect(redirect::Policy::custom(follow))
        .no_proxy();
    let exceptions = options.proxies.exceptions.as_deref().and_then(NoProxy::from_string);
    if let Some(url) = &options.proxies.http {
        builder = builder.proxy(Proxy::http(url)?.no_proxy(exceptions.clone()));
    }
    if let Some(url) = &options.proxies.https {
        builder = builder.proxy(Proxy::https(url)?.no_proxy(exceptions));
    }
    Ok(builder)
}

/// Follows redirects, but not many, and never from https to anything else.
fn follow(attempt: redirect::Attempt<'_>) -> redirect::Action {
    let was_secure = attempt.previous().iter().any(|url| url.scheme() == "https");
    if was_secure && attempt.url().scheme() != "https" {
        return attempt.error("refusing a redirect from https to an insecure URL");
    }
    if attempt.previous().len() > MAX_REDIRECTS {
        return attempt.error("too many redirects");
    }
    attempt.follow()
}

fn text_header(response: &Response, name: reqwest::header::HeaderName) -> Option<String> {
    Some(response.headers().get(name)?.to_str().ok()?.to_owned())
}

/// The headers of a conditional request (RFC 9110, 13.1); a validator that cannot be sent is left out.
fn conditions(known: &Validators) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let pairs = [(IF_NONE_MATCH, &known.etag), (IF_MODIFIED_SINCE, &known.last_modified)];
    for (name, value) in pairs {
        if let Some(value) = value.as_deref().and_then(|text| HeaderValue::from_str(text).ok()) {
            headers.insert(name, value);
        }
    }
    headers
}

/// Notices a server that sends nothing, or next to nothing.
pub(super) struct Pace {
    timeout: Duration,
    deadline: Instant,
    bytes_since: usize,
}

impl Pace {
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

    /// The next part of the body; `None` at its end.
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
