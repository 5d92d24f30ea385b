//! What a build makes depends on the template and the packages alone: not on who builds, where, when, and with what.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a panic is the report

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::program::{Oic, Shown};
use oic_testkit::Steps;
use serde_json::Value;

const PROVIDER: &str = "debian-debian13-x86_64";
/// Commands that write down what scripts can ask the machine for.
const ASK: &str = "{ uname -r; uname -a; cat /proc/sys/kernel/osrelease /proc/cpuinfo /proc/cmdline /proc/swaps \
    /etc/machine-id /etc/initramfs-tools/conf.d/00-oic; } > /root/asked";

/// Writes the template and its files to `directory`, the files with the modes that the umask of a checkout gives them.
fn template(directory: &Path, umask: u32) -> PathBuf {
    fs::create_dir_all(directory).unwrap();
    let file = |name: &str, mode: u32| {
        let path = directory.join(name);
        fs::write(&path, "#!/bin/sh\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode & !umask)).unwrap();
        path
    };
    let (text, script, secret) = (file("text", 0o666), file("script", 0o777), file("secret", 0o666));
    let path = directory.join("same.yml");
    let template = format!(
        r#"
image: {{name: same, version: "1.0"}}
target: {{os: debian, dist: debian13, arch: x86_64, imageType: raw}}
disk:
  name: d
  size: 2GiB
  partitions:
    - {{id: boot, type: esp, start: 1MiB, end: 301MiB, fsType: fat32, mountPoint: /boot/efi}}
    - {{id: data, type: linux, start: 301MiB, end: 310MiB, fsType: ext4, mountPoint: /data/deep}}
    - {{id: root, type: linux-root-amd64, start: 310MiB, end: "0", fsType: ext4, mountPoint: /}}
systemConfig:
  name: same
  machineId: uninitialized
  packages: [sudo]
  users: [{{name: ann, password: "secret", sudo: true}}, {{name: games, home: /srv/games}}]
  additionalFiles:
    - {{local: {}, final: /opt/new/text}}
    - {{local: {}, final: /opt/new/script}}
    - {{local: {}, final: /opt/new/secret, mode: "0600"}}
  configurations:
    - cmd: "{ASK}"
  kernel: {{packages: [linux-image-cloud-amd64]}}
"#,
        text.display(),
        script.display(),
        secret.display()
    );
    fs::write(&path, template).unwrap();
    path
}

/// Runs the build `command` in odd surroundings.
fn oddly(command: &Command, directory: &Path) {
    let script = r#"umask 077; cd "$0"; exec nice -n 19 "$@" <&- >&-"#;
    let mut odd = Command::new("/bin/sh");
    odd.args(["-c", script])
        .arg(directory)
        .arg(command.get_program())
        .args(command.get_args())
        .env_clear()
        .envs(command.get_envs().filter_map(|(key, value)| Some((key, value?))))
        .envs([("LC_ALL", "tr_TR.UTF-8"), ("LANG", "tr_TR.UTF-8"), ("LANGUAGE", "tr")])
        .envs([
            ("TZ", "Pacific/Kiritimati"),
            ("HOME", "/nonexistent"),
            ("USER", "nobody"),
        ])
        .env("TMPDIR", directory);
    let output = odd.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// The digest of the contents of each step layer, by its step and key.
fn layers(oic: &Oic) -> BTreeMap<(String, String), String> {
    let directory = oic.provider_dir().join("chrootbuild/layers");
    let manifests = fs::read_dir(directory).unwrap().filter_map(|entry| {
        let text = fs::read(entry.unwrap().path().join("layer.json")).ok()?;
        let manifest: Value = serde_json::from_slice(&text).unwrap();
        let manifest = &manifest["manifest"];
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let facts = &manifest["facts"];
        Some(((text(&facts["step"]), text(&facts["key"])), text(&manifest["content"])))
    });
    manifests.collect()
}

fn image(oic: &Oic) -> PathBuf {
    oic.provider_dir().join("imagebuild/same/same-13.raw")
}

fn digest(path: &Path) -> oic::package::Sha256 {
    oic::package::Sha256::of_reader(fs::File::open(path).unwrap())
        .unwrap()
        .0
}

/// One test, since each part compares with the same first build.
#[test]
fn two_builds_make_the_same_base_layers_and_image() {
    let oic = Oic::new("same");
    let mut steps = Steps::new();
    let plain = template(&oic.work_dir.join("files"), 0o022);
    steps.need("usual build", || {
        let finished = oic.run(&["build", plain.to_str().unwrap(), "--jobs", "1"]);
        assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    });
    let other = oic.sharing_cache("same-oddly");
    let odd = template(&other.work_dir.join("files"), 0o077);
    let args = [
        "build",
        odd.to_str().unwrap(),
        "--jobs",
        "2",
        "--overlay",
        "fuse",
        "--from-scratch",
    ];
    steps.need("odd build", || {
        oddly(&other.command(&args), &other.work_dir.join("files"))
    });
    steps.check("base", || {
        for name in ["chrootenv.tar.gz", "chrootenv.idx"] {
            let [a, b] = [&oic, &other].map(|oic| digest(&oic.provider_dir().join("chrootbuild").join(name)));
            assert_eq!(a, b, "{name}");
        }
    });
    steps.check("layers", || {
        let made = layers(&oic);
        assert_eq!(made.len(), 4, "{made:#?}");
        assert_eq!(made, layers(&other));
    });
    steps.check("image", || assert_eq!(digest(&image(&oic)), digest(&image(&other))));
    steps.check("tree", || tree_is_as_asked(&oic));
}

fn tree_is_as_asked(oic: &Oic) {
    let shown = Shown::image(oic, PROVIDER, "same");
    let path = |path: &str| shown.root().join(path);
    for (name, mode) in [
        ("", 0o755),
        ("data", 0o755),
        ("data/deep", 0o755),
        ("opt/new", 0o755),
        ("opt/new/text", 0o644),
        ("opt/new/script", 0o755),
        ("opt/new/secret", 0o600),
        ("srv/games", 0o700),
    ] {
        let found = fs::metadata(path(name)).unwrap().permissions().mode() & 0o7777;
        assert_eq!(found, mode, "/{name}: {found:o}");
    }
    assert_eq!(
        fs::read_to_string(path("etc/machine-id")).unwrap().trim(),
        "uninitialized"
    );
    let kernels = fs::read_dir(path("usr/lib/modules")).unwrap();
    let [kernel] = &kernels.map(|entry| entry.unwrap().file_name()).collect::<Vec<_>>()[..] else {
        panic!("not one kernel")
    };
    let (kernel, asked) = (
        kernel.to_str().unwrap(),
        fs::read_to_string(path("root/asked")).unwrap(),
    );
    let start = format!("{kernel}\nLinux localhost {kernel} #1 SMP x86_64 GNU/Linux\n{kernel}\nprocessor\t: 0\n");
    assert!(asked.starts_with(&start), "{asked}");
    for word in [
        "GenuineIntel",
        "AuthenticAMD",
        "Priority\n6f69632d6275696c642d6d616368696e\n",
        "RESUME=none",
    ] {
        assert!(asked.contains(word), "{word}: {asked}");
    }
    assert!(!path("etc/dracut.conf.d").exists());
    let settings = fs::read_dir(path("etc/initramfs-tools/conf.d")).unwrap();
    assert_eq!(
        settings.count(),
        0,
        "the directory is a package's, and has no file of the build"
    );
}
