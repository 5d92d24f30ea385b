//! An installed system becomes the template's image.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use crate::support::{debian, image, tree};
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use image::Image;
use oic::cancel::Cancel;
use oic::configure::{AptSource, ConfigureError, ConfigureReport, ConfigureRequest, FstabEntry, Part, configure};
use oic::fetch::Proxies;
use oic::model::{
    AdditionalFile, Configuration, Container, Disk, FileSource, HashMethod, ImageInfo, ImageType, MachineId, Password,
    SystemConfig, Target, Template, User,
};
use oic::package::{Arch, Sha256};
use oic::progress::{Progress, TaskId, Unit};
use oic::repo::deb::Deb;
use oic::root::Root;
use oic::system::System as _;
use oic::work::Work;

#[derive(Debug, Default)]
struct Notes(Mutex<Vec<String>>);

impl Progress for Notes {
    fn start(&self, _: &str, _: Unit, _: Option<u64>) -> TaskId {
        TaskId(0)
    }
    fn advance(&self, _: TaskId, _: u64) {}
    fn finish(&self, _: TaskId) {}
    fn note(&self, line: &str) {
        self.0.lock().unwrap().push(line.to_owned());
    }
}

fn template() -> Template {
    Template {
        image: ImageInfo {
            name: "edge".into(),
            version: "1.2".into(),
        },
        target: Target {
            os: "debian".into(),
            dist: "debian13".into(),
            arch: Arch::X86_64,
            image_type: ImageType::Raw,
        },
        disk: Disk::default(),
        container: Container::default(),
        system: SystemConfig {
            name: "minimal".into(),
            hostname: Some("edge-node".into()),
            ..SystemConfig::default()
        },
        repositories: Vec::new(),
        stated: Vec::new(),
    }
}

fn user(name: &str, password: Password) -> User {
    User {
        name: name.into(),
        password,
        ..User::default()
    }
}

fn run(root: &Path, template: &Template) -> (Result<ConfigureReport, ConfigureError>, Vec<String>) {
    let (env, policy) = (Deb.environment(debian::EPOCH), Deb.policy());
    let proxies = Proxies {
        http: Some("http://proxy".into()),
        ..Proxies::default()
    };
    let request = ConfigureRequest {
        env: &env,
        policy: policy.as_ref(),
        initrd: None,
        root,
        template,
        fstab: &[
            FstabEntry {
                source: "PARTUUID=0a".into(),
                mount_point: "/".into(),
                fs_type: "ext4".into(),
                options: String::new(),
                pass: 1,
            },
            FstabEntry {
                source: "PARTUUID=0b".into(),
                mount_point: "/boot/efi".into(),
                fs_type: "vfat".into(),
                options: "umask=0077".into(),
                pass: 2,
            },
        ],
        sources: &vec![AptSource {
            own: true,
            uri: "https://deb.example.org/debian".into(),
            suites: vec!["trixie".into(), "trixie-updates".into()],
            components: vec!["main".into()],
            signed_by: Some("/usr/share/keyrings/debian-archive-keyring.gpg".into()),
            ..AptSource::default()
        }],
        epoch: debian::EPOCH,
        seed: Sha256::of("seed"),
        network: Some(&proxies),
        package_cache: Path::new(""),
        helper: Path::new(env!("CARGO_BIN_EXE_oic")),
    };
    let notes = Notes::default();
    let run = |part| {
        let cancel = Cancel::default();
        let work = Work {
            progress: &notes,
            ..Work::quiet(&cancel)
        };
        configure(&request, part, work)
    };
    let result = run(Part::Accounts).and_then(|accounts| {
        let settings = run(Part::Settings)?;
        Ok(ConfigureReport {
            users: accounts.users,
            ..settings
        })
    });
    let mut notes = notes.0.into_inner().unwrap();
    // openssh-server brings keys, which each run removes and names.
    notes.retain(|note| !note.contains("systemConfig.allowSecrets"));
    (result, notes)
}

/// A template that uses every field, with the host's files in `directory`.
fn full(directory: &Path) -> Template {
    let script = directory.join("start.sh");
    fs::write(&script, "#!/bin/sh\n").unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o750)).unwrap();
    let mut template = template();
    let mut admin = user(
        "admin",
        Password::Plain {
            text: "s3cret pw".into(),
            method: HashMethod::Sha512,
        },
    );
    admin.sudo = true;
    admin.groups = vec!["operators".into(), "adm".into()];
    admin.password_max_age_days = Some(90);
    let mut kiosk = user("kiosk", Password::Locked);
    kiosk.home = Some("/srv/kiosk".into());
    kiosk.startup_script = Some("/opt/kiosk/start.sh".into());
    let mut modern = user(
        "modern",
        Password::Plain {
            text: "other".into(),
            method: HashMethod::Yescrypt,
        },
    );
    modern.shell = Some("/bin/dash".into());
    template.system.users = vec![
        admin,
        kiosk,
        modern,
        user("root", Password::Hashed("$6$abc$def".into())),
    ];
    template.system.additional_files.push(AdditionalFile {
        source: FileSource::Host(script),
        destination: "/opt/kiosk/start.sh".into(),
        owner: None,
        mode: None,
    });
    template.system.commands = vec![
        "echo \"$(hostname) `id -u`\"; echo 'a  b' \\n > /root/out".into(),
        "cd /etc && cat hostname >&2\nfalse || echo second".into(),
    ];
    template
}

const SYSTEM: [&str; 6] = [
    "systemd-sysv",
    "udev",
    "dbus",
    "systemd-resolved",
    "openssh-server",
    "sudo",
];

#[test]
fn the_image_is_what_the_template_says() {
    let (base, _) = debian::oracle();
    let installed = Image::over(&base);
    let downloaded = debian::download(&base, &SYSTEM);
    let files: Vec<_> = downloaded.iter().map(|(_, file)| file.clone()).collect();
    let (pool, packages) = image::pool(downloaded);
    let requested: Vec<_> = SYSTEM.to_vec();
    image::install_packages(&installed, &pool, &packages, &requested).unwrap_or_else(|error| panic!("{error}"));
    units_are_those_of_a_chroot(&base, &files, &installed);
    // As the step with the packages does at its end.
    let drawn = oic::secrets::reset(&Root::open(&installed.root()).unwrap()).unwrap();
    assert_eq!(drawn.len(), 6, "three host keys of SSH: {drawn:?}");
    everything_is_set(&installed);
    files_belong_to_their_users(&installed);
    commands_need_no_service_manager(&installed);
    homes_of_existing_users_are_there(&installed);
    the_first_boot_is_one_if_asked_for(&installed);
    the_result_is_the_same_again(&installed);
    errors_name_the_culprit(&installed);
}

/// The units that are enabled are those that the packages enable in a chroot.
fn units_are_those_of_a_chroot(base: &Path, files: &[PathBuf], installed: &Image) {
    let chroot = Image::over(base);
    let packages = chroot.root().join("packages");
    fs::create_dir(&packages).unwrap();
    let mut names = Vec::new();
    for file in files {
        let name = file.file_name().unwrap();
        fs::copy(file, packages.join(name)).unwrap();
        names.push(Path::new("/packages").join(name));
    }
    debian::run(
        Command::new("mount")
            .args(["-t", "proc", "proc"])
            .arg(chroot.root().join("proc")),
        "mount",
    );
    let mut dpkg = Command::new("chroot");
    dpkg.arg(chroot.root())
        .args(["dpkg", "--force-depends", "--force-unsafe-io", "--install"]);
    debian::run(dpkg.args(names).env("DEBIAN_FRONTEND", "noninteractive"), "dpkg");
    let enabled = |root: &Path| -> Vec<PathBuf> {
        let units = root.join("etc/systemd/system");
        let paths = tree::scan(&units).into_keys();
        paths.filter(|path| units.join(path).is_symlink()).collect()
    };
    let expected = enabled(&chroot.root());
    assert!(expected.len() > 10, "{expected:?}");
    assert_eq!(enabled(&installed.root()), expected);
}

fn everything_is_set(installed: &Image) {
    let (image, directory) = (Image::over(&installed.root()), tempfile::tempdir().unwrap());
    let (result, notes) = run(&image.root(), &full(directory.path()));
    let report = result.unwrap_or_else(|error| panic!("{error}"));
    println!("{report:?}");
    assert_eq!((report.users, report.files, report.commands), (4, 1, 2));
    assert_eq!(notes, ["edge-node 0", "edge-node", "second"]);

    let read =
        |path: &str| fs::read_to_string(image.root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
    let chroot =
        |arguments: &[&str]| debian::run(Command::new("chroot").arg(image.root()).args(arguments), "coreutils");
    assert_eq!(read("etc/hostname"), "edge-node\n");
    assert!(read("etc/hosts").contains("127.0.1.1\tedge-node\n"));
    assert!(
        read("etc/fstab").ends_with("PARTUUID=0a / ext4 defaults 0 1\nPARTUUID=0b /boot/efi vfat umask=0077 0 2\n")
    );
    assert!(image.root().join("boot/efi").is_dir());
    assert_eq!(read("root/out"), "a  b n\n");
    assert_eq!(
        read("etc/apt/sources.list.d/debian.sources"),
        "Types: deb\nURIs: https://deb.example.org/debian\nSuites: trixie trixie-updates\nComponents: main\n\
         Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg\n"
    );
    assert!(
        read("etc/image-id").starts_with("IMAGE_ID=\"edge\"\nIMAGE_VERSION=\"1.2\"\nIMAGE_BUILD_DATE=20251009085320\n")
    );
    users_are_right(&image);
    machine_state_is_gone(&image);
    assert_eq!(
        chroot(&["systemctl", "is-enabled", "systemd-networkd", "ssh-host-keys"]),
        "enabled\nenabled\n"
    );
    assert_eq!(
        fs::read_link(image.root().join("etc/resolv.conf")).unwrap(),
        Path::new("../run/systemd/resolve/stub-resolv.conf")
    );
    assert_eq!(chroot(&["dpkg", "--audit"]), "");
}

/// A file of the template with `mode`.
fn file(directory: &Path, destination: &str, mode: u32, owner: Option<&str>) -> AdditionalFile {
    let local = directory.join(destination.replace('/', "-"));
    fs::write(&local, "disable ssh.service\n").unwrap();
    fs::set_permissions(&local, fs::Permissions::from_mode(mode)).unwrap();
    AdditionalFile {
        source: FileSource::Host(local),
        destination: destination.into(),
        owner: owner.map(str::to_owned),
        mode: Some(mode),
    }
}

fn files_belong_to_their_users(installed: &Image) {
    let (image, directory) = (Image::over(&installed.root()), tempfile::tempdir().unwrap());
    let mut template = full(directory.path());
    let table = [
        ("/home/admin/.ssh/authorized_keys", None, "admin:admin"),
        ("/home/admin/bin/tool", None, "admin:admin"),
        ("/home/admin/mine", Some("root"), "root:root"),
        ("/home/admin/shared", Some("admin:adm"), "admin:adm"),
        ("/home/other/file", None, "root:root"),
        ("/srv/kiosk/page", None, "kiosk:kiosk"),
        ("/srv/kiosk-too", None, "root:root"),
        ("/opt/tool", Some("0:4"), "root:adm"),
        ("/root/.bashrc", None, "root:root"),
        ("/etc/motd", None, "root:root"),
    ];
    for (place, owner, _) in table {
        let file = file(directory.path(), place, 0o600, owner);
        template.system.additional_files.push(file);
    }
    let (result, notes) = run(&image.root(), &template);
    result.unwrap_or_else(|error| panic!("{error}"));
    assert!(
        notes
            .iter()
            .any(|note| note.starts_with("/home/other/file belongs to root")),
        "{notes:?}"
    );
    let owner = |path: &str| {
        let mut stat = Command::new("chroot");
        stat.arg(image.root()).args(["stat", "--format=%U:%G", path]);
        debian::run(&mut stat, "coreutils").trim_end().to_owned()
    };
    for (place, _, expected) in table {
        assert_eq!(owner(place), expected, "{place}");
    }
    for place in ["/home/admin/.ssh", "/home/admin/bin"] {
        assert_eq!(owner(place), "admin:admin", "{place}");
    }
    let mode = |path: &str| fs::metadata(image.root().join(path)).unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode("home/admin/.ssh"), mode("home/admin/bin")), (0o700, 0o755));

    template.system.additional_files = vec![file(directory.path(), "/x", 0o644, Some("nobody-here"))];
    let error = run(&image.root(), &template).0.unwrap_err().to_string();
    assert!(error.contains("the image has no user nobody-here"), "{error}");
}

fn commands_need_no_service_manager(installed: &Image) {
    let (image, directory) = (Image::over(&installed.root()), tempfile::tempdir().unwrap());
    let mut template = template();
    for place in [
        "/tmp/mine",
        "/var/tmp/mine",
        "/etc/systemd/system-preset/10-mine.preset",
    ] {
        template
            .system
            .additional_files
            .push(file(directory.path(), place, 0o644, None));
    }
    template.system.commands = [
        "mkdir /tmp/w && echo a > /tmp/w/f",
        "test \"$(cat /tmp/w/f)\" = a && echo b > /var/tmp/f",
        "cat /tmp/mine /var/tmp/mine /var/tmp/f",
        "! systemctl is-enabled ssh.service",
        "systemctl daemon-reload",
        "systemctl start ssh && systemctl restart ssh && systemctl reload ssh && systemctl stop ssh",
        "systemctl enable --now ssh.service",
        "systemctl is-enabled ssh.service",
        "systemctl disable --now ssh.service && systemctl mask --now ssh.service && systemctl unmask ssh.service",
        "test \"$(systemctl is-system-running)\" = offline",
        "udevadm control --reload && udevadm trigger && udevadm settle && udevadm --version",
    ]
    .map(Configuration::from)
    .to_vec();
    template.system.commands.extend([
        Configuration {
            env: vec![("GREETING".into(), "it's $HOME".into())],
            ..Configuration::from("echo \"$GREETING\" ${http_proxy-none} $(wc -l </proc/net/dev)")
        },
        Configuration {
            network: true,
            ..Configuration::from(
                "echo $http_proxy; test $(wc -l </proc/net/dev) -gt 3 && cat /etc/resolv.conf >/dev/null",
            )
        },
    ]);
    let (result, notes) = run(&image.root(), &template);
    result.unwrap_or_else(|error| panic!("{error}"));
    let told = notes.join("\n");
    assert!(told.contains("ignoring command 'daemon-reload'"), "{told}");
    // Two lines of titles, and the loopback interface.
    assert!(told.contains("it's $HOME none 3\nhttp://proxy"), "{told}");
    let names = |path: &str| -> Vec<_> {
        let entries = fs::read_dir(image.root().join(path)).unwrap();
        entries.map(|entry| entry.unwrap().file_name()).collect()
    };
    assert_eq!(
        (names("tmp"), names("var/tmp")),
        (vec!["mine".into()], vec!["mine".into()])
    );
}

fn users_are_right(image: &Image) {
    let chroot =
        |arguments: &[&str]| debian::run(Command::new("chroot").arg(image.root()).args(arguments), "coreutils");
    let shadow = |name: &str| {
        chroot(&["getent", "shadow", name])
            .trim_end()
            .split(':')
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let verify = |name: &str, password: &str| {
        let script = "exit(crypt($ARGV[0], $ARGV[1]) eq $ARGV[1] ? 0 : 1)";
        Command::new("perl")
            .args(["-e", script, password, &shadow(name)[1]])
            .status()
            .unwrap()
            .success()
    };
    assert!(verify("admin", "s3cret pw") && !verify("admin", "x"));
    assert!(verify("modern", "other"));
    assert_eq!(
        (shadow("admin")[2].as_str(), shadow("admin")[4].as_str()),
        ("20370", "90")
    );
    assert!(shadow("kiosk")[1].starts_with('!'));
    assert_eq!(shadow("root")[1], "$6$abc$def");
    for group in ["sudo", "operators", "adm"] {
        assert!(
            chroot(&["id", "-nG", "admin"])
                .split_whitespace()
                .any(|name| name == group)
        );
    }
    let fields = |name: &str| {
        chroot(&["getent", "passwd", name])
            .trim_end()
            .rsplitn(3, ':')
            .take(2)
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!(fields("admin"), ["/bin/bash", "/home/admin"]);
    assert_eq!(fields("kiosk"), ["/opt/kiosk/start.sh", "/srv/kiosk"]);
    assert_eq!(fields("modern")[0], "/bin/dash");
    assert!(image.root().join("home/admin/.bashrc").exists());
    let script = fs::metadata(image.root().join("opt/kiosk/start.sh")).unwrap();
    assert_eq!(
        script.permissions().mode() & 0o7777,
        0o755,
        "the right to execute counts, not the umask"
    );
    assert_eq!(
        fs::metadata(image.root().join("opt/kiosk"))
            .unwrap()
            .permissions()
            .mode()
            & 0o7777,
        0o755
    );
}

/// The root user's own home moves; the directory of the system that an account names for its home does not.
fn homes_of_existing_users_are_there(installed: &Image) {
    let image = Image::over(&installed.root());
    let mut template = template();
    let with_home = |name: &str, home: &str| User {
        home: Some(home.into()),
        ..user(name, Password::Locked)
    };
    template.system.users = vec![
        with_home("root", "/srv/admin/root"),
        with_home("games", "/srv/games"),
        with_home("backup", "/var/backups"),
    ];
    let (result, notes) = run(&image.root(), &template);
    result.unwrap_or_else(|error| panic!("{error}"));
    let expected = [
        "user root: the home directory /root moved to /srv/admin/root",
        "user games: made the home directory /srv/games",
    ];
    assert_eq!(notes, expected);
    let root = image.root();
    assert!(root.join("srv/admin/root/.bashrc").exists() && !root.join("root").exists());
    let found = fs::metadata(root.join("srv/games")).unwrap();
    assert_eq!((found.mode() & 0o7777, found.uid(), found.gid()), (0o700, 5, 60));
    assert!(root.join("srv/games/.profile").exists());
    let passwd = fs::read_to_string(root.join("etc/passwd")).unwrap();
    for home in [":/srv/admin/root:", ":/srv/games:", ":/var/backups:"] {
        assert!(passwd.contains(home), "{passwd}");
    }
}

fn the_first_boot_is_one_if_asked_for(installed: &Image) {
    let id = "0123456789abcdef0123456789abcdef";
    for (wanted, expected) in [
        (MachineId::Empty, ""),
        (MachineId::Uninitialized, "uninitialized\n"),
        (MachineId::of(id), "0123456789abcdef0123456789abcdef\n"),
    ] {
        let image = Image::over(&installed.root());
        let mut template = template();
        template.system.machine_id = wanted;
        template.system.commands = vec!["cat /etc/machine-id; rm /etc/machine-id".into()];
        let (result, notes) = run(&image.root(), &template);
        result.unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(notes, ["6f69632d6275696c642d6d616368696e"], "the same in each build");
        assert_eq!(
            fs::read_to_string(image.root().join("etc/machine-id")).unwrap(),
            expected
        );
    }
}

fn machine_state_is_gone(image: &Image) {
    let root = image.root();
    assert_eq!(fs::read(root.join("etc/machine-id")).unwrap(), b"");
    for gone in [
        "etc/shadow-",
        "etc/.pwd.lock",
        "var/lib/systemd/random-seed",
        "var/log/dpkg.log",
        "var/lib/dpkg/status-old",
        "var/lib/dbus/machine-id",
        "usr/sbin/policy-rc.d",
    ] {
        assert!(fs::symlink_metadata(root.join(gone)).is_err(), "{gone}");
    }
    let keys: Vec<PathBuf> = fs::read_dir(root.join("etc/ssh"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    assert!(
        !keys.iter().any(|path| path.to_string_lossy().contains("ssh_host")),
        "{keys:?}"
    );
    assert_eq!(fs::read_dir(root.join("var/lib/apt/lists")).unwrap().count(), 0);
}

/// Two images of one template differ in nothing but what yescrypt draws.
fn the_result_is_the_same_again(installed: &Image) {
    let directory = tempfile::tempdir().unwrap();
    let mut template = full(directory.path());
    template.system.users.retain(|user| user.name != "modern");
    let [first, second] = [(), ()].map(|()| {
        let image = Image::over(&installed.root());
        run(&image.root(), &template).0.unwrap();
        tree::scan(&image.upper())
    });
    assert!(first.len() > 20);
    assert_eq!(first, second);
}

fn errors_name_the_culprit(installed: &Image) {
    let image = Image::over(&installed.root());
    let fails = |change: &dyn Fn(&mut Template)| {
        let mut template = template();
        change(&mut template);
        let error = run(&image.root(), &template).0.unwrap_err();
        (error.to_string(), error.hint().unwrap_or_default())
    };
    let (message, _) = fails(&|t| t.system.commands = vec!["true".into(), "echo why >&2; exit 4".into()]);
    assert!(
        message.contains("command 2") && message.contains("exit status 4") && message.contains("why"),
        "{message}"
    );
    let (message, _) = fails(&|t| {
        t.system.additional_files.push(AdditionalFile {
            source: FileSource::Host("/no/such".into()),
            destination: "/x".into(),
            owner: None,
            mode: None,
        });
    });
    assert!(
        message.contains("/no/such") && message.contains("No such file"),
        "{message}"
    );
    let (message, hint) = fails(&|t| {
        let mut user = user("one", Password::Locked);
        user.startup_script = Some("/opt/absent".into());
        t.system.users.push(user);
    });
    assert!(
        message.contains("user one: startupScript /opt/absent") && hint.contains("/opt/absent"),
        "{message}"
    );
    let (message, _) = fails(&|t| t.system.users.push(user("Bad:Name", Password::Locked)));
    assert!(
        message.contains("user Bad:Name") && message.contains("useradd"),
        "{message}"
    );
    let (message, hint) = fails(&|t| {
        let mut user = user("games", Password::Locked);
        user.uid = Some(99);
        t.system.users.push(user);
    });
    assert!(
        message.contains("user games: the image has it already, with the id 5") && hint.contains("leave out the id"),
        "{message}"
    );
    let (message, hint) = fails(&|t| {
        let mut user = user("lp", Password::Locked);
        user.ssh_keys = vec!["ssh-ed25519 AAAA".into()];
        t.system.users.push(user);
    });
    assert!(
        message.contains("user lp: sshKeys has no place") && hint.contains("home"),
        "{message}"
    );
    let (message, _) = fails(&|t| t.system.users.push(user("two", Password::Hashed("a\nroot:x".into()))));
    assert!(message.contains("user two") && !message.contains("root:x"), "{message}");
    let (message, _) = fails(&|t| t.system.hostname = Some("a\nb".into()));
    assert!(message.contains("systemConfig.hostname"), "{message}");

    let groups = fs::read_to_string(image.root().join("etc/group")).unwrap();
    let without: String = groups
        .lines()
        .filter(|line| !line.starts_with("sudo:"))
        .map(|line| format!("{line}\n"))
        .collect();
    fs::write(image.root().join("etc/group"), without).unwrap();
    let (message, hint) = fails(&|t| {
        let mut user = user("three", Password::Locked);
        user.sudo = true;
        t.system.users.push(user);
    });
    assert!(
        message.contains("user three") && hint.contains("package sudo"),
        "{message}"
    );
}
