//! What is installed in an image: rpm's databases, dpkg's, copyright files, licences.
//!
//! Invariant: every licence becomes an expression that SPDX's grammar accepts, and headers have at most the database's bytes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use oic::installed::rpmdb::{self, Kind};
use oic::installed::{capabilities, dpkg};
use oic::rpmfile::Header;
use oic::sbom::{Copyright, References, common_licences, expression};

fuzz_target!(|bytes: &[u8]| {
    let (kind, bytes) = bytes.split_first().map_or((0, bytes), |(kind, rest)| (*kind, rest));
    match kind % 6 {
        0 | 1 => {
            // A database and its log.
            let (file, log) = bytes.split_at(bytes.len() / (usize::from(kind % 2) + 1));
            headers(Kind::Sqlite, file, log);
        }
        2 => headers(Kind::Ndb, bytes, &[]),
        3 => headers(Kind::Bdb, bytes, &[]),
        4 => {
            let _ = dpkg::installed(bytes);
            let _ = capabilities::text(bytes);
        }
        _ => {
            common_licences(bytes);
            if let Some(copyright) = Copyright::parse(bytes) {
                let mut references = References::new();
                for licence in &copyright.licences {
                    let found = expression(licence, &|name| copyright.text(name), &mut references);
                    assert!(spdx::Expression::parse(&found).is_ok(), "{found:?}");
                }
            }
        }
    }
});

fn headers(kind: Kind, file: &[u8], log: &[u8]) {
    for blob in rpmdb::blobs(kind, file, log).unwrap_or_default() {
        assert!(blob.len() <= file.len() + log.len());
        if let Ok(header) = Header::of_database(&blob) {
            let _ = header.paths();
            header.evr();
        }
    }
}
