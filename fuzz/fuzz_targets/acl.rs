//! Access control lists of tar streams, as text and as attributes.
//!
//! Invariant: what a text is converted to has the length of its entries, is the same when it is converted again, and
//! grants nine bits at most.
#![no_main]

use libfuzzer_sys::fuzz_target;
use oic::archive::stream::acl::{Account, from_text, sum_up};

fn number(account: Account, name: &[u8]) -> Option<u32> {
    (name.len() > 1).then_some(name.len() as u32 + u32::from(account == Account::Group))
}

fuzz_target!(|bytes: &[u8]| {
    if let Some(summary) = sum_up(bytes) {
        assert!(summary.permissions <= 0o777);
    }
    if let Some(value) = from_text(bytes, &number) {
        assert_eq!(value.len() % 8, 4);
        assert_eq!(from_text(bytes, &number), Some(value.clone()));
        let _ = sum_up(&value);
    }
});
