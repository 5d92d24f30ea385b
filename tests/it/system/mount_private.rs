//! Other users and a mount of root: `oic mount`, the program. Needs root, FUSE and overlayfs.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a panic is the report

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use oic::mount::table;
use oic_testkit::tool;

use super::mount_command::Place;

/// What another user tries at `$1`: to read, to list, to go there, to write.
const ATTEMPTS: [&str; 5] = [
    "cat $1/etc/version",
    "ls $1/",
    "cd $1",
    "echo x >$1/var/tmp/written",
    "mkdir -p $1/var/tmp/made",
];

#[test]
fn a_mount_is_private_unless_it_is_for_all() {
    let place = Place::new("private");
    // Where all users may look, so that nothing but the mount keeps them out.
    let room = tempfile::tempdir().unwrap();
    fs::set_permissions(room.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let text = |name: &str| room.path().join(name).to_str().unwrap().to_owned();
    let (tree, tarball, mnt) = (text("tree"), text("old.tar"), text("mnt"));
    fs::create_dir(&mnt).unwrap();
    let commands = "mkdir -p $1/etc $1/var/tmp; echo one >$1/etc/version; chmod 1777 $1/var/tmp; chown 65534 $1
        tar -C $1 -cf $2 .";
    tool("sh", &["-ec", commands, "sh", &tree, &tarball]);
    let succeeding = || {
        let succeeds = |attempt: &&str| {
            let user = [
                "--reuid=65534",
                "--regid=65534",
                "--clear-groups",
                "sh",
                "-c",
                attempt,
                "sh",
                &mnt,
            ];
            Command::new("setpriv").args(user).output().unwrap().status.success()
        };
        ATTEMPTS.into_iter().filter(succeeds).count()
    };
    for engine in ["auto", "kernel", "fuse"] {
        for (upper, readable) in [(&[][..], 3), (&["--tmp-upper"], 5), (&["--upper", "try"], 5)] {
            for (access, expected) in [(&[][..], 0), (&["--allow-other"], readable)] {
                let way = [&["mount", &tarball, &mnt, "--overlay", engine], upper, access].concat();
                let mounted = place.oic.run(&way);
                assert_eq!(mounted.code, Some(0), "{way:?}: {}", mounted.stderr);
                assert_eq!(succeeding(), expected, "{way:?}");
                // The kernel's engine, which is fast, where nothing speaks against it.
                let mount = table::mount_at(&room.path().canonicalize().unwrap().join("mnt"))
                    .unwrap()
                    .unwrap();
                let is_kernel = engine == "kernel" || engine == "auto" && !access.is_empty();
                assert_eq!(
                    mount.file_system == "overlay",
                    is_kernel && !upper.is_empty(),
                    "{way:?}"
                );
                assert_eq!(fs::read_to_string(format!("{mnt}/etc/version")).unwrap(), "one\n");
                assert_eq!(place.oic.run(&["umount", &mnt]).code, Some(0), "{way:?}");
            }
        }
    }
}
