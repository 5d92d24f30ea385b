use super::*;

fn system(manager: Manager, id: &str, version: &str) -> System {
    let package = |name: &str, source: &str, version: &str| Audited {
        name: name.into(),
        version: version.into(),
        source: source.into(),
        source_version: version.into(),
    };
    System {
        id: id.into(),
        version: version.into(),
        codename: "trixie".into(),
        manager,
        packages: vec![
            package("libssl3", "openssl", "3.5.1-1"),
            package("bash", "bash", "5.2-1"),
        ],
    }
}

#[test]
fn the_tracker_of_debian_is_understood() {
    let tracker = br#"{
        "openssl": {
            "CVE-2025-1": {"description": "one", "releases": {"trixie": {"status": "resolved", "fixed_version": "3.5.1-2", "urgency": "high"}}},
            "CVE-2025-2": {"releases": {"trixie": {"status": "resolved", "fixed_version": "3.5.1-1", "urgency": "high"}}},
            "CVE-2025-3": {"releases": {"trixie": {"status": "resolved", "fixed_version": "0", "urgency": "high"}}},
            "CVE-2025-4": {"releases": {"trixie": {"status": "open", "urgency": "not yet assigned"}}},
            "CVE-2025-5": {"releases": {"bookworm": {"status": "open", "urgency": "high"}}},
            "CVE-2025-6": {"releases": {"trixie": {"status": "open", "urgency": "unimportant"}}}
        },
        "other": {"CVE-2025-7": {"releases": {"trixie": {"status": "open", "urgency": "high"}}}}
    }"#;
    let found = audit(&system(Manager::Dpkg, "debian", "13"), tracker).unwrap();
    let shown: Vec<_> = found
        .iter()
        .map(|one| (one.id.as_str(), one.severity, one.fixed.as_str()))
        .collect();
    assert_eq!(
        shown,
        [
            ("CVE-2025-1", Severity::High, "3.5.1-2"),
            ("CVE-2025-4", Severity::Unknown, ""),
            ("CVE-2025-6", Severity::Unimportant, ""),
        ]
    );
    assert_eq!((&*found[0].package, &*found[0].summary), ("libssl3", "one"));
}

const ENTRY: &str = r#"{"schema_version":"1.7","id":"DSA-1","aliases":["CVE-2025-9"],"summary":"a hole",
    "severity":[{"type":"CVSS_V3","score":"CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"}],
    "affected":[{"package":{"ecosystem":"Debian:13","name":"openssl"},
        "ranges":[{"type":"ECOSYSTEM","events":[{"introduced":"0"},{"fixed":"3.5.1-2"}]}]},
        {"package":{"ecosystem":"Debian:12","name":"bash"},"ranges":[{"type":"ECOSYSTEM","events":[{"introduced":"0"}]}]}]}"#;

#[test]
fn entries_of_osv_are_understood_in_all_their_files() {
    let withdrawn = ENTRY.replacen("\"id\"", "\"withdrawn\":\"2025-01-01T00:00:00Z\",\"id\"", 1);
    for text in [
        ENTRY.to_owned(),
        format!("[{ENTRY}, {withdrawn}]"),
        format!("{{\"vulns\": [{ENTRY}]}}"),
        format!("{ENTRY}\n{withdrawn}\n"),
    ] {
        let found = audit(&system(Manager::Dpkg, "debian", "13"), text.as_bytes()).unwrap();
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(
            (&*found[0].id, found[0].severity, &*found[0].fixed),
            ("CVE-2025-9", Severity::Critical, "3.5.1-2")
        );
    }
    assert_eq!(
        audit(&system(Manager::Dpkg, "debian", "14"), ENTRY.as_bytes()).unwrap(),
        []
    );
    assert_eq!(
        audit(&system(Manager::Dpkg, "ubuntu", "13"), ENTRY.as_bytes()).unwrap(),
        []
    );
    assert!(audit(&system(Manager::Dpkg, "debian", "13"), b"<html>").is_err());
}

#[test]
fn the_source_of_a_locked_package_is_that_of_its_directory() {
    assert_eq!(without_rebuild("1.2-3+b4"), "1.2-3");
    assert_eq!(without_rebuild("1.2+beta"), "1.2+beta");
    let mut lockfile = Lockfile {
        recommended: Vec::new(),
        provider: "azure-linux-azl3-x86_64".into(),
        repositories: Vec::new(),
        requested: Vec::new(),
        packages: Vec::new(),
        steps: crate::resolve::lockfile::Steps::default(),
        newest: None,
    };
    let azure = System::of_lockfile(&lockfile);
    assert_eq!((&*azure.id, &*azure.version), ("azurelinux", "3"));
    lockfile.provider = "debian-debian13-x86_64".into();
    lockfile.packages.push(crate::package::ResolvedPackage {
        name: "libssl3t64".into(),
        version: "3.5.1-1+b1".into(),
        architecture: "amd64".into(),
        repository: "main".into(),
        path: "pool/main/o/openssl/libssl3t64_3.5.1-1_amd64.deb".into(),
        size_bytes: 1,
        installed_size_bytes: 1,
        checksum: crate::package::Sha256::of("").into(),
        stanza: String::new(),
    });
    let debian = System::of_lockfile(&lockfile);
    assert_eq!((&*debian.id, &*debian.version), ("debian", "13"));
    assert_eq!(
        (&*debian.packages[0].source, &*debian.packages[0].source_version),
        ("openssl", "3.5.1-1")
    );
}
