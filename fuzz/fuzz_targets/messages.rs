//! Messages between oic and its children (mount server, sandbox), and the output that comes out of a sandbox.
//!
//! Invariant: what is read, written and read again is the same; no piece of a line is longer than the limit, and none
//! has the end of a line.
#![no_main]

use libfuzzer_sys::fuzz_target;
use oic::hint::Hint;
use oic::layers::{LayerRequest, LayerStats};
use oic::mount::server::{ServeRequest, Stats};
use oic::sandbox::lines::{LIMIT_BYTES, read_lines};
use oic::sandbox::{Command, SandboxSpec};
use serde::Serialize;
use serde::de::DeserializeOwned;

fn check<T: DeserializeOwned + Serialize>(bytes: &[u8]) {
    if let Ok(value) = serde_json::from_slice::<T>(bytes) {
        let text = serde_json::to_vec(&value).unwrap();
        let again: T = serde_json::from_slice(&text).unwrap();
        assert_eq!(serde_json::to_vec(&again).unwrap(), text);
    }
}

fuzz_target!(|bytes: &[u8]| {
    check::<ServeRequest<LayerRequest>>(bytes);
    check::<Stats<LayerStats>>(bytes);
    check::<SandboxSpec>(bytes);
    check::<Command>(bytes);
    check::<Hint>(bytes);
    let mut length = 0;
    read_lines(bytes, |line| {
        // A byte that is no text becomes three; the last read may go beyond the limit.
        assert!(line.len() <= 6 * LIMIT_BYTES && !line.contains(['\n', '\r']));
        length += line.len();
    });
    assert!(length <= 3 * bytes.len());
});
