//! What a build keeps is closed to other users of the build host, whatever the umask is.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a panic is the report

use std::fs;
use std::io::Read as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::support::program::Oic;
use oic_testkit::tool;

/// Prints each path of its input (ended by NULs) that it can open or list.
const TRY: &str = "
import os, sys
for path in sys.stdin.buffer.read().split(b'\\0'):
    if not path:
        continue
    for flags in (os.O_RDONLY, os.O_WRONLY, os.O_PATH):
        try:
            os.close(os.open(path, flags | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC))
            print(os.fsdecode(path), flags)
        except OSError:
            pass
";

/// What another user of the build host than the builder can open of `paths`.
fn reachable(paths: &[PathBuf]) -> String {
    reachable_for(65_534, paths)
}

/// What the user `uid` can open of `paths`.
fn reachable_for(uid: u32, paths: &[PathBuf]) -> String {
    use std::io::Write as _;
    let mut child = Command::new("setpriv")
        .args([
            format!("--reuid={uid}").as_str(),
            "--regid=65534",
            "--clear-groups",
            "/usr/bin/python3",
            "-c",
            TRY,
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    for path in paths {
        input.write_all(path.as_os_str().as_encoded_bytes()).unwrap();
        input.write_all(b"\0").unwrap();
    }
    drop(input);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Every path at and below `directory`.
fn all_below(directory: &Path) -> Vec<PathBuf> {
    let mut found = vec![directory.to_owned()];
    let mut next = 0;
    while let Some(path) = found.get(next).cloned() {
        next += 1;
        if fs::symlink_metadata(&path).unwrap().is_dir() {
            found.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
    }
    found
}

/// A template as `oic new` writes it.
fn template(oic: &Oic, directory: &Path) -> PathBuf {
    let path = directory.join("private.yml");
    let made = oic.run(&[
        "new",
        path.to_str().unwrap(),
        "--yes",
        "--provider=debian-debian13-x86_64",
        "--size=2GiB",
        "--packages=sudo",
        "--output=raw,raw.zstd",
    ]);
    assert_eq!(made.code, Some(0), "{}", made.stderr);
    path
}

/// What the test needs besides: a small kernel, and a program that would be dangerous on the host.
const FIELDS: [&str; 4] = [
    "--set",
    "systemConfig.kernel.packages=[linux-image-cloud-amd64]",
    "--set",
    "systemConfig.configurations[1]={cmd: \"cp /bin/true /usr/local/bin/t && chmod 4755 /usr/local/bin/t\"}",
];

/// A build; it ends with the test, whatever comes of that.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Builds under `umask`, while another user looks for a way in.
fn build(oic: &Oic, template: &Path, umask: &str) {
    let report = oic.work_dir.join("report.html");
    let mut build = Command::new("sh");
    let named = [
        "build",
        template.to_str().unwrap(),
        "--report",
        report.to_str().unwrap(),
    ];
    let inner = oic.command(&[&named[..], &FIELDS].concat());
    build
        .args(["-c", "umask $0; exec \"$@\"", umask])
        .arg(inner.get_program());
    build
        .args(inner.get_args())
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    let mut child = Running(build.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap());
    let watched = [
        oic.provider_dir(),
        oic.provider_dir().join("imagebuild"),
        oic.provider_dir().join("chrootbuild"),
    ];
    // An earlier version's tree is open until the build has closed it.
    while oic
        .provider_dir()
        .metadata()
        .is_ok_and(|metadata| metadata.mode() & 0o077 != 0)
    {
        assert!(child.0.try_wait().unwrap().is_none(), "the build has not closed it");
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    while child.0.try_wait().unwrap().is_none() {
        let open = reachable(&watched);
        let only_names = open
            .lines()
            .all(|line| line.starts_with(&format!("{} ", oic.provider_dir().display())));
        assert!(only_names && !open.contains(&format!(" {}", libc::O_RDONLY)), "{open}");
        std::thread::sleep(std::time::Duration::from_millis(200));
    }
    let mut stderr = String::new();
    child.0.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    assert!(child.0.wait().unwrap().success(), "{stderr}");
    assert_eq!(report.metadata().unwrap().mode() & 0o777, 0o600, "the report");
}

/// One test, since the second build needs what the first one made.
#[test]
fn what_a_build_keeps_is_closed_to_other_users() {
    let room = tempfile::tempdir().unwrap();
    fs::set_permissions(room.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let mut oic = Oic::new("privacy");
    oic.work_dir = room.path().join("work");
    let template = template(&oic, room.path());
    let control = room.path().join("control");
    fs::write(&control, "").unwrap();
    fs::set_permissions(&control, fs::Permissions::from_mode(0o644)).unwrap();
    for umask in ["022", "000"] {
        build(&oic, &template, umask);
        let paths = all_below(&oic.provider_dir());
        assert!(paths.len() > 1000 && paths.iter().any(|path| path.ends_with("upper/tree/usr/local/bin/t")));
        let mut asked = paths.clone();
        asked.push(control.clone());
        // Of the directory itself only the name can be had, with O_PATH.
        let allowed = [oic.provider_dir().display().to_string(), control.display().to_string()];
        for line in reachable(&asked).lines() {
            let (path, flags) = line.rsplit_once(' ').unwrap();
            assert!(allowed.iter().any(|known| known == path), "umask {umask}: {line}");
            assert!(
                path == allowed[1] || flags == libc::O_PATH.to_string(),
                "umask {umask}: {line}"
            );
        }
        assert!(
            reachable(&asked).contains(&allowed[1]),
            "the question is not asked right"
        );
        let output = oic.provider_dir().join("imagebuild/private");
        for entry in fs::read_dir(&output).unwrap() {
            let (path, metadata) = entry.map(|entry| (entry.path(), entry.metadata().unwrap())).unwrap();
            if metadata.is_file() {
                assert_eq!(metadata.mode() & 0o7777, 0o600, "umask {umask}: {}", path.display());
            }
        }
        for path in [
            oic.work_dir.clone(),
            oic.package_cache(),
            oic.package_cache().join("metadata"),
        ] {
            assert_eq!(
                path.metadata().unwrap().mode() & 0o022,
                0,
                "umask {umask}: {}",
                path.display()
            );
        }
        // As an earlier version left it.
        for path in ["", "imagebuild", "imagebuild/private", "chrootbuild"] {
            tool("chmod", &["755".as_ref(), oic.provider_dir().join(path).as_os_str()]);
        }
    }
    given_to_the_user_behind_sudo(&oic, &template, room.path());
    oic.assert_clean();
}

/// In a user's own directories what a build delivers is that user's, and nothing else is.
fn given_to_the_user_behind_sudo(oic: &Oic, template: &Path, room: &Path) {
    const USER: u32 = 65_533;
    std::os::unix::fs::chown(room, Some(USER), Some(USER)).unwrap();
    let page = room.join("page.html");
    let build = |options: &[&str]| {
        let named = ["build", template.to_str().unwrap(), "--format", "json"];
        let args = [&named[..], &FIELDS, options].concat();
        let mut command = oic.command(&args);
        command
            .env("SUDO_UID", USER.to_string())
            .env("SUDO_GID", USER.to_string());
        let output = command.output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success() && !told.contains("its user"), "{told}");
        serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap()
    };
    let report = build(&["--report", page.to_str().unwrap()]);
    let image = PathBuf::from(report["image"]["path"].as_str().unwrap());
    let delivered = |name: &str| image.with_file_name(name);
    let mut expected = vec![
        page,
        image.clone(),
        delivered("build.log"),
        delivered("private.lock.json"),
        delivered("SHA256SUMS"),
    ];
    for list in ["artifacts", "documents"] {
        let paths = report[list].as_array().unwrap().iter();
        expected.extend(paths.map(|path| PathBuf::from(path.as_str().unwrap())));
    }
    assert_eq!(expected.len(), 10);
    let kept = all_below(&oic.provider_dir());
    let paths = [kept.clone(), vec![room.join("page.html")]].concat();
    let mut found: Vec<PathBuf> = Vec::new();
    for line in reachable_for(USER, &paths).lines() {
        let (path, flags) = line.rsplit_once(' ').unwrap();
        assert!(!path.contains("/upper/") && !path.contains("/chrootbuild/"), "{line}");
        if flags != libc::O_PATH.to_string() && found.last().is_none_or(|last| last != Path::new(path)) {
            found.push(path.into());
        }
    }
    found.sort();
    expected.sort();
    assert_eq!(found, expected);
    for path in &expected {
        assert_eq!(path.metadata().unwrap().mode() & 0o7777, 0o600, "{}", path.display());
    }
    let of_others = reachable(&kept);
    let provider = format!("{} ", oic.provider_dir().display());
    assert!(of_others.lines().all(|line| line.starts_with(&provider)), "{of_others}");
    // The records know the files of another owner again.
    let again = build(&[]);
    assert_eq!(again["image"]["written_bytes"], 0);
}
