//! What is inside an image, judged by the programs whose databases and file systems it has: dpkg-query, rpm, find, debugfs;
//! bills of materials by two libraries that we did not write.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a panic is the report

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::program::{Oic, own_mounts};
use crate::support::tiny::Tiny;
use crate::support::{bills, debian};
use oic_testkit::{Steps, tool};
use serde_json::Value;

/// An image that oic has not made: Debian's packages by mmdebstrap, its file system by mke2fs.
struct Foreign {
    oic: Oic,
    root: PathBuf,
    image: PathBuf,
}

impl Foreign {
    fn new() -> Self {
        own_mounts();
        let oic = Oic::new("inside");
        let (root, _) = debian::oracle();
        let image = oic.work_dir.join("foreign.img");
        pack(&root, &image);
        Self { oic, root, image }
    }

    fn json(&self, args: &[&str]) -> Value {
        self.oic.run(args).json()
    }

    fn image(&self) -> &str {
        self.image.to_str().unwrap()
    }
}

/// Makes a file system of the directory `root`.
fn pack(root: &Path, image: &Path) {
    let words = [
        "-q",
        "-t",
        "ext4",
        "-d",
        root.to_str().unwrap(),
        image.to_str().unwrap(),
        "600M",
    ];
    tool("mke2fs", &words);
    // Of the file system, not of the tree.
    tool("debugfs", &["-w", "-R", "rmdir lost+found", image.to_str().unwrap()]);
}

#[test]
fn a_foreign_image_of_debian_is_told_as_its_own_programs_tell_it() {
    let foreign = Foreign::new();
    let mut steps = Steps::new();
    let report = steps.need("inspect", || {
        foreign.json(&["inspect", foreign.image(), "--format", "json", "--size"])
    });
    steps.check("packages", || packages_are_those_of_dpkg(&foreign, &report));
    steps.check("set-id", || set_id_files_are_those_that_find_finds(&foreign, &report));
    steps.check("sizes", || sizes_add_up(&report));
    steps.check("bills", || bills_are_valid(&foreign));
    steps.check("compare", || one_changed_file_is_found(&foreign));
    steps.check("audit", || vulnerabilities_are_found(&foreign));
}

fn packages_are_those_of_dpkg(foreign: &Foreign, report: &Value) {
    let admin = format!("--admindir={}/var/lib/dpkg", foreign.root.display());
    let format = "${db:Status-Status} ${Package} ${Version} ${Architecture} ${source:Package}\\n";
    let shown = tool("dpkg-query", &[admin.as_str(), "-W", "-f", format]);
    let expected: BTreeSet<String> = shown
        .lines()
        .filter_map(|line| Some(line.strip_prefix("installed ")?.to_owned()))
        .collect();
    let packages = report["system"]["packages"].as_array().unwrap();
    let text = |package: &Value, key: &str| package[key].as_str().unwrap().to_owned();
    let found: BTreeSet<String> = packages
        .iter()
        .map(|package| {
            ["name", "version", "architecture", "source"]
                .map(|key| text(package, key))
                .join(" ")
        })
        .collect();
    assert!(found.len() > 50, "{found:?}");
    assert_eq!(found, expected);
}

fn set_id_files_are_those_that_find_finds(foreign: &Foreign, report: &Value) {
    let root = foreign.root.to_str().unwrap();
    let shown = tool("find", &[root, "-type", "f", "-perm", "/6000", "-printf", "/%P %m\\n"]);
    let expected: BTreeSet<&str> = shown.lines().collect();
    let files = report["system"]["setId"].as_array().unwrap();
    let found: BTreeSet<String> = files
        .iter()
        .map(|file| format!("{} {}", file["path"].as_str().unwrap(), file["mode"].as_str().unwrap()))
        .collect();
    assert!(!expected.is_empty());
    assert_eq!(found.iter().map(String::as_str).collect::<BTreeSet<_>>(), expected);
    let su = files.iter().find(|file| file["path"] == "/usr/bin/su").unwrap();
    assert_eq!(su["package"], "util-linux");
}

fn sizes_add_up(report: &Value) {
    let sizes = &report["system"]["sizes"];
    let packages = sizes["packages"].as_array().unwrap();
    let sum: u64 = packages.iter().map(|size| size["sizeBytes"].as_u64().unwrap()).sum();
    let total = sizes["totalBytes"].as_u64().unwrap();
    assert_eq!(sum + sizes["unownedBytes"].as_u64().unwrap(), total);
    let directories = sizes["directories"].as_array().unwrap();
    let usr = directories.iter().find(|size| size["name"] == "/usr").unwrap();
    assert!(usr["sizeBytes"].as_u64().unwrap() * 10 > total * 8, "{usr}");
}

fn bills_are_valid(foreign: &Foreign) {
    let path = |name: &str| foreign.oic.work_dir.join(name);
    let (spdx, cyclone, files) = (path("a.spdx.json"), path("a.cdx.json"), path("files.spdx.json"));
    let make = |target: &Path, more: &[&str]| {
        let args = [&["sbom", foreign.image(), "-o", target.to_str().unwrap()], more].concat();
        assert_eq!(foreign.oic.run(&args).code, Some(0));
    };
    make(&spdx, &[]);
    make(&cyclone, &["--format", "cyclonedx"]);
    bills::assert_spdx(&spdx);
    bills::assert_cyclonedx(&cyclone);
    let before = fs::read(&spdx).unwrap();
    make(&spdx, &[]);
    assert_eq!(fs::read(&spdx).unwrap(), before, "the same image gives the same bytes");
    let bill: Value = serde_json::from_slice(&before).unwrap();
    let packages = bill["packages"].as_array().unwrap();
    let named = |name: &str| packages.iter().find(|package| package["name"] == name).unwrap();
    // Debian's copyright file of bash is in free words, that of coreutils is machine-readable.
    assert!(
        named("coreutils")["licenseDeclared"]
            .as_str()
            .unwrap()
            .contains("GPL-3.0-or-later")
    );
    let known = packages
        .iter()
        .filter(|package| package["licenseDeclared"] != "NOASSERTION")
        .count();
    assert!(known * 2 > packages.len() / 2, "{known} of {}", packages.len());
    make(&files, &["--files"]);
    let bill: Value = serde_json::from_slice(&fs::read(&files).unwrap()).unwrap();
    let all = bill["files"].as_array().unwrap();
    let su = all.iter().find(|file| file["fileName"] == "./usr/bin/su").unwrap();
    let sum = tool("sha1sum", &[foreign.root.join("usr/bin/su")]);
    assert_eq!(su["checksums"][0]["checksumValue"], sum.split(' ').next().unwrap());
}

fn one_changed_file_is_found(foreign: &Foreign) {
    let other = foreign.oic.work_dir.join("other.img");
    fs::copy(&foreign.image, &other).unwrap();
    let name = foreign.oic.work_dir.join("hostname");
    fs::write(&name, "changed\n").unwrap();
    let script = format!("cd /etc\nrm debian_version\nwrite {} debian_version\n", name.display());
    let commands = foreign.oic.work_dir.join("commands");
    fs::write(&commands, script).unwrap();
    tool(
        "debugfs",
        &["-w", "-f", commands.to_str().unwrap(), other.to_str().unwrap()],
    );
    let page = foreign.oic.work_dir.join("review.html");
    let words = [
        "compare",
        foreign.image(),
        other.to_str().unwrap(),
        "--format",
        "json",
        "--html",
        page.to_str().unwrap(),
    ];
    let finished = foreign.oic.run(&words);
    assert_eq!(finished.code, Some(1), "{}", finished.stderr);
    let report: Value = serde_json::from_str(&finished.stdout).unwrap();
    let changes = report["files"]["changes"].as_array().unwrap();
    let paths: Vec<&str> = changes.iter().map(|change| change["path"].as_str().unwrap()).collect();
    assert!(paths.contains(&"/etc/debian_version"), "{paths:?}");
    let change = changes
        .iter()
        .find(|change| change["path"] == "/etc/debian_version")
        .unwrap();
    assert_eq!(change["package"], "base-files");
    assert_eq!(report["equality"]["class"], "different");
    assert!(fs::read_to_string(page).unwrap().contains("/etc/debian_version"));
    let same = foreign.json(&[
        "compare",
        foreign.image(),
        foreign.image(),
        "--format",
        "json",
        "--hash-images",
    ]);
    assert_eq!(same["equality"]["class"], "binary_identical");
    let tree = foreign.root.to_str().unwrap();
    let finished = foreign
        .oic
        .run(&["compare", tree, foreign.image(), "--mode", "summary"]);
    assert!(
        finished.stdout.contains("semantically identical"),
        "{}{}",
        finished.stdout,
        finished.stderr
    );
}

fn vulnerabilities_are_found(foreign: &Foreign) {
    let database = foreign.oic.work_dir.join("tracker.json");
    let issue = |status: &str, fixed: &str, urgency: &str| {
        format!(
            "{{\"releases\":{{\"trixie\":{{\"status\":\"{status}\",\"fixed_version\":\"{fixed}\",\"urgency\":\"{urgency}\"}}}}}}"
        )
    };
    let text = format!(
        "{{\"bash\":{{\"CVE-1\":{},\"CVE-2\":{}}},\"dpkg\":{{\"CVE-3\":{}}}}}",
        issue("resolved", "99:1", "high"),
        issue("resolved", "0.1", "high"),
        issue("open", "", "low")
    );
    fs::write(&database, text).unwrap();
    let words = [
        "audit",
        foreign.image(),
        "--db",
        database.to_str().unwrap(),
        "--format",
        "json",
    ];
    let finished = foreign.oic.run(&words);
    assert_eq!(finished.code, Some(1), "{}", finished.stderr);
    let report: Value = serde_json::from_str(&finished.stdout).unwrap();
    let found: Vec<&str> = report["findings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["id"].as_str().unwrap())
        .collect();
    assert_eq!(found, ["CVE-1", "CVE-3"]);
    let words = [&words[..], &["--fail-on", "critical"]].concat();
    assert_eq!(foreign.oic.run(&words).code, Some(0));
}

/// rpm makes its database, Berkeley DB's own program one of the older form, and oic reads what they wrote.
#[test]
fn the_packages_of_a_database_of_rpm_are_those_that_rpm_lists() {
    let oic = Oic::new("inside-rpm");
    let fixture = oic_testkit::rpm_fixture::directory();
    let packages: Vec<PathBuf> = rpms(&fixture).into_iter().take(40).collect();
    assert!(packages.len() > 10, "{packages:?}");
    let (root, path) = (oic.work_dir.join("sqlite"), "usr/lib/sysimage/rpm");
    fs::create_dir_all(root.join(path)).unwrap();
    fs::create_dir_all(root.join("etc")).unwrap();
    fs::write(root.join("etc/os-release"), "ID=azurelinux\nVERSION_ID=3.0\n").unwrap();
    let rpm = |words: &[&str]| {
        let mut command = Command::new("rpm");
        command.arg("--dbpath").arg(root.join(path)).args(words);
        command
    };
    let mut install = rpm(&[
        "-i",
        "--justdb",
        "--replacefiles",
        "--nodeps",
        "--noscripts",
        "--nosignature",
        "--ignorearch",
        "--ignoreos",
    ]);
    debian::run(install.args(&packages), "rpm");
    let format = "%{NAME} %|EPOCH?{%{EPOCH}:}:{}|%{VERSION}-%{RELEASE} %{ARCH}\n";
    let shown = debian::run(&mut rpm(&["-qa", "--qf", format]), "rpm");
    let expected: BTreeSet<String> = shown.lines().map(|line| line.replace(" 0:", " ")).collect();
    assert_eq!(expected.len(), packages.len());
    assert_eq!(of_oic(&oic, &root), expected);
    in_berkeley_db(&oic, &root.join(path).join("rpmdb.sqlite"), &expected);
}

/// Returns the packages of a tree as oic lists them in its bill.
fn of_oic(oic: &Oic, root: &Path) -> BTreeSet<String> {
    let target = oic.work_dir.join("bill.json");
    let words = [
        "sbom",
        root.to_str().unwrap(),
        "--format",
        "cyclonedx",
        "-o",
        target.to_str().unwrap(),
    ];
    let finished = oic.run(&words);
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    let bill: Value = serde_json::from_slice(&fs::read(&target).unwrap()).unwrap();
    bills::assert_cyclonedx(&target);
    let components = bill["components"].as_array().unwrap().iter();
    let line = |component: &Value| {
        let text = |key: &str| component[key].as_str().unwrap_or_default().to_owned();
        let purl = text("purl");
        let arch = purl
            .split_once("arch=")
            .map(|(_, rest)| rest.split('&').next().unwrap().to_owned());
        format!("{} {} {}", text("name"), text("version"), arch.unwrap_or_default())
    };
    components.map(line).collect()
}

/// Puts the headers of a database into one of Berkeley DB, as older versions of rpm have it.
fn in_berkeley_db(oic: &Oic, sqlite: &Path, expected: &BTreeSet<String>) {
    let root = oic.work_dir.join("bdb");
    fs::create_dir_all(root.join("var/lib/rpm")).unwrap();
    fs::create_dir_all(root.join("etc")).unwrap();
    fs::write(root.join("etc/os-release"), "ID=rhel\nVERSION_ID=7\n").unwrap();
    let dump = tool(
        "sqlite3",
        &[sqlite.to_str().unwrap(), "select hnum, hex(blob) from Packages"],
    );
    let mut text = String::from("VERSION=3\nformat=bytevalue\ntype=hash\ndb_pagesize=4096\nHEADER=END\n");
    text.push_str(" 00000000\n 28000000\n");
    for line in dump.lines() {
        let (number, blob) = line.split_once('|').unwrap();
        let number: u32 = number.parse().unwrap();
        text.push_str(&format!(
            " {}\n {}\n",
            hex::encode(number.to_le_bytes()),
            blob.to_lowercase()
        ));
    }
    text.push_str("DATA=END\n");
    let source = oic.work_dir.join("dump");
    fs::write(&source, text).unwrap();
    let words = ["-f", source.to_str().unwrap(), "-t", "hash"];
    debian::run(
        Command::new("db5.3_load")
            .args(words)
            .arg(root.join("var/lib/rpm/Packages")),
        "db5.3-util",
    );
    assert_eq!(of_oic(oic, &root), *expected);
}

fn rpms(directory: &Path) -> Vec<PathBuf> {
    let (mut found, mut open) = (std::collections::BTreeMap::new(), vec![directory.to_owned()]);
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|end| end == "rpm") {
                let name = path.file_name().unwrap().to_string_lossy().into_owned();
                // One version of each package.
                let stem = name.rsplitn(3, '-').last().unwrap().to_owned();
                found.insert(stem, path);
            }
        }
    }
    found.into_values().collect()
}

/// The bill that a build writes: in the image and beside it, and not again if nothing has changed.
#[test]
fn a_build_writes_its_bill_and_tells_what_commands_have_installed() {
    own_mounts();
    let tiny = Tiny::new("bill");
    let work = tiny.oic.work_dir.join("work");
    let text = "image: {name: tiny, version: \"1.0\"}\n\
         target: {os: debian, dist: debian13, arch: x86_64, imageType: wsl2}\n\
         systemConfig:\n  name: tiny\n  hostname: tiny\n  packages: [hello]\n  configurations:\n\
         \x20   - cmd: \"sed -i '0,/^Package: hello$/s//Package: behind/' /var/lib/dpkg/status\"\n\
         sbomPackageMetadata:\n  - {name: firmware, version: '7', license: MIT, supplier: Acme Inc}\n";
    fs::write(&tiny.template, text).unwrap();
    let build = || tiny.build([&tiny.oic.cache_dir, &work]).json();
    let report = build();
    let directory = Path::new(report["image"]["path"].as_str().unwrap())
        .parent()
        .unwrap()
        .to_owned();
    let beside = |end: &str| {
        let names = fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path());
        let mut found = names.filter(|path| path.to_string_lossy().ends_with(end));
        found
            .next()
            .unwrap_or_else(|| panic!("no {end} in {}", directory.display()))
    };
    let (spdx, cyclone) = (beside(".spdx.json"), beside(".cdx.json"));
    bills::assert_spdx(&spdx);
    bills::assert_cyclonedx(&cyclone);
    let bill: Value = serde_json::from_slice(&fs::read(&spdx).unwrap()).unwrap();
    let packages = bill["packages"].as_array().unwrap();
    let named = |name: &str| packages.iter().find(|package| package["name"] == name).unwrap();
    assert!(
        named("behind")["comment"]
            .as_str()
            .unwrap()
            .contains("installed by a command")
    );
    assert_eq!(named("firmware")["licenseDeclared"], "MIT");
    let dpkg = named("dpkg");
    assert_eq!(dpkg["checksums"][0]["algorithm"], "SHA256");
    assert!(dpkg["sourceInfo"].as_str().unwrap().starts_with("from the repository"));
    let archive = beside(".tar.gz");
    let name = spdx.file_name().unwrap().to_str().unwrap();
    let wanted = format!("*usr/share/sbom/{name}");
    let inside = tool("tar", &["-xzOf", archive.to_str().unwrap(), "--wildcards", &wanted]);
    assert_eq!(inside.as_bytes(), fs::read(&spdx).unwrap());
    let times = [&spdx, &cyclone].map(|path| fs::metadata(path).unwrap().modified().unwrap());
    manifest_vouches(&tiny, &beside(".manifest.json"), &archive);
    let provenance: Value = serde_json::from_slice(&fs::read(beside(".provenance.json")).unwrap()).unwrap();
    let subjects = provenance["subject"].as_array().unwrap();
    let sum = |path: &Path| tool("sha256sum", &[path]).split(' ').next().unwrap().to_owned();
    let archive_subject = subjects
        .iter()
        .find(|one| archive.ends_with(one["name"].as_str().unwrap()))
        .unwrap();
    assert_eq!(archive_subject["digest"]["sha256"], sum(&archive));
    let again = build();
    let stages = again["stages"].to_string();
    assert!(!stages.contains("bill of materials"), "{stages}");
    assert_eq!(
        [&spdx, &cyclone].map(|path| fs::metadata(path).unwrap().modified().unwrap()),
        times
    );
}

/// The manifest is that of the unpacked archive, and says what nobody vouches for.
fn manifest_vouches(tiny: &Tiny, path: &Path, archive: &Path) {
    let manifest: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    let files = manifest["files"].as_array().unwrap();
    let by = |wanted: &str| {
        &files
            .iter()
            .find(|file| file["path"] == wanted)
            .unwrap_or_else(|| panic!("{wanted}"))["by"]
    };
    assert_eq!(by("/usr/bin/dpkg")["package"], "dpkg");
    assert_eq!(by("/etc/hostname")["template"], "systemConfig");
    // A command has changed it.
    assert_eq!(*by("/var/lib/dpkg/status"), Value::Null);
    let root = tiny.oic.work_dir.join("unpacked");
    fs::create_dir_all(&root).unwrap();
    let words = [
        "-xpzf",
        archive.to_str().unwrap(),
        "-C",
        root.to_str().unwrap(),
        "--xattrs",
        "--xattrs-include=*",
        "--numeric-owner",
    ];
    tool("tar", &words);
    let directories = [tiny.oic.cache_dir.as_path(), tiny.oic.work_dir.as_path()];
    let verify = |more: &[&str]| {
        let words = ["verify-image", root.to_str().unwrap(), path.to_str().unwrap()];
        tiny.run(&[&words[..], more].concat(), directories)
    };
    let finished = verify(&["--unvouched"]);
    assert_eq!(finished.code, Some(0), "{}{}", finished.stdout, finished.stderr);
    assert!(
        finished.stdout.contains("/var/lib/dpkg/status: nothing vouches for it"),
        "{}",
        finished.stdout
    );
    fs::write(root.join("usr/bin/dpkg"), "changed").unwrap();
    let finished = verify(&[]);
    assert_eq!(finished.code, Some(1));
    assert!(
        finished.stdout.contains("/usr/bin/dpkg: another content"),
        "{}",
        finished.stdout
    );
}
