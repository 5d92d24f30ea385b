//! Downloads a file of known size and digest: streams it, hashes it on the way, and resumes where an earlier attempt
//! stopped.
//!
//! Invariants: never more than the announced size is written; `Ok` means that the file has exactly the announced size
//! and digest.

use reqwest::header::{ACCEPT_ENCODING, CONTENT_RANGE, RANGE};
use reqwest::{Response, StatusCode, Url};

use super::FetchError;
use super::engine::{Engine, Pace};
use super::retry::Failure;
use super::transfer::Transfer;

/// Progress, in bytes, after which a failed attempt does not count: a large file comes through a bad line in many
/// pieces.
const WORTHWHILE_BYTES: u64 = 1024 * 1024;

/// Makes attempts until `transfer` is complete and right, or none is left.
pub(super) async fn run(engine: &Engine, url: &Url, transfer: &mut Transfer<'_>) -> Result<(), FetchError> {
    let mut attempts = engine.attempts();
    let mut may_start_over = true;
    let mut furthest_bytes = transfer.position_bytes;
    loop {
        let failure = match attempt(engine, url, transfer).await {
            Ok(()) => {
                let pieced = transfer.pieced;
                match transfer.finish() {
                    Ok(()) => return Ok(()),
                    // The pieces do not belong together; that is not the server's fault.
                    Err(FetchError::WrongDigest { .. }) if pieced && may_start_over => {
                        tracing::warn!(url = transfer.shown, "the resumed download is wrong, starting over");
                        may_start_over = false;
                        continue;
                    }
                    Err(error @ FetchError::WrongDigest { .. }) => Failure::transient(error),
                    Err(error) => error.into(),
                }
            }
            Err(failure) => failure,
        };
        if transfer.position_bytes >= furthest_bytes.saturating_add(WORTHWHILE_BYTES) {
            furthest_bytes = transfer.position_bytes;
            attempts.renew();
        }
        attempts.wait_after(failure).await?;
    }
}

/// Sends one request for the missing part, and receives its body.
async fn attempt(engine: &Engine, url: &Url, transfer: &mut Transfer<'_>) -> Result<(), Failure> {
    if transfer.is_complete() && transfer.wanted.size_bytes > 0 {
        return Ok(());
    }
    let mut request = engine.request(url)?.header(ACCEPT_ENCODING, "identity");
    if transfer.position_bytes > 0 {
        request = request.header(RANGE, format!("bytes={}-", transfer.position_bytes));
    }
    let mut pace = Pace::start(engine.stall_timeout());
    let mut response = engine.send(request, transfer.shown, &mut pace).await?;
    accept(&response, transfer)?;
    if let Some(more_bytes) = response.content_length() {
        transfer
            .check_announced(transfer.position_bytes, more_bytes)
            .map_err(Failure::transient)?;
    }
    transfer.pieced = transfer.position_bytes > 0;
    while let Some(chunk) = pace.chunk(&mut response, transfer.shown).await? {
        transfer.take(&chunk)?;
    }
    if transfer.is_complete() {
        return Ok(());
    }
    let (came, wanted) = (transfer.position_bytes, transfer.wanted.size_bytes);
    let reason = format!("the connection ended after {came} of {wanted} bytes");
    Err(Failure::network(transfer.shown, reason))
}

/// Decides whether the body continues the file, restarts it, or does not belong to it.
fn accept(response: &Response, transfer: &mut Transfer<'_>) -> Result<(), Failure> {
    match response.status() {
        StatusCode::OK => Ok(transfer.restart()?),
        StatusCode::PARTIAL_CONTENT if range_start(response) == Some(transfer.position_bytes) => Ok(()),
        StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE => {
            transfer.restart()?;
            let reason = "the server cannot continue the download where it stopped";
            Err(Failure::network(transfer.shown, reason))
        }
        status => Err(Failure::from_status(transfer.shown, status, response.headers())),
    }
}

/// Returns the first position of `Content-Range: bytes 5-9/10` (RFC 9110, 14.4).
fn range_start(response: &Response) -> Option<u64> {
    let range = response.headers().get(CONTENT_RANGE)?.to_str().ok()?;
    range.strip_prefix("bytes ")?.split_once('-')?.0.trim().parse().ok()
}
