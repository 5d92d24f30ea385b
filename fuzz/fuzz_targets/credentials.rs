//! Files of credentials (netrc, apt's auth.conf), URLs that carry some, and the variables that name proxies.
//!
//! Invariant: what is shown of a URL has nothing more to hide.
#![no_main]

use libfuzzer_sys::fuzz_target;
use oic::fetch::{Credentials, CredentialsFormat, Proxies, shown};

fuzz_target!(|text: &str| {
    let mut credentials = Credentials::default();
    for format in [CredentialsFormat::Netrc, CredentialsFormat::AptAuth] {
        credentials.add_file(text, format);
    }
    for line in text.lines() {
        let public = credentials.take_from(line);
        assert_eq!(shown(&public), public);
    }
    let _ = format!("{credentials:?}");
    let _ = Proxies::from_variables(|_| Some(text.to_owned()));
});
