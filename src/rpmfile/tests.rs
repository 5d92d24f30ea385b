//! Heads written by `rpmbuild`, and malformed heads.

use std::io::Cursor;

use super::*;
use crate::rpmfile::testing::build;

#[test]
fn a_head_says_what_rpm_says() {
    let directory = tempfile::tempdir().unwrap();
    let path = build(
        directory.path(),
        "Name: sample\nVersion: 1.0~rc1\nRelease: 2\nEpoch: 3\nSummary: a sample\nLicense: MIT\nBuildArch: noarch\n\
         Requires: /bin/sh\nProvides: virtual = 4\n%description\nx\n%install\nmkdir -p %{buildroot}/usr/share/sample\n\
         echo text > %{buildroot}/usr/share/sample/file\n%files\n/usr/share/sample\n",
    );
    let bytes = std::fs::read(&path).unwrap();
    let mut reader = Cursor::new(&bytes);
    let head = RpmHead::read(&mut reader).unwrap();
    assert_eq!(head.nevra(), "sample-3:1.0~rc1-2.noarch");
    assert_eq!(reader.position(), head.payload_offset);
    let strings = |tag| head.header.strings(tag).unwrap();
    assert_eq!(strings(Tag::BASE_NAMES), ["sample", "file"]);
    assert_eq!(strings(Tag::DIR_NAMES), ["/usr/share/", "/usr/share/sample/"]);
    assert_eq!(head.header.numbers(Tag::DIR_INDEXES).unwrap(), [0, 1]);
    assert_eq!(head.header.numbers(Tag::FILE_SIZES).unwrap()[1], 5);
    assert!(strings(Tag::PROVIDE_NAME).contains(&"virtual"));
    assert_eq!(head.header.string(Tag::PRE_IN).unwrap(), None);
    // rpmbuild's digest covers exactly the bytes that we take for the header.
    let digest = crate::package::Sha256::of(head.header.as_bytes()).to_string();
    assert_eq!(
        head.signature.string(Tag::SIGNATURE_SHA256).unwrap(),
        Some(digest.as_str())
    );
    // The payload's digest covers the rest of the file.
    let payload = &bytes[usize::try_from(head.payload_offset).unwrap()..];
    let digest = crate::package::Sha256::of(payload).to_string();
    assert_eq!(strings(Tag::PAYLOAD_DIGEST), [digest.as_str()]);
}

#[test]
fn nothing_is_believed_that_is_not_there() {
    let directory = tempfile::tempdir().unwrap();
    let path = build(
        directory.path(),
        "Name: small\nVersion: 1\nRelease: 1\nSummary: s\nLicense: MIT\nBuildArch: noarch\n%description\nx\n%files\n",
    );
    let bytes = std::fs::read(path).unwrap();
    let head = RpmHead::read(&mut &bytes[..]).unwrap();
    let end = usize::try_from(head.payload_offset).unwrap();
    for cut in (0..end).step_by(7) {
        assert!(RpmHead::read(&mut &bytes[..cut]).is_err(), "cut at {cut}");
    }
    // Every single byte of the head damaged: an error or a header, never a panic.
    for at in 0..end {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0xff;
        if let Ok(head) = RpmHead::read(&mut &damaged[..]) {
            let _ = head.nevra();
            for tag in [Tag::BASE_NAMES, Tag::SIZE, Tag::SIGNATURE_RSA, Tag::PAYLOAD_DIGEST] {
                let _ = (
                    head.header.strings(tag),
                    head.header.numbers(tag),
                    head.header.binary(tag),
                );
            }
        }
    }
    // A count of entries that the store cannot hold costs nothing.
    let start = end - head.header.as_bytes().len();
    let mut huge = bytes.clone();
    huge[start + 12..start + 16].copy_from_slice(&0x0fff_ffff_u32.to_be_bytes());
    assert!(
        RpmHead::read(&mut &huge[..])
            .unwrap_err()
            .to_string()
            .contains("ends too early")
    );
    // An entry that the region does not cover.
    let mut more = bytes.clone();
    let entries = u32::from_be_bytes(bytes[start + 8..start + 12].try_into().unwrap());
    more[start + 8..start + 12].copy_from_slice(&(entries - 1).to_be_bytes());
    assert!(RpmHead::read(&mut &more[..]).is_err());
}
