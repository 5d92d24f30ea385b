//! `.rpm` files that a template names: an image is built from them, signed by their vendor, also offline and from its
//! lockfile.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a panic is the report

use std::fs;
use std::path::{Path, PathBuf};

use oic_testkit::server::Server;
use oic_testkit::{Finished, Steps, rpm, rpm_fixture, tool};

use crate::support::program::{Oic, Shown};

const AZL3: &str = "azure-linux-azl3-x86_64";

struct Bench {
    oic: Oic,
    directory: PathBuf,
    template: PathBuf,
    _server: Server,
}

impl Bench {
    /// Prepares oic with the RPM distribution of the tests, and a template that asks for `one` and `three`.
    fn new(key: &rpm::Key) -> Self {
        let oic = Oic::new("rpm-package-files");
        let directory = oic.work_dir.join("bench");
        fs::create_dir_all(directory.join("rpms")).unwrap();
        let fixture = rpm_fixture::directory();
        let server = Server::with(move |path| {
            let path = rpm_fixture::decoded(path);
            fs::read(fixture.join(path.trim_start_matches('/'))).ok()
        });
        rpm_fixture::write_providers(&directory.join("data"));
        let config = format!(
            "config_dir: {}\nmirrors: {{azurelinux: {}/azl3}}\n",
            directory.join("data").display(),
            server.url("")
        );
        fs::write(directory.join("config.yml"), config).unwrap();
        fs::write(directory.join("vendor.asc"), key.public()).unwrap();
        let text = format!(
            "image: {{name: files, version: '1.0'}}\n\
             target: {{os: azure-linux, dist: azl3, arch: x86_64, imageType: raw}}\n\
             packageRepositories:\n  - codename: vendor\n    pkey: file://{}#{}\n    packages:\n      \
             - ./rpms/one-1.0-1.noarch.rpm\n      - ./more.tar.gz\n\
             systemConfig: {{name: files, packages: [one, three]}}\n",
            directory.join("vendor.asc").display(),
            key.fingerprint()
        );
        let template = directory.join("files.yml");
        fs::write(&template, text).unwrap();
        Self {
            oic,
            directory,
            template,
            _server: server,
        }
    }

    fn build(&self, more: &[&str]) -> Finished {
        let config = self.directory.join("config.yml");
        let args = [
            "--config",
            config.to_str().unwrap(),
            "build",
            self.template.to_str().unwrap(),
        ];
        self.oic.run(&[&args[..], &["--format", "json"], more].concat())
    }

    /// Moves the packages `names` from `rpms` into an archive.
    fn pack(&self, names: &[&str]) {
        let archive = self.directory.join("more.tar.gz");
        let mut arguments = vec!["-czf", archive.to_str().unwrap(), "--remove-files", "-C"];
        let rpms = self.directory.join("rpms");
        arguments.push(rpms.to_str().unwrap());
        arguments.extend(names);
        tool("tar", &arguments);
    }
}

/// Names of the packages that a lockfile has from the repository of files.
fn of_vendor(lockfile: &Path) -> Vec<String> {
    let lockfile: serde_json::Value = serde_json::from_slice(&fs::read(lockfile).unwrap()).unwrap();
    let packages = lockfile["packages"].as_array().unwrap().iter();
    let mut names: Vec<_> = packages
        .filter(|package| package["repository"] == "vendor")
        .map(|package| package["name"].as_str().unwrap().to_owned())
        .collect();
    names.sort();
    names
}

#[test]
fn rpm_files_become_a_repository() {
    let key = rpm::Key::new();
    let bench = Bench::new(&key);
    let rpms = bench.directory.join("rpms");
    rpm::build(
        &rpms,
        &[
            "one 1.0-1; Requires: two >= 1; Files: /usr/share/files/one",
            "two 1.0-1; Files: /usr/share/files/two",
            "three 1.0-1; Requires: bash; Files: /usr/share/files/three",
        ],
    );
    rpm::sign(&rpms, key.home(), rpm::Key::USER);
    bench.pack(&["two-1.0-1.noarch.rpm", "three-1.0-1.noarch.rpm"]);
    let mut steps = Steps::new();
    let first = steps.need("build", || bench.build(&[]).json());
    let lockfile = bench.directory.join("kept.lock.json");
    fs::copy(first["lockfile"].as_str().unwrap(), &lockfile).unwrap();
    steps.check("installed", || {
        assert_eq!(of_vendor(&lockfile), ["one", "three", "two"]);
        let shown = Shown::image(&bench.oic, AZL3, "files");
        for name in ["one", "two", "three"] {
            assert!(shown.root().join("usr/share/files").join(name).exists(), "{name}");
        }
        let sources = fs::read_dir(shown.root().join("etc/yum.repos.d")).into_iter().flatten();
        let mut names = sources.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        assert!(!names.any(|name| name.contains("vendor")), "a source on the build host");
    });
    steps.check("from the cache alone", || {
        let again = bench.build(&["--offline", "--from-scratch"]).json();
        assert_eq!(again["image"]["digest"], first["image"]["digest"]);
        let locked = bench.build(&["--offline", "--lock", lockfile.to_str().unwrap()]).json();
        assert_eq!(locked["image"]["digest"], first["image"]["digest"]);
    });
    steps.check("a package that nobody signed", || {
        fs::remove_file(rpms.join("one-1.0-1.noarch.rpm")).unwrap();
        rpm::build(
            &rpms,
            &["one 1.0-1; Requires: two >= 1; Files: /usr/share/files/one, /usr/share/files/more"],
        );
        let refused = bench.build(&[]);
        refused.assert_fails(1, &["one", "sign"]);
    });
    bench.oic.assert_clean();
}
