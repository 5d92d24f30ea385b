//! The overlay through a real mount. Needs root, FUSE and overlayfs.
//!
//! The server is a thread here, so nothing may map a file: a page fault that waits for the server holds a lock of the
//! address space that the server's next allocation needs. `tests/mount/content.rs` tries that.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::thread;

use proptest::collection::vec;
use rustix::mount::MountFlags;

use super::server;
use crate::mount::adapter::ServeOptions;
use crate::mount::{Label, MountError, Restrictions, fuse, namespace, table};
use crate::overlay::directory::DirectoryLayer;
use crate::overlay::layer::{FileKind, Layer};
use crate::overlay::tests::differential::{Room, assert_same, layers, op, run, runner};
use crate::overlay::tests::target::{Op, Plain, Target as _, View};
use crate::overlay::{Overlay, RenameMode};

/// Calls `work` with the mount point of an overlay of `layers` with the upper of `room`. The mount exists for the
/// calling thread only, and ends with it.
fn mounted<T: Send>(room: &Room, layers: Vec<Arc<dyn Layer>>, work: impl FnOnce(&Path) -> T + Send) -> T {
    let overlay = Overlay::new(layers, Some(&room.upper())).unwrap();
    let at = room.path("mount");
    privately(|| {
        let options = &ServeOptions {
            allow_other: true,
            ..ServeOptions::default()
        };
        let made = fuse::create(Restrictions::BUILD, true, &Label::default()).unwrap();
        let (server, _) = server(made.device, overlay, false, options).unwrap();
        let serving = thread::spawn(move || server.run());
        let attached = made.mount.attach(&at).unwrap();
        let result = work(&at);
        patiently(|| attached.unmount());
        serving.join().unwrap().unwrap();
        result
    })
}

/// Retries `unmount`: a test beside this one may have forked, and its child not yet closed the inherited descriptors.
fn patiently(unmount: impl Fn() -> Result<(), MountError>) {
    let is_done = (0..20).any(|_| unmount().is_ok());
    assert!(is_done, "{:?}", unmount());
}

/// Calls `work` in a mount namespace of its own.
fn privately<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    let work = || {
        namespace::enter_private().unwrap();
        work()
    };
    thread::scope(|scope| scope.spawn(work).join()).unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Calls `work` with the mount point at which the kernel's overlayfs shows the upper of `room` over its `base`.
fn mounted_by_kernel<T: Send>(room: &Room, redirect: &str, work: impl FnOnce(&Path) -> T + Send) -> T {
    let at = room.path("mount");
    let options = format!(
        "lowerdir={},upperdir={},workdir={},redirect_dir={redirect},index=off,metacopy=off",
        room.path("base").display(),
        room.path("upper").display(),
        room.path("work").display()
    );
    let options = std::ffi::CString::new(options).unwrap();
    privately(|| {
        rustix::mount::mount("overlay", &at, "overlay", MountFlags::empty(), &*options).unwrap();
        let result = work(&at);
        patiently(|| table::unmount(&at, false));
        result
    })
}

/// Makes a room with a base on disk, and that base as a layer. Without hard links, which the kernel cuts on copy-up.
fn room_with_base() -> (Room, impl Fn() -> Vec<Arc<dyn Layer>>) {
    let room = Room::new();
    let base = room.path("base");
    std::fs::create_dir(&base).unwrap();
    let mut view = room.overlay(layers()).view();
    for path in ["c/b", "d"] {
        view.remove(Path::new(path));
    }
    Plain::new(&base).populate(&view);
    for directory in ["upper", "work"] {
        std::fs::remove_dir_all(room.path(directory)).unwrap();
        std::fs::create_dir(room.path(directory)).unwrap();
    }
    (room, move || vec![Arc::new(DirectoryLayer::open(&base).unwrap())])
}

/// Returns the part of `view` that both engines show alike: the kernel does not count the subdirectories of merged
/// directories.
fn without_directory_links(mut view: View) -> View {
    for seen in view.values_mut().filter(|seen| seen.kind == FileKind::Directory) {
        seen.links = 0;
    }
    view
}

/// Returns whether both engines support `op`: users can have the device of whiteouts only here.
fn is_for_both(op: &Op) -> bool {
    !matches!(
        op,
        Op::Special(_, FileKind::CharDevice, (0, 0))
            | Op::Rename(_, _, RenameMode::Whiteout | RenameMode::NoReplaceWhiteout)
    )
}

#[test]
fn random_operations_have_the_outcomes_of_a_plain_directory() {
    let checked = runner(25).run(&vec(op(), 1..60), |ops| {
        let room = Room::new();
        let expected = mounted(&room, layers(), |at| run(&room, &ops, &mut Plain::new(at), true))?;
        mounted(&room, layers(), |at| assert_same(&expected, &Plain::new(at).view()))
    });
    if let Err(error) = checked {
        panic!("{error}");
    }
}

#[test]
fn the_kernel_shows_the_same_over_our_upper() {
    let checked = runner(15).run(&vec(op(), 1..60), |ops| {
        let (room, layers) = room_with_base();
        let ours = mounted(&room, layers(), |at| {
            let mut plain = Plain::new(at);
            for op in ops.iter().filter(|op| is_for_both(op)) {
                let _ = plain.apply(op);
            }
            plain.view()
        });
        let theirs = mounted_by_kernel(&room, "follow", |at| Plain::new(at).view());
        assert_same(&without_directory_links(ours), &without_directory_links(theirs))
    });
    if let Err(error) = checked {
        panic!("{error}");
    }
}

#[test]
fn we_show_the_same_over_the_upper_of_the_kernel() {
    let checked = runner(15).run(&vec(op(), 1..60), |ops| {
        let (room, layers) = room_with_base();
        let theirs = mounted_by_kernel(&room, "on", |at| {
            let mut plain = Plain::new(at);
            for op in ops.iter().filter(|op| is_for_both(op)) {
                let _ = plain.apply(op);
            }
            plain.view()
        });
        let ours = mounted(&room, layers(), |at| Plain::new(at).view());
        assert_same(&without_directory_links(theirs), &without_directory_links(ours))
    });
    if let Err(error) = checked {
        panic!("{error}");
    }
}

/// Returns the output of a script that runs in `directory`, and the state of the directory afterwards.
fn script(directory: &Path, script: &str) -> String {
    const REPORT: &str = "\nfind . -mindepth 1 -printf '%P %M %n %U %G %l\\n' | sort
        find . -mindepth 1 ! -type l -print0 | sort -z | xargs -0 getfacl -n";
    let output = Command::new("sh")
        .args(["-c", &format!("exec 2>&1; umask 027; {script}{REPORT}")])
        .current_dir(directory)
        .env("LC_ALL", "C")
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// Runs the same script on a mount, over nothing and over deleted names, and in a plain directory, and compares.
fn compare(commands: &str) {
    let room = Room::new();
    let plain = script(&room.path("plain"), commands);
    let acl = Command::new("getfacl").arg("--version").output();
    assert!(acl.is_ok(), "getfacl (package acl) is needed");
    let empty = || -> Vec<Arc<dyn Layer>> { vec![Arc::new(crate::overlay::tests::memory_layer::MemoryLayer::new())] };
    assert_eq!(plain, mounted(&room, empty(), |at| script(at, commands)));
    let (room, layers) = room_with_base();
    let deleted = mounted(&room, layers(), |at| {
        // The script's names are among the base's.
        script(at, &format!("find . -mindepth 1 -delete; {commands}"))
    });
    assert_eq!(plain, deleted);
}

#[test]
fn default_acls_and_umask() {
    compare(
        "mkdir a; setfacl -m u:7:rwx,d:u:7:rwx,d:g:8:r-x,d:m::rwx a
         touch a/c a/x; mkdir a/d a/b; mknod a/p p; touch a/b/y; ln -s x a/l
         touch c; mkdir b; mkdir b/c; setfacl -k a; touch a/z; setfacl -b a/x; chmod 600 a/b/y",
    );
}

#[test]
fn set_group_id_directories() {
    compare(
        "mkdir a c; chgrp 50 a; chmod 2775 a; touch a/c; mkdir a/d; mkdir a/d/e; chmod g-s a/d/e; mkdir a/d/e/f
         mknod c/c c 5 1; chown 3:4 c; setpriv --reuid 9 --regid 9 --clear-groups true
         chmod 777 a c; setpriv --reuid 9 --regid 9 --clear-groups sh -c 'umask 0; echo x > a/b; mkdir a/n; echo > c/a'",
    );
}

#[test]
fn set_id_bits_and_capabilities_go_when_content_or_owner_changes() {
    let as_nobody = "setpriv --reuid 65534 --regid 65534 --clear-groups sh -c";
    compare(&format!(
        "chmod 777 .; for f in a b c d e; do echo x > $f; chown 65534:65534 $f; chmod 6777 $f; done
         {as_nobody} 'echo >> a; : > b; truncate -s 9 c'; ls -l --time-style=+ a b c; chown 5 d; echo y >> e
         setcap cap_net_raw=ep e; {as_nobody} 'echo >> e'; getcap e; setcap cap_net_raw=ep e; echo >> e; getcap e"
    ));
}

#[test]
fn the_set_group_id_bit_goes_when_an_acl_is_set_by_no_member() {
    let by = |groups: &str| format!("setpriv --reuid 9 --regid 9 {groups} setfacl -m u:5:rx");
    compare(&format!(
        "chmod 777 .; for f in a b c d; do echo x > $f; chown 9:50 $f; chmod 2755 $f; done; chgrp 9 d; chmod 2755 d
         {} a; {} b; setfacl -m u:5:rx c; {} d",
        by("--clear-groups"),
        by("--groups 7,50"),
        by("--clear-groups")
    ));
}

#[test]
fn links_renames_and_open_files() {
    compare(
        "echo 1 > a; ln a b; exec 3<>a; rm a; echo 2 >&3; cat b; rm b; mkdir d; echo 3 >&3; stat -Lc %h /proc/self/fd/3
         cat /proc/self/fd/3; ln -s nowhere s; ln s t; mv t d; mv d c; ls -R
         exec 4<c; mv c e; rmdir e; rm e/*; rmdir e; touch /proc/self/fd/4/x; cd /proc/self/fd/4 && ls",
    );
}
