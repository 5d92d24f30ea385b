//! Attempts to reach the build host from inside a sandbox, each with its expected answer.
//!
//! `tests/data/escapes.c` holds the table and is compiled by the test: system calls, device nodes,
//! paths, and controls of what packages need. What takes two sides is below.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a panic is the report

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use oic::sandbox::{Bind, Command};

use crate::support::escapes::Root;

fn program() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_oic"))
}

/// At least so many attempts the table must make.
const ATTEMPTS: u64 = 150;
/// The mounts that permit devices: one node each, and the terminals.
const DEVICES: [&str; 7] = [
    "/dev/full",
    "/dev/null",
    "/dev/pts",
    "/dev/random",
    "/dev/tty",
    "/dev/urandom",
    "/dev/zero",
];

#[test]
fn every_attempt_to_escape_is_answered_as_expected() {
    let null = fs::metadata("/dev/null").unwrap().permissions();
    let (attempts, wrong) = Root::new(program()).attempts();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(attempts >= ATTEMPTS, "{attempts}");
    // The nodes inside are not the host's: their mode was changed.
    assert_eq!(fs::metadata("/dev/null").unwrap().permissions(), null);
}

/// What no path tried may hold for those that were not: it follows from the table of mounts.
#[test]
fn no_mount_but_the_devices_permits_devices() {
    let mut root = Root::new(program());
    let second = root.path().join("second");
    for name in ["dev", "proc", "run", "sys", "tmp"] {
        fs::create_dir_all(second.join(name)).unwrap();
    }
    root.spec.chroot = Some("/second".into());
    let mut permitting = Vec::new();
    for line in root.output(["cat", "/proc/self/mountinfo"]) {
        // proc_pid_mountinfo(5): the fifth field is the place, the sixth the mount's own options.
        let fields: Vec<_> = line.split(' ').collect();
        let place = fields[4].strip_prefix("/second").unwrap_or(fields[4]);
        if !fields[5].split(',').any(|option| option == "nodev") {
            permitting.push(place.to_owned());
        }
    }
    permitting.sort();
    permitting.dedup();
    assert_eq!(permitting, DEVICES);
}

#[test]
fn every_namespace_but_that_of_users_is_its_own() {
    let root = Root::new(program());
    for name in ["cgroup", "ipc", "mnt", "net", "pid", "uts"] {
        let path = format!("/proc/self/ns/{name}");
        let host = fs::read_link(&path).unwrap();
        assert_ne!(root.output(["readlink", &path]), [host.to_str().unwrap()]);
    }
}

/// The kernel's keys of root are the same in every namespace.
#[test]
fn the_hosts_keys_stay_there() {
    let root = Root::new(program());
    // add_key(2) and keyctl(2) "search" and "unlink" in the user keyring, by number.
    let script = |action: &str| {
        format!(
            "import ctypes; call = ctypes.CDLL(None, use_errno=True).syscall\n{action}\n\
             print(result, ctypes.get_errno())"
        )
    };
    let host = |action: &str| {
        let output = std::process::Command::new("python3")
            .args(["-c", &script(action)])
            .output();
        String::from_utf8(output.unwrap().stdout).unwrap()
    };
    let (add_key, keyctl) = (nix::libc::SYS_add_key, nix::libc::SYS_keyctl);
    let key = host(&format!(
        "result = call({add_key}, b'user', b'oic-test-key', b'secret', 6, -4)"
    ));
    let key = key.split(' ').next().unwrap();
    let search = format!("{keyctl}, 10, -4, {}, {}, 0", "b'user'", "b'oic-test-key'");
    assert!(host(&format!("result = call({search})")).starts_with(key));
    let perl = format!(
        "my ($type, $name) = ('user', 'oic-test-key'); my $r = syscall({keyctl}, 10, -4, $type, $name, 0); print \"$r \", $!+0"
    );
    let inside = root.output(["perl", "-e", &perl]);
    host(&format!("result = call({keyctl}, 9, {key}, -4)"));
    assert_eq!(inside, [format!("-1 {}", nix::libc::EPERM)]);
}

#[test]
fn abstract_sockets_of_the_host_are_out_of_reach() {
    use std::os::linux::net::SocketAddrExt as _;
    let root = Root::new(program());
    let name = format!("oic-escape-{}", std::process::id());
    let address = std::os::unix::net::SocketAddr::from_abstract_name(&name).unwrap();
    let _listener = std::os::unix::net::UnixListener::bind_addr(&address).unwrap();
    let perl = format!(
        "use Socket; socket(my $s, AF_UNIX, SOCK_STREAM, 0); connect($s, pack('S a*', AF_UNIX, \"\\0{name}\")); print $!+0"
    );
    assert_eq!(
        root.output(["perl", "-e", &perl]),
        [nix::libc::ECONNREFUSED.to_string()]
    );
}

/// The image says what PID 1 executes, and can say `/proc/self/exe` (CVE-2019-5736).
#[test]
fn the_image_cannot_change_the_program_that_runs_it() {
    let mut root = Root::new(program());
    // A copy, so that the attack has something that it may break.
    let helper = root.directory.path().with_extension("oic");
    fs::copy(&root.spec.helper, &helper).unwrap();
    root.spec.helper.clone_from(&helper);
    let source = root.path().join("attack.c");
    let attack = "#include <errno.h>\n#include <stdio.h>\n#include <sys/stat.h>\n\
         __attribute__((constructor)) static void attack(void) {\n\
         printf(\"attacked %d\\n\", chmod(\"/proc/self/exe\", 04777) ? errno : 0); fflush(stdout); }\n";
    fs::write(&source, attack).unwrap();
    root.compile(&source, "attack.so", &["-shared", "-fPIC"]);
    symlink("/proc/self/exe", root.path().join("program")).unwrap();
    let mut command = Command::new(["/program", "--version"]);
    command.env.push(("LD_PRELOAD".into(), "/attack.so".into()));
    let (_, lines) = root.run(&command);
    let mode = fs::metadata(&helper).unwrap().permissions().mode() & 0o7777;
    fs::remove_file(&helper).unwrap();
    assert_eq!(lines.first().unwrap(), &format!("attacked {}", nix::libc::EROFS));
    assert_ne!(mode, 0o4777);
}

/// What is inheritable would survive the bounding set.
#[test]
fn capabilities_of_the_caller_are_not_inherited() {
    let mut root = Root::new(program());
    let helper = root.path().join("helper");
    let script = format!(
        "#!/bin/sh\nexec setpriv --inh-caps=+sys_admin,+sys_rawio --ambient-caps=+sys_admin,+sys_rawio {} \"$@\"\n",
        root.spec.helper.display()
    );
    fs::write(&helper, script).unwrap();
    fs::set_permissions(&helper, fs::Permissions::from_mode(0o755)).unwrap();
    root.spec.helper = helper;
    let sets = root.output(["sh", "-c", "grep ^Cap /proc/self/status | cut -f2 | sort -u"]);
    // CHOWN, DAC_OVERRIDE, FOWNER, FSETID, KILL, SETGID, SETUID, SETPCAP, NET_BIND_SERVICE, SYS_CHROOT, MKNOD, SETFCAP.
    assert_eq!(sets, ["0000000000000000", "00000000880405fb"]);
}

#[test]
fn what_is_mounted_below_a_bind_is_not_visible() {
    let mut root = Root::new(program());
    root.spec.binds.push(Bind {
        source: "/dev".into(),
        target: "/host-dev".into(),
        read_only: true,
    });
    // The host's terminals lie below its /dev.
    assert!(
        fs::read_to_string("/proc/self/mountinfo")
            .unwrap()
            .contains(" /dev/pts ")
    );
    let places = root.output(["cut", "-d ", "-f5", "/proc/self/mountinfo"]);
    assert!(places.iter().any(|place| place == "/host-dev"));
    assert!(!places.iter().any(|place| place.starts_with("/host-dev/")));
}
