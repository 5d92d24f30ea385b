//! Compares unpacked payloads with the output of `rpm2cpio` and `cpio`.

use std::fs::{self, File};
use std::os::fd::AsFd as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::*;
use crate::rpmfile::testing::build_with;

const SPEC: &str = r"
Name: sample
Version: 1.0
Release: 1
Summary: Sample
License: MIT
BuildArch: noarch
%description
Sample.
%install
cd %{buildroot}
mkdir -p usr/bin usr/share/sample/empty var/log
printf '#!/bin/sh\nexit 0\n' > usr/bin/sample
chmod 4755 usr/bin/sample
seq 100000 > usr/share/sample/numbers
ln usr/share/sample/numbers usr/share/sample/again
ln usr/share/sample/numbers usr/bin/numbers
: > usr/share/sample/void
ln usr/share/sample/void usr/share/sample/void2
ln -s ../share/sample usr/bin/link
touch 'usr/share/sample/a name' var/log/sample.log
%files
/usr/bin/*
%dir /usr/share/sample
/usr/share/sample/*
%ghost /var/log/sample.log
";

/// Lists each path with its kind, permissions, number of names, content or target, and time.
fn listing(root: &Path) -> Vec<(PathBuf, u32, u64, Vec<u8>, i64)> {
    let mut found = Vec::new();
    let mut open = vec![root.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            let metadata = fs::symlink_metadata(&path).unwrap();
            let content = match metadata {
                _ if metadata.is_dir() => Vec::new(),
                _ if metadata.is_symlink() => fs::read_link(&path).unwrap().into_os_string().into_encoded_bytes(),
                _ => fs::read(&path).unwrap(),
            };
            let links = if metadata.is_dir() { 0 } else { metadata.nlink() };
            let name = path.strip_prefix(root).unwrap().to_owned();
            // cpio makes directories that the package does not have, and sets no link's time.
            let time = if metadata.is_file() { metadata.mtime() } else { 0 };
            found.push((name, metadata.permissions().mode(), links, content, time));
            if metadata.is_dir() {
                open.push(path);
            }
        }
    }
    found.sort();
    found
}

fn own(package: &Path, root: &Path) -> Result<Unpacked, ArchiveError> {
    fs::create_dir(root).unwrap();
    extract(package, File::open(root).unwrap().as_fd(), &UnpackOptions::default())
}

fn foreign(package: &Path, root: &Path) {
    fs::create_dir(root).unwrap();
    let mut archive = Command::new("rpm2cpio")
        .arg(package)
        .stdout(Stdio::piped())
        .spawn()
        .expect("this test needs rpm2cpio");
    let unpacked = Command::new("cpio")
        .args([
            "--quiet",
            "--extract",
            "--make-directories",
            "--preserve-modification-time",
        ])
        .current_dir(root)
        .stdin(archive.stdout.take().unwrap())
        .status()
        .expect("this test needs cpio");
    assert!(unpacked.success() && archive.wait().unwrap().success());
}

#[test]
fn payloads_unpack_as_cpio_does() {
    let directory = tempfile::tempdir().unwrap();
    for kind in ["w6.gzdio", "w6.bzdio", "w2.xzdio", "w3.zstdio", "w.ufdio"] {
        let package = build_with(directory.path(), SPEC, &[&format!("_binary_payload {kind}")]);
        let (ours, theirs) = (directory.path().join("ours"), directory.path().join("theirs"));
        let unpacked = own(&package, &ours).unwrap();
        foreign(&package, &theirs);
        assert_eq!(listing(&ours), listing(&theirs), "{kind}");
        assert_eq!(unpacked.content_bytes, 588_895 + 17);
        assert!(!ours.join("var").exists(), "a file that is only claimed is not made");
        damaged(&package, directory.path());
        for tree in [ours, theirs] {
            fs::remove_dir_all(tree).unwrap();
        }
    }
}

/// Checks that the package, cut short anywhere, gives an error that names it.
fn damaged(package: &Path, directory: &Path) {
    let bytes = fs::read(package).unwrap();
    for (number, cut) in [bytes.len() - 1, bytes.len() - 200, bytes.len() / 2, 1000, 90, 0]
        .into_iter()
        .enumerate()
    {
        let root = directory.join(format!("cut{number}"));
        fs::create_dir(&root).unwrap();
        let result = extract_from(
            &bytes[..cut],
            package,
            File::open(&root).unwrap().as_fd(),
            &UnpackOptions::default(),
        );
        let error = result.unwrap_err();
        assert!(error.to_string().contains("sample-1.0"), "{error}");
        fs::remove_dir_all(root).unwrap();
    }
}

#[test]
fn a_payload_that_is_not_what_the_header_says_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let spec = "Name: plain\nVersion: 1\nRelease: 1\nSummary: S\nLicense: MIT\nBuildArch: noarch\n%description\nD\n\
        %install\nmkdir -p %{buildroot}/etc\necho aaaa > %{buildroot}/etc/one\necho bbbb > %{buildroot}/etc/two\n%files\n/etc/*\n";
    let package = build_with(directory.path(), spec, &["_binary_payload w.ufdio"]);
    let bytes = fs::read(&package).unwrap();
    let at = |text: &[u8]| bytes.windows(text.len()).rposition(|window| window == text).unwrap();
    let changed = |name: &str, place: usize, with: &[u8]| {
        let mut bytes = bytes.clone();
        bytes[place..place + with.len()].copy_from_slice(with);
        let root = directory.path().join(name);
        fs::create_dir(&root).unwrap();
        let root = File::open(root).unwrap();
        let result = extract_from(&bytes[..], &package, root.as_fd(), &UnpackOptions::default());
        result.unwrap_err().to_string()
    };
    let name = at(b"./etc/two");
    let message = changed("name", name, b"./etc/abc");
    assert!(
        message.contains("./etc/abc") && message.contains("does not list it"),
        "{message}"
    );
    let message = changed("outside", name, b"./../x/ab");
    assert!(message.contains("does not list it"), "{message}");
    let message = changed("twice", name, b"./etc/one");
    assert!(message.contains("/etc/one") && message.contains("twice"), "{message}");
    // The size is the seventh number behind the magic.
    let message = changed("size", name - 110 + 6 + 6 * 8, b"00000009");
    assert!(message.contains("another size"), "{message}");
    let message = changed("magic", name - 110, b"07070Z");
    assert!(message.contains("magic"), "{message}");
    let message = changed("trailer", name, b"TRAILER!!");
    assert!(message.contains("does not list it"), "{message}");
}

/// Makes a header whose files all lie in `directory`, as an `.rpm` file has it (rpm-package-format(7)). It claims
/// `claimed` files, and has the values of at most 100,000.
fn header(claimed: u32, directory: &str) -> crate::rpmfile::Header {
    const TEXTS: u32 = 8;
    let files = claimed.min(100_000);
    let words = |value: u32| value.to_be_bytes().repeat(files as usize);
    let names: Vec<u8> = (0..files)
        .flat_map(|number| format!("{number}\0").into_bytes())
        .collect();
    let values = [
        (Tag::BASE_NAMES, TEXTS, claimed, names),
        (Tag::DIR_NAMES, TEXTS, 1, format!("{directory}\0").into_bytes()),
        (Tag::FILE_LINK_TOS, TEXTS, files, vec![0; files as usize]),
        (Tag::DIR_INDEXES, 4, files, words(0)),
        (
            Tag::FILE_MODES,
            3,
            files,
            0o100_644_u16.to_be_bytes().repeat(files as usize),
        ),
        (Tag::FILE_SIZES, 4, files, words(0)),
        (Tag::FILE_MTIMES, 4, files, words(0)),
        (Tag::FILE_FLAGS, 4, files, words(0)),
        (Tag::FILE_DEVICES, 4, files, words(0)),
        (
            Tag::FILE_INODES,
            4,
            files,
            (0..files).flat_map(u32::to_be_bytes).collect(),
        ),
        (Tag::FILE_RDEVS, 3, files, vec![0; files as usize * 2]),
    ];
    let (mut index, mut store) = (Vec::new(), Vec::new());
    for (tag, kind, count, value) in &values {
        for number in [tag.0, *kind, store.len() as u32, *count] {
            index.extend(number.to_be_bytes());
        }
        store.extend(value);
    }
    let mut bytes = b"\x8e\xad\xe8\x01\0\0\0\0".to_vec();
    bytes.extend((values.len() as u32).to_be_bytes());
    bytes.extend((store.len() as u32).to_be_bytes());
    bytes.extend([index, store].concat());
    crate::rpmfile::Header::read(&mut &bytes[..], "header", u32::MAX).unwrap()
}

/// Gives many files the name of one directory: a small header asks for much memory.
#[test]
fn names_of_many_files_are_bounded_together() {
    let options = UnpackOptions::default();
    let of = |files, directory: &str| Files::of(&header(files, directory), Path::new("x.rpm"), &options);
    assert!(of(100_000, "/usr/share/").is_ok());
    let long = format!("{}/", "d".repeat(199)).repeat(20);
    for (files, directory, expected) in [
        (100_000, long, "bytes of names"),
        (1, "d/".repeat(3000), "more than 4095 bytes"),
        (4_100_000, "/".to_owned(), "more values than are taken"),
    ] {
        let error = of(files, &directory).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}
