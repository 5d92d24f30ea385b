//! Archives that bring packages along: tar with every compression. The first byte chooses the form; zip has a target of
//! its own.
//!
//! Invariant: the names that come out stay inside the archive and are those of packages, and reading ends.
#![no_main]

use std::io::{Seek as _, Write as _};
use std::path::Path;

use libfuzzer_sys::fuzz_target;
use oic::archive::ArchiveError;
use oic::archive::bundle::{ENDINGS, Packed, packages};

fuzz_target!(|data: &[u8]| {
    let Some((first, data)) = data.split_first() else {
        return;
    };
    let (_, form) = ENDINGS[usize::from(*first) % ENDINGS.len()];
    let mut file = tempfile::tempfile_in("/dev/shm").unwrap();
    file.write_all(data).unwrap();
    file.rewind().unwrap();
    let mut each = |packed: Packed| {
        assert!(packed.name.ends_with(".deb"), "{:?}", packed.name);
        assert!(
            packed.name.split('/').all(|part| part != ".." && !part.is_empty()),
            "{:?}",
            packed.name
        );
        Ok::<(), ArchiveError>(())
    };
    let _ = packages(file, Path::new("fuzz.tar"), form, "deb", &mut each);
});
