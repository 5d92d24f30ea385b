//! Images without a disk: a template becomes an initrd that boots.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a panic is the report

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use crate::support::program::{Oic, own_mounts};
use oic_testkit::qemu::Machine;
use oic_testkit::{Steps, tool};

/// Generous: emulation on a loaded machine takes minutes.
const BOOT_LIMIT: Duration = Duration::from_secs(900);
const COMMAND_LIMIT: Duration = Duration::from_secs(120);

/// Writes a template of an initrd in all its forms.
fn template(directory: &Path) -> PathBuf {
    let text = r#"
image: {name: memory, version: "1.0"}
target: {os: debian, dist: debian13, arch: x86_64, imageType: img}
disk:
  name: d
  artifacts:
    - {type: img, compression: gz}
    - {type: img, compression: zstd}
    - {type: img, compression: xz, compressionLevel: 0}
    - {type: uki, compression: zstd}
systemConfig:
  name: memory
  hostname: in-memory
  users: [{name: oic, password: "oic"}]
  configurations:
    - cmd: "setcap cap_net_raw=ep /usr/bin/id"
  packages: [libcap2-bin, systemd-boot-efi]
  kernel: {packages: [linux-image-cloud-amd64]}
"#;
    let path = directory.join("memory.yml");
    fs::write(&path, text).unwrap();
    path
}

/// One test, since its parts need what the ones before made.
#[test]
fn a_template_becomes_an_initrd_that_boots() {
    own_mounts();
    let oic = Oic::new("img");
    let template = template(&oic.work_dir);
    let build = |more: &[&str]| {
        let args = [&["build", template.to_str().unwrap(), "--format", "json"], more].concat();
        oic.run(&args)
    };
    let mut steps = Steps::new();
    let report = steps.need("build", || build(&[]).json());
    let files = steps.need("delivered", || the_files_are_delivered(&report));
    steps.check("contents", || programs_list_it(&files[0]));
    steps.check("losses", || {
        let warnings = report["warnings"].to_string();
        assert!(
            warnings.contains("extended attributes of ") && warnings.contains("/usr/bin/id"),
            "{warnings}"
        );
    });
    steps.check("nothing changed", || {
        let identity = |path: &PathBuf| {
            fs::metadata(path)
                .map(|m| (m.ino(), m.ctime(), m.ctime_nsec()))
                .unwrap()
        };
        let before: Vec<_> = files.iter().map(identity).collect();
        let again = build(&[]).json();
        assert_eq!(again["image"]["written_bytes"], 0, "{again}");
        assert_eq!(again["image"]["digest"], report["image"]["digest"]);
        assert_eq!(files.iter().map(identity).collect::<Vec<_>>(), before);
    });
    steps.check("check", || {
        let checked = build(&["--check"]);
        assert_eq!(checked.code, Some(0), "{}", checked.stderr);
    });
    steps.check("unified", || the_program_has_kernel_and_initrd(&files));
    let boots_of = ["boot of gzip", "boot of zstd", "boot of xz"];
    for (name, initrd) in boots_of.into_iter().zip(&files) {
        steps.check(name, || boots(&files[3], initrd, name == boots_of[0]));
    }
    oic.assert_clean();
}

/// Returns the initrds, then the kernel.
fn the_files_are_delivered(report: &Value) -> Vec<PathBuf> {
    assert_eq!(report["image"]["is_delivered"], false, "{report}");
    let paths = report["artifacts"].as_array().unwrap().iter();
    let paths: Vec<_> = paths.map(|path| PathBuf::from(path.as_str().unwrap())).collect();
    let names: Vec<_> = paths
        .iter()
        .map(|path| path.file_name().unwrap().to_str().unwrap())
        .collect();
    assert_eq!(names[..3], ["memory-13.img", "memory-13.img.zstd", "memory-13.img.xz"]);
    assert!(
        names[3].starts_with("vmlinuz-") && names[4] == "memory-13.zstd.efi" && names.len() == 5,
        "{names:?}"
    );
    let directory = paths[0].parent().unwrap().display();
    // Two bills of materials and the manifest, too.
    let script = format!("cd {directory} && sha256sum --strict -c SHA256SUMS && test $(wc -l < SHA256SUMS) = 8");
    tool("sh", &["-c", &script]);
    paths
}

/// objdump (binutils) takes the sections out again.
fn the_program_has_kernel_and_initrd(files: &[PathBuf]) {
    let directory = files[4].parent().unwrap();
    for (section, file) in [(".linux", &files[3]), (".initrd", &files[1])] {
        let part = directory.join("part");
        let only = format!("{section}={}", part.display());
        let copy = directory.join("copy");
        tool(
            "objcopy",
            &[
                "--dump-section".as_ref(),
                only.as_ref(),
                files[4].as_os_str(),
                copy.as_os_str(),
            ],
        );
        fs::remove_file(copy).unwrap();
        let (part, whole) = (fs::read(&part).unwrap(), fs::read(file).unwrap());
        assert!(part.starts_with(&whole) && part.len() < whole.len() + 4096, "{section}");
    }
    fs::remove_file(directory.join("part")).unwrap();
}

fn programs_list_it(image: &Path) {
    let list = |command: &str| {
        tool(
            "sh",
            &["-c".to_owned(), format!("zcat {} | {command}", image.display())],
        )
    };
    let (cpio, bsdtar) = (list("cpio -t --quiet | sort"), list("bsdtar -tf - | sort"));
    assert_eq!(cpio, bsdtar);
    let lines: Vec<_> = cpio.lines().collect();
    for path in ["init", "usr/lib/systemd/systemd", "etc/hostname"] {
        assert!(lines.contains(&path), "{path}");
    }
    assert!(
        !lines.iter().any(|line| line.starts_with("boot/initrd.img-")),
        "an initrd in an initrd"
    );
    let long = list("cpio -tv --quiet");
    assert!(long.contains("init -> sbin/init"), "{long}");
}

fn boots(kernel: &Path, initrd: &Path, logs_in: bool) {
    let mut machine = Machine::boot_kernel(kernel, initrd, "root=ramfs console=ttyS0");
    if !logs_in {
        machine.wait_for("in-memory login: ", BOOT_LIMIT);
        return;
    }
    machine.log_in("oic", "oic", BOOT_LIMIT);
    let mut check = |command: &str, expected: &str| {
        let (code, output) = machine.run(command, COMMAND_LIMIT);
        assert_eq!((code, output.as_str()), (0, expected), "{command}");
    };
    check("hostname", "in-memory");
    check("findmnt -n -o FSTYPE /", "rootfs");
    check("systemctl --failed --no-legend --plain", "");
    check("readlink /init", "sbin/init");
}
