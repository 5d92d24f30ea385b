//! Fetchers for tests, and the server that they talk to.

use std::time::Duration;

pub(crate) use oic_testkit::server::{Fault, Server};

use super::{FetchOptions, Fetcher};
use crate::cancel::Cancel;

/// Makes a fetcher with a short back-off and long timeouts: the machine may be loaded.
pub(crate) fn fetcher() -> Fetcher {
    fetcher_with(Cancel::default(), |_| {})
}

/// Makes a [`fetcher`] with changed options.
pub(crate) fn fetcher_with(cancel: Cancel, change: impl FnOnce(&mut FetchOptions)) -> Fetcher {
    let mut options = FetchOptions {
        first_backoff: Duration::from_millis(10),
        ..FetchOptions::default()
    };
    change(&mut options);
    Fetcher::new(options, cancel).unwrap()
}

/// Makes bytes that do not repeat, the same for the same `seed`.
pub(crate) fn bytes(size: usize, seed: u32) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(1);
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state
    };
    (0..size).map(|_| next() as u8).collect()
}
