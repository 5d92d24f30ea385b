//! Compares unpacking with tar(1) and dpkg-deb(1), and tries hostile archives.

use std::fs::{self, File};
use std::os::fd::AsFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::*;
use crate::archive::deb::{Deb, extract};

/// A tar stream member: type, name, link, content.
struct Raw<'a>(u8, &'a [u8], &'a [u8], &'a [u8]);

fn stream(members: &[Raw<'_>]) -> Vec<u8> {
    let mut out = Vec::new();
    for Raw(kind, name, link, content) in members {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::new(*kind));
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1_700_000_000);
        header.set_size(content.len() as u64);
        header.as_old_mut().name[..name.len()].copy_from_slice(name);
        header.as_old_mut().linkname[..link.len()].copy_from_slice(link);
        header.set_cksum();
        out.extend(header.as_bytes());
        out.extend(*content);
        out.resize(out.len().next_multiple_of(512), 0);
    }
    out.resize(out.len() + 1024, 0);
    out
}

struct Target {
    directory: tempfile::TempDir,
}

impl Target {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("root")).unwrap();
        Self { directory }
    }

    fn root(&self) -> PathBuf {
        self.directory.path().join("root")
    }

    fn unpack(&self, tar: &[u8]) -> Result<Unpacked, ArchiveError> {
        let root = File::open(self.root()).unwrap();
        unpack_tar(tar, root.as_fd(), Path::new("evil.tar"), &UnpackOptions::default())
    }

    /// Checks that nothing but `root` was made in the directory around it.
    fn assert_nothing_escaped(&self) {
        assert_eq!(fs::read_dir(self.directory.path()).unwrap().count(), 1);
    }
}

#[test]
fn names_that_escape_are_refused() {
    for name in [&b"/etc/x"[..], b"../x", b"a/../../x", b"./..", b"..", b"a/../b"] {
        for kind in [b'0', b'5', b'2', b'6'] {
            let target = Target::new();
            let error = target.unpack(&stream(&[Raw(kind, name, b"t", b"")])).unwrap_err();
            assert!(matches!(error, ArchiveError::Refused { .. }), "{error}");
            assert!(error.to_string().contains("evil.tar"));
            target.assert_nothing_escaped();
        }
    }
}

#[test]
fn links_do_not_lead_out() {
    let target = Target::new();
    let outside = target.directory.path().to_owned();
    let absolute = outside.as_os_str().as_bytes().to_vec();
    // Both are resolved inside the root, as after chroot(2).
    let tar = stream(&[
        Raw(b'2', b"up", b"../../..", b""),
        Raw(b'0', b"up/file", b"", b"inside"),
        Raw(b'2', b"abs", &absolute, b""),
        Raw(b'0', b"abs/file", b"", b"inside too"),
    ]);
    target.unpack(&tar).unwrap_err();
    target.assert_nothing_escaped();
    assert_eq!(fs::read(target.root().join("file")).unwrap(), b"inside");
    // A link as the last part is replaced, not followed.
    let target = Target::new();
    fs::write(target.directory.path().join("root/victim"), "v").unwrap();
    let tar = stream(&[
        Raw(b'2', b"link", b"victim", b""),
        Raw(b'0', b"link", b"", b"new"),
        Raw(b'1', b"hard", b"../../etc/passwd", b""),
    ]);
    let error = target.unpack(&tar).unwrap_err();
    assert!(error.to_string().contains("hard"), "{error}");
    assert_eq!(fs::read(target.root().join("victim")).unwrap(), b"v");
    assert_eq!(fs::read(target.root().join("link")).unwrap(), b"new");
}

#[test]
fn a_hard_link_cannot_reach_through_links() {
    let target = Target::new();
    fs::write(target.directory.path().join("secret"), "s").unwrap();
    let tar = stream(&[Raw(b'2', b"out", b"..", b""), Raw(b'1', b"hard", b"out/secret", b"")]);
    assert!(target.unpack(&tar).is_err());
    assert!(!target.root().join("hard").exists());
    // Onto itself it changes nothing.
    let tar = stream(&[Raw(b'0', b"a", b"", b"x"), Raw(b'1', b"./a", b"a", b"")]);
    target.unpack(&tar).unwrap();
    assert_eq!(fs::read(target.root().join("a")).unwrap(), b"x");
}

#[test]
fn merged_usr_is_kept() {
    let target = Target::new();
    fs::create_dir_all(target.root().join("usr/bin")).unwrap();
    symlink("usr/bin", target.root().join("bin")).unwrap();
    let tar = stream(&[
        Raw(b'5', b"./", b"", b""),
        Raw(b'5', b"./bin/", b"", b""),
        Raw(b'0', b"./bin/foo", b"", b"x"),
        Raw(b'0', b"./opt/made/on/the/way", b"", b"y"),
    ]);
    let unpacked = target.unpack(&tar).unwrap();
    assert_eq!(fs::read_link(target.root().join("bin")).unwrap(), Path::new("usr/bin"));
    assert_eq!(fs::read(target.root().join("usr/bin/foo")).unwrap(), b"x");
    assert_eq!(unpacked.content_bytes, 2);
    let paths = ["", "bin", "bin/foo", "opt/made/on/the/way"].map(PathBuf::from);
    assert_eq!(unpacked.paths, paths);
}

#[test]
fn what_is_in_the_way() {
    let target = Target::new();
    fs::create_dir(target.root().join("empty")).unwrap();
    fs::create_dir_all(target.root().join("full/x")).unwrap();
    symlink("nowhere", target.root().join("dangling")).unwrap();
    let tar = stream(&[
        Raw(b'2', b"empty", b"full", b""),
        Raw(b'5', b"dangling", b"", b""),
        Raw(b'0', b"dangling/x", b"", b""),
    ]);
    target.unpack(&tar).unwrap();
    assert!(target.root().join("empty/x").exists());
    let error = target.unpack(&stream(&[Raw(b'0', b"full", b"", b"")])).unwrap_err();
    assert!(
        error.to_string().contains("replace the directory at \"full\""),
        "{error}"
    );
}

#[test]
fn refuses_what_it_does_not_understand() {
    let overlay = b"38 SCHILY.xattr.trusted.overlay.x=yes\n";
    for (members, word) in [
        (vec![Raw(b'S', b"sparse", b"", b"")], "sparse"),
        (
            vec![
                Raw(b'x', b"p", b"", b"22 GNU.sparse.major=1\n"),
                Raw(b'0', b"f", b"", b""),
            ],
            "sparse",
        ),
        (vec![Raw(b'Q', b"what", b"", b"")], "unknown type 'Q'"),
        (
            vec![Raw(b'x', b"p", b"", b"13 size=9999\n"), Raw(b'0', b"f", b"", b"x")],
            "unexpected end",
        ),
        (
            vec![Raw(b'x', b"p", b"", b"nonsense"), Raw(b'0', b"f", b"", b"x")],
            "malformed",
        ),
        (
            vec![Raw(b'x', b"p", b"", overlay), Raw(b'0', b"f", b"", b"x")],
            "overlay",
        ),
        (
            vec![Raw(b'L', b"p", b"", &[b'x'; 70_000]), Raw(b'0', b"f", b"", b"x")],
            "at most 65536",
        ),
        (vec![Raw(b'5', b"d", b"", b"content")], "only a regular file"),
    ] {
        let error = Target::new().unpack(&stream(&members)).unwrap_err();
        assert!(error.to_string().contains(word), "{word}: {error}");
    }
}

#[test]
fn bounds_truncation_and_cancelling() {
    let target = Target::new();
    let tar = stream(&[Raw(b'0', b"a", b"", &[1; 2000]), Raw(b'0', b"b", b"", &[1; 2000])]);
    let root = File::open(target.root()).unwrap();
    let unpack = |tar: &[u8], options: &UnpackOptions| unpack_tar(tar, root.as_fd(), Path::new("t"), options);
    let small = UnpackOptions {
        content_bytes_max: 3000,
        ..UnpackOptions::default()
    };
    assert!(unpack(&tar, &small).unwrap_err().to_string().contains("3000 bytes"));
    let few = UnpackOptions {
        members_max: 1,
        ..UnpackOptions::default()
    };
    assert!(unpack(&tar, &few).unwrap_err().to_string().contains("1 members"));
    for length in [1, 511, 513, 1000, 2500, 3000, 3700] {
        assert!(unpack(&tar[..length], &UnpackOptions::default()).is_err(), "{length}");
    }
    let stopped = UnpackOptions::default();
    stopped.cancel.cancel();
    assert!(matches!(unpack(&tar, &stopped), Err(ArchiveError::Cancelled(_))));
}

/// Checks that no sequence of links, directories and files, under any names, changes what is outside.
#[test]
fn no_sequence_of_members_reaches_outside() {
    use proptest::prelude::*;
    let name = "(\\./|/|\\.\\./)?[ab](/([ab]|\\.|\\.\\.)){0,3}/?";
    let link = "(/|\\.\\./|\\.\\./\\.\\./|/proc/self/fd/|/proc/self/cwd/)?[abx](/([abx]|\\.\\.)){0,2}";
    let kind = prop_oneof![Just(b'0'), Just(b'1'), Just(b'2'), Just(b'2'), Just(b'5'), Just(b'6')];
    let members = proptest::collection::vec((kind, name, link), 1..12);
    let config = ProptestConfig {
        cases: 400,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let outcome = proptest::test_runner::TestRunner::new(config).run(&members, |members| {
        let outer = tempfile::tempdir_in("/dev/shm").unwrap();
        let root = outer.path().join("a/root");
        fs::create_dir_all(&root).unwrap();
        fs::write(outer.path().join("a/x"), "canary").unwrap();
        fs::write(outer.path().join("b"), "canary").unwrap();
        let root_fd = File::open(&root).unwrap();
        for (kind, name, link) in &members {
            let content: &[u8] = if *kind == b'0' { b"new" } else { b"" };
            let tar = stream(&[Raw(*kind, name.as_bytes(), link.as_bytes(), content)]);
            let _ = unpack_tar(&tar[..], root_fd.as_fd(), Path::new("t"), &UnpackOptions::default());
        }
        fs::remove_dir_all(&root).unwrap();
        let left: Vec<_> = listing(outer.path())
            .iter()
            .map(|line| line.split(' ').take(3).collect::<Vec<_>>().join(" "))
            .collect();
        prop_assert_eq!(left, ["\"a\" 40755 0:0", "\"a/x\" 100644 0:0", "\"b\" 100644 0:0"]);
        for canary in ["a/x", "b"] {
            let meta = fs::metadata(outer.path().join(canary)).unwrap();
            prop_assert_eq!(
                (fs::read(outer.path().join(canary)).unwrap(), meta.nlink()),
                (b"canary".to_vec(), 1)
            );
        }
        Ok(())
    });
    outcome.unwrap();
}

fn run(program: &str, package: &str, arguments: &[&std::ffi::OsStr]) -> Vec<u8> {
    let output = Command::new(program)
        .args(arguments)
        .output()
        .unwrap_or_else(|error| panic!("{program}: {error}; install the package {package}"));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// Lists mode, owner, time, device, target and content of everything below `root`. It leaves out the times of
/// directories: GNU tar makes delayed links in them after it has set those.
fn listing(root: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut stack = vec![root.to_owned()];
    while let Some(path) = stack.pop() {
        let meta = fs::symlink_metadata(&path).unwrap();
        if path != root {
            found.push(format!(
                "{:?} {:o} {}:{} {} {} {:?} {:?}",
                path.strip_prefix(root).unwrap(),
                meta.mode(),
                meta.uid(),
                meta.gid(),
                if meta.is_dir() { 0 } else { meta.mtime() },
                meta.rdev(),
                fs::read_link(&path).ok(),
                meta.is_file()
                    .then(|| crate::package::Sha256::of(fs::read(&path).unwrap())),
            ));
        }
        if meta.is_dir() {
            stack.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
    }
    found.sort();
    found
}

/// Makes the sources of a package with long names, links, set-id files and odd owners.
fn package_tree(root: &Path) {
    let long = "n".repeat(120);
    fs::create_dir_all(root.join("DEBIAN")).unwrap();
    fs::create_dir_all(root.join("usr/bin")).unwrap();
    fs::create_dir_all(root.join("usr/share").join(&long)).unwrap();
    let control = "Package: sample\nVersion: 1.0\nArchitecture: all\nMaintainer: A <a@example.org>\nDescription: x\n";
    fs::write(root.join("DEBIAN/control"), control).unwrap();
    fs::write(root.join("DEBIAN/conffiles"), "/etc/sample\n").unwrap();
    fs::create_dir(root.join("etc")).unwrap();
    fs::write(root.join("etc/sample"), "setting\n").unwrap();
    fs::write(root.join("usr/bin/tool"), vec![7; 300_000]).unwrap();
    std::os::unix::fs::chown(root.join("usr/bin/tool"), Some(0), Some(42)).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o4750);
    fs::set_permissions(root.join("usr/bin/tool"), mode).unwrap();
    fs::write(root.join("usr/share").join(&long).join(&long), "deep").unwrap();
    symlink(
        Path::new("../share").join(&long).join(&long),
        root.join("usr/bin/long-link"),
    )
    .unwrap();
    fs::hard_link(root.join("usr/bin/tool"), root.join("usr/bin/twin")).unwrap();
}

#[test]
fn packages_unpack_as_dpkg_deb_does() {
    let target = Target::new();
    let at = |name: &str| target.directory.path().join(name);
    package_tree(&at("source"));
    for compression in ["none", "gzip", "xz", "zstd"] {
        let (package, expected, own) = (at(&format!("{compression}.deb")), at("expected"), at("own"));
        let flag = format!("-Z{compression}");
        run(
            "dpkg-deb",
            "dpkg",
            &[flag.as_ref(), "-b".as_ref(), at("source").as_ref(), package.as_ref()],
        );
        run(
            "dpkg-deb",
            "dpkg",
            &["-x".as_ref(), package.as_ref(), expected.as_ref()],
        );
        let mut deb = Deb::open(&package).unwrap();
        fs::create_dir(&own).unwrap();
        let root = File::open(&own).unwrap();
        extract(&mut deb, root.as_fd(), &UnpackOptions::default()).unwrap();
        assert_eq!(listing(&own), listing(&expected), "{compression}");
        assert_eq!(fs::metadata(own.join("usr/bin/twin")).unwrap().nlink(), 2);
        let time = |root: &Path| fs::metadata(root.join("usr/bin")).unwrap().mtime();
        assert_eq!(time(&own), time(&at("source")));
        let control = deb.control_file("control").unwrap().unwrap();
        let field = run("dpkg-deb", "dpkg", &["-f".as_ref(), package.as_ref()]);
        assert_eq!(control, field);
        assert_eq!(deb.control_file("postinst").unwrap(), None);
        let names: Vec<_> = deb.control_files().unwrap().into_iter().map(|file| file.name).collect();
        assert!(names.contains(&b"conffiles".to_vec()));
        damaged_package(&package, &own);
        fs::remove_dir_all(&own).unwrap();
        fs::remove_dir_all(&expected).unwrap();
    }
}

/// Makes an uncompressed package whose `control.tar` has these members.
fn package_with_control(members: &[Raw<'_>]) -> Vec<u8> {
    let mut out = b"!<arch>\n".to_vec();
    let control = stream(members);
    for (name, content) in [
        ("debian-binary", &b"2.0\n"[..]),
        ("control.tar", &control),
        ("data.tar", &stream(&[])),
    ] {
        out.extend(
            format!(
                "{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n",
                0,
                0,
                0,
                100_644,
                content.len()
            )
            .as_bytes(),
        );
        out.extend(content);
        out.resize(out.len().next_multiple_of(2), b'\n');
    }
    out
}

/// The first name was found by the fuzz target `deb`.
#[test]
fn a_control_file_is_a_plain_name() {
    let read = |name: &[u8]| {
        let package = package_with_control(&[
            Raw(b'0', b"./control", b"", b"Package: x\n"),
            Raw(b'0', name, b"", b"x"),
        ]);
        Deb::new(std::io::Cursor::new(package), Path::new("evil.deb"))
            .unwrap()
            .control_files()
    };
    assert_eq!(read(b"./postinst").unwrap().len(), 2);
    assert_eq!(read(b"./").unwrap().len(), 1);
    for name in [&b""[..], b"a/b", b"/etc/passwd", b"../../x"] {
        let error = read(name).unwrap_err().to_string();
        assert!(
            error.contains("evil.deb") && error.contains("control.tar"),
            "{name:?}: {error}"
        );
    }
}

/// Checks that the package, cut short anywhere, gives an error that names it.
fn damaged_package(package: &Path, root: &Path) {
    let bytes = fs::read(package).unwrap();
    let root = File::open(root).unwrap();
    for cut in [bytes.len() - 2, bytes.len() / 2, 200, 70, 8, 0] {
        let result = Deb::new(std::io::Cursor::new(&bytes[..cut]), package)
            .and_then(|mut deb| extract(&mut deb, root.as_fd(), &UnpackOptions::default()));
        let error = result.unwrap_err();
        assert!(error.to_string().contains(".deb"), "{error}");
    }
    // The stream's own checksum reveals a flip in compressed data.
    if package.ends_with("xz.deb") || package.ends_with("gzip.deb") {
        let mut flipped = bytes.clone();
        flipped[bytes.len() - 200] ^= 4;
        let result = Deb::new(std::io::Cursor::new(&flipped), package)
            .and_then(|mut deb| extract(&mut deb, root.as_fd(), &UnpackOptions::default()));
        assert!(result.is_err());
    }
}
