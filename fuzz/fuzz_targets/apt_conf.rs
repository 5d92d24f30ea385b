//! Texts in the form of apt.conf(5), of which the files of certificates count.
//!
//! Invariant: a text says the same when it is read again, and what follows a whole text does not change what that said.
#![no_main]

use libfuzzer_sys::fuzz_target;
use oic::fetch::Certificates;

fn read(text: &str) -> Certificates {
    let mut certificates = Certificates::default();
    certificates.add_text(text);
    certificates
}

fuzz_target!(|text: &str| {
    let found = read(text);
    assert_eq!(read(text), found);
    let mut both = found.clone();
    both.add_text("Acquire::https::a { SslCert \"/cert\"; };");
    assert_ne!(both, found);
});
