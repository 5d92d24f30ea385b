//! An installed system becomes the template's image.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[allow(dead_code)]
#[path = "support/debian.rs"]
mod debian;
#[allow(dead_code)]
#[path = "support/image.rs"]
mod image;
#[allow(dead_code)]
#[path = "support/tree.rs"]
mod tree;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use image::Image;
use oic::cancel::Cancel;
use oic::configure::{AptSource, ConfigureError, ConfigureReport, ConfigureRequest, FstabEntry, Part, configure};
use oic::package::{Arch, Sha256};
use oic::progress::{Progress, TaskId, Unit};
use oic::provider::PackageSystem;
use oic::template::model::{
    AdditionalFile, BootProvider, BootType, Bootloader, Disk, FileSource, HashMethod, ImageInfo, ImageType, Kernel,
    PartitionTable, Password, SystemConfig, Target, Template, User,
};

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
        disk: Disk {
            name: "disk".into(),
            artifacts: Vec::new(),
            size_bytes: None,
            table: PartitionTable::Gpt,
            partitions: Vec::new(),
        },
        system: SystemConfig {
            name: "minimal".into(),
            description: String::new(),
            hostname: Some("edge-node".into()),
            immutable: false,
            users: Vec::new(),
            bootloader: Bootloader {
                boot_type: BootType::Efi,
                provider: BootProvider::SystemdBoot,
            },
            packages: Vec::new(),
            additional_files: Vec::new(),
            commands: Vec::new(),
            kernel: Kernel {
                version: None,
                command_line: String::new(),
                extra_modules: Vec::new(),
                packages: Vec::new(),
            },
        },
        repositories: Vec::new(),
    }
}

fn user(name: &str, password: Password) -> User {
    User {
        name: name.into(),
        password,
        password_max_age_days: None,
        groups: Vec::new(),
        sudo: false,
        home: None,
        shell: None,
        startup_script: None,
    }
}

fn run(root: &Path, template: &Template) -> (Result<ConfigureReport, ConfigureError>, Vec<String>) {
    let request = ConfigureRequest {
        system: PackageSystem::Deb,
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
        sources: &[AptSource {
            own: true,
            uri: "https://deb.example.org/debian".into(),
            suites: vec!["trixie".into(), "trixie-updates".into()],
            components: vec!["main".into()],
            signed_by: Some("/usr/share/keyrings/debian-archive-keyring.gpg".into()),
            ..AptSource::default()
        }],
        dnf_repositories: &[],
        epoch: debian::EPOCH,
        seed: Sha256::of("seed"),
        network: false,
        helper: Path::new(env!("CARGO_BIN_EXE_oic")),
    };
    let notes = Notes::default();
    let run = |part| configure(&request, part, &notes, &Cancel::default());
    let result = run(Part::Accounts).and_then(|accounts| {
        let settings = run(Part::Settings)?;
        Ok(ConfigureReport {
            users: accounts.users,
            ..settings
        })
    });
    (result, notes.0.into_inner().unwrap())
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
    let (pool, packages) = image::pool(debian::download(&base, &SYSTEM));
    let requested: Vec<_> = SYSTEM.to_vec();
    image::install_packages(&installed, &pool, &packages, &requested).unwrap_or_else(|error| panic!("{error}"));
    everything_is_set(&installed);
    the_result_is_the_same_again(&installed);
    errors_name_the_culprit(&installed);
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
    assert_eq!(script.permissions().mode() & 0o7777, 0o750);
    assert_eq!(
        fs::metadata(image.root().join("opt/kiosk"))
            .unwrap()
            .permissions()
            .mode()
            & 0o7777,
        0o755
    );
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
