//! A mount is its user's alone, unless it lets all others in.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use oic::mount::Engine;
use oic::mount::session::{self, MountRequest, View};

use crate::support::{Place, Session, layers, pool, request, run};

pub const TESTS: &[(&str, fn())] = &[
    ("a_mount_without_allow_other_is_private_with_every_engine", private),
    ("a_private_mount_gives_the_root_directory_back_as_it_was", root),
];

const ENGINES: [Engine; 2] = [Engine::Fuse, Engine::Kernel];

/// What other users try in the directory `$1`. The last ones are for the owner of a file in it, and of itself.
const ATTEMPTS: [&str; 12] = [
    "ls $1",
    "cat $1/etc/version",
    "stat $1/etc",
    "stat $1/var/tmp/mine",
    "env -C $1 true",
    "ls $1/var/tmp/..",
    "echo x >$1/var/tmp/new-$(id -u)",
    "mkdir $1/var/tmp/directory-$(id -u)",
    "$1/true",
    "echo more >>$1/var/tmp/mine",
    "touch $1/var/tmp/mine",
    "chmod 755 $1",
];
/// The number of attempts that any user may make, if let in.
const OF_ANY: usize = 9;

/// Makes a base that lets everyone in: its root directory belongs to user 1000, and `/var/tmp` is as usual.
fn make_base(place: &Place) {
    let commands = "mkdir -p etc var/tmp; echo one >etc/version; chmod 1777 var/tmp; echo x >var/tmp/mine
        cp /bin/true true; chown 1000:1000 . var/tmp/mine; chmod 755 .; setfacl -m u:65534:rwx .";
    run(&place.base(), &["sh", "-ec", commands]);
    // So that nothing but the mount keeps other users out.
    fs::set_permissions(place.path(""), fs::Permissions::from_mode(0o755)).unwrap();
}

/// Returns the attempts that succeed at `at` for `user`.
fn succeeding(at: &Path, user: &str) -> Vec<&'static str> {
    let succeeds = |attempt: &str| {
        let by = [
            "--reuid",
            user,
            "--regid",
            user,
            "--clear-groups",
            "sh",
            "-c",
            attempt,
            "sh",
        ];
        let output = Command::new("setpriv")
            .args(by)
            .arg(at)
            .current_dir("/")
            .output()
            .unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        let is_denied = ["Permission denied", "not permitted", "Read-only"]
            .iter()
            .any(|reason| errors.contains(reason));
        assert!(output.status.success() || is_denied, "{attempt}: {errors}");
        output.status.success()
    };
    ATTEMPTS.into_iter().filter(|attempt| succeeds(attempt)).collect()
}

/// Mounts the base, privately or for all: alone, merged with a pool, or with an upper.
fn mount(place: &Place, engine: Engine, (view, allow_other): (View, bool)) -> Session {
    let mut both = layers(place.base());
    both.pool = Some(pool(&place.path("cache"), Vec::new()));
    let request = MountRequest {
        engine,
        allow_other,
        ..request(both, view)
    };
    session::mount(&request, &place.mnt()).unwrap()
}

fn writable(place: &Place) -> View {
    View::Overlay {
        upper: Some(place.upper(false)),
        steps: Vec::new(),
    }
}

fn private() {
    for engine in ENGINES {
        let place = Place::named("oic-private");
        make_base(&place);
        let merged = View::Overlay {
            upper: None,
            steps: Vec::new(),
        };
        for view in [View::Layer("base".to_owned()), View::Layers, merged, writable(&place)] {
            let session = mount(&place, engine, (view.clone(), false));
            for user in ["65534", "1000"] {
                assert_eq!(succeeding(&place.mnt(), user), [""; 0], "{engine:?} {view:?} {user}");
            }
            // Its own user sees all of it.
            assert_ne!(run(&place.mnt(), &["find", ".", "-name", "version"]), "");
            session.close().unwrap();
        }
        // The attempts are possible where the mount is for all.
        let session = mount(&place, engine, (writable(&place), true));
        for (user, count) in [("65534", OF_ANY), ("1000", ATTEMPTS.len())] {
            assert_eq!(succeeding(&place.mnt(), user), ATTEMPTS[..count], "{engine:?} {user}");
        }
        session.close().unwrap();
    }
}

/// Mode, owner and access control list.
fn seen(at: &Path) -> String {
    run(at, &["sh", "-ec", "stat -c '%a %u %g' .; getfacl -pn ."])
}

fn root() {
    let place = Place::named("oic-private");
    make_base(&place);
    let session = mount(&place, Engine::Fuse, (writable(&place), true));
    run(
        &place.mnt(),
        &["sh", "-ec", "chown 3:4 .; chmod 1751 .; setfacl -m u:7:rwx ."],
    );
    let expected = seen(&place.mnt());
    session.close().unwrap();
    for (engine, next) in [
        (Engine::Kernel, Engine::Fuse),
        (Engine::Kernel, Engine::Kernel),
        (Engine::Fuse, Engine::Kernel),
    ] {
        mount(&place, engine, (writable(&place), false)).close().unwrap();
        let session = mount(&place, next, (writable(&place), true));
        assert_eq!(seen(&place.mnt()), expected, "{engine:?}, then {next:?}");
        session.close().unwrap();
    }
    // Our own engine shows it as it is, and the kernel's closed. What root sets there stays.
    let session = mount(&place, Engine::Fuse, (writable(&place), false));
    assert_eq!(seen(&place.mnt()), expected);
    session.close().unwrap();
    let session = mount(&place, Engine::Kernel, (writable(&place), false));
    assert!(seen(&place.mnt()).starts_with("700 0 0\n"));
    run(&place.mnt(), &["chmod", "711", "."]);
    session.close().unwrap();
    let session = mount(&place, Engine::Kernel, (writable(&place), true));
    assert!(seen(&place.mnt()).starts_with("711 0 0\n"));
    session.close().unwrap();
}
