//! Ways to files that are not usual: times of last access, content that passes the kernel's cache, file handles.

use std::fs;
use std::path::Path;

use oic::mount::Engine;

use crate::support::{Place, Session, run};

pub const TESTS: &[(&str, fn())] = &[
    ("reading_changes_the_times_that_a_plain_directory_changes", times),
    ("what_passes_the_cache_is_read_by_all_at_once", fresh),
    ("file_handles_are_refused_or_lead_back", handles),
];

/// Options of the mount (mount(8)), and commands that read.
const OPTIONS: [&str; 4] = ["relatime", "noatime", "nodiratime", "strictatime"];
const READERS: [(&str, &str); 6] = [
    ("file", "cat file >/dev/null"),
    ("file", "dd if=file of=/dev/null iflag=noatime status=none"),
    ("program", "./program"),
    (
        "file",
        "python3 -c 'import mmap; file = open(\"file\"); mmap.mmap(file.fileno(), 0, prot=1)[0]'",
    ),
    ("link", "readlink link >/dev/null"),
    ("directory", "ls directory >/dev/null"),
];
/// Makes the kernel forget pages of files, and directories and links, but leaves all other programs their pages.
const FORGET: &str = "for name in file program; do dd if=$name iflag=nocache count=0 status=none; done
    echo 2 >/proc/sys/vm/drop_caches";

/// Makes what is read.
fn make(at: &Path) {
    let commands = "echo content >file; cp /bin/true program; ln -s file link; mkdir directory; touch directory/inside";
    run(at, &["sh", "-ec", commands]);
}

/// Returns for each option and reader whether reading changes the time of access, which is older than all others.
fn changed(at: &Path) -> Vec<String> {
    let mut seen = Vec::new();
    for option in OPTIONS {
        run(at, &["mount", "-o", &format!("remount,bind,{option}"), "."]);
        for (name, read) in READERS {
            let commands = format!(
                "touch -h -a -d 2001-01-01 {name}
                 {FORGET}
                 {read}
                 [ $(stat -c %X {name}) = $(date -d 2001-01-01 +%s) ] && echo kept || echo changed"
            );
            let outcome = run(at, &["sh", "-ec", &commands]);
            seen.push(format!("{option}: {read}: {}", outcome.trim()));
        }
    }
    seen
}

fn times() {
    let plain = Place::named("oic-access");
    run(&plain.path(""), &["mount", "--bind", "base", "mnt"]);
    make(&plain.mnt());
    let expected = changed(&plain.mnt());
    run(&plain.path(""), &["umount", "mnt"]);
    assert!(expected.iter().any(|line| line.ends_with("changed")), "{expected:#?}");
    for engine in [Engine::Fuse, Engine::Kernel] {
        let place = Place::named("oic-access");
        let session = place.mount_by(engine, false).unwrap();
        make(&place.mnt());
        let actual = changed(&place.mnt());
        session.close().unwrap();
        assert_eq!(expected, actual, "{engine:?}");
    }
}

fn fresh() {
    let python = |at: &Path, what: &str| run(at, &["python3", "-c", include_str!("direct.py"), what]);
    for engine in [Engine::Fuse, Engine::Kernel] {
        let place = Place::new();
        fs::write(place.base().join("append"), "gone").unwrap();
        let session = place.mount_by(engine, false).unwrap();
        fs::remove_file(place.mnt().join("append")).unwrap();
        for what in ["aio", "append"] {
            assert_eq!(python(&place.mnt(), what), "fresh\n", "{engine:?}, {what}");
        }
        session.close().unwrap();
    }
}

fn handles() {
    let python = |at: &Path| run(at, &["python3", "-c", include_str!("handles.py")]);
    let plain = Place::new();
    make(&plain.base());
    assert_eq!(python(&plain.base()).matches("leads back").count(), 4);
    let check = |session: Session, place: &Place| {
        let seen = python(&place.mnt());
        session.close().unwrap();
        assert!(!seen.contains("is lost"), "{seen}");
        // Python's name for EOPNOTSUPP.
        assert_eq!(seen.matches("ENOTSUP").count(), 4, "{seen}");
    };
    check(plain.mount_base(), &plain);
    for engine in [Engine::Fuse, Engine::Kernel] {
        let place = Place::new();
        run(&place.base(), &["sh", "-ec", "echo content >file; mkdir directory"]);
        let session = place.mount_by(engine, false).unwrap();
        run(&place.mnt(), &["sh", "-ec", "ln -s file link; touch directory/inside"]);
        check(session, &place);
    }
}
