//! `oic mount` and `oic umount`, the program, on a small base. Needs root, FUSE and overlayfs.
//!
//! Every test has a mount namespace of its own: whatever fails, nothing stays mounted.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a panic is the report

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::support::program::{Oic, own_mounts};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use oic::mount::{holders, table};
use oic::package::{ResolvedPackage, Sha256};
use oic::resolve::lockfile::{LockedRepository, Lockfile, Steps};
use oic::snapshot::{WriteOptions, write};
use oic_testkit::server::Server;
use oic_testkit::{Finished, soon, spawn_until_it_runs, tool};

pub(super) const PROVIDER: &str = "debian-debian13-x86_64";

/// A workspace with a base, in this test's own mount namespace.
pub(super) struct Place {
    pub(super) oic: Oic,
}

impl Place {
    pub(super) fn new(name: &str) -> Self {
        own_mounts();
        let oic = Oic::new(&format!("mount-{name}"));
        let place = Self { oic };
        fs::create_dir(place.mnt()).unwrap();
        place.make_base("one");
        place
    }

    pub(super) fn mnt(&self) -> PathBuf {
        self.oic.work_dir.join("mnt")
    }

    pub(super) fn mnt_text(&self) -> String {
        self.mnt().to_str().unwrap().to_owned()
    }

    /// A base with `etc/version` saying `version`, and 20 files of 100 KB.
    fn make_base(&self, version: &str) {
        let tree = self.oic.work_dir.join("tree");
        fs::create_dir_all(tree.join("etc")).unwrap();
        fs::create_dir_all(tree.join("data")).unwrap();
        fs::write(tree.join("etc/version"), version).unwrap();
        for number in 0..20_u32 {
            let line = format!("{number} {}\n", Sha256::of(number.to_le_bytes()));
            fs::write(tree.join(format!("data/{number:02}")), line.repeat(1500)).unwrap();
        }
        let directory = self.oic.provider_dir().join("chrootbuild");
        fs::create_dir_all(&directory).unwrap();
        let options = WriteOptions::new(Sha256::of(version));
        let (tarball, index) = (directory.join("chrootenv.tar.gz"), directory.join("chrootenv.idx"));
        write(&tree, &tarball, &index, &options).unwrap();
    }

    /// Mounts at `mnt`; panics if that fails.
    #[track_caller]
    pub(super) fn mount(&self, what: &str, more: &[&str]) -> Finished {
        let finished = self.try_mount(what, more);
        assert_eq!(finished.code, Some(0), "{}", finished.stderr);
        assert_eq!(finished.stdout.trim(), self.mnt_text());
        finished
    }

    fn try_mount(&self, what: &str, more: &[&str]) -> Finished {
        self.oic.run(&[&["mount", what, &self.mnt_text()], more].concat())
    }

    #[track_caller]
    pub(super) fn umount(&self) {
        let finished = self.oic.run(&["umount", &self.mnt_text()]);
        assert_eq!(finished.code, Some(0), "{}", finished.stderr);
        assert!(!self.is_mounted());
    }

    fn stats(&self) -> serde_json::Value {
        self.oic
            .run(&["mount", &self.mnt_text(), "--stats", "--format", "json"])
            .json()
    }

    pub(super) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.mnt().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    pub(super) fn is_mounted(&self) -> bool {
        table::is_mount_point(&fs::canonicalize(&self.oic.work_dir).unwrap().join("mnt")).unwrap()
    }

    /// Names in the directory of writable layers.
    pub(super) fn layers(&self) -> Vec<String> {
        let entries = fs::read_dir(self.oic.provider_dir().join("mounts"));
        let names = entries.into_iter().flatten().map(|entry| entry.unwrap().file_name());
        names
            .map(|name| name.into_string().unwrap())
            .filter(|name| name != ".lock")
            .collect()
    }
}

/// Server processes of this program that hold `directory` in their command or files.
pub(super) fn servers(oic: &Oic) -> Vec<Pid> {
    let store = oic.provider_dir().join("chrootbuild");
    let holds = |holder: &holders::Holder| holder.path.starts_with(&store);
    let holders = holders::holders(&fs::canonicalize(&store).unwrap());
    let pids = holders.iter().filter(|holder| holds(holder)).map(|holder| holder.pid);
    pids.map(|pid| Pid::from_raw(i32::try_from(pid).unwrap())).collect()
}

#[test]
fn a_base_is_shown_read_only_and_counted() {
    let place = Place::new("base");
    // The default place.
    let finished = place.oic.run(&["mount", PROVIDER]);
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    let at = place.oic.provider_dir().join("chrootenv");
    assert_eq!(finished.stdout.trim(), at.to_str().unwrap());
    assert_eq!(fs::read_to_string(at.join("etc/version")).unwrap(), "one");
    assert!(fs::write(at.join("new"), "x").is_err());
    assert!(!servers(&place.oic).is_empty());
    let finished = place.oic.run(&["mount", PROVIDER, "--stats"]);
    assert!(
        finished.stdout.contains("files of the base"),
        "{}{}",
        finished.stdout,
        finished.stderr
    );
    assert_eq!(place.oic.run(&["umount", PROVIDER]).code, Some(0));
    assert!(soon(|| servers(&place.oic).is_empty()));
    place
        .oic
        .run(&["umount", PROVIDER])
        .assert_fails(1, &["nothing is mounted"]);
    place
        .oic
        .run(&["mount", PROVIDER, "--stats"])
        .assert_fails(1, &["nothing is mounted"]);

    // Several mounts of one base; one counts what it did itself.
    place.mount(PROVIDER, &[]);
    assert_eq!(place.oic.run(&["mount", PROVIDER]).code, Some(0));
    place.read("data/00");
    let stats = place.stats();
    assert_eq!(stats["layers"]["files_touched"], 1);
    assert_eq!(stats["layers"]["files_total"], 21);
    assert_eq!(stats["requests"]["xattrs"], 0);
    assert_eq!(
        fs::read(at.join("data/00")).unwrap(),
        fs::read(place.mnt().join("data/00")).unwrap()
    );
    assert_eq!(place.oic.run(&["umount", PROVIDER]).code, Some(0));
    place.umount();
    place.oic.assert_clean();
}

#[test]
fn debug_prints_a_snapshot_and_its_index() {
    let place = Place::new("debug");
    let directory = place.oic.provider_dir().join("chrootbuild");
    let print = |name: &str| {
        let path = directory.join(name);
        let finished = place.oic.run(&["debug", "snapshot", path.to_str().unwrap()]);
        assert_eq!(finished.code, Some(0), "{}", finished.stderr);
        finished.stdout
    };
    let text = print("chrootenv.idx");
    let line = text.lines().find(|line| line.starts_with("/etc/version ")).unwrap();
    assert!(
        line.contains("mode 100644") && line.contains(&format!("sha256 {}", Sha256::of("one"))),
        "{line}"
    );
    assert_eq!(text, print("chrootenv.tar.gz"));
    fs::write(directory.join("other"), "OICSNAP").unwrap();
    let other = directory.join("other");
    let finished = place.oic.run(&["debug", "snapshot", other.to_str().unwrap()]);
    finished.assert_fails(1, &["other", "shorter than a header"]);
}

#[test]
fn prefetch_unpacks_everything_in_the_background() {
    let place = Place::new("prefetch");
    place.mount(PROVIDER, &["--prefetch"]);
    assert!(soon(|| {
        let layers = &place.stats()["layers"];
        layers["members_ahead"] == layers["members_total"] && layers["members_ahead"] != 0
    }));
    assert_eq!(place.stats()["layers"]["files_touched"], 0);
    place.umount();
}

#[test]
fn who_reads_in_order_is_given_files_unasked() {
    let place = Place::new("given");
    let base = place.oic.work_dir.join("tree");
    for upper in [&[][..], &["--tmp-upper", "--overlay", "kernel"]] {
        place.mount(PROVIDER, upper);
        // Here and there: nothing is guessed.
        for name in ["data/15", "data/03", "data/09"] {
            place.read(name);
        }
        assert_eq!(place.stats()["requests"]["given"], 0);
        // In order: the same bytes, in fewer requests.
        let shown = place.mnt();
        tool("diff", &["-r", base.to_str().unwrap(), shown.to_str().unwrap()]);
        let requests = &place.stats()["requests"];
        assert!(requests["given"].as_u64().unwrap() >= 4, "{requests}");
        assert_eq!(requests["errors"], 0);
        // Once more, from the kernel's cache.
        tool("diff", &["-r", base.to_str().unwrap(), shown.to_str().unwrap()]);
        assert_eq!(requests["reads"], place.stats()["requests"]["reads"]);
        place.umount();
    }
}

#[test]
fn a_named_upper_keeps_changes() {
    let place = Place::new("upper");
    place.mount(PROVIDER, &["--upper", "try"]);
    fs::write(place.mnt().join("etc/version"), "mine").unwrap();
    fs::remove_file(place.mnt().join("data/00")).unwrap();
    // Nobody else may write to it meanwhile.
    let other = place.oic.work_dir.join("other");
    fs::create_dir(&other).unwrap();
    let second = ["mount", PROVIDER, other.to_str().unwrap(), "--upper", "try"];
    place.oic.run(&second).assert_fails(1, &["in use"]);
    place.umount();
    assert!(soon(|| servers(&place.oic).is_empty()));

    place.mount(PROVIDER, &["--upper", "try", "--overlay", "kernel"]);
    assert_eq!(place.read("etc/version"), "mine");
    assert!(!place.mnt().join("data/00").exists() && place.mnt().join("data/01").exists());
    place.umount();
    // The base itself has not changed.
    place.mount(PROVIDER, &[]);
    assert_eq!(place.read("etc/version"), "one");
    place.umount();
    let upper = place.oic.provider_dir().join("mounts/try/upper");
    assert!(
        fs::symlink_metadata(upper.join("data/00"))
            .unwrap()
            .file_type()
            .is_char_device()
    );

    place.make_base("two");
    place
        .try_mount(PROVIDER, &["--upper", "try"])
        .assert_fails(1, &["another base", "mounts/try"]);
    for bad in ["../x", ".hidden", "a/b", ""] {
        place
            .try_mount(PROVIDER, &["--upper", bad])
            .assert_fails(2, &["cannot be a name"]);
    }
    place.oic.assert_clean();
}

#[test]
fn a_scratch_upper_is_gone_with_its_mount() {
    let place = Place::new("scratch");
    place.mount(PROVIDER, &["--tmp-upper"]);
    fs::write(place.mnt().join("etc/version"), "mine").unwrap();
    assert_eq!(place.read("etc/version"), "mine");
    assert_eq!(place.layers().len(), 1);
    place.umount();
    assert!(soon(|| place.layers().is_empty()));

    // A server that was killed leaves it; the next mount of this kind takes it away, but none that is in use.
    place.mount(PROVIDER, &["--tmp-upper"]);
    for server in servers(&place.oic) {
        kill(server, Signal::SIGKILL).unwrap();
    }
    assert!(soon(|| servers(&place.oic).is_empty()));
    place.umount();
    let left = place.layers();
    assert_eq!(left.len(), 1);
    place.mount(PROVIDER, &["--tmp-upper"]);
    let now = place.layers();
    assert!(now.len() == 1 && now != left, "{now:?}");
    let other = place.oic.work_dir.join("other");
    fs::create_dir(&other).unwrap();
    let other = other.to_str().unwrap();
    assert_eq!(place.oic.run(&["mount", PROVIDER, other, "--tmp-upper"]).code, Some(0));
    assert_eq!(place.layers().len(), 2);
    assert_eq!(place.oic.run(&["umount", other]).code, Some(0));
    place.umount();
    assert!(soon(|| place.layers().is_empty()));
    place.oic.assert_clean();
}

#[test]
fn umount_says_who_uses_it_and_can_be_lazy() {
    let place = Place::new("busy");
    place.mount(PROVIDER, &["--tmp-upper"]);
    let file = File::open(place.mnt().join("etc/version")).unwrap();
    let me = format!("pid {}", std::process::id());
    place
        .oic
        .run(&["umount", &place.mnt_text()])
        .assert_fails(1, &["in use by", &me, "etc/version", "--lazy"]);
    assert!(place.is_mounted());
    assert_eq!(place.oic.run(&["umount", &place.mnt_text(), "--lazy"]).code, Some(0));
    assert!(!place.is_mounted());
    // Who has it open can go on; the server ends with the last user.
    assert!(!servers(&place.oic).is_empty());
    assert_eq!(std::io::read_to_string(&file).unwrap(), "one");
    drop(file);
    assert!(soon(|| servers(&place.oic).is_empty() && place.layers().is_empty()));
}

#[test]
fn foreground_ends_with_a_signal_or_with_umount() {
    let place = Place::new("foreground");
    let socket = place.oic.work_dir.join("notify");
    let manager = UnixDatagram::bind(&socket).unwrap();
    manager.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    for by_signal in [true, false] {
        let mut child = place
            .oic
            .command(&["mount", PROVIDER, &place.mnt_text(), "--tmp-upper", "--foreground"])
            .env("NOTIFY_SOCKET", &socket)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        assert_eq!(line.trim(), place.mnt_text());
        let mut message = [0; 64];
        let length = manager.recv(&mut message).unwrap();
        assert_eq!(&message[..length], b"READY=1");
        assert_eq!(place.read("etc/version"), "one");
        if by_signal {
            kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), Signal::SIGTERM).unwrap();
        } else {
            place.umount();
        }
        let start = Instant::now();
        assert_eq!(child.wait().unwrap().code(), Some(0));
        assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
        assert!(!place.is_mounted());
        assert_eq!(manager.recv(&mut message).unwrap(), b"STOPPING=1".len());
        assert!(soon(|| place.layers().is_empty() && servers(&place.oic).is_empty()));
    }
}

/// A template named `pool`, its lockfile with one package, and that package's content.
fn with_package(place: &Place) -> (PathBuf, ResolvedPackage, Vec<u8>) {
    let template = place.oic.work_dir.join("template.yml");
    let text = "image:\n  name: pool\n  version: \"1.0\"\n\
                target:\n  os: debian\n  dist: debian13\n  arch: x86_64\n  imageType: raw\n\
                systemConfig:\n  name: pool\n  packages: [sudo]\n  kernel:\n    packages: [linux-image-cloud-amd64]\n";
    fs::write(&template, text).unwrap();
    let content = b"not really a package".repeat(1000);
    let repository = oic::provider::Providers::embedded()
        .unwrap()
        .by_id(PROVIDER)
        .unwrap()
        .repositories[0]
        .id
        .clone();
    let package = ResolvedPackage {
        name: "alpha".into(),
        version: "1:2-3".into(),
        architecture: "amd64".into(),
        repository: repository.clone(),
        path: "pool/main/a/alpha.deb".into(),
        size_bytes: content.len() as u64,
        installed_size_bytes: 0,
        checksum: Sha256::of(&content).into(),
        stanza: String::new(),
    };
    let lockfile = Lockfile {
        provider: PROVIDER.into(),
        repositories: vec![LockedRepository {
            id: repository,
            suite: "trixie".into(),
            codename: "trixie".into(),
            date: "2026".into(),
            digest: Sha256::of("").to_string(),
        }],
        requested: vec!["alpha".into()],
        packages: vec![package.clone()],
        steps: Steps::default(),
        recommended: Vec::new(),
        newest: None,
    };
    let directory = place.oic.provider_dir().join("imagebuild/pool");
    fs::create_dir_all(&directory).unwrap();
    fs::write(directory.join("pool.lock.json"), lockfile.to_json()).unwrap();
    (template, package, content)
}

#[test]
fn a_template_shows_its_packages_and_fetches_what_is_opened() {
    let place = Place::new("pool");
    let (template, package, content) = with_package(&place);
    let template = template.to_str().unwrap();
    let body = content.clone();
    let server = Server::with(move |path| (path == "/debian/pool/main/a/alpha.deb").then(|| body.clone()));
    let mirror = format!("{}/debian", server.url(""));
    let listed = |place: &Place| {
        let file = place.mnt().join("cdrom/cache-repo").join(package.file_name());
        assert_eq!(fs::metadata(&file).unwrap().size(), package.size_bytes);
        assert_eq!(place.read("etc/version"), "one");
        file
    };
    // Offline and not cached: listed, but not readable.
    place.mount(template, &["--mirror", &mirror, "--offline"]);
    assert!(fs::read(listed(&place)).is_err());
    place.umount();
    // What does not have the digest that was resolved is never shown.
    let forged = Server::with({
        let mut content = content.clone();
        content[7] ^= 1;
        move |_| Some(content.clone())
    });
    place.mount(template, &["--mirror", &forged.url("")]);
    assert!(fs::read(listed(&place)).is_err());
    place.umount();

    place.mount(template, &["--mirror", &mirror]);
    let file = listed(&place);
    assert_eq!(place.stats()["layers"]["packages_opened"], 0);
    assert_eq!(fs::read(&file).unwrap(), content);
    let layers = &place.stats()["layers"];
    assert_eq!(
        (&layers["packages_total"], &layers["packages_fetched"]),
        (&1.into(), &1.into())
    );
    place.umount();
    // From now on it is cached.
    drop(server);
    place.mount(template, &["--mirror", &mirror, "--offline", "--tmp-upper"]);
    assert_eq!(fs::read(listed(&place)).unwrap(), content);
    fs::write(place.mnt().join("etc/version"), "mine").unwrap();
    place.umount();
}

#[test]
fn a_finished_image_is_shown_over_its_base() {
    let place = Place::new("image");
    place
        .try_mount(PROVIDER, &["--image", "edge"])
        .assert_fails(1, &["no finished build", "edge"]);
    let upper = place.oic.provider_dir().join("imagebuild/edge/upper/tree");
    fs::create_dir_all(upper.join("etc")).unwrap();
    fs::create_dir_all(upper.join("data")).unwrap();
    fs::write(upper.join("etc/version"), "edge").unwrap();
    tool("mknod", &[upper.join("data/00").to_str().unwrap(), "c", "0", "0"]);
    place
        .try_mount(PROVIDER, &["--image", "edge"])
        .assert_fails(1, &["what", "lies on is not known", "build the image again"]);
    let below = oic::layer::Below {
        base: Sha256::of("one"),
        layers: Vec::new(),
    };
    below.write(&upper.parent().unwrap().with_extension("base")).unwrap();

    place.mount(PROVIDER, &["--image", "edge"]);
    assert_eq!(place.read("etc/version"), "edge");
    assert!(!place.mnt().join("data/00").exists() && place.mnt().join("data/01").exists());
    assert!(fs::write(place.mnt().join("new"), "x").is_err());
    place.umount();

    place.mount(PROVIDER, &["--image", "edge", "--upper", "on-edge"]);
    fs::write(place.mnt().join("etc/version"), "mine").unwrap();
    place.umount();
    assert_eq!(fs::read_to_string(upper.join("etc/version")).unwrap(), "edge");
    place
        .try_mount(PROVIDER, &["--upper", "on-edge"])
        .assert_fails(1, &["another base"]);

    let work = place.oic.provider_dir().join("imagebuild/edge/.oic-tmp-work");
    fs::create_dir(&work).unwrap();
    place
        .try_mount(PROVIDER, &["--image", "edge"])
        .assert_fails(1, &["did not finish"]);
    fs::remove_dir(&work).unwrap();
    let _build = oic::durable::FileLock::exclusive(place.oic.provider_dir().join("imagebuild/edge.lock")).unwrap();
    place
        .try_mount(PROVIDER, &["--image", "edge"])
        .assert_fails(1, &["is running"]);
}

#[test]
fn what_is_missing_is_said() {
    let place = Place::new("missing");
    place
        .oic
        .run(&["mount", PROVIDER, "/does/not/exist"])
        .assert_fails(1, &["/does/not/exist"]);
    fs::remove_file(place.oic.provider_dir().join("chrootbuild/chrootenv.tar.gz")).unwrap();
    place
        .try_mount(PROVIDER, &[])
        .assert_fails(1, &["no base", "oic build"]);
    place
        .try_mount(PROVIDER, &["--upper", "a", "--tmp-upper"])
        .assert_fails(2, &["--tmp-upper"]);
    assert!(Path::new(&place.mnt()).exists());
}

/// Without root: through `fusermount3`, read-only, at a directory of one's own, unpacked to a place of one's own.
#[test]
fn who_is_not_root_mounts_with_fusermount3() {
    const USER: u32 = 65534;
    let place = Place::new("user");
    // Where everybody may look: the build directory may lie in somebody's home.
    let room = tempfile::tempdir().unwrap();
    let at = |name: &str| room.path().join(name);
    tool("chmod", &["755", room.path().to_str().unwrap()]);
    fs::copy(env!("CARGO_BIN_EXE_oic"), at("oic")).unwrap();
    for name in ["mnt", "temp"] {
        fs::create_dir(at(name)).unwrap();
        std::os::unix::fs::chown(at(name), Some(USER), Some(USER)).unwrap();
    }
    let base = at("work").join(PROVIDER).join("chrootbuild");
    fs::create_dir_all(&base).unwrap();
    for name in ["chrootenv.tar.gz", "chrootenv.idx"] {
        fs::copy(place.oic.provider_dir().join("chrootbuild").join(name), base.join(name)).unwrap();
    }
    let mnt = at("mnt").to_str().unwrap().to_owned();
    let run = |arguments: &[&str]| {
        let output = std::process::Command::new("setpriv")
            .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
            .arg(at("oic"))
            .args(arguments)
            .args(["--work-dir", at("work").to_str().unwrap()])
            .args(["--cache-dir", at("work").to_str().unwrap()])
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("OIC_TEMP_DIR", at("temp"))
            .output();
        Finished::of(&output.unwrap())
    };
    let as_user = |script: &str| {
        let user = ["--reuid=65534", "--regid=65534", "--clear-groups", "sh", "-c", script];
        tool("setpriv", &user)
    };
    // As udev has it: for everybody. Only this test sees it so.
    fs::create_dir(at("dev")).unwrap();
    let device = at("dev/fuse").to_str().unwrap().to_owned();
    tool("mount", &["-t", "tmpfs", "tmpfs", at("dev").to_str().unwrap()]);
    tool("mknod", &["-m", "666", &device, "c", "10", "229"]);
    tool("mount", &["--bind", &device, "/dev/fuse"]);
    run(&["mount", PROVIDER, &mnt, "--tmp-upper"]).assert_fails(1, &["a writable layer needs root"]);
    run(&["mount", PROVIDER, &mnt, "--overlay", "kernel", "--image", "x"]).assert_fails(1, &["no finished build"]);
    let mounted = run(&["mount", PROVIDER, &mnt]);
    assert_eq!(mounted.code, Some(0), "{}", mounted.stderr);
    assert_eq!(
        as_user(&format!("cat {mnt}/etc/version; head -c 2 {mnt}/data/07")),
        "one7 "
    );
    assert!(fs::read(at("mnt/etc/version")).is_err(), "root is another user");
    let options = table::mount_at(&fs::canonicalize(room.path()).unwrap().join("mnt"))
        .unwrap()
        .unwrap()
        .options;
    for option in ["ro", "nosuid", "nodev"] {
        assert!(options.split(',').any(|found| found == option), "{options}");
    }
    assert_eq!(
        run(&["mount", &mnt, "--stats", "--format", "json"]).json()["requests"]["errors"],
        0
    );
    let mut user = spawn_until_it_runs(
        std::process::Command::new("setpriv")
            .args(["--reuid=65534", "--regid=65534", "--clear-groups", "sh", "-c"])
            .arg(format!("exec 3< {mnt}/etc/version; exec sleep 100")),
        "sleep",
    );
    run(&["umount", &mnt]).assert_fails(1, &["in use", "sleep"]);
    user.kill().unwrap();
    user.wait().unwrap();
    let unmounted = run(&["umount", &mnt]);
    assert_eq!(unmounted.code, Some(0), "{}", unmounted.stderr);
    assert!(
        soon(|| fs::read_dir(at("temp")).unwrap().next().is_none()),
        "the store is left"
    );
}

/// As root of a user namespace of one's own.
#[test]
fn a_base_is_mounted_in_a_user_namespace() {
    let place = Place::new("namespace");
    let script = format!(
        "set -e; oic=\"{} --work-dir {} --cache-dir {}\"; $oic mount {PROVIDER} {mnt}; cat {mnt}/etc/version; $oic umount {mnt}",
        env!("CARGO_BIN_EXE_oic"),
        place.oic.work_dir.display(),
        place.oic.cache_dir.display(),
        mnt = place.mnt_text(),
    );
    assert!(tool("unshare", &["-Urm", "sh", "-c", &script]).ends_with("one"));
    assert!(!place.is_mounted());
}

/// A tarball of the tree that [`Place::make_base`] leaves, made by tar(1).
fn foreign_tarball(place: &Place, name: &str, arguments: &[&str]) -> PathBuf {
    let directory = place.oic.work_dir.join("elsewhere");
    fs::create_dir_all(&directory).unwrap();
    let path = directory.join(name);
    let tree = place.oic.work_dir.join("tree");
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    tool(
        "tar",
        &[&["-c", "-f", &text(&path), "-C", &text(&tree)], arguments, &["."]].concat(),
    );
    path
}

#[test]
fn a_tarball_is_mounted_with_its_index_beside_it() {
    let place = Place::new("tarball");
    for (name, arguments) in [
        ("plain.tar", &["--format=gnu"][..]),
        ("one.tar.gz", &["-z", "--format=posix"]),
        ("one.tar.zst", &["--zstd"]),
    ] {
        let tarball = foreign_tarball(&place, name, arguments);
        let tarball = tarball.to_str().unwrap();
        place.mount(tarball, &[]);
        assert_eq!(place.read("etc/version"), "one");
        assert!(place.read("data/07").starts_with("7 "));
        assert_eq!(place.stats()["layers"]["files_total"], 21);
        place.umount();
        // The index is there now, and is not made again.
        let index = PathBuf::from(format!("{tarball}.oic/chrootenv.idx"));
        let made = fs::metadata(&index).unwrap().ino();
        place.mount(tarball, &["--tmp-upper"]);
        fs::write(place.mnt().join("etc/version"), "changed").unwrap();
        assert_eq!(place.read("etc/version"), "changed");
        place.umount();
        assert_eq!(fs::metadata(&index).unwrap().ino(), made);
        // By default it is shown beside the tarball, and can be named by it.
        let shown = place.oic.run(&["mount", tarball]);
        assert_eq!(
            shown.stdout.trim(),
            format!("{tarball}.oic/chrootenv"),
            "{}",
            shown.stderr
        );
        assert_eq!(
            fs::read(format!("{tarball}.oic/chrootenv/etc/version")).unwrap(),
            b"one"
        );
        assert_eq!(place.oic.run(&["umount", tarball]).code, Some(0));
        let dumped = place.oic.run(&["debug", "snapshot", tarball]);
        assert!(dumped.stdout.contains("\n/etc/version "), "{}", dumped.stderr);
    }
    place
        .try_mount(
            &format!("{}/elsewhere/plain.tar", place.oic.work_dir.display()),
            &["--image", "edge"],
        )
        .assert_fails(2, &["--image", "tarball"]);
}

#[test]
fn where_nothing_can_be_written_the_index_is_kept_in_the_work_directory() {
    let place = Place::new("tarball-ro");
    let tarball = foreign_tarball(&place, "one.tar.gz", &["-z"]);
    let directory = tarball.parent().unwrap().to_str().unwrap().to_owned();
    tool("mount", &["--bind", &directory, &directory]);
    tool("mount", &["-o", "remount,bind,ro", &directory]);
    place.mount(tarball.to_str().unwrap(), &[]);
    assert_eq!(place.read("etc/version"), "one");
    place.umount();
    let kept: Vec<_> = fs::read_dir(place.oic.work_dir.join("tarballs"))
        .unwrap()
        .flatten()
        .collect();
    assert!(kept.len() == 1 && kept[0].path().join("chrootenv.idx").exists());
    tool("umount", &[&directory]);
}

#[test]
fn a_base_of_the_older_tool_is_shown() {
    let place = Place::new("older");
    let directory = place.oic.provider_dir().join("chrootbuild");
    fs::remove_file(directory.join("chrootenv.idx")).unwrap();
    fs::rename(
        foreign_tarball(&place, "old.tar.gz", &["-z"]),
        directory.join("chrootenv.tar.gz"),
    )
    .unwrap();
    place.mount(PROVIDER, &[]);
    assert_eq!(place.read("etc/version"), "one");
    place.umount();
    assert!(directory.join("chrootenv.idx").exists());
    let verified = place.oic.run(&["cache", "verify"]);
    assert_eq!(verified.code, Some(0), "{}", verified.stderr);
    // What is cut short is refused, with the reason, whoever made it.
    let tarball = directory.join("chrootenv.tar.gz");
    let bytes = fs::read(&tarball).unwrap();
    fs::write(&tarball, &bytes[..bytes.len() / 2]).unwrap();
    place
        .try_mount(PROVIDER, &[])
        .assert_fails(1, &["chrootenv.tar.gz", "cut short", "good copy"]);
}
