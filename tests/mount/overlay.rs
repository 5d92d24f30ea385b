//! The kernel's overlayfs over the FUSE mount.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use oic::mount::session::{self, View};
use oic::mount::{MountError, kernel};
use rustix::io::Errno;

use crate::support::{Place, layers, pool, request, run};

pub const TESTS: &[(&str, fn())] = &[
    ("overlay_keeps_changes_in_the_upper", changes),
    ("overlay_has_one_device_and_stable_inode_numbers", identity),
    ("overlay_never_writes_to_the_base", base_is_safe),
    ("overlay_volatile_upper_must_be_settled", volatile),
    ("overlay_upper_is_used_once_at_a_time", exclusive),
    ("overlay_root_looks_like_the_base", root),
    ("overlay_merges_without_an_upper", read_only),
    ("overlay_stacks_on_visible_layers", visible),
    ("overlay_over_a_base_without_attributes", attributes),
];

fn file(place: &Place, name: &str) -> PathBuf {
    place.mnt().join(name)
}

fn changes() {
    let place = Place::new();
    let commands = r#"
        mkdir -p etc opt/lib; echo old > etc/conf; echo gone > etc/removed; echo x > opt/lib/x; echo m > moved
        cp /bin/true ping; chown 7:8 ping; setcap cap_net_raw+ep ping; setfattr -n user.note -v hi ping
    "#;
    run(&place.base(), &["sh", "-ec", commands]);
    let session = place.mount_overlay(false).unwrap();
    let commands = r#"
        echo new > etc/conf; rm etc/removed; rm -r opt/lib; mkdir opt/lib; echo y > opt/lib/y; mv moved renamed
        touch ping; mkdir fresh; echo z > fresh/z
    "#;
    run(&place.mnt(), &["sh", "-ec", commands]);
    let check = || {
        assert_eq!(fs::read_to_string(file(&place, "etc/conf")).unwrap(), "new\n");
        assert!(!file(&place, "etc/removed").exists() && !file(&place, "moved").exists());
        assert_eq!(run(&place.mnt(), &["ls", "opt/lib"]), "y\n");
        assert_eq!(run(&place.mnt(), &["cat", "renamed", "fresh/z"]), "m\nz\n");
        assert_eq!(run(&place.mnt(), &["getcap", "ping"]), "ping cap_net_raw=ep\n");
        assert_eq!(
            run(&place.mnt(), &["getfattr", "--only-values", "-n", "user.note", "ping"]),
            "hi"
        );
        assert_eq!(run(&place.mnt(), &["stat", "-c", "%u %g", "ping"]), "7 8\n");
        // A directory of the base cannot be renamed, but moved.
        assert_eq!(
            fs::rename(file(&place, "etc"), file(&place, "etc2"))
                .unwrap_err()
                .raw_os_error(),
            Some(libc::EXDEV)
        );
    };
    check();
    session.close().unwrap();
    let upper = place.path("upper");
    let whiteout = fs::symlink_metadata(upper.join("etc/removed")).unwrap();
    assert_eq!((whiteout.mode() & libc::S_IFMT, whiteout.rdev()), (libc::S_IFCHR, 0));
    let opaque = run(
        &upper,
        &["getfattr", "--only-values", "-n", "trusted.overlay.opaque", "opt/lib"],
    );
    assert_eq!(opaque, "y");
    assert!(!upper.join("bin").exists());
    // The upper means the same after a remount.
    let session = place.mount_overlay(false).unwrap();
    check();
    session.close().unwrap();
    assert_eq!(fs::read_to_string(place.base().join("etc/conf")).unwrap(), "old\n");
}

fn identity() {
    let place = Place::new();
    run(
        &place.base(),
        &[
            "sh",
            "-ec",
            "mkdir d; echo 1 > d/one; ln d/one d/two; echo 3 > three; echo 4 > four",
        ],
    );
    let numbers = || -> Vec<(u64, u64)> {
        ["d", "d/one", "d/two", "three", "four"]
            .iter()
            .map(|name| fs::metadata(file(&place, name)).unwrap())
            .map(|metadata| (metadata.dev(), metadata.ino()))
            .collect()
    };
    let session = place.mount_overlay(false).unwrap();
    let before = numbers();
    assert_eq!(before[1], before[2]);
    fs::write(file(&place, "three"), "changed").unwrap();
    fs::write(file(&place, "new"), "").unwrap();
    assert!(
        before.iter().all(|(device, _)| *device == before[0].0),
        "more than one device: {before:?}"
    );
    assert_eq!(fs::metadata(file(&place, "new")).unwrap().dev(), before[0].0);
    // Changed or linked, a file of the base keeps its number.
    assert_eq!(numbers(), before);
    fs::hard_link(file(&place, "three"), file(&place, "link")).unwrap();
    assert_eq!(fs::metadata(file(&place, "link")).unwrap().ino(), before[3].1);
    // In place, this cuts a hard link of the base.
    fs::write(file(&place, "d/two"), "changed").unwrap();
    assert_eq!(fs::read_to_string(file(&place, "d/one")).unwrap(), "1\n");
    session.close().unwrap();
    // Again and again: what the kernel finds by a file handle must stay valid.
    let session = place.mount_overlay(false).unwrap();
    for _ in 0..3 {
        let again = numbers();
        assert_eq!(
            (again[0].1, again[1].1, again[4].1),
            (before[0].1, before[1].1, before[4].1)
        );
        for name in ["three", "link"] {
            assert_eq!(fs::read_to_string(file(&place, name)).unwrap(), "changed");
        }
        let [three, link] = ["three", "link"].map(|name| fs::metadata(file(&place, name)).unwrap());
        assert_eq!((three.ino(), three.nlink()), (link.ino(), 2));
    }
    session.close().unwrap();
}

/// A reader has a base file open and mapped while another descriptor copies it up and writes.
#[allow(unsafe_code)]
fn base_is_safe() {
    let place = Place::new();
    fs::write(place.base().join("data"), vec![b'a'; 100_000]).unwrap();
    let session = place.mount_overlay(false).unwrap();
    let path = file(&place, "data");
    let reader = File::open(&path).unwrap();
    // SAFETY: nothing shortens the file while it is mapped.
    let old = unsafe { memmap2::Mmap::map(&reader).unwrap() };
    assert_eq!(old[50_000], b'a');
    let writer = File::options().read(true).write(true).open(&path).unwrap();
    writer.write_all_at(&[b'b'; 10], 0).unwrap();
    // SAFETY: as above.
    let mut new = unsafe { memmap2::MmapMut::map_mut(&writer).unwrap() };
    new[50_000] = b'c';
    new.flush().unwrap();
    writer.sync_all().unwrap();
    assert_eq!(fs::read(&path).unwrap()[50_000], b'c');
    drop((old, new, reader, writer));
    session.close().unwrap();
    let session = place.mount_base();
    assert!(fs::read(&path).unwrap().iter().all(|&byte| byte == b'a'));
    session.close().unwrap();
    assert!(
        fs::read(place.base().join("data"))
            .unwrap()
            .iter()
            .all(|&byte| byte == b'a')
    );
}

fn volatile() {
    let place = Place::new();
    let session = place.mount_overlay(true).unwrap();
    let mut new = File::create(file(&place, "new")).unwrap();
    new.write_all(b"x").unwrap();
    new.sync_all().unwrap();
    drop(new);
    session.close().unwrap();
    let error = place.mount_overlay(false).unwrap_err();
    assert!(matches!(error, MountError::Unsettled(_)), "{error}");
    place.upper(true).settle().unwrap();
    let session = place.mount_overlay(false).unwrap();
    assert_eq!(fs::read(file(&place, "new")).unwrap(), b"x");
    session.close().unwrap();
}

fn exclusive() {
    let place = Place::new();
    let session = place.mount_overlay(false).unwrap();
    let error = place.mount_overlay(false).unwrap_err();
    assert!(error.to_string().contains("in use by another mount"), "{error}");
    session.close().unwrap();
    // An upper of one base is refused over another, and one that does not say what it belongs to as well.
    let mut upper = place.upper(false);
    for base in ["other", "test"] {
        upper.base = base.to_owned();
        let view = View::Overlay {
            upper: Some(upper.clone()),
            steps: Vec::new(),
        };
        let error = session::mount(&request(layers(place.base()), view), &place.mnt()).unwrap_err();
        assert!(matches!(error, MountError::ForeignUpper(_)), "{error}");
        assert!(error.hint().is_some());
        let _ = fs::remove_file(place.path("work.base"));
    }
}

fn root() {
    let place = Place::new();
    run(&place.base(), &["chmod", "1751", "."]);
    run(&place.base(), &["chown", "3:4", "."]);
    let session = place.mount_overlay(false).unwrap();
    assert_eq!(run(&place.mnt(), &["stat", "-c", "%a %u %g", "."]), "1751 3 4\n");
    session.close().unwrap();
}

fn read_only() {
    let place = Place::new();
    fs::create_dir(place.base().join("etc")).unwrap();
    let mut both = layers(place.base());
    both.pool = Some(pool(&place.path("cache"), Vec::new()));
    let view = View::Overlay {
        upper: None,
        steps: Vec::new(),
    };
    let session = session::mount(&request(both, view), &place.mnt()).unwrap();
    assert_eq!(run(&place.mnt(), &["ls"]), "cdrom\netc\n");
    assert_eq!(
        fs::write(file(&place, "new"), "").unwrap_err().raw_os_error(),
        Some(libc::EROFS)
    );
    session.close().unwrap();
}

/// The two steps one by one, as somebody might who wants to see the layers.
fn visible() {
    let place = Place::new();
    fs::write(place.base().join("file"), "x").unwrap();
    let mut both = layers(place.base());
    both.pool = Some(pool(&place.path("cache"), Vec::new()));
    let lower = session::mount(&request(both, View::Layers), &place.mnt()).unwrap();
    let at = place.path("merged");
    fs::create_dir(&at).unwrap();
    let upper = place.upper(true);
    upper.prepare(&place.mnt().join("base")).unwrap();
    let spec = kernel::OverlaySpec {
        lower: ["base", "pool"].iter().map(|name| place.mnt().join(name)).collect(),
        upper: Some(upper),
        restrictions: oic::mount::Restrictions::BUILD,
    };
    let overlay = kernel::mount(&spec, &at).unwrap();
    assert_eq!(run(&at, &["ls"]), "cdrom\nfile\n");
    drop(overlay);
    lower.close().unwrap();
    assert!(!Path::new(&at).join("file").exists());
}

/// What the kernel is not to ask for is not supported, until the file is copied up.
fn attributes() {
    let place = Place::new();
    fs::write(place.base().join("file"), "x").unwrap();
    let session = place.mount_overlay(false).unwrap();
    let look = || rustix::fs::getxattr(file(&place, "file"), "user.note", &mut [0_u8; 9][..]);
    assert_eq!(look(), Err(Errno::OPNOTSUPP));
    run(&place.mnt(), &["setfattr", "-n", "user.note", "-v", "hello", "file"]);
    assert_eq!(look(), Ok(5));
    session.close().unwrap();
}
