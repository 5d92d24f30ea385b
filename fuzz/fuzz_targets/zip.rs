//! Zip files that bring packages along. The input becomes a whole zip file of one member, whose header is the input's, and
//! is read as it is too.
//!
//! Invariant: a package has the length and the checksum that its entry announces, its name stays inside the archive, and
//! reading ends.
#![no_main]

use std::io::{Seek as _, Write as _};
use std::path::Path;

use libfuzzer_sys::fuzz_target;
use oic::archive::ArchiveError;
use oic::archive::bundle::{Form, Packed, packages};

const NAME: &[u8] = b"a.deb";

/// Makes a zip file of the one member `data`, packed by `method` into what unpacks to `size` bytes (APPNOTE.TXT, 4.3).
fn zip_of(data: &[u8], method: u8, size: u32) -> Vec<u8> {
    let crc = crc32fast::hash(data);
    let packed = (data.len() as u32).to_le_bytes();
    let mut fields = vec![20, 0, 0, 0, method, 0, 0, 0, 0, 0];
    fields.extend(crc.to_le_bytes());
    fields.extend(packed);
    fields.extend(size.to_le_bytes());
    fields.extend([NAME.len() as u8, 0, 0, 0]);
    let mut zip = [&b"PK\x03\x04"[..], &fields, NAME, data].concat();
    let directory = zip.len() as u32;
    zip.extend([&b"PK\x01\x02"[..], &[20, 0], &fields, &[0; 14], NAME].concat());
    let length = zip.len() as u32 - directory;
    zip.extend(b"PK\x05\x06\0\0\0\0\x01\0\x01\0");
    zip.extend(length.to_le_bytes());
    zip.extend(directory.to_le_bytes());
    zip.extend([0, 0]);
    zip
}

fn read(zip: &[u8]) -> Vec<Packed> {
    let mut file = tempfile::tempfile_in("/dev/shm").unwrap();
    file.write_all(zip).unwrap();
    file.rewind().unwrap();
    let mut found = Vec::new();
    let mut each = |packed: Packed| {
        assert!(
            packed.name.split('/').all(|part| part != ".." && !part.is_empty()),
            "{:?}",
            packed.name
        );
        found.push(packed);
        Ok::<(), ArchiveError>(())
    };
    let _ = packages(file, Path::new("fuzz.zip"), Form::Zip, "deb", &mut each);
    found
}

fuzz_target!(|data: &[u8]| {
    read(data);
    let stored = read(&zip_of(data, 0, data.len() as u32));
    assert!(stored.len() == 1 && stored[0].content == data);
    // Deflated data whose checksum is that of something else.
    for packed in read(&zip_of(data, 8, data.len() as u32 * 2)) {
        assert_eq!(crc32fast::hash(&packed.content), crc32fast::hash(data));
    }
});
