use std::path::Path;

use serde_json::Value;

use super::*;
use crate::overlay::directory::DirectoryLayer;
use crate::package::Sha256;
use crate::resolve::lockfile::Steps;

const STATUS: &str = "\
Package: app
Status: install ok installed
Version: 1:1.0-1
Architecture: amd64
Source: app-src (1:1.0-1)
Maintainer: Jane <jane@example.org>
Homepage: https://example.org/
Depends: lib
Description: an app

Package: lib
Status: install ok installed
Version: 2
Architecture: amd64
Maintainer: A Team <team@example.org>
Description: a library
";
const COPYRIGHT: &str = "\
Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/

Files: *
License: GPL-2+ or Expat

Files: x
License: odd
 Text of it.
";

fn tree() -> (tempfile::TempDir, DirectoryLayer) {
    let directory = tempfile::tempdir().unwrap();
    for (path, text) in [
        ("var/lib/dpkg/status", STATUS),
        ("var/lib/dpkg/info/app.list", "/usr/bin/app\n"),
        ("usr/bin/app", "app"),
        ("opt/x", "x"),
        (
            "etc/os-release",
            "ID=debian\nVERSION_ID=\"13\"\nPRETTY_NAME=\"Debian 13\"\n",
        ),
        ("usr/share/doc/app/copyright", COPYRIGHT),
        ("usr/share/doc/lib/copyright", "See /usr/share/common-licenses/LGPL-3."),
    ] {
        let path = directory.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let layer = DirectoryLayer::open(directory.path()).unwrap();
    (directory, layer)
}

fn subject<'a>(build: Option<&'a Build<'a>>, with_files: bool) -> Subject<'a> {
    Subject {
        name: "edge",
        version: "13.0",
        epoch_seconds: 1_700_000_000,
        build,
        with_files,
        threads: 2,
    }
}

fn json(bill: &Bill, form: Form) -> Value {
    serde_json::from_slice(&bill.document(form)).unwrap()
}

fn find<'a>(list: &'a Value, name: &str) -> &'a Value {
    let found = list.as_array().unwrap().iter().find(|value| value["name"] == name);
    found.unwrap_or_else(|| panic!("no {name} in {list}"))
}

#[test]
fn a_bill_has_licences_sources_suppliers_and_dependencies() {
    let (_directory, layer) = tree();
    let bill = bill(&layer, &subject(None, false)).unwrap();
    let spdx = json(&bill, Form::Spdx);
    assert_eq!(spdx["spdxVersion"], "SPDX-2.3");
    assert_eq!(spdx["creationInfo"]["created"], "2023-11-14T22:13:20Z");
    let app = find(&spdx["packages"], "app");
    let licence = app["licenseDeclared"].as_str().unwrap();
    assert!(
        licence.starts_with("(GPL-2.0-or-later OR MIT) AND LicenseRef-odd-"),
        "{licence}"
    );
    assert_eq!(spdx["hasExtractedLicensingInfos"][0]["extractedText"], "Text of it.");
    assert_eq!(app["supplier"], "Person: Jane (jane@example.org)");
    assert_eq!(
        app["externalRefs"][0]["referenceLocator"],
        "pkg:deb/debian/app@1%3A1.0-1?arch=amd64&distro=debian-13"
    );
    let lib = find(&spdx["packages"], "lib");
    assert_eq!(lib["licenseDeclared"], "NOASSERTION");
    assert!(lib["licenseComments"].as_str().unwrap().ends_with("it names LGPL-3"));
    assert_eq!(find(&spdx["packages"], "app-src")["primaryPackagePurpose"], "SOURCE");
    let relations = spdx["relationships"].to_string();
    for (from, kind, to) in [
        ("SPDXRef-DOCUMENT", "DESCRIBES", "SPDXRef-Image"),
        ("SPDXRef-Image", "CONTAINS", "SPDXRef-Package-app"),
        ("SPDXRef-Package-app", "DEPENDS_ON", "SPDXRef-Package-lib"),
        (
            "SPDXRef-Package-app",
            "GENERATED_FROM",
            "SPDXRef-Source-app-src-1-1.0-1",
        ),
    ] {
        let relation =
            format!("{{\"spdxElementId\":\"{from}\",\"relationshipType\":\"{kind}\",\"relatedSpdxElement\":\"{to}\"}}");
        assert!(relations.contains(&relation), "{relation}\n{relations}");
    }
    let cyclone = json(&bill, Form::CycloneDx);
    assert_eq!(
        find(&cyclone["components"], "app")["licenses"][0]["expression"],
        licence
    );
    assert_eq!(
        cyclone["dependencies"][1]["dependsOn"][0],
        find(&cyclone["components"], "lib")["bom-ref"]
    );
}

#[test]
fn the_same_tree_gives_the_same_bytes_and_another_one_another_name() {
    let (directory, layer) = tree();
    let documents = |layer: &DirectoryLayer| {
        let bill = bill(layer, &subject(None, true)).unwrap();
        Form::ALL.map(|form| bill.document(form))
    };
    let before = documents(&layer);
    assert_eq!(before, documents(&DirectoryLayer::open(directory.path()).unwrap()));
    std::fs::write(directory.path().join("opt/x"), "y").unwrap();
    let after = documents(&DirectoryLayer::open(directory.path()).unwrap());
    let name = |document: &[u8], key: &str| serde_json::from_slice::<Value>(document).unwrap()[key].clone();
    for (at, key) in [(0, "documentNamespace"), (1, "serialNumber")] {
        assert_ne!(name(&before[at], key), name(&after[at], key));
    }
}

#[test]
fn what_the_lockfile_does_not_have_was_installed_behind_the_build() {
    let (_directory, layer) = tree();
    let package = ResolvedPackage {
        name: "lib".into(),
        version: "2".into(),
        architecture: "amd64".into(),
        repository: "main".into(),
        path: "pool/lib_2_amd64.deb".into(),
        size_bytes: 1,
        installed_size_bytes: 1,
        checksum: Sha256::of("lib").into(),
        stanza: String::new(),
    };
    let lockfile = Lockfile {
        recommended: Vec::new(),
        provider: "debian-debian13-x86_64".into(),
        repositories: Vec::new(),
        requested: Vec::new(),
        packages: vec![package],
        steps: Steps::default(),
        newest: None,
    };
    let stated = |name: &str| StatedPackage {
        name: name.into(),
        licence: "Apache 2".into(),
        supplier: "Acme Inc".into(),
        checksums: vec![("SHA256".into(), "ab".into()), ("SHA1".into(), "cd".into())],
        ..StatedPackage::default()
    };
    let stated = [stated("lib"), stated("firmware")];
    let build = Build {
        lockfile: &lockfile,
        stated: &stated,
    };
    let bill = bill(&layer, &subject(Some(&build), false)).unwrap();
    let spdx = json(&bill, Form::Spdx);
    let lib = find(&spdx["packages"], "lib");
    assert_eq!(lib["sourceInfo"], "from the repository main");
    assert_eq!(lib["packageFileName"], "pool/lib_2_amd64.deb");
    // The package's own digest and supplier stand; the template adds what is missing.
    assert_eq!(lib["checksums"][0]["checksumValue"], Sha256::of("lib").to_string());
    assert_eq!(lib["checksums"][1]["checksumValue"], "cd");
    assert_eq!(lib["supplier"], "Organization: A Team (team@example.org)");
    assert!(
        lib["licenseDeclared"]
            .as_str()
            .unwrap()
            .starts_with("LicenseRef-Apache-2-")
    );
    assert_eq!(find(&spdx["packages"], "app")["comment"], spdx::BEHIND);
    let firmware = find(&spdx["packages"], "firmware");
    assert_eq!(
        (&firmware["comment"], &firmware["supplier"]),
        (&spdx::STATED.into(), &"Organization: Acme Inc".into())
    );
    let cyclone = json(&bill, Form::CycloneDx);
    assert_eq!(find(&cyclone["components"], "app")["properties"][0]["value"], "command");
}

#[test]
fn files_have_digests_and_belong_to_packages() {
    let (_directory, layer) = tree();
    let bill = bill(&layer, &subject(None, true)).unwrap();
    let files = bill.files.as_ref().unwrap();
    let app = files.iter().find(|file| file.path == "/usr/bin/app").unwrap();
    assert_eq!(app.owner, Some(0));
    assert_eq!(app.sha1, "7d1043473d55bfa90e8530d35801d4e381bc69f0");
    assert_eq!(app.sha256, Sha256::of("app").to_string());
    let spdx = json(&bill, Form::Spdx);
    let package = find(&spdx["packages"], "app");
    assert_eq!(package["filesAnalyzed"], true);
    let code = sha1_smol::Sha1::from(&app.sha1).digest().to_string();
    assert_eq!(package["packageVerificationCode"]["packageVerificationCodeValue"], code);
    assert!(walk::find(&layer, Path::new("/opt/x"), true).is_ok());
}
