//! The promise of the RPM half, end to end: templates of azl3, emt3 and el10 become images, and one boots.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a panic is the report

mod common;
#[allow(dead_code)]
#[path = "support/rpm_fixture.rs"]
mod rpm_fixture;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::qemu::Machine;
use common::server::Server;
use common::{Oic, Shown};
use oic::package::Sha256;

const AZL3: &str = "azure-linux-azl3-x86_64";
/// Generous: emulation on a loaded machine takes minutes.
const BOOT_LIMIT: Duration = Duration::from_secs(900);
const COMMAND_LIMIT: Duration = Duration::from_secs(300);

/// One test, since each part needs what the one before made.
#[test]
fn templates_of_rpm_distributions_become_images() {
    let bench = Bench::new();
    let first = bench.build("azl3-minimal", &[]);
    assert_eq!(first["base"]["reused"], false, "{first}");
    assert_eq!(first["warnings"], serde_json::json!([]), "{first}");
    boots_and_is_what_the_template_says(&first);

    let second = bench.build("azl3-edge", &[]);
    assert_eq!(second["base"]["reused"], true, "{second}");
    let count = |report: &serde_json::Value, key: &str| report["packages"][key].as_u64().unwrap();
    assert!(
        count(&second, "reused") > 100 && count(&second, "fetched") > 0,
        "{second}"
    );
    for template in ["emt3-minimal", "el10-minimal"] {
        let report = bench.build(template, &[]);
        assert_eq!(report["warnings"], serde_json::json!([]), "{report}");
    }
    bench.nothing_was_fetched_twice();

    let offline = bench.end_service();
    let again = offline.build("azl3-edge", &["--offline"]);
    assert_eq!(count(&again, "fetched"), 0);
    assert_eq!(
        again["image"]["sha256"], second["image"]["sha256"],
        "the same packages, another image"
    );
    let lockfile = offline.directory.path().join("edge.lock.json");
    fs::copy(again["lockfile"].as_str().unwrap(), &lockfile).unwrap();
    let locked = offline.build("azl3-edge", &["--offline", "--lock", lockfile.to_str().unwrap()]);
    assert_eq!(locked["image"]["sha256"], second["image"]["sha256"]);
    is_seen_through_mount_and_diff(&offline.oic);
    offline.oic.assert_clean();
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
        let mut oic = Oic::new("rpm-image");
        // Packages of these names and other content may be in the cache that others use.
        oic.cache_dir = oic.work_dir.join("cache");
        let requests: Arc<Mutex<BTreeMap<String, usize>>> = Arc::default();
        let (seen, root) = (Arc::clone(&requests), fixture.clone());
        let server = Server::start(move |path| {
            *seen.lock().unwrap().entry(path.to_owned()).or_default() += 1;
            let path = rpm_fixture::decoded(path);
            fs::read(root.join(path.trim_start_matches('/'))).ok()
        });
        let providers = directory.path().join("data");
        rpm_fixture::write_providers(&providers);
        let url = server.url();
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

    fn build(&self, template: &str, more: &[&str]) -> serde_json::Value {
        let templates = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/rpm_templates");
        let template = templates.join(format!("{template}.yml"));
        let config = self.directory.path().join("config.yml");
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
