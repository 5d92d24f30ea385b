//! The commands that need no root, over a signed RPM repository: resolution from the command line,
//! what is kept, and what is refused.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a panic is the report

use oic_testkit::rpm;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use crate::support::program::Oic;
use oic::cache::{CacheError, PackageCache, RemotePackage, Signers};
use oic::cancel::Cancel;
use oic::fetch::{FetchOptions, Fetcher};
use oic::package::{ResolvedPackage, Sha256};
use oic::work::Work;
use oic_testkit::Finished;
use oic_testkit::server::Server;

const PROVIDER: &str = "azure-linux-azl3-x86_64";

const PACKAGES: &[&str] = &[
    "core-packages-container 1.0-1; Requires: shell",
    "shell 5.2-1; Arch: x86_64; Requires: libfoo.so.1()(64bit); Files: /usr/bin/shell",
    "libs 1:3.0-1; Arch: x86_64; Provides: libfoo.so.1()(64bit)",
    "tool 1.0-1; Requires: (helper if shell), /usr/share/data/file; Requires(pre): shell",
    "helper 2.0~rc1-1; Files: /usr/share/helper",
    "data 1.0-1; Files: /usr/share/data/file",
    "lonely 1.0-1; Requires: nobody-has-this",
    "app 1.0-1; Recommends: addon, (extra if addon), nobody-has-this",
    "addon 1.0-1; Requires: part; Files: /usr/share/addon",
    "part 1.0-1; Files: /usr/share/part",
    "extra 1.0-1; Files: /usr/share/extra",
];

const COMPS: &str = "<comps><group><id>tools</id><packagelist><packagereq>tool</packagereq>\
<packagereq type='default'>gone</packagereq></packagelist></group></comps>\n";

const DEFAULT: &str = "image: {name: azl3, version: '3.0'}\n\
target: {os: azure-linux, dist: azl3, arch: x86_64, imageType: raw}\n\
disk: {name: d, size: 1GiB, partitionTableType: gpt, partitions: [{id: esp, type: esp, start: 1MiB, end: 100MiB, fsType: fat32, mountPoint: /boot/efi}, {id: root, start: 100MiB, end: '0', fsType: ext4, mountPoint: /}]}\n\
systemConfig: {name: default, packages: [shell]}\n";

/// A provider whose repository is on disk and signed with a key of the test.
struct Fixture {
    directory: tempfile::TempDir,
    key: rpm::Key,
    oic: Oic,
}

impl Fixture {
    fn new(name: &str, signed: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let oic = Oic {
            cache_dir: directory.path().join("cache"),
            ..Oic::new(name)
        };
        let fixture = Self {
            directory,
            key: rpm::Key::new(),
            oic,
        };
        let repository = fixture.repository();
        fs::create_dir(&repository).unwrap();
        rpm::build(&repository, PACKAGES);
        fs::write(repository.join("comps.xml"), COMPS).unwrap();
        rpm::sign(&repository, fixture.key.home(), rpm::Key::USER);
        let vendor = "baseUrl: https://vendor.invalid/{arch}";
        let mirror = format!("mirrors:\n  azurelinux: file://{}\n", repository.display());
        fixture.configure(vendor, signed, &mirror);
        fixture
    }

    /// Writes the provider's data, with where its vendor serves it, and a configuration with `mirrors`.
    fn configure(&self, vendor: &str, signed: &str, mirrors: &str) {
        let provider = self.path("data/providers/azure-linux/azl3");
        fs::create_dir_all(provider.join("defaults")).unwrap();
        fs::create_dir_all(self.path("data/keys")).unwrap();
        fs::write(self.path("data/keys/vendor.asc"), self.key.public()).unwrap();
        fs::write(provider.join("defaults/raw.yml"), DEFAULT).unwrap();
        let text = format!(
            "os: azure-linux\ndist: azl3\npackageSystem: rpm\nreleaseVersion: '3.0'\narchitectures: [x86_64]\n\
             repositories:\n  - id: base\n    archive: azurelinux\n    {vendor}\n    signed: {signed}\n    keys: [{{file: vendor.asc, fingerprints: [{}]}}]\n\
             basePackages: [core-packages-container]\ndefaults: [{{imageType: raw, file: raw.yml}}]\n",
            self.key.fingerprint()
        );
        fs::write(provider.join("provider.yml"), text).unwrap();
        let config = format!("config_dir: {}\n{mirrors}", self.path("data").display());
        fs::write(self.path("config.yml"), config).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn repository(&self) -> PathBuf {
        self.path("repository")
    }

    /// A template that asks for `package`.
    fn template(&self, package: &str) -> String {
        let text = format!(
            "image: {{name: t, version: '1.0'}}\ntarget: {{os: azure-linux, dist: azl3, arch: x86_64, imageType: raw}}\n\
             systemConfig: {{name: t, packages: [{package}]}}\n"
        );
        let path = self.path("template.yml");
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    fn run(&self, args: &[&str]) -> Finished {
        self.oic
            .run(&[&["--config", self.path("config.yml").to_str().unwrap()], args].concat())
    }
}

#[test]
fn what_repositories_offer_is_found_and_shown() {
    let fixture = Fixture::new("rpm-search", "both");
    let names = |args: &[&str]| {
        let answer = fixture.run(&[args, &["--format", "json"]].concat()).json();
        let packages = answer["packages"].as_array().unwrap().clone();
        let name = |package: &serde_json::Value| package["name"].as_str().unwrap().to_owned();
        packages.iter().map(name).collect::<Vec<_>>()
    };
    // A part of a name in any case, a pattern for whole names; a provider, then a template; online, then offline.
    assert_eq!(names(&["search", "LIB", PROVIDER]), ["libs"]);
    let template = fixture.template("tool");
    assert_eq!(
        names(&["search", "[hs]*l*", &template, "--offline"]),
        ["helper", "shell"]
    );
    assert_eq!(names(&["search", "hel", &template, "--offline"]), ["helper", "shell"]);
    let shown = fixture.run(&["show", "libs", PROVIDER, "--offline"]);
    for line in [
        "Package: libs",
        "Version: 1:3.0-1",
        "Architecture: x86_64",
        "libfoo.so.1()(64bit)",
    ] {
        assert!(shown.stdout.contains(line), "{line}: {}", shown.stdout);
    }
    fixture
        .run(&["show", "helpr", PROVIDER, "--offline"])
        .assert_fails(1, &["no repository has a package \"helpr\"", "did you mean helper?"]);
    fixture
        .run(&["search", "zzz", PROVIDER, "--offline"])
        .assert_fails(1, &["no package has \"zzz\" in its name or summary"]);
    assert!(!fixture.oic.provider_dir().exists(), "it builds nothing");
}

fn packages(answer: &serde_json::Value) -> Vec<String> {
    let chain = answer["chain"].as_array().unwrap();
    chain
        .iter()
        .map(|step| step["package"].as_str().unwrap().to_owned())
        .collect()
}

/// The error of packages that cannot be installed says which file of a chain asks for them, or that the default does.
#[test]
fn an_error_names_the_template_that_asks() {
    let fixture = Fixture::new("rpm-chain", "both");
    let head =
        "image: {name: t, version: '1.0'}\ntarget: {os: azure-linux, dist: azl3, arch: x86_64, imageType: raw}\n";
    let write = |name: &str, text: &str| fs::write(fixture.path(name), format!("{head}{text}")).unwrap();
    write("grand.yml", "systemConfig:\n  packages:\n    - lonely\n");
    write("parent.yml", "extends: grand.yml\nsystemConfig: {packages: [data]}\n");
    write("child.yml", "extends: parent.yml\nsystemConfig: {packages: [tool]}\n");
    let child = fixture.path("child.yml");
    let grand = fixture.path("grand.yml");
    let place = format!("lonely is asked for in {}:5", grand.display());
    fixture
        .run(&["why", "shell", child.to_str().unwrap()])
        .assert_fails(1, &["lonely 1.0-1 needs nobody-has-this", &place, "-lonely"]);
    let leaves_out = "extends: parent.yml\nsystemConfig: {packages: [tool, -lonely]}\n";
    write("child.yml", leaves_out);
    fixture
        .run(&["why", "helper", child.to_str().unwrap(), "--format", "json"])
        .json();
    let defaults = fixture.path("data/providers/azure-linux/azl3/defaults/raw.yml");
    fs::write(defaults, DEFAULT.replace("[shell]", "[shell, lonely]")).unwrap();
    let own = fixture.template("tool");
    fixture.run(&["why", "shell", &own]).assert_fails(
        1,
        &[
            "lonely is asked for in the default template of azure-linux-azl3-x86_64",
            "-lonely",
        ],
    );
}

/// As dnf, oic takes what is recommended and can be installed, for all packages or for some; and says why it is there.
#[test]
fn recommendations_come_where_the_template_asks() {
    let fixture = Fixture::new("rpm-recommends", "both");
    let chain = |system: &str, package: &str| {
        let template = fixture.template(&format!("app, tool], {system}, removePackages: [zzz"));
        fixture.run(&["why", package, &template, "--format", "json"])
    };
    for system in ["recommends: true", "recommendsOf: [app]"] {
        let answer = chain(system, "part").json();
        assert_eq!(packages(&answer), ["app", "addon", "part"], "{system}");
        assert_eq!(answer["chain"][0]["needs_next"], "recommends");
        assert_eq!(packages(&chain(system, "extra").json()), ["app", "extra"], "{system}");
    }
    for system in ["recommends: false", "recommendsOf: [tool]"] {
        chain(system, "addon").assert_fails(1, &["addon is not among the"]);
    }
    chain("recommendsOf: [shell]", "tool").json();
    chain("recommendsOf: [lonely]", "tool").assert_fails(1, &["\"lonely\" is not among the packages"]);
    chain("foreignArchitectures: [i386]", "tool").assert_fails(1, &["has no packages of several architectures"]);
}

#[test]
fn templates_of_rpm_providers_validate_and_resolve() {
    let fixture = Fixture::new("rpm-why", "both");
    let template = fixture.template("tool");
    let valid = fixture.run(&["validate", &template]);
    assert_eq!(valid.code, Some(0), "{}", valid.stderr);
    // Through a rich dependency, a file that only file lists know, a soname; an epoch and a tilde.
    let answer = fixture.run(&["why", "helper", &template, "--format", "json"]).json();
    assert_eq!(packages(&answer), ["tool", "helper"]);
    assert_eq!(answer["version"], "2.0~rc1-1");
    let answer = fixture.run(&["why", "data", &template, "--format", "json"]).json();
    assert_eq!(packages(&answer), ["tool", "data"]);
    let answer = fixture.run(&["why", "libs", &template, "--format", "json"]).json();
    assert_eq!(packages(&answer), ["core-packages-container", "shell", "libs"]);
    assert_eq!(
        (&answer["version"], &answer["reason"]),
        (&"1:3.0-1".into(), &"base".into())
    );
    // Everything is cached now, file lists too.
    fs::rename(fixture.repository(), fixture.path("gone")).unwrap();
    let offline = fixture
        .run(&["why", "data", &template, "--offline", "--format", "json"])
        .json();
    assert_eq!(packages(&offline), ["tool", "data"]);
    fixture
        .run(&["why", "data", &template])
        .assert_fails(1, &["repository base", "repomd.xml"]);
    let verified = fixture.run(&["cache", "verify", "--format", "json"]).json();
    assert!(verified["indexes"].as_u64().unwrap() >= 4, "{verified}");
    assert_eq!(verified["bad"], serde_json::json!([]));
    // A damaged index is found.
    let metadata = fixture.path("cache/pkgCache").join(PROVIDER).join("metadata");
    let index = find(&metadata, "Primary.");
    fs::write(&index, "damage").unwrap();
    let verified = fixture.run(&["cache", "verify"]);
    assert!(verified.code == Some(1) && (verified.stdout + &verified.stderr).contains("Primary."));
    let lonely = fixture.template("lonely");
    fs::rename(fixture.path("gone"), fixture.repository()).unwrap();
    fixture
        .run(&["why", "shell", &lonely])
        .assert_fails(1, &["lonely 1.0-1 needs nobody-has-this, which no repository has"]);
    fixture.oic.assert_clean();
}

#[test]
fn groups_stand_for_packages_and_excluded_ones_are_not_taken() {
    let fixture = Fixture::new("rpm-groups", "both");
    let template = fixture.template("'@tools'");
    let answer = fixture.run(&["why", "helper", &template, "--format", "json"]).json();
    assert_eq!(packages(&answer), ["tool", "helper"]);
    let offline = fixture
        .run(&["why", "helper", &template, "--offline", "--format", "json"])
        .json();
    assert_eq!(packages(&offline), ["tool", "helper"]);
    let mistyped = fixture.template("'@tool'");
    fixture
        .run(&["why", "helper", &mistyped])
        .assert_fails(1, &["no repository has a group named tool", "did you mean @tools?"]);

    let vendor = "baseUrl: https://vendor.invalid/{arch}\n    excludePackages: ['shell-5*.x86_64']";
    let mirror = format!("mirrors:\n  azurelinux: file://{}\n", fixture.repository().display());
    fixture.configure(vendor, "both", &mirror);
    let template = fixture.template("'@tools'");
    fixture.run(&["why", "helper", &template]).assert_fails(
        1,
        &[
            "core-packages-container 1.0-1 needs shell, which no repository has",
            "packages of repository base are limited by excludePackages: shell-5*.x86_64",
        ],
    );
    fixture.oic.assert_clean();
}

fn find(directory: &Path, name: &str) -> PathBuf {
    let directories = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let files = directories
        .filter(|path| path.is_dir())
        .flat_map(|path| fs::read_dir(path).unwrap());
    let mut paths = files.map(|entry| entry.unwrap().path());
    paths.find(|path| path.to_str().unwrap().contains(name)).unwrap()
}

#[test]
fn metadata_is_signed_as_the_provider_says() {
    let fixture = Fixture::new("rpm-signed", "both");
    let template = fixture.template("shell");
    let signature = fixture.repository().join("repodata/repomd.xml.asc");
    let other = rpm::Key::new();
    rpm::sign_metadata(&fixture.repository(), other.home(), rpm::Key::USER);
    fixture
        .run(&["why", "shell", &template])
        .assert_fails(1, &["repository base", "signed by unknown key", &other.fingerprint()]);
    fs::remove_file(&signature).unwrap();
    fixture
        .run(&["why", "shell", &template])
        .assert_fails(1, &["repository base", "is not signed"]);
    let packages = Fixture::new("rpm-packages-signed", "packages");
    fs::remove_file(packages.repository().join("repodata/repomd.xml.asc")).unwrap();
    let template = packages.template("shell");
    packages.run(&["why", "shell", &template, "--format", "json"]).json();
}

#[test]
fn lists_of_mirrors_are_followed() {
    let fixture = Fixture::new("rpm-mirrors", "both");
    let template = fixture.template("tool");
    let (root, own) = (fixture.repository(), Arc::new(OnceLock::<String>::new()));
    let address = Arc::clone(&own);
    let server = Server::with(move |path| {
        let base = address.get()?;
        match path {
            "/list" => Some(format!("# mirrors\n{base}/gone\n{base}/os/\n").into_bytes()),
            "/metalink" => {
                let digest = Sha256::of(fs::read(root.join("repodata/repomd.xml")).ok()?);
                let metalink = format!(
                    "<metalink version=\"3.0\"><files><file name=\"repomd.xml\"><verification><hash type=\"sha256\">{digest}\
                     </hash></verification><resources><url preference=\"1\">{base}/os/repodata/repomd.xml</url></resources></file></files></metalink>"
                );
                Some(metalink.into_bytes())
            }
            path => fs::read(root.join(path.strip_prefix("/os/")?)).ok(),
        }
    });
    own.set(server.url("")).unwrap();
    for (kind, path) in [("mirrorList", "list"), ("metalink", "metalink")] {
        fixture.configure(&format!("{kind}: {}/{path}", server.url("")), "both", "");
        let answer = fixture.run(&["why", "data", &template, "--format", "json"]).json();
        assert_eq!(packages(&answer), ["tool", "data"], "{kind}");
        let offline = fixture
            .run(&["why", "data", &template, "--offline", "--format", "json"])
            .json();
        assert_eq!(packages(&offline), ["tool", "data"], "{kind}");
    }
    fixture.configure(
        "baseUrl: https://a.example\n    metalink: https://b.example/m",
        "both",
        "",
    );
    fixture
        .run(&["validate", &template])
        .assert_fails(1, &["more than one of baseUrl, mirrorList and metalink"]);
}

/// Names a package of the repository for the cache.
fn resolved(path: &Path) -> ResolvedPackage {
    let bytes = fs::read(path).unwrap();
    let name = path.file_name().unwrap().to_str().unwrap();
    ResolvedPackage {
        name: name.split("-1").next().unwrap().to_owned(),
        version: "1.0-1".to_owned(),
        architecture: "noarch".to_owned(),
        repository: "base".to_owned(),
        path: name.to_owned(),
        size_bytes: bytes.len() as u64,
        installed_size_bytes: 0,
        checksum: Sha256::of(&bytes).into(),
        stanza: String::new(),
    }
}

#[test]
fn packages_are_signed_or_do_not_come_into_the_cache() {
    let fixture = Fixture::new("rpm-package-signatures", "packages");
    let good = fixture.repository().join("data-1.0-1.noarch.rpm");
    let mut tampered = fs::read(&good).unwrap();
    *tampered.last_mut().unwrap() ^= 1;
    let tampered_path = fixture.repository().join("tampered-1.0-1.noarch.rpm");
    fs::write(&tampered_path, tampered).unwrap();
    let other = rpm::Key::new();
    let foreign = fixture.path("foreign");
    fs::create_dir(&foreign).unwrap();
    rpm::build(&foreign, &["foreign 1.0-1; Files: /usr/share/foreign"]);
    rpm::sign(&foreign, other.home(), rpm::Key::USER);
    let unsigned = fixture.path("unsigned");
    fs::create_dir(&unsigned).unwrap();
    rpm::build(&unsigned, &["unsigned 1.0-1; Files: /usr/share/unsigned"]);

    let cache = || {
        let mut signers = Signers::new(SystemTime::now());
        signers.require("base", &[fixture.key.public()]).unwrap();
        PackageCache::open(&fixture.path("cache"), PROVIDER)
            .unwrap()
            .with_signers(signers)
    };
    let fetcher = Fetcher::new(FetchOptions::default(), Cancel::default()).unwrap();
    let obtain = |path: &Path| {
        let package = resolved(path);
        let wanted = [RemotePackage {
            package: &package,
            url: format!("file://{}", path.display()),
        }];
        cache().obtain_all(&wanted, &fetcher, Work::quiet(&Cancel::default()))
    };
    for (path, told) in [
        (tampered_path, "tampered with or damaged"),
        (foreign.join("foreign-1.0-1.noarch.rpm"), "signed by unknown key"),
        (unsigned.join("unsigned-1.0-1.noarch.rpm"), "the package is not signed"),
    ] {
        let error = obtain(&path).unwrap_err();
        assert!(matches!(error, CacheError::Signature { .. }) && error.hint().is_some());
        assert!(error.to_string().contains(told), "{error}");
    }
    assert_eq!(obtain(&good).unwrap().fetched, 1);
    let again = obtain(&good).unwrap();
    assert_eq!((again.reused, again.hashed_bytes), (1, 0));
    let names = fs::read_dir(fixture.path("cache/pkgCache").join(PROVIDER)).unwrap();
    let names: Vec<_> = names.map(|entry| entry.unwrap().file_name()).collect();
    let found: Vec<_> = names
        .iter()
        .filter(|name| name.to_str().unwrap().ends_with(".rpm"))
        .collect();
    assert_eq!(found, ["data-1.0-1.noarch.rpm"]);
}
