//! How mounts and servers end.

use std::fs::{self, File};
use std::path::Path;
use std::time::Instant;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use oic::mount::server::Lifetime;
use oic::mount::session::{self, View};
use oic::mount::{MountError, Restrictions, namespace, table};

use oic_testkit::soon;

use crate::support::{Place, Session, is_alive, layers, request, run};

pub const TESTS: &[(&str, fn())] = &[
    ("server_ends_when_the_mount_is_closed", closed),
    ("server_killed_leaves_a_mount_that_can_be_undone", killed),
    ("server_unmounts_on_sigterm", terminated),
    ("server_in_the_background_ends_with_its_mount", background),
    ("server_ends_with_its_caller", orphaned),
    ("namespace_hides_mounts_and_takes_them_away", hidden),
    ("server_says_why_it_cannot_open_layers", refused),
    ("unmount_names_those_who_use_the_mount", busy),
    ("unmount_leaves_alone_what_is_not_ours", foreign),
    ("view_is_read_only_nosuid_nodev", restrictions),
];

fn pid(session: &Session) -> (u32, Pid) {
    let pid = session.server_pid().unwrap();
    (pid, Pid::from_raw(i32::try_from(pid).unwrap()))
}

fn is_mounted(place: &Place) -> bool {
    table::is_mount_point(&fs::canonicalize(place.path(".")).unwrap().join("mnt")).unwrap()
}

fn closed() {
    let place = Place::new();
    for _ in 0..2 {
        let session = place.mount_base();
        let (number, _) = pid(&session);
        assert!(is_mounted(&place) && is_alive(number));
        let start = Instant::now();
        session.close().unwrap();
        assert!(!is_mounted(&place) && !is_alive(number));
        assert!(start.elapsed().as_secs() < 5, "{:?}", start.elapsed());
    }
}

fn killed() {
    let place = Place::new();
    fs::write(place.base().join("file"), "x").unwrap();
    for overlay in [false, true] {
        let session = if overlay {
            place.mount_overlay(false).unwrap()
        } else {
            place.mount_base()
        };
        kill(pid(&session).1, Signal::SIGKILL).unwrap();
        assert!(soon(|| fs::read(place.mnt().join("file")).is_err()));
        assert!(is_mounted(&place));
        session.close().unwrap();
        assert!(!is_mounted(&place));
    }
}

fn terminated() {
    let place = Place::new();
    for (overlay, in_use) in [(false, false), (true, false), (false, true), (true, true)] {
        let session = if overlay {
            place.mount_overlay(false).unwrap()
        } else {
            place.mount_base()
        };
        let _user = in_use.then(|| File::open(place.mnt()).unwrap());
        kill(pid(&session).1, Signal::SIGTERM).unwrap();
        assert!(
            soon(|| !is_mounted(&place) && !is_alive(pid(&session).0)),
            "{overlay} {in_use}"
        );
        session.close().unwrap();
    }
}

fn background() {
    let place = Place::new();
    fs::write(place.base().join("file"), "x").unwrap();
    for overlay in [false, true] {
        let view = if overlay {
            View::Overlay {
                upper: Some(place.upper(false)),
                steps: Vec::new(),
            }
        } else {
            View::Layer("base".to_owned())
        };
        let mut wanted = request(layers(place.base()), view);
        wanted.lifetime = Lifetime::Mount;
        let session = session::mount(&wanted, &place.mnt()).unwrap();
        let (number, _) = pid(&session);
        session.detach();
        std::thread::sleep(std::time::Duration::from_millis(100));
        assert_eq!(fs::read(place.mnt().join("file")).unwrap(), b"x");
        // Not by a descriptor of ours: a plain umount(8) does it, too.
        if overlay {
            run(&place.path("."), &["umount", place.mnt().to_str().unwrap()]);
        } else {
            session::unmount(&place.mnt(), false).unwrap();
        }
        assert!(soon(|| !is_alive(number)), "the server lives on");
        assert!(!is_mounted(&place));
    }
}

/// A caller that is killed cannot clean up; its server sees the closed socket and unmounts.
fn orphaned() {
    let place = Place::new();
    // In a process of its own: this one is needed to look on.
    match fork() {
        0 => {
            let session = place.mount_base();
            fs::write(place.path("pid"), session.server_pid().unwrap().to_string()).unwrap();
            kill(Pid::this(), Signal::SIGKILL).unwrap();
            unreachable!()
        }
        child => {
            nix::sys::wait::waitpid(Pid::from_raw(child), None).unwrap();
            let server: u32 = fs::read_to_string(place.path("pid")).unwrap().parse().unwrap();
            assert!(soon(|| !is_mounted(&place) && !is_alive(server)));
        }
    }
}

/// A build in its private namespace that is killed: nobody outside ever sees its mounts.
fn hidden() {
    let place = Place::new();
    fs::write(place.base().join("file"), "x").unwrap();
    match fork() {
        0 => {
            namespace::enter_private().unwrap();
            let session = place.mount_overlay(true).unwrap();
            assert_eq!(fs::read(place.mnt().join("file")).unwrap(), b"x");
            fs::write(place.path("pid.new"), session.server_pid().unwrap().to_string()).unwrap();
            fs::rename(place.path("pid.new"), place.path("pid")).unwrap();
            std::thread::sleep(std::time::Duration::from_secs(60));
            unreachable!()
        }
        child => {
            assert!(soon(|| place.path("pid").exists()));
            let server: u32 = fs::read_to_string(place.path("pid")).unwrap().parse().unwrap();
            assert!(!is_mounted(&place) && !place.mnt().join("file").exists());
            kill(Pid::from_raw(child), Signal::SIGKILL).unwrap();
            nix::sys::wait::waitpid(Pid::from_raw(child), None).unwrap();
            assert!(soon(|| !is_alive(server)));
        }
    }
}

/// fork(2); 0 in the child.
#[allow(unsafe_code)]
fn fork() -> i32 {
    // SAFETY: this program has one thread while a test starts.
    match unsafe { nix::unistd::fork() }.unwrap() {
        nix::unistd::ForkResult::Child => 0,
        nix::unistd::ForkResult::Parent { child } => child.as_raw(),
    }
}

fn refused() {
    let place = Place::new();
    let wanted = request(layers("/does/not/exist"), View::Layers);
    let error = session::mount(&wanted, &place.mnt()).unwrap_err();
    assert!(error.to_string().contains("/does/not/exist does not exist"), "{error}");
    assert_eq!(error.hint().as_deref(), Some("make it first"));
    let wanted = request(layers(place.base()), View::Layer("other".to_owned()));
    let error = session::mount(&wanted, &place.mnt()).unwrap_err();
    assert!(error.to_string().contains("no layer named \"other\""), "{error}");
    let error = session::mount(&request(layers(place.base()), View::Layers), Path::new("/does/not")).unwrap_err();
    assert!(error.to_string().contains("/does/not"), "{error}");
    assert!(!is_mounted(&place));
}

fn busy() {
    let place = Place::new();
    fs::write(place.base().join("file"), "x").unwrap();
    let session = place.mount_base();
    let file = File::open(place.mnt().join("file")).unwrap();
    let error = session::unmount(&place.mnt(), false).unwrap_err();
    let MountError::Busy { holders, .. } = &error else {
        panic!("{error}");
    };
    assert_eq!(holders[0].pid, std::process::id());
    assert!(error.to_string().contains("mnt/file"), "{error}");
    session::unmount(&place.mnt(), true).unwrap();
    assert!(!is_mounted(&place));
    drop(file);
    session.close().unwrap();
}

fn foreign() {
    let place = Place::new();
    assert!(matches!(
        session::unmount(&place.mnt(), false),
        Err(MountError::NotMounted(_))
    ));
    let session = place.mount_base();
    // Something else comes on top: neither unmounting nor dropping touches it.
    run(
        &place.path("."),
        &["mount", "-t", "tmpfs", "other", place.mnt().to_str().unwrap()],
    );
    assert!(matches!(
        session::unmount(&place.mnt(), false),
        Err(MountError::NotMounted(_))
    ));
    session.close().unwrap();
    assert!(is_mounted(&place));
    run(&place.path("."), &["umount", place.mnt().to_str().unwrap()]);
    session::unmount(&place.mnt(), false).unwrap();
}

fn restrictions() {
    let place = Place::new();
    for upper in [None, Some(place.upper(false))] {
        let mut wanted = request(layers(place.base()), View::Layer("base".to_owned()));
        wanted.restrictions = Restrictions::VIEW;
        if upper.is_some() {
            let steps = vec![place.path("cache")];
            wanted.view = View::Overlay { upper: None, steps };
        }
        let session = session::mount(&wanted, &place.mnt()).unwrap();
        let mount = table::mount_at(session.mount_point()).unwrap().unwrap();
        assert!(mount.is_ours());
        for option in ["ro", "nosuid", "nodev"] {
            assert!(mount.options.split(',').any(|other| other == option), "{mount:?}");
        }
        session.close().unwrap();
    }
}
