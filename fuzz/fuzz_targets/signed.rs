//! Clear-signed texts, certificates and signatures (OpenPGP).
//!
//! Invariant: no text is accepted under a key that did not sign it; certificates that are read are written and read
//! again as the same.
#![no_main]

use std::time::{Duration, SystemTime};

use libfuzzer_sys::fuzz_target;
use oic::verify::{Keyring, select, signed_text_unverified};

fuzz_target!(|bytes: &[u8]| {
    let _ = signed_text_unverified(bytes);
    let Ok(keyring) = Keyring::from_certificates(&[bytes]) else {
        return;
    };
    let fingerprints = keyring.fingerprints();
    assert!(select(bytes, &["0".repeat(40)]).is_err() || fingerprints.contains(&"0".repeat(40)));
    if let Ok(written) = keyring.to_bytes() {
        let again = Keyring::from_certificates(&[written]).expect("what was written can be read");
        assert_eq!(again.fingerprints(), fingerprints);
    }
    let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    assert!(keyring.verify_inline(bytes, at).is_err(), "a certificate is no signed text");
    let _ = keyring.verify_detached(b"data", bytes, at);
});
