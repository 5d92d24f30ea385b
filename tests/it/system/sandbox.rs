//! The sandbox, through the real helper program, on a root directory that
//! borrows the host's `/usr` read-only.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use oic::cancel::Cancel;
use oic::sandbox::{Bind, Command, Ended, Output, Sandbox, SandboxError, SandboxFile, SandboxSpec};
use oic_testkit::soon;

struct Root {
    directory: tempfile::TempDir,
    spec: SandboxSpec,
}

impl Root {
    /// A root with nothing but links into the bound `/usr`.
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        for name in ["bin", "sbin", "lib", "lib64"] {
            symlink(format!("usr/{name}"), root.join(name)).unwrap();
        }
        let mut spec = SandboxSpec::new(root);
        spec.helper = PathBuf::from(env!("CARGO_BIN_EXE_oic"));
        spec.binds.push(Bind {
            source: "/usr".into(),
            target: "/usr".into(),
            read_only: true,
        });
        Self { directory, spec }
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn run(&self, command: &Command) -> (Result<Output, SandboxError>, Vec<String>) {
        let mut lines = Vec::new();
        let result =
            Sandbox::new(self.spec.clone()).run(command, &mut |line| lines.push(line.to_owned()), &Cancel::default());
        (result, lines)
    }

    /// The output of a shell script that must succeed.
    fn script(&self, script: &str) -> String {
        let (result, lines) = self.run(&Command::new(["sh", "-euc", script]));
        result.unwrap_or_else(|error| panic!("{error}"));
        lines.join("\n")
    }

    fn names(&self) -> Vec<OsString> {
        let mut names: Vec<_> = fs::read_dir(self.path())
            .unwrap()
            .map(|e| e.unwrap().file_name())
            .collect();
        names.sort();
        names
    }
}

#[test]
fn the_command_sees_only_its_own_world() {
    let mut root = Root::new();
    root.spec.hostname = "image".into();
    let before = root.names();
    // PID 1 is the sandbox's own; its thread that starts the command has the second number.
    assert_eq!(root.script("hostname; echo $$; umask; pwd"), "image\n3\n0022\n/");
    assert_eq!(
        root.script("env | sort"),
        "HOME=/root\nLC_ALL=C.UTF-8\nPATH=/run/oic-bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\nPWD=/\nSYSTEMD_OFFLINE=1\nTERM=dumb"
    );
    assert_eq!(
        root.script("ls / /sys /tmp /run"),
        "/:\nbin\ndev\nlib\nlib64\nproc\nrun\nsbin\nsys\ntmp\nusr\n\n/run:\nlock\noic-bin\n\n/sys:\n\n/tmp:"
    );
    // Processes, interfaces and mounts of the host are not there.
    assert_eq!(
        root.script("set -- /proc/[0-9]*; echo $#; cut -d: -f1 -s /proc/net/dev | tr -d ' '"),
        "2\nlo"
    );
    assert!(!root.script("cut -d' ' -f5 /proc/self/mountinfo").contains("/work"));
    assert_eq!(root.names(), before, "no mount point may stay behind");
}

/// Two kernels, headers of a third, and what uname(1) says of them, compared with GNU's own program.
#[test]
fn the_kernel_is_that_of_the_image() {
    let mut root = Root::new();
    root.spec.own_release = true;
    root.spec.hostname = "image".into();
    let modules = root.path().join("lib/modules");
    assert_eq!(
        root.script("uname -r; cat /proc/sys/kernel/osrelease"),
        "6.12.0\n6.12.0"
    );
    fs::remove_file(root.path().join("lib")).unwrap();
    fs::create_dir(root.path().join("lib")).unwrap();
    for name in fs::read_dir("/usr/lib")
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
    {
        symlink(Path::new("/usr/lib").join(&name), root.path().join("lib").join(&name)).unwrap();
    }
    for (name, list) in [
        ("6.9.1", "modules.builtin"),
        ("6.10.0-rc1", "modules.builtin"),
        ("7.0", "build"),
    ] {
        fs::create_dir_all(modules.join(name)).unwrap();
        fs::write(modules.join(name).join(list), "").unwrap();
    }
    let machine = std::env::consts::ARCH;
    for (options, expected) in [
        ("", "Linux".to_owned()),
        ("-s", "Linux".to_owned()),
        ("-o", "GNU/Linux".to_owned()),
        ("-m", machine.to_owned()),
        ("-p -i", "unknown unknown".to_owned()),
        ("-n", "image".to_owned()),
        ("-rs", "Linux 6.10.0-rc1".to_owned()),
        ("--machine --nodename", format!("image {machine}")),
        ("--all", format!("Linux image 6.10.0-rc1 #1 SMP {machine} GNU/Linux")),
    ] {
        assert_eq!(root.script(&format!("uname {options}")), expected, "{options}");
        if !expected.contains("image") && !expected.contains("rc1") {
            let mut host = std::process::Command::new("uname");
            let output = host.args(options.split_whitespace()).output().unwrap();
            assert_eq!(
                String::from_utf8(output.stdout).unwrap().trim_end(),
                expected,
                "{options}"
            );
        }
    }
    assert_eq!(
        root.script("cat /proc/sys/kernel/osrelease; cut -d' ' -f3 /proc/version"),
        "6.10.0-rc1\n6.10.0-rc1"
    );
    assert_eq!(root.script("uname --frobnicate 2>/dev/null || echo $?"), "1");
}

/// What the build host is like does not decide on what is in an image.
#[test]
fn the_machine_is_no_machine_in_particular() {
    let script = "grep -o 'GenuineIntel\\|AuthenticAMD' /proc/cpuinfo; wc -w < /proc/cmdline; grep -c . /proc/swaps
        cat /proc/modules 2>/dev/null || true; test ! -s /proc/config.gz && echo none; (echo x > /proc/cpuinfo) 2>/dev/null || echo fixed";
    assert_eq!(
        Root::new().script(script),
        "GenuineIntel\nAuthenticAMD\n0\n1\nnone\nfixed"
    );
}

#[test]
fn output_and_errors_keep_their_order() {
    let script = "for i in $(seq 200); do echo out$i; echo err$i >&2; done";
    let (result, lines) = Root::new().run(&Command::new(["sh", "-c", script]));
    result.unwrap_or_else(|error| panic!("{error}"));
    let expected: Vec<_> = (1..=200).flat_map(|i| [format!("out{i}"), format!("err{i}")]).collect();
    assert_eq!(lines, expected);
}

/// What a program that makes another directory its root sees there.
#[test]
fn a_second_root_has_the_same_system_directories() {
    let mut root = Root::new();
    for name in ["usr", "dev", "proc", "run", "sys", "tmp"] {
        fs::create_dir_all(root.path().join("second").join(name)).unwrap();
    }
    for name in ["bin", "lib", "lib64"] {
        symlink(format!("usr/{name}"), root.path().join("second").join(name)).unwrap();
    }
    root.spec.binds.push(Bind {
        source: "/usr".into(),
        target: "/second/usr".into(),
        read_only: true,
    });
    root.spec.chroot = Some("/second".into());
    let script = "echo same > /tmp/file; chmod 755 /sys; chroot /second sh -c 'cat /tmp/file; echo gone > /dev/null
        test -e /proc/self && stat -c %a /sys; ls -A /sys; touch /sys/x 2> /dev/null || echo full'";
    assert_eq!(root.script(script), "same\n755\nfull");
    let left: Vec<_> = fs::read_dir(root.path().join("second/tmp")).unwrap().collect();
    assert!(left.is_empty());
}

#[test]
fn devices_work() {
    let root = Root::new();
    let script = "echo gone >/dev/null; head -c4 /dev/zero | od -An -tx1; head -c9 /dev/urandom | wc -c
        echo fd >/dev/stdout; (echo x >/dev/full) 2>/dev/null || echo full; stat -c %a /dev/null /dev/shm /run/lock /tmp
        test -c /dev/ptmx && test -d /dev/fd && mknod /tmp/device c 1 3 && echo made";
    assert_eq!(
        root.script(script),
        " 00 00 00 00\n9\nfd\nfull\n666\n1777\n1777\n1777\nmade"
    );
}

#[test]
fn the_host_cannot_be_changed() {
    let root = Root::new();
    let script = "for f in /proc/sys/kernel/hostname /proc/sysrq-trigger /usr/oic-test /sys/x
        do (echo b >$f) 2>/dev/null && echo \"wrote $f\"; done; mount -t tmpfs none /tmp 2>/dev/null && echo mounted; true";
    assert_eq!(root.script(script), "");
}

#[test]
fn input_environment_and_directory_reach_the_command() {
    let root = Root::new();
    let mut command = Command::new(["sh", "-c", "cat; echo; echo $WORD; pwd"]).with_stdin("secret");
    command.env.push(("WORD".into(), "a $(b) 'c'".into()));
    command.cwd = "/usr/bin".into();
    let (result, lines) = root.run(&command);
    result.unwrap();
    assert_eq!(lines, ["secret", "a $(b) 'c'", "/usr/bin"]);
    assert!(!format!("{command:?}").contains("secret"));
}

#[test]
fn arguments_are_passed_as_they_are() {
    let root = Root::new();
    let argument = "$HOME `id` \"q\" \\n *\nline";
    let (result, lines) = root.run(&Command::new(["printf", "%s", argument]));
    result.unwrap();
    assert_eq!(lines.join("\n"), argument);
}

#[test]
fn a_failure_names_command_status_and_output() {
    let root = Root::new();
    let (result, lines) = root.run(&Command::new(["sh", "-c", "seq 30; echo broken >&2; exit 7"]));
    assert_eq!(lines.len(), 31);
    let error = result.unwrap_err();
    let SandboxError::Failed { ended, tail, .. } = &error else {
        panic!("{error:?}")
    };
    assert_eq!(*ended, Ended::Status(7));
    assert_eq!(tail.len(), 20);
    let message = error.to_string();
    assert!(message.contains("`sh -c seq 30") && message.contains("exit status 7") && message.contains("broken"));

    let (result, _) = root.run(&Command::new(["sh", "-c", "kill -SEGV $$"]));
    assert!(result.unwrap_err().to_string().contains("ended with signal SIGSEGV"));

    let (result, _) = root.run(&Command::new(["no-such-program", "x"]));
    let error = result.unwrap_err();
    assert!(matches!(error, SandboxError::NotFound { .. }), "{error:?}");
    assert!(error.hint().unwrap().contains("no-such-program"));
}

#[test]
fn what_the_command_left_running_ends_with_it() {
    let root = Root::new();
    let started = Instant::now();
    // An orphan that ignores everything but SIGKILL and holds the output open.
    root.script("setsid sh -c 'trap \"\" TERM HUP INT; sleep 1000' & sleep 0.1");
    assert!(started.elapsed() < Duration::from_secs(100), "{:?}", started.elapsed());
}

#[test]
fn cancelling_kills_everything_at_once() {
    let root = Root::new();
    let cancel = Cancel::default();
    let mut seen = None;
    let script = "setsid sleep 1003 & trap '' TERM; echo ready; exec >&- 2>&-; while :; do sleep 1; done";
    let result = Sandbox::new(root.spec.clone()).run(
        &Command::new(["sh", "-c", script]),
        &mut |line| {
            assert_eq!(line, "ready");
            seen = Some(Instant::now());
            cancel.cancel();
        },
        &cancel,
    );
    assert!(matches!(result, Err(SandboxError::Cancelled(_))));
    assert!(
        seen.unwrap().elapsed() < Duration::from_secs(100),
        "it waited for the command"
    );
    assert_eq!(find_process("sleep\u{0}1003"), None);
}

#[test]
fn the_sandbox_dies_with_its_caller() {
    let mut root = Root::new();
    // A name of its own tells this sandbox's outer child from those of other tests.
    let helper = root.path().join("helper");
    symlink(&root.spec.helper, &helper).unwrap();
    root.spec.helper.clone_from(&helper);
    let marker = root.path().join("started");
    // The outer child is killed as the kernel would kill it if oic died.
    let killer = std::thread::spawn(move || {
        assert!(soon(|| marker.exists()), "the command did not start");
        let pid = find_process(helper.to_str().unwrap()).unwrap();
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL).unwrap();
    });
    let (result, _) = root.run(&Command::new(["sh", "-c", "touch /started; exec sleep 1007"]));
    killer.join().unwrap();
    assert!(result.unwrap_err().to_string().contains("was it killed?"));
    assert!(
        soon(|| find_process("sleep\u{0}1007").is_none()),
        "the command outlived its sandbox"
    );
}

/// A process whose command line starts like this.
fn find_process(command: &str) -> Option<i32> {
    fs::read_dir("/proc").unwrap().flatten().find_map(|entry| {
        let line = fs::read(entry.path().join("cmdline")).ok()?;
        let pid = entry.file_name().to_str()?.parse().ok()?;
        line.starts_with(command.as_bytes()).then_some(pid)
    })
}

#[test]
fn binds_and_files_leave_no_residue() {
    let mut root = Root::new();
    fs::create_dir(root.path().join("etc")).unwrap();
    symlink("../run/resolve/stub.conf", root.path().join("etc/link.conf")).unwrap();
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("package"), "bytes").unwrap();
    for (target, read_only) in [("/cdrom/cache-repo", true), ("/run/writable", false)] {
        root.spec.binds.push(Bind {
            source: outside.path().into(),
            target: target.into(),
            read_only,
        });
    }
    for (target, mode) in [
        ("/etc/policy", 0o755),
        ("/etc/link.conf", 0o644),
        ("/run/oic/list", 0o600),
    ] {
        root.spec.files.push(SandboxFile {
            target: target.into(),
            mode,
            contents: b"#!/bin/sh\necho policy\n".to_vec(),
        });
    }
    let modified = fs::metadata(root.path().join("etc")).unwrap().modified().unwrap();
    let before = root.names();
    let script =
        "/etc/policy; cat /etc/link.conf | wc -l; stat -c %a /etc/policy /run/oic/list; cat /cdrom/cache-repo/package
        echo; echo new >/run/writable/new; touch /cdrom/cache-repo/x 2>/dev/null || echo read-only";
    assert_eq!(root.script(script), "policy\n2\n755\n600\nbytes\nread-only");
    assert_eq!(fs::read_to_string(outside.path().join("new")).unwrap(), "new\n");
    assert_eq!(root.names(), before);
    assert_eq!(fs::read_dir(root.path().join("etc")).unwrap().count(), 1);
    assert_eq!(
        fs::metadata(root.path().join("etc")).unwrap().modified().unwrap(),
        modified
    );
}

#[test]
fn mount_points_of_the_image_stay_as_they_are() {
    let root = Root::new();
    for name in ["dev", "dev/pts", "proc", "tmp"] {
        fs::create_dir(root.path().join(name)).unwrap();
    }
    fs::set_permissions(root.path().join("tmp"), fs::Permissions::from_mode(0o1777)).unwrap();
    fs::write(root.path().join("dev/kept"), "").unwrap();
    root.script("test ! -e /dev/kept; touch /tmp/gone /made");
    assert!(root.path().join("dev/pts").is_dir() && root.path().join("dev/kept").exists());
    assert!(root.path().join("made").exists() && !root.path().join("tmp/gone").exists());
}

#[test]
fn a_link_in_the_image_does_not_lead_to_the_host() {
    let root = Root::new();
    let outside = tempfile::tempdir().unwrap();
    symlink(outside.path(), root.path().join("tmp")).unwrap();
    let (result, _) = root.run(&Command::new(["touch", "/tmp/x"]));
    // The link is dead inside the image. Mounting on it fails, or makes its target inside; nothing else may be wrong.
    if let Err(error) = result {
        let SandboxError::Setup { reason, .. } = &error else {
            panic!("{error:?}")
        };
        assert!(reason.contains("cannot mount tmpfs on /tmp: "), "{error}");
    }
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
}

#[test]
fn an_unusable_root_is_named() {
    let mut root = Root::new();
    root.spec.root = "/no/such/root".into();
    let (result, _) = root.run(&Command::new(["true"]));
    assert!(result.unwrap_err().to_string().contains("/no/such/root"));
    root.spec.root = "/".into();
    assert!(
        root.run(&Command::new(["true"]))
            .0
            .unwrap_err()
            .to_string()
            .contains("host's own")
    );
    root.spec.helper = "/no/such/helper".into();
    assert!(matches!(
        root.run(&Command::new(["true"])).0,
        Err(SandboxError::Start { .. })
    ));
}

#[test]
fn an_inherited_descriptor_does_not_leak() {
    let root = Root::new();
    // Not close-on-exec: as from a careless shell above oic.
    let file = fs::File::open("/etc/hostname").unwrap();
    nix::fcntl::fcntl(&file, nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::empty())).unwrap();
    assert_eq!(
        root.script("for fd in /proc/self/fd/*; do readlink $fd; done | grep -c hostname || true"),
        "0"
    );
}

#[test]
fn a_status_descriptor_is_inherited_only_on_request() {
    let root = Root::new();
    let command = Command::new(["sh", "-c", "echo out; echo status >&3"]);
    let (result, lines) = root.run(&command.clone().with_status());
    result.unwrap();
    assert_eq!(lines.get(..2).unwrap(), ["out", "status"]);
    let message = root.run(&command).0.unwrap_err().to_string();
    assert!(message.contains("Bad file descriptor"), "{message}");
}

#[test]
fn the_hosts_network_is_there_only_on_request() {
    let mut root = Root::new();
    fs::create_dir(root.path().join("etc")).unwrap();
    let interfaces = "cut -d: -f1 -s /proc/net/dev | tr -d ' ' | sort; cat /etc/resolv.conf 2>/dev/null || true";
    assert_eq!(root.script(interfaces), "lo");
    root.spec.network = true;
    let host = std::process::Command::new("sh")
        .args(["-c", interfaces])
        .output()
        .unwrap();
    assert_eq!(
        root.script(interfaces),
        String::from_utf8(host.stdout).unwrap().trim_end()
    );
    assert_eq!(fs::read_dir(root.path().join("etc")).unwrap().count(), 0);
}

#[test]
fn without_root_the_reason_is_told() {
    let mut root = Root::new();
    let helper = root.path().join("helper");
    let oic = root.path().join("oic");
    fs::copy(&root.spec.helper, &oic).unwrap();
    fs::set_permissions(root.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let script = format!(
        "#!/bin/sh\nexec setpriv --reuid=65534 --regid=65534 --clear-groups {} \"$@\"\n",
        oic.display()
    );
    fs::write(&helper, script).unwrap();
    fs::set_permissions(&helper, fs::Permissions::from_mode(0o755)).unwrap();
    root.spec.helper = helper;
    // More than a socket takes: the job is cut off, and the reason still arrives.
    let (result, _) = root.run(&Command::new(["true"]).with_stdin(vec![b'x'; 4 << 20]));
    let error = result.unwrap_err();
    assert!(error.to_string().contains("Operation not permitted"), "{error}");
    assert!(error.hint().unwrap().contains("root"));
}

#[test]
fn another_architecture_is_explained() {
    let root = Root::new();
    // The ELF header of a machine that does not exist (e_machine 0xfffe).
    let mut program = fs::read("/bin/true").unwrap();
    program[18..20].copy_from_slice(&[0xfe, 0xff]);
    fs::write(root.path().join("foreign"), program).unwrap();
    fs::set_permissions(root.path().join("foreign"), fs::Permissions::from_mode(0o755)).unwrap();
    let error = root.run(&Command::new(["/foreign"])).0.unwrap_err();
    assert!(error.hint().unwrap().contains("qemu-user"), "{error}");
}
