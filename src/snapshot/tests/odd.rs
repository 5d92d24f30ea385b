//! Odd tarballs, shown as tar(1) unpacks them: access control lists, links, unknown types, no members at all; and files
//! that are no tarballs.

use super::super::foreign::{Kind, PrepareOptions, is_tarball, prepare};
use super::foreign::{Foreign, gzip};
use super::hostile::Archive;
use super::*;

/// Makes a record of an extended header, however long.
fn record(key: &str, value: &str) -> Vec<u8> {
    let rest = format!(" {key}={value}\n");
    let mut length = rest.len();
    while length != rest.len() + length.to_string().len() {
        length = rest.len() + length.to_string().len();
    }
    format!("{length}{rest}").into_bytes()
}

/// A member of each kind with an access control list in text form.
fn with_list(key: &str, text: &str) -> Archive {
    let header = record(key, text);
    let add = |archive: Archive, kind, name: &[u8], link: &[u8]| {
        archive.add(b'x', b"x", b"", &header).add(kind, name, link, b"")
    };
    let archive = add(Archive::default().add(b'5', b"./", b"", b""), b'0', b"file", b"");
    add(add(archive, b'5', b"directory", b""), b'2', b"link", b"file")
}

#[test]
fn lists_are_what_tar_makes_of_them() {
    let foreign = Foreign::new();
    for text in [
        "user::rw-\nuser:daemon:rw-\ngroup::r--\nmask::rw-\nother::r--\n",
        "user::rw-\ngroup::r--\ngroup:bin:r-x\nuser:mail:---\nmask::r-x\nother::---\n",
        "u::rwx,u:1:r,g::-,m::rwx,o::-",
        "user::rwx\nuser:1:r--\t#effective:r--\ngroup::rwx\nmask::r--\nother::---\n",
        "user::rwx\ngroup::---\nother::---\n",
        "user::rwx,group::rwx,other::r-x,mask::--x",
        "user::rwx\nuser:1:r--\nuser:1:rw-\ngroup::---\nmask::rwx\nother::---\n",
        // With the number behind the name, as bsdtar and star write it.
        "user::rw-,group::r--,other::r--,user:daemon:rw-:1,mask::rw-",
        // What no account has, what Linux refuses, and what is no list.
        "user::rw-\nuser:no-such-user:rw-\ngroup::r--\nmask::rw-\nother::r--\n",
        "user::rw-\ngroup:no-such-group:rw-\ngroup::r--\nmask::rw-\nother::r--\n",
        "user::rw-\nuser:daemon:rw-\ngroup::r--\nother::r--\n",
        "user::rw-\ngroup::r--\n",
        "everyone::rwx\n",
        "user::rwz\n",
    ] {
        for key in ["SCHILY.acl.access", "SCHILY.acl.default"] {
            foreign.put(&with_list(key, text).end());
            foreign.assert_like(&["--acls"]);
        }
    }
}

#[test]
fn gnu_tar_and_bsdtar_keep_lists() {
    let foreign = Foreign::new();
    let file = foreign.tree().join("file");
    fs::write(&file, "x").unwrap();
    fs::create_dir(foreign.tree().join("directory")).unwrap();
    let setfacl = |list: &str, name: &str| {
        run(Command::new("setfacl")
            .args(["-m", list])
            .arg(foreign.tree().join(name)))
    };
    setfacl("u:daemon:rw,g:bin:r", "file");
    setfacl("d:u:daemon:rwx,u:1000:r", "directory");
    for program in ["tar", "bsdtar"] {
        let made = run(Command::new(program)
            .args(["--acls", "-cf", "-", "-C"])
            .arg(foreign.tree())
            .arg("."));
        foreign.put(&made);
        foreign.assert_like(&["--acls"]);
        let snapshot = foreign.open();
        let node = find(&snapshot, "file");
        assert_eq!(snapshot.attributes(node).unwrap().permissions, 0o664, "{program}");
        assert!(
            snapshot
                .xattr(node, "system.posix_acl_access".as_ref())
                .unwrap()
                .is_some()
        );
    }
}

/// Returns the number of the user in the list of `file`.
fn user_of(foreign: &Foreign) -> Option<u32> {
    let snapshot = foreign.open();
    let list = snapshot.xattr(find(&snapshot, "file"), "system.posix_acl_access".as_ref());
    let list = list.unwrap()?;
    Some(u32::from_le_bytes(list[4 + 8 + 4..][..4].try_into().unwrap()))
}

#[test]
fn names_mean_the_accounts_of_the_tarball_itself() {
    let list = "u::rw-,u:daemon:rw-,g::r--,m::rw-,o::r--";
    let own = |passwd: &str| {
        let foreign = Foreign::new();
        let archive = with_list("SCHILY.acl.access", list);
        foreign.put(&archive.add(b'0', b"./etc/passwd", b"", passwd.as_bytes()).end());
        foreign
    };
    assert_eq!(
        user_of(&own("root:x:0:0::/:\ndaemon:x:4242:1::/:\ndaemon:x:7:7::/:\n")),
        Some(4242)
    );
    // An account that the tarball does not have is none of the build host.
    assert_eq!(user_of(&own("root:x:0:0::/:\n")), None);
    // The last file of the name counts, wherever it stands.
    let foreign = own("daemon:x:1:1::/:\n");
    let first = Archive::default().add(b'0', b"etc/passwd", b"", b"daemon:x:5:5::/:\n");
    let rest = fs::read(&foreign.tarball).unwrap();
    foreign.put(&first.followed_by(&rest));
    assert_eq!(user_of(&foreign), Some(1));
}

#[test]
fn odd_members_are_what_tar_makes_of_them() {
    let root = || Archive::default().add(b'5', b"./", b"", b"");
    let odd = |kind, name: &[u8]| root().add(kind, name, b"", b"content").add(b'0', b"behind", b"", b"b");
    for (what, archive) in [
        ("an absolute name", odd(b'0', b"/file")),
        ("more slashes", odd(b'0', b"///file")),
        (
            "the root",
            Archive::default().add(b'5', b"/", b"", b"").add(b'0', b"/a", b"", b""),
        ),
        (
            "an absolute hard link",
            odd(b'0', b"/file").add(b'1', b"/hard", b"/file", b""),
        ),
        ("an absolute symbolic link", root().add(b'2', b"/link", b"/file", b"")),
        (
            "a hard link with a size",
            odd(b'0', b"f").header(b'1', b"h", b"f", 7).add(b'0', b"z", b"", b""),
        ),
        ("a letter", odd(b'Q', b"file")),
        ("a digit", odd(b'9', b"file")),
        ("a small letter", odd(b's', b"file")),
        ("access control of Solaris", odd(b'A', b"file")),
        ("old long names", odd(b'N', b"file")),
        ("contiguous", odd(b'7', b"file")),
        ("a link with another mode", root().add(b'2', b"link", b"behind", b"")),
    ] {
        let foreign = Foreign::new();
        foreign.put(&archive.end());
        eprintln!("{what}");
        foreign.assert_like(&[]);
    }
}

#[test]
fn links_have_the_mode_that_linux_gives_them() {
    let foreign = Foreign::new();
    foreign.put(&Archive::default().add(b'2', b"link", b"x", b"").end());
    let snapshot = foreign.open();
    assert_eq!(snapshot.attributes(find(&snapshot, "link")).unwrap().permissions, 0o777);
}

/// Compares with tar(1): what it can make is shown, the rest is refused.
#[test]
fn long_names_and_targets_are_taken_as_far_as_linux_takes_them() {
    let name = |length: usize| [vec![b'd'; 199], b"/".to_vec()].concat().repeat(21)[..length].to_vec();
    for length in [100, 3999, 4095, 4096, 5000, 70_000] {
        let target = vec![b't'; length];
        let long_link = Archive::default()
            .add(b'K', b"@", b"", &target)
            .add(b'2', b"link", b"t", b"");
        let hard = Archive::default()
            .add(b'K', b"@", b"", &target)
            .add(b'1', b"hard", b"t", b"");
        let long_name = match length {
            ..4200 => Archive::default()
                .add(b'L', b"@", b"", &name(length))
                .add(b'0', b"f", b"", b""),
            _ => hard,
        };
        for archive in [long_link, long_name] {
            let foreign = Foreign::new();
            foreign.put(&archive.end());
            let out = tempfile::tempdir().unwrap();
            let tar = Command::new("tar")
                .arg("-xpf")
                .arg(&foreign.tarball)
                .arg("-C")
                .arg(out.path())
                .output();
            let ours = prepare(&foreign.paths(), &PrepareOptions::default());
            assert_eq!(ours.is_ok(), tar.unwrap().status.success(), "{length}: {ours:?}");
        }
    }
}

#[test]
fn a_tarball_without_members_is_an_empty_directory() {
    let made = run(Command::new("tar").args(["-cf", "-", "-T", "/dev/null"]));
    let zstd = zstd::encode_all(&made[..], 3).unwrap();
    for bytes in [made.clone(), vec![0; 1024], gzip(&made, 6), zstd] {
        let foreign = Foreign::new();
        foreign.put(&bytes);
        assert!(is_tarball(&foreign.tarball));
        let found = tree::in_layer(&foreign.open());
        assert_eq!(found.len(), 1);
    }
    // The start of a disk image is zeros, too.
    for bytes in [vec![0; 511], vec![0; 2 << 20], [vec![0; 1024], vec![7; 512]].concat()] {
        let foreign = Foreign::new();
        foreign.put(&bytes);
        assert!(matches!(Kind::of(&foreign.tarball), Kind::Other(_)));
        assert!(foreign.refused().to_string().contains("neither"));
    }
}

#[test]
fn other_archives_are_named() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    fs::create_dir_all(at("tree/DEBIAN")).unwrap();
    let control = "Package: sample\nVersion: 1\nArchitecture: all\nMaintainer: A <a@example.org>\nDescription: x\n";
    fs::write(at("tree/DEBIAN/control"), control).unwrap();
    fs::write(at("raw"), vec![0; 1 << 20]).unwrap();
    let bsdtar = |option: &str| format!("bsdtar -cf OUT -C tree {option} .");
    for (command, expected, hint) in [
        (bsdtar("--xz"), "compressed by xz", "decompress"),
        (bsdtar("--bzip2"), "compressed by bzip2", "decompress"),
        (bsdtar("--lzma"), "compressed by lzma", "decompress"),
        (bsdtar("--lzip"), "compressed by lzip", "decompress"),
        (bsdtar("--lz4"), "compressed by lz4", "decompress"),
        (bsdtar("--compress"), "compressed by compress", "decompress"),
        (bsdtar("--format=zip"), "a zip archive", "tarball of its files"),
        (bsdtar("--format=7zip"), "a 7z archive", "tarball of its files"),
        (bsdtar("--format=xar"), "a xar archive", "tarball of its files"),
        (bsdtar("--format=cpio"), "a cpio archive", "tarball of its files"),
        (bsdtar("--format=newc"), "a cpio archive", "tarball of its files"),
        (bsdtar("--format=bin"), "a cpio archive", "tarball of its files"),
        (bsdtar("--format=iso9660"), "an ISO 9660 image", "losetup"),
        (
            "mke2fs -q -t ext4 raw".into(),
            "an image of an ext file system",
            "losetup",
        ),
        ("dpkg-deb -b tree OUT".into(), "a .deb package", "dpkg-deb"),
        ("sgdisk -o raw".into(), "a disk image", "losetup"),
    ] {
        let out = if command.contains("OUT") {
            "packed.tar.odd"
        } else {
            "raw"
        };
        let command = command.replace("OUT", out);
        let mut words = command.split(' ');
        run(Command::new(words.next().unwrap())
            .args(words)
            .current_dir(directory.path()));
        let Kind::Other(error) = Kind::of(&at(out)) else {
            panic!("{command}: not recognized");
        };
        let (message, advice) = (error.to_string(), error.hint().unwrap().to_string());
        assert!(
            message.contains(out) && message.contains(expected),
            "{command}: {message}"
        );
        assert!(advice.contains(hint), "{command}: {advice}");
        let _ = fs::remove_file(at("packed.tar.odd"));
    }
    for (magic, expected) in [
        (&b"QFI\xfb\0\0\0\x03"[..], "a qcow2 disk image"),
        (b"KDMV\x01\0\0\0", "a VMDK disk image"),
        (b"vhdxfile", "a VHDX disk image"),
        (b"conectix", "a VHD disk image"),
        (b"hsqs", "a squashfs image"),
        (b"\xed\xab\xee\xdb\x03", "an .rpm package"),
    ] {
        fs::write(at("image"), magic).unwrap();
        let Kind::Other(error) = Kind::of(&at("image")) else {
            panic!("{expected}: not recognized");
        };
        assert!(error.to_string().contains(expected), "{error}");
    }
    // Without a known start, the name decides: what is named like a tarball is no template.
    fs::write(at("x.tar"), "what is this").unwrap();
    fs::write(at("x.yml"), "what: this").unwrap();
    assert!(matches!(Kind::of(&at("x.tar")), Kind::Other(_)));
    assert!(matches!(Kind::of(&at("x.yml")), Kind::Unknown));
    assert!(matches!(Kind::of(directory.path()), Kind::Unknown));
}
