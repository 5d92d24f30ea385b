//! The read-only FUSE mount.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use oic::mount::session::{self, View};

use crate::support::{Place, layers, request, run};

pub const TESTS: &[(&str, fn())] = &[
    ("lower_shows_the_same_tree", same_tree),
    ("lower_lists_its_layers", lists_layers),
    ("lower_lists_20000_entries", many_entries),
    ("lower_slow_reads_hold_nobody_up", slow_reads),
    ("lower_damage_is_an_error_with_a_message", damage),
    ("lower_is_read_only", read_only),
    ("lower_answers_other_users", other_users),
];

/// A tree with one of everything.
fn make_tree(base: &Path) {
    let commands = r#"
        mkdir -p etc/empty usr/bin var deep/$(printf 'd/%.0s' $(seq 60))
        printf 'hello\n' > etc/hello; ln etc/hello var/hello-again
        ln -s ../etc/hello usr/bin/link; ln -s "$(printf 'x%.0s' $(seq 3000))" usr/long-link; ln -s /nowhere usr/dangling
        head -c 3000001 /dev/urandom > var/large; truncate -s 5G var/sparse 2>/dev/null; rm -f var/sparse; : > var/nothing
        mknod var/char c 5 1; mknod var/block b 259 70000; mkfifo var/fifo
        touch "$(printf 'name \377\n\ttab')" "$(printf 'n%.0s' $(seq 255))"
        cp /bin/true usr/bin/ping; setcap cap_net_raw+ep usr/bin/ping; chmod 4755 usr/bin/ping
        setcap cap_net_raw+ep usr/bin/ping; chmod 1777 var; chmod 2750 etc; chown 12345:54321 etc/hello
        setfattr -n user.note -v 'some value' etc/hello; setfattr -n user.empty etc/hello
        setfattr -n trusted.secret -v x etc; setfacl -m u:33:r etc/hello; setfacl -d -m g:33:rx etc
        touch -h -d '1969-12-31 12:00:00.25 UTC' usr/dangling; touch -d '2038-02-01 00:00:00.123456789 UTC' var/large
        touch -d '2001-02-03 04:05:06.789 UTC' etc
    "#;
    run(base, &["sh", "-ec", commands]);
}

/// Everything that `find`, `getfattr` and `sha256sum` tell about a tree.
fn description(root: &Path) -> Vec<String> {
    // A directory's size and its links to itself are the file system's business.
    let directories = run(root, &["find", ".", "-type", "d", "-printf", "%p %m %U %G %T@ %y\\n"]);
    let others = run(
        root,
        &[
            "find",
            ".",
            "!",
            "-type",
            "d",
            "-printf",
            "%p %m %U %G %s %T@ %y %n %l\\n",
        ],
    );
    let devices = run(
        root,
        &[
            "find", "var", "-type", "c", "-exec", "stat", "-c", "%n %t %T", "{}", "+",
        ],
    );
    let blocks = run(
        root,
        &[
            "find", "var", "-type", "b", "-exec", "stat", "-c", "%n %t %T", "{}", "+",
        ],
    );
    let attributes = run(root, &["getfattr", "-R", "-P", "-h", "-d", "-m", "-", "-e", "hex", "."]);
    let digests = run(root, &["find", ".", "-type", "f", "-exec", "sha256sum", "{}", "+"]);
    let mut lines: Vec<_> = [directories, others, devices, blocks, digests]
        .iter()
        .flat_map(|text| text.lines().map(str::to_owned))
        .chain(attributes.split("\n\n").map(str::to_owned))
        .collect();
    lines.sort();
    lines
}

fn same_tree() {
    let place = Place::new();
    make_tree(&place.base());
    let session = place.mount_base();
    let (wanted, shown) = (description(&place.base()), description(&place.mnt()));
    assert!(wanted.len() > 80, "{wanted:#?}");
    assert_eq!(wanted, shown);
    // Once more, from the kernel's cache.
    assert_eq!(wanted, description(&place.mnt()));
    let (one, other) = (place.mnt().join("etc/hello"), place.mnt().join("var/hello-again"));
    assert_eq!(fs::metadata(one).unwrap().ino(), fs::metadata(other).unwrap().ino());
    run(
        &place.mnt(),
        &[
            "diff",
            "-r",
            "--no-dereference",
            "-q",
            "etc",
            place.base().join("etc").to_str().unwrap(),
        ],
    );
    session.close().unwrap();
}

fn lists_layers() {
    let place = Place::new();
    fs::write(place.base().join("file"), "x").unwrap();
    let mut session = session::mount(&request(layers(place.base()), View::Layers), &place.mnt()).unwrap();
    assert_eq!(run(&place.mnt(), &["ls", "-a"]), ".\n..\nbase\n");
    assert_eq!(fs::read(place.mnt().join("base/file")).unwrap(), b"x");
    assert!(!place.mnt().join("base/other").exists());
    assert!(!place.mnt().join("other").exists());
    let stats = session.stats().unwrap();
    assert!(
        stats.requests.lookups > 0 && stats.requests.read_bytes == 1,
        "{stats:?}"
    );
    assert_eq!(stats.layers.inflated_bytes, 7);
    session.close().unwrap();
}

fn many_entries() {
    let place = Place::new();
    let session = session::mount(
        &request(layers("files:20000"), View::Layer("base".to_owned())),
        &place.mnt(),
    )
    .unwrap();
    for _ in 0..2 {
        let names: BTreeSet<_> = fs::read_dir(place.mnt())
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert_eq!(names.len(), 20000);
        assert!(names.contains(std::ffi::OsStr::new("file-19999")));
    }
    session.close().unwrap();
}

fn slow_reads() {
    let place = Place::new();
    fs::write(place.base().join("slow"), vec![1; 1 << 20]).unwrap();
    for number in 0..20 {
        fs::write(place.base().join(format!("fast-{number}")), "x").unwrap();
    }
    let mut session = place.mount_base();
    let mnt = place.mnt();
    thread::scope(|scope| {
        let slow = scope.spawn(|| {
            let file = File::open(mnt.join("slow")).unwrap();
            file.read_exact_at(&mut [0; 4096], 0).unwrap();
        });
        thread::sleep(Duration::from_millis(50));
        let start = Instant::now();
        for number in 0..20 {
            assert_eq!(fs::read(mnt.join(format!("fast-{number}"))).unwrap(), b"x");
        }
        // The slow read takes its time whatever the machine does: had they waited for it, it would be over.
        assert!(!slow.is_finished(), "{:?}", start.elapsed());
    });
    assert!(session.stats().unwrap().requests.slow_reads > 0);
    session.close().unwrap();
}

fn damage() {
    let place = Place::new();
    fs::write(place.base().join("broken"), "x").unwrap();
    fs::write(place.base().join("whole"), "y").unwrap();
    let mut wanted = request(layers(place.base()), View::Layer("base".to_owned()));
    wanted.log = Some(place.path("log"));
    let session = session::mount(&wanted, &place.mnt()).unwrap();
    for _ in 0..2 {
        let error = fs::read(place.mnt().join("broken")).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EIO));
    }
    assert_eq!(fs::read(place.mnt().join("whole")).unwrap(), b"y");
    session.close().unwrap();
    let log = fs::read_to_string(place.path("log")).unwrap();
    assert!(log.contains("/broken is damaged: make it again"), "{log}");
}

fn read_only() {
    let place = Place::new();
    fs::write(place.base().join("file"), "x").unwrap();
    let session = place.mount_base();
    let refused = |result: io::Result<()>| assert_eq!(result.unwrap_err().raw_os_error(), Some(libc::EROFS));
    refused(fs::write(place.mnt().join("new"), ""));
    refused(File::options().write(true).open(place.mnt().join("file")).map(drop));
    refused(fs::remove_file(place.mnt().join("file")));
    session.close().unwrap();
}

fn other_users() {
    let place = Place::new();
    fs::write(place.base().join("open"), "x").unwrap();
    fs::write(place.base().join("shut"), "x").unwrap();
    run(&place.base(), &["chmod", "600", "shut"]);
    run(&place.base(), &["setfacl", "-m", "u:12345:r", "shut"]);
    fs::set_permissions(place.path("."), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let session = place.mount_base();
    let as_user = |user: &str, path: &str| {
        std::process::Command::new("setpriv")
            .args(["--reuid", user, "--regid", user, "--clear-groups", "cat", path])
            .current_dir(place.mnt())
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .status()
            .unwrap()
            .success()
    };
    assert!(as_user("33", "open"));
    assert!(!as_user("33", "shut"));
    assert!(as_user("12345", "shut"), "the ACL is not honoured");
    session.close().unwrap();
}
