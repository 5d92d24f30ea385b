//! Reading a Debian package: ar(5) members, the control archive, the data stream.
//!
//! Invariant: control files have names without a directory, and reading ends.
#![no_main]

use std::io::{self, Cursor, Read as _};
use std::path::Path;

use libfuzzer_sys::fuzz_target;
use oic::archive::deb::Deb;

/// Compressed data can be a bomb; its reader bounds it.
const DATA_BYTES_MAX: u64 = 1 << 20;

fuzz_target!(|data: &[u8]| {
    let Ok(mut deb) = Deb::new(Cursor::new(data), Path::new("fuzz.deb")) else {
        return;
    };
    for file in deb.control_files().unwrap_or_default() {
        assert!(
            !file.name.is_empty() && !file.name.contains(&b'/'),
            "{:?}",
            String::from_utf8_lossy(&file.name)
        );
    }
    let _ = deb.control_file("control");
    if let Ok(data) = deb.data() {
        let _ = io::copy(&mut data.take(DATA_BYTES_MAX), &mut io::sink());
    }
});
