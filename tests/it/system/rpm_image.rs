//! The promise of the RPM half, end to end: templates of azl3, emt3 and el10 become images, and one boots.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a panic is the report

use oic_testkit::{Steps, rpm_fixture, selinux};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use crate::support::program::{Oic, Shown};
use oic::layer::LayerStore;
use oic::package::Sha256;
use oic_testkit::qemu::Machine;
use oic_testkit::server::Server;

const AZL3: &str = "azure-linux-azl3-x86_64";
const EL10: &str = "redhat-compatible-distro-el10-x86_64";
/// Generous: emulation on a loaded machine takes minutes.
const BOOT_LIMIT: Duration = Duration::from_secs(900);
const COMMAND_LIMIT: Duration = Duration::from_secs(300);

/// One test, since each part needs what the one before made.
#[test]
fn templates_of_rpm_distributions_become_images() {
    let bench = Bench::new();
    let mut steps = Steps::new();
    let first = steps.need("azl3-minimal", || bench.build("azl3-minimal", &[]));
    steps.check("first build", || {
        assert_eq!(first["base"]["reused"], false, "{first}");
        assert_eq!(first["warnings"], serde_json::json!([]), "{first}");
    });
    steps.check("boot", || boots_and_is_what_the_template_says(&first));

    let second = steps.need("azl3-edge", || bench.build("azl3-edge", &[]));
    let count = |report: &serde_json::Value, key: &str| report["packages"][key].as_u64().unwrap();
    steps.check("second build", || {
        assert_eq!(second["base"]["reused"], true, "{second}");
        assert!(
            count(&second, "reused") > 100 && count(&second, "fetched") > 0,
            "{second}"
        );
    });
    let [_, el10] = ["emt3-minimal", "el10-minimal"].map(|template| {
        let report = steps.need(template, || bench.build(template, &[]));
        assert_eq!(report["warnings"], serde_json::json!([]), "{report}");
        PathBuf::from(report["image"]["path"].as_str().unwrap())
    });
    steps.check("downloads", || bench.nothing_was_fetched_twice());

    let offline = bench.end_service();
    let again = steps.need("azl3-edge, offline", || offline.build("azl3-edge", &["--offline"]));
    steps.check("offline", || {
        assert_eq!(count(&again, "fetched"), 0);
        assert_eq!(
            again["image"]["digest"], second["image"]["digest"],
            "the same packages, another image"
        );
    });
    let lockfile = offline.directory.path().join("edge.lock.json");
    fs::copy(again["lockfile"].as_str().unwrap(), &lockfile).unwrap();
    steps.check("lockfile", || {
        let locked = offline.build("azl3-edge", &["--offline", "--lock", lockfile.to_str().unwrap()]);
        assert_eq!(locked["image"]["digest"], second["image"]["digest"]);
    });
    let oic = &offline.oic;
    steps.check("mount and diff", || is_seen_through_mount_and_diff(oic));
    steps.check("dnf", || dnf_knows_the_packages_of_the_lockfile(oic, &lockfile));
    steps.check("boot entry", || kernel_and_initrd_are_in_the_boot_entry(oic, &el10));
    steps.check("labels", || files_have_the_labels_of_the_policy(oic, &el10));
    steps.check("list of mirrors", || {
        packages_come_through_a_list_of_mirrors(offline.with_a_list_of_mirrors(), &lockfile);
    });
}

/// What a lockfile lists, as `name-epoch:version-release.arch`.
fn locked_packages(lockfile: &Path) -> BTreeSet<String> {
    let lockfile: serde_json::Value = serde_json::from_slice(&fs::read(lockfile).unwrap()).unwrap();
    let packages = lockfile["packages"].as_array().unwrap().iter();
    let full = packages.map(|package| {
        let [name, version, arch] = ["name", "version", "architecture"].map(|key| package[key].as_str().unwrap());
        let epoch = if version.contains(':') { "" } else { "0:" };
        format!("{name}-{epoch}{version}.{arch}")
    });
    full.collect()
}

/// The host's dnf looks into the image's database.
fn dnf_knows_the_packages_of_the_lockfile(oic: &Oic, lockfile: &Path) {
    let shown = Shown::writable_image(oic, AZL3, "edge");
    let scratch = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let option = |name: &str| {
        let directory = scratch.path().join(name);
        fs::create_dir(&directory).unwrap();
        format!("--setopt={name}={}", directory.display())
    };
    // Debian's own rpm looks for the database in the user's home directory.
    fs::write(scratch.path().join(".rpmmacros"), "%_dbpath /var/lib/rpm\n").unwrap();
    let output = Command::new("dnf")
        .arg(format!("--installroot={}", shown.root().display()))
        .args([
            option("cachedir"),
            option("logdir"),
            option("varsdir"),
            option("reposdir"),
        ])
        .args(["--quiet", "--noplugins", "--releasever=3", "repoquery", "--installed"])
        .args(["--queryformat", "%{name}-%{epoch}:%{version}-%{release}.%{arch}"])
        .env("HOME", scratch.path())
        .output()
        .expect("this test needs dnf (package dnf)");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let found: BTreeSet<String> = text.lines().map(str::to_owned).collect();
    assert_eq!(found, locked_packages(lockfile));
    assert!(found.len() > 100, "{}", found.len());
}

/// Runs `program`, which must succeed; gives what it writes.
fn output(program: &str, args: &[&str]) -> Vec<u8> {
    let output = Command::new(program).args(args).output().unwrap();
    assert!(
        output.status.success(),
        "{program} {args:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    output.stdout
}

/// The kernel of el10 lies beside its modules; the unified kernel image has it and its initrd.
fn kernel_and_initrd_are_in_the_boot_entry(oic: &Oic, image: &Path) {
    let shown = Shown::image(oic, EL10, "minimal");
    let root = shown.root();
    let modules = fs::read_dir(root.join("usr/lib/modules")).unwrap();
    let versions: Vec<_> = modules
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let [version] = &versions[..] else {
        panic!("{versions:?}")
    };
    assert!(!root.join(format!("boot/vmlinuz-{version}")).exists());
    let kernel = root.join("usr/lib/modules").join(version).join("vmlinuz");
    let initrd = root.join(format!("boot/initramfs-{version}.img"));
    let scratch = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let path = |name: &str| scratch.path().join(name).to_str().unwrap().to_owned();
    let esp = format!("{}@@1M", image.display());
    output("mcopy", &["-i", &esp, "::EFI/Linux/linux.efi", &path("uki")]);
    for (section, file) in [(".linux", kernel), (".initrd", initrd)] {
        let dumped = format!("{section}={}", path("section"));
        output("objcopy", &["--dump-section", &dumped, &path("uki"), &path("copy")]);
        let (found, expected) = (fs::read(path("section")).unwrap(), fs::read(file).unwrap());
        assert!(
            expected.len() > 1 << 20 && found.starts_with(&expected),
            "{section} of {version}"
        );
    }
    let entry = output(
        "objcopy",
        &["--dump-section", ".cmdline=/dev/stdout", &path("uki"), &path("copy")],
    );
    assert!(String::from_utf8_lossy(&entry).contains("root="));
}

/// Every file of the root partition has the label that libselinux says.
fn files_have_the_labels_of_the_policy(oic: &Oic, image: &Path) {
    let shown = Shown::image(oic, EL10, "minimal");
    let root = shown.root();
    assert!(
        !root.join(".autorelabel").exists(),
        "nothing is left to be labelled at the first boot"
    );
    let (mut files, mut pending) = (Vec::new(), vec![PathBuf::from("/")]);
    while let Some(path) = pending.pop() {
        let inside = root.join(path.strip_prefix("/").unwrap());
        let metadata = fs::symlink_metadata(&inside).unwrap();
        files.push((metadata.mode(), path.to_str().unwrap().to_owned()));
        // Another partition is mounted there.
        if metadata.is_dir() && path != Path::new("/boot/efi") {
            pending.extend(
                fs::read_dir(&inside)
                    .unwrap()
                    .map(|entry| path.join(entry.unwrap().file_name())),
            );
        }
    }
    let asked: Vec<_> = files.iter().map(|(mode, path)| (*mode, path.as_str())).collect();
    let contexts = root.join("etc/selinux/targeted/contexts/files/file_contexts");
    let expected = selinux::labels(&contexts, &asked);
    let scratch = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let commands = scratch.path().join("commands");
    let ask = |(_, path): &(u32, String)| format!("ea_get -V \"{path}\" security.selinux\n");
    fs::write(&commands, files.iter().map(ask).collect::<String>()).unwrap();
    let partition = format!("{}?offset={}", image.display(), 257 << 20);
    let found = output("debugfs", &["-f", commands.to_str().unwrap(), &partition]);
    let found = String::from_utf8_lossy(&found);
    let mut answers = found.split("debugfs: ").skip(1);
    for ((_, path), expected) in files.iter().zip(&expected) {
        let answer = answers.next().and_then(|answer| answer.split_once('\n')).unwrap().1;
        assert_eq!(answer.trim_end_matches(['\0', '\n']), expected, "{path}");
    }
    let kinds: BTreeSet<&String> = expected.iter().collect();
    assert!(
        files.len() > 4000 && kinds.len() > 100,
        "{} files, {} labels",
        files.len(),
        kinds.len()
    );
}

/// A lockfile is built, and its packages are shown, where nothing but a list of mirrors says where packages are.
fn packages_come_through_a_list_of_mirrors(bench: Bench, lockfile: &Path) {
    let cache = bench.oic.cache_dir.join("pkgCache").join(AZL3);
    let curl = || {
        let mut names = fs::read_dir(&cache).unwrap().map(|entry| entry.unwrap().path());
        names.find(|path| path.file_name().unwrap().to_str().unwrap().starts_with("curl-"))
    };
    let path = curl().unwrap();
    let bytes = fs::read(&path).unwrap();
    fs::remove_file(&path).unwrap();
    let report = bench.build("azl3-edge", &["--lock", lockfile.to_str().unwrap()]);
    assert_eq!(report["packages"]["unneeded"], report["packages"]["total"], "{report}");
    let layers = LayerStore::new(bench.oic.work_dir.join(AZL3).join("chrootbuild/layers"));
    let of_packages = layers.list().unwrap().into_iter();
    of_packages
        .filter(|layer| layer.manifest.facts.step == "packages")
        .for_each(|layer| oic::durable::remove_tree(layer.directory()).unwrap());
    let report = bench.build("azl3-edge", &["--lock", lockfile.to_str().unwrap()]);
    assert_eq!(report["packages"]["fetched"], 1, "{report}");
    fs::remove_file(curl().unwrap()).unwrap();

    let shown = Shown::new(&bench.oic, "pool");
    let template = bench.template("azl3-edge");
    let config = bench.config();
    let args = [
        "mount".as_ref(),
        template.as_os_str(),
        shown.root().as_os_str(),
        "--config".as_ref(),
        config.as_os_str(),
    ];
    let mounted = bench.oic.run(&args);
    assert_eq!(mounted.code, Some(0), "{}", mounted.stderr);
    assert!(!mounted.stderr.contains("cannot be opened"), "{}", mounted.stderr);
    let in_pool = shown.root().join("cdrom/cache-repo").join(path.file_name().unwrap());
    assert_eq!(fs::read(in_pool).unwrap(), bytes);
    // The server has ended when this returns.
    let unmounted = bench.oic.run(&["umount".as_ref(), shown.root().as_os_str()]);
    assert_eq!(unmounted.code, Some(0), "{}", unmounted.stderr);
    bench.oic.assert_clean();
}

/// The packages of the last build, its tree, and what it has beyond the base.
fn is_seen_through_mount_and_diff(oic: &Oic) {
    let shown = Shown::image(oic, AZL3, "edge");
    assert!(shown.root().join("usr/bin/curl").exists(), "installed into the image");
    assert!(shown.root().join("usr/bin/rpm").exists(), "of the base");
    drop(shown);
    let report = oic.run(&["diff", AZL3, "edge", "--format", "json"]).json();
    let changes = report["changes"].as_array().unwrap();
    for (path, action) in [
        ("/usr/bin/curl", "added"),
        ("/etc/hostname", "added"),
        ("/etc/passwd", "changed"),
    ] {
        let found = changes.iter().filter(|change| change["path"] == path);
        let actions: Vec<_> = found.map(|change| &change["action"]).collect();
        assert_eq!(actions, [action], "{path}");
    }
    assert!(changes.iter().all(|change| change["path"] != "/usr/bin/rpm"));
    let verified = oic.run(&["cache", "verify", "--provider-id", AZL3]);
    assert_eq!(verified.code, Some(0), "{}", verified.stdout);
}

/// oic, configured to take the fixture for the mirror of its providers.
struct Bench {
    oic: Oic,
    directory: tempfile::TempDir,
    _server: Option<Server>,
    requests: Arc<Mutex<BTreeMap<String, usize>>>,
}

impl Bench {
    fn new() -> Self {
        let fixture = rpm_fixture::directory();
        let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let oic = Oic::new("rpm-image");
        let requests: Arc<Mutex<BTreeMap<String, usize>>> = Arc::default();
        let (seen, root) = (Arc::clone(&requests), fixture.clone());
        let server = Server::with(move |path| {
            *seen.lock().unwrap().entry(path.to_owned()).or_default() += 1;
            let path = rpm_fixture::decoded(path);
            fs::read(root.join(path.trim_start_matches('/'))).ok()
        });
        let providers = directory.path().join("data");
        rpm_fixture::write_providers(&providers);
        let url = server.url("");
        let config = format!(
            "config_dir: {}\nmirrors:\n  azurelinux: {url}/azl3\n  emt: {url}/emt3\n  \
             centos-stream-baseos: {url}/el10/baseos\n  centos-stream-appstream: {url}/el10/appstream\n",
            providers.display()
        );
        fs::write(directory.path().join("config.yml"), config).unwrap();
        Self {
            oic,
            directory,
            _server: Some(server),
            requests,
        }
    }

    fn template(&self, name: &str) -> PathBuf {
        let templates = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/rpm_templates");
        templates.join(format!("{name}.yml"))
    }

    fn config(&self) -> PathBuf {
        self.directory.path().join("config.yml")
    }

    fn build(&self, template: &str, more: &[&str]) -> serde_json::Value {
        let (template, config) = (self.template(template), self.config());
        let mut args = vec![
            "build".as_ref(),
            template.as_os_str(),
            "--format".as_ref(),
            "json".as_ref(),
        ];
        args.extend(["--config".as_ref(), config.as_os_str()]);
        args.extend(more.iter().map(|word| std::ffi::OsStr::new(*word)));
        let report = self.oic.run(&args).json();
        self.oic.assert_clean();
        report
    }

    fn nothing_was_fetched_twice(&self) {
        let requests = self.requests.lock().unwrap();
        let packages: Vec<_> = requests.iter().filter(|(path, _)| path.ends_with(".rpm")).collect();
        assert!(packages.len() > 100);
        assert!(packages.iter().all(|(_, count)| **count == 1), "{packages:#?}");
    }

    /// From now on the distribution's list of mirrors is all that leads to packages; its first one is gone.
    fn with_a_list_of_mirrors(mut self) -> Self {
        let (root, own) = (rpm_fixture::directory(), Arc::new(OnceLock::<String>::new()));
        let url = Arc::clone(&own);
        let server = Server::with(move |path| match path {
            "/list" => Some(format!("{0}/gone\n{0}/azl3\n", url.get()?).into_bytes()),
            path => fs::read(root.join(rpm_fixture::decoded(path).trim_start_matches('/'))).ok(),
        });
        own.set(server.url("")).unwrap();
        let data = self.directory.path().join("data");
        let provider = data.join("providers/azure-linux/azl3/provider.yml");
        let text = fs::read_to_string(&provider).unwrap();
        let base_url = text
            .lines()
            .find(|line| line.trim_start().starts_with("baseUrl:"))
            .unwrap();
        let list = format!("    mirrorList: {}/list", server.url(""));
        fs::write(&provider, text.replace(base_url, &list)).unwrap();
        fs::write(self.config(), format!("config_dir: {}\n", data.display())).unwrap();
        self._server = Some(server);
        self
    }

    /// From now on there is no mirror.
    fn end_service(mut self) -> Self {
        self._server = None;
        self
    }
}

fn boots_and_is_what_the_template_says(report: &serde_json::Value) {
    let path = |value: &serde_json::Value| PathBuf::from(value.as_str().unwrap());
    let lockfile: serde_json::Value = serde_json::from_slice(&fs::read(path(&report["lockfile"])).unwrap()).unwrap();
    let text = |package: &serde_json::Value, key: &str| package[key].as_str().unwrap().to_owned();
    let locked: BTreeSet<_> = lockfile["packages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|package| {
            let [name, version, arch] = ["name", "version", "architecture"].map(|key| text(package, key));
            format!("{name} {version} {arch}\n")
        })
        .collect();
    let locked = Sha256::of(locked.into_iter().collect::<String>());

    let mut machine = Machine::boot(&path(&report["image"]["path"]));
    machine.log_in("root", "oic", BOOT_LIMIT);
    let mut check = |command: &str, expected: &str| {
        let (code, output) = machine.run(command, COMMAND_LIMIT);
        assert_eq!((code, output.as_str()), (0, expected), "{command}");
    };
    check("systemctl is-system-running --wait", "running");
    check("systemctl --failed --no-legend --plain", "");
    check("uname -n", "azl3-minimal");
    check("cat /etc/oic-configured", "configured in azurelinux");
    check("findmnt -n -o SOURCE,FSTYPE / | grep -c '^/dev/vda2 *ext4$'", "1");
    check("findmnt -n -o FSTYPE --mountpoint /boot/efi", "vfat");
    check("ls -d /cdrom /.oic* /oic* 2>/dev/null | wc -l", "0");
    let query = r"rpm -qa --queryformat '%{NAME} %{EVR} %{ARCH}\n' | LC_ALL=C sort | sha256sum | cut -d ' ' -f 1";
    check(query, &locked.to_string());
    check("rpm -Va | grep -v '  c /' | cat", "");
}
