//! The end of a mount: servers that were killed, writable layers that are free again, names that tell mounts apart.
//! Needs root, FUSE and overlayfs.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a panic is the report

use std::fs;
use std::path::Path;
use std::process::Command;

use nix::sys::signal::{Signal, kill};
use oic::durable::FileLock;
use oic::mount::{namespace, table};
use oic_testkit::{soon, spawn_until_it_runs, tool};

use super::mount_command::{PROVIDER, Place, servers};
use crate::hermetic::signals::{assert_interrupted, endless_tarball, send, started};

/// The ways to mount.
const WAYS: [&[&str]; 3] = [
    &[],
    &["--tmp-upper", "--overlay", "kernel"],
    &["--tmp-upper", "--overlay", "fuse"],
];

/// Kills the servers of `place`.
fn kill_servers(place: &Place) {
    for server in servers(&place.oic) {
        kill(server, Signal::SIGKILL).unwrap();
    }
    assert!(soon(|| servers(&place.oic).is_empty()));
}

/// Counts the mounts at `path`, one above the other.
fn mounts_at(path: &Path) -> usize {
    let path = path
        .parent()
        .unwrap()
        .canonicalize()
        .unwrap()
        .join(path.file_name().unwrap());
    let mounts = table::mounts().unwrap();
    mounts.iter().filter(|mount| mount.mount_point == path).count()
}

#[test]
fn the_next_command_takes_a_dead_mount_away_and_names_it() {
    let place = Place::new("dead");
    let mnt = place.mnt_text();
    for way in WAYS {
        for next in [
            &["umount", &mnt][..],
            &["mount", "--list"],
            &["cache", "stats"],
            &["cache", "clean", "--workspace", "--dry-run"],
            &["cache", "gc", "--unused-for", "1000d"],
        ] {
            place.mount(PROVIDER, way);
            kill_servers(&place);
            let finished = place.oic.run(next);
            assert_eq!(finished.code, Some(0), "{next:?} after {way:?}: {}", finished.stderr);
            let is_list = next.contains(&"--list");
            let told = if is_list { &finished.stdout } else { &finished.stderr };
            assert!(
                told.contains(&mnt) && told.contains("killed"),
                "{next:?} after {way:?}: {told}"
            );
            if is_list {
                place.oic.run(&["umount", &mnt]);
            }
            assert_eq!(mounts_at(&place.mnt()), 0, "{next:?} after {way:?}");
        }
        // Never above it.
        place.mount(PROVIDER, way);
        kill_servers(&place);
        place.mount(PROVIDER, way);
        assert_eq!(mounts_at(&place.mnt()), 1, "{way:?}");
        assert_eq!(place.read("etc/version"), "one");
        place.umount();
    }
    // What the killed servers left besides.
    place.oic.run(&["cache", "gc", "--unused-for", "1000d"]);
    place.oic.assert_clean();
}

#[test]
fn a_dead_mount_in_use_is_detached_and_one_below_another_goes_with_it() {
    let place = Place::new("dead-busy");
    place.mount(PROVIDER, &[]);
    let file = fs::File::open(place.mnt().join("etc/version")).unwrap();
    kill_servers(&place);
    assert_eq!(place.oic.run(&["umount", &place.mnt_text()]).code, Some(0));
    assert_eq!(mounts_at(&place.mnt()), 0);
    drop(file);

    place.mount(PROVIDER, &[]);
    let below = servers(&place.oic);
    place.mount(PROVIDER, &["--tmp-upper"]);
    for server in below {
        kill(server, Signal::SIGKILL).unwrap();
    }
    assert_eq!(mounts_at(&place.mnt()), 2);
    let finished = place.oic.run(&["umount", &place.mnt_text()]);
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    assert!(finished.stderr.contains("killed"), "{}", finished.stderr);
    assert_eq!(mounts_at(&place.mnt()), 0);

    // A living one below is named.
    place.mount(PROVIDER, &[]);
    place.mount(PROVIDER, &["--tmp-upper"]);
    let finished = place.oic.run(&["umount", &place.mnt_text()]);
    let note = format!("another mount is still at {}", place.mnt_text());
    assert!(finished.stderr.contains(&note), "{}", finished.stderr);
    place.umount();
}

#[test]
fn umount_returns_when_the_writable_layer_is_free() {
    let place = Place::new("free");
    let mounts = place.oic.provider_dir().join("mounts");
    for engine in ["kernel", "fuse"] {
        for _ in 0..6 {
            let upper = format!("again-{engine}");
            place.mount(PROVIDER, &["--upper", &upper, "--overlay", engine]);
            fs::write(place.mnt().join("file"), vec![7; 4 << 20]).unwrap();
            place.umount();
            assert!(servers(&place.oic).is_empty(), "the server still runs");
            let lock = mounts.join(&upper).join("work.lock");
            assert!(FileLock::try_exclusive(&lock).unwrap().is_some(), "{engine}");
            place.mount(PROVIDER, &["--tmp-upper", "--overlay", engine]);
            fs::write(place.mnt().join("file"), vec![7; 4 << 20]).unwrap();
            place.umount();
            assert!(!place.layers().iter().any(|name| name.starts_with(".oic-tmp")));
        }
    }
    place.oic.assert_clean();
}

#[test]
fn umount_says_what_keeps_the_server() {
    let place = Place::new("kept");
    place.mount(PROVIDER, &["--upper", "try"]);
    // A private copy of all mounts.
    let mut other = spawn_until_it_runs(
        Command::new("unshare").args(["-m", "--propagation", "private", "sleep", "100"]),
        "sleep",
    );
    let finished = place.oic.run(&["umount", &place.mnt_text()]);
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    for word in ["mount namespace of sleep", "still runs"] {
        assert!(finished.stderr.contains(word), "{}", finished.stderr);
    }
    // Also there it is known, and goes.
    let server = format!("pid {}", servers(&place.oic)[0]);
    let inside = |command: &str| {
        let (oic, target) = (env!("CARGO_BIN_EXE_oic"), format!("--target={}", other.id()));
        let script = format!("{oic} {command} 2>&1");
        tool("nsenter", &[&target, "--mount", "sh", "-c", &script])
    };
    assert!(inside("mount --list").contains(&server));
    assert_eq!(inside(&format!("umount {}", place.mnt_text())), "");
    assert!(servers(&place.oic).is_empty());
    other.kill().unwrap();
    other.wait().unwrap();
}

#[test]
fn an_interrupted_mount_leaves_nothing() {
    let place = Place::new("interrupted-mount");
    let tarball = endless_tarball(&place.oic.work_dir);
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        let arguments = ["mount", tarball.to_str().unwrap(), &place.mnt_text(), "--tmp-upper"];
        let child = started(place.oic.command(&arguments));
        send(&child, signal);
        assert_interrupted(child);
        assert!(!place.is_mounted());
        place.oic.assert_clean();
    }
}

/// The namespace of a build is a copy of all mounts: what goes outside has to go there, too.
#[test]
fn a_namespace_of_a_build_keeps_no_mount_of_others() {
    let place = Place::new("pins");
    tool("mount", &["--make-rshared", "/"]);
    place.mount(PROVIDER, &["--upper", "try"]);
    let mnt = place.mnt().canonicalize().unwrap();
    let (entered, is_in) = std::sync::mpsc::channel();
    let (leave, may_leave) = std::sync::mpsc::channel::<()>();
    let at = &mnt;
    std::thread::scope(|scope| {
        scope.spawn(move || {
            namespace::enter_private().unwrap();
            let sees = || table::is_mount_point(at).unwrap();
            entered.send(sees()).unwrap();
            may_leave.recv().unwrap();
            assert!(!sees(), "it stays in the build's namespace");
            // And nothing comes out.
            let inside = at.parent().unwrap().join("inside");
            fs::create_dir(&inside).unwrap();
            tool("mount", &["-t", "tmpfs", "tmpfs", inside.to_str().unwrap()]);
        });
        assert!(is_in.recv().unwrap());
        place.umount();
        assert!(servers(&place.oic).is_empty());
        leave.send(()).unwrap();
    });
    assert!(!table::is_mount_point(&mnt.parent().unwrap().join("inside")).unwrap());
    place.mount(PROVIDER, &["--upper", "try"]);
    place.umount();
}

#[test]
fn mounts_have_names() {
    let place = Place::new("names");
    let source = || {
        let text = tool("findmnt", &["-n", "-o", "SOURCE", &place.mnt_text()]);
        text.trim().to_owned()
    };
    let tarball = place.oic.work_dir.join("old, 1.tar");
    let tree = place.oic.work_dir.join("tree");
    tool(
        "tar",
        &["-cf", tarball.to_str().unwrap(), "-C", tree.to_str().unwrap(), "."],
    );
    let tarball = tarball.canonicalize().unwrap();
    for way in WAYS {
        let at_tarball = tarball.to_str().unwrap();
        for (subject, name) in [
            (PROVIDER, PROVIDER.to_owned()),
            (at_tarball, at_tarball.replace(',', "_")),
        ] {
            place.mount(subject, way);
            assert_eq!(source(), format!("oic:{name}"), "{way:?}");
            let list = place.oic.run(&["mount", "--list", "--format", "json"]).json();
            // Other tests may have mounted something before this one got its namespace.
            let at = place.mnt().canonicalize().unwrap();
            let mut rows = list["mounts"].as_array().unwrap().iter();
            let row = rows.find(|row| row["mount_point"] == at.to_str().unwrap()).unwrap();
            let engine = if way.contains(&"kernel") { "kernel" } else { "fuse" };
            for (field, value) in [
                ("subject", name.clone().into()),
                ("image", serde_json::Value::Null),
                ("engine", engine.into()),
                ("writable", (!way.is_empty()).into()),
                ("dead", false.into()),
            ] {
                assert_eq!(row[field], value, "{field}: {list:#}");
            }
            // As ps(1) and top(1) show it.
            let pid = row["server"].as_u64().unwrap();
            let title = fs::read_to_string(format!("/proc/{pid}/cmdline"))
                .unwrap()
                .replace('\0', " ");
            assert!(title.starts_with("oic __mount ") && title.contains(&name), "{title}");
            assert!(title.contains(at.to_str().unwrap()), "{title}");
            assert_eq!(fs::read_to_string(format!("/proc/{pid}/comm")).unwrap(), "oic\n");
            let shown = place.oic.run(&["mount", "--list"]).stdout;
            assert!(
                shown.contains(&name) && shown.contains(&format!("pid {pid}")),
                "{shown}"
            );
            place.umount();
        }
    }
    assert!(!place.oic.run(&["mount", "--list"]).stdout.contains(&place.mnt_text()));
    place.oic.run(&["mount"]).assert_fails(2, &["SUBJECT"]);
    place
        .oic
        .run(&["mount", "--list", PROVIDER])
        .assert_fails(2, &["--list"]);
    place
        .oic
        .run(&["mount", PROVIDER, "--format", "json"])
        .assert_fails(2, &["--format"]);
}
