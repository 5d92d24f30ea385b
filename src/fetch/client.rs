//! The blocking interface over tokio and reqwest.

use std::future::Future;
use std::time::Duration;

use reqwest::header::{ETAG, HeaderMap, HeaderValue, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED};
use reqwest::{Response, StatusCode, Url};

use super::credentials::shown;
use super::engine::{Engine, FetchOptions, Pace};
use super::retry::Failure;
use super::transfer::{Download, Transfer};
use super::{FetchError, Partial, Reply, Transport, Validators, download, local};
use crate::cancel::{Cancel, Cancelled};

/// Interval at which a waiting download checks the flags that stop it.
const STOP_POLL: Duration = Duration::from_millis(50);
/// Downloads for any number of threads at once. Every call blocks its thread and ends within a tenth of a second after
/// it is asked to stop.
#[derive(Debug)]
pub struct Fetcher {
    engine: Engine,
    workers: usize,
    cancel: Cancel,
    /// Taken out only by `drop`.
    runtime: Option<tokio::runtime::Runtime>,
}

impl Fetcher {
    /// Starts the runtime. Setting `cancel` ends all downloads.
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
            workers: options.workers.max(1),
            engine: Engine::new(options)?,
            cancel,
            runtime: Some(runtime),
        })
    }

    /// Returns the number of downloads that make sense at once, at least one.
    pub fn workers(&self) -> usize {
        self.workers
    }

    /// Returns the flag that ends all downloads.
    pub fn cancel(&self) -> &Cancel {
        &self.cancel
    }

    /// Returns whether `url` may be requested: always, unless offline and it is not a `file:` URL.
    pub fn may_fetch(&self, url: &str) -> bool {
        !self.engine.is_offline() || url.starts_with("file:")
    }

    /// Downloads `wanted` into `partial`, continuing from its content. Returns the bytes received from the server (or
    /// copied). Calls `on_position` with the bytes present, which may also shrink; setting any of `stop` ends the
    /// download.
    ///
    /// # Errors
    /// [`FetchError`] after all attempts; `partial` then keeps what can be continued.
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
        if self.engine.is_offline() {
            let url = target.shown.clone();
            return Err(FetchError::Offline { url });
        }
        Ok(())
    }

    /// Makes one attempt at a small resource.
    async fn attempt(&self, target: &Target, limit_bytes: u64, known: Option<&Validators>) -> Result<Reply, Failure> {
        let request = self
            .engine
            .request(&target.url)?
            .headers(known.map(conditions).unwrap_or_default());
        let mut pace = Pace::start(self.engine.stall_timeout());
        let mut response = self.engine.send(request, &target.shown, &mut pace).await?;
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
        // A name lookup may hang for long; `drop` does not wait for it.
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
                match self.attempt(&target, limit_bytes, known).await {
                    Ok(reply) => return Ok(reply),
                    Err(failure) => attempts.wait_after(failure).await?,
                }
            }
        };
        self.block_on(&[&self.cancel], work)
    }
}

/// A usable URL, and its form for messages.
struct Target {
    url: Url,
    shown: String,
}

impl Target {
    fn parse(text: &str) -> Result<Self, FetchError> {
        let bad = |reason: String| FetchError::BadUrl {
            url: shown(text),
            reason,
        };
        let url = Url::parse(text).map_err(|error| bad(error.to_string()))?;
        if !matches!(url.scheme(), "http" | "https" | "file") {
            return Err(bad("expected http, https or file".to_owned()));
        }
        let shown = shown(url.as_str());
        Ok(Self { url, shown })
    }

    fn is_local(&self) -> bool {
        self.url.scheme() == "file"
    }
}

/// Returns a header's text, if the response has it.
fn text_header(response: &Response, name: reqwest::header::HeaderName) -> Option<String> {
    Some(response.headers().get(name)?.to_str().ok()?.to_owned())
}

/// Makes the headers of a conditional request (RFC 9110, 13.1); leaves out a validator that cannot be sent.
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
