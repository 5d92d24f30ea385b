//! All file systems that are read, by what the bytes begin like; checksums are not compared here.
//!
//! Invariant: names are not empty and have no slash, what is listed is found, and no more is read than the size says.
#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use oic::disk::area::Area;
use oic::disk::listing::walk;
use oic::disk::medium::Memory;
use oic::disk::probe::Contents;

fuzz_target!(|bytes: &[u8]| {
    let contents = Contents::of(&Area::whole(Arc::new(Memory::new(bytes))));
    if let Some(file_system) = contents.ok().and_then(|contents| contents.file_system) {
        let _ = walk(&*file_system.layer());
    }
});
