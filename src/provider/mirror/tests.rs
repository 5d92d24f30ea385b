use super::*;
use crate::hint::Means;
use crate::provider::{Providers, repositories};
use crate::template::{self, TemplateSource, Variables};

fn provider() -> Provider {
    Providers::embedded()
        .unwrap()
        .by_id("debian-debian13-x86_64")
        .unwrap()
        .clone()
}

/// Makes a template with these `packageRepositories`.
fn template(repositories: &str) -> Template {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("t.yml");
    let head = "image: {name: t, version: '1'}\ntarget: {os: debian, dist: debian13, arch: x86_64, imageType: raw}\n";
    std::fs::write(&path, format!("{head}packageRepositories: [{repositories}]\n")).unwrap();
    let loaded = template::load(
        &TemplateSource::File(path),
        &Providers::embedded().unwrap(),
        &Variables::new(),
    );
    loaded.unwrap_or_else(|findings| panic!("{findings}")).template
}

fn all_origins() -> (Mirrors, Template) {
    let mut mirrors = Mirrors::new();
    for (archive, url) in [
        ("debian", "http://host.example/debian"),
        ("debian-security", "http://host.example/debian-security"),
    ] {
        mirrors.add_archive(archive, url, Origin::Host).unwrap();
    }
    mirrors
        .add_archive("debian", "http://config.example/debian/", Origin::Config)
        .unwrap();
    let variables = [
        ("OIC_MIRROR_DEBIAN_SECURITY", "http://env.example/sec"),
        ("PATH", "/bin"),
    ];
    mirrors
        .add_environment(&variables.map(|(name, value)| (name.into(), value.into())))
        .unwrap();
    (
        mirrors,
        template("{codename: trixie-security, url: 'http://template.example/sec'}"),
    )
}

#[test]
fn the_order_is_flag_environment_configuration_template_host() {
    let (mut mirrors, template) = all_origins();
    let resolve = |mirrors: &Mirrors, archive| mirrors.resolve(&provider(), &template, archive).unwrap();
    assert_eq!(
        resolve(&mirrors, "debian"),
        ("http://config.example/debian".to_owned(), Origin::Config)
    );
    assert_eq!(
        resolve(&mirrors, "debian-security"),
        ("http://env.example/sec".to_owned(), Origin::Environment)
    );
    mirrors.add_flag("https://flag.example/a/debian/2025").unwrap();
    assert_eq!(
        resolve(&mirrors, "debian"),
        ("https://flag.example/a/debian/2025".to_owned(), Origin::Flag)
    );
    let beside = "https://flag.example/a/debian-security/2025".to_owned();
    assert_eq!(resolve(&mirrors, "debian-security"), (beside, Origin::Flag));
    mirrors.add_flag("debian-security=file:///srv/sec").unwrap();
    assert_eq!(
        resolve(&mirrors, "debian-security"),
        ("file:///srv/sec".to_owned(), Origin::Flag)
    );
}

#[test]
fn the_template_comes_before_the_host_and_a_key_makes_a_repository_of_its_own() {
    let (mut mirrors, _) = all_origins();
    mirrors.entries.retain(|(.., origin)| *origin == Origin::Host);
    let mirror = template("{codename: trixie, url: 'http://template.example/debian'}");
    let resolved = mirrors.resolve(&provider(), &mirror, "debian").unwrap();
    assert_eq!(
        resolved,
        ("http://template.example/debian".to_owned(), Origin::Template)
    );
    let vendor =
        template("{codename: trixie, url: 'http://vendor.example/debian', pkey: 'https://vendor.example/key'}");
    let resolved = mirrors.resolve(&provider(), &vendor, "debian").unwrap();
    assert_eq!(resolved, ("http://host.example/debian".to_owned(), Origin::Host));
}

#[test]
fn a_missing_mirror_is_answered_with_every_way_to_give_one() {
    let mut mirrors = Mirrors::new();
    let error = mirrors
        .resolve(&provider(), &template(""), "debian-security")
        .unwrap_err();
    let error = error.hint().unwrap();
    assert_eq!(error.means(), [Means::Mirror]);
    for way in [
        "debian-security=URL",
        "OIC_MIRROR_DEBIAN_SECURITY",
        "mirrors:",
        "trixie-security",
        "apt sources",
    ] {
        assert!(error.contains(way), "{way}: {error}");
    }
    for bad in [
        "",
        "debian",
        "=http://x",
        "debian=",
        "ftp://x/debian",
        "debian=http://",
        "debian=http://a b/",
    ] {
        assert!(mirrors.add_flag(bad).is_err(), "{bad}");
    }
    // A server whose layout says nothing about the other archive.
    mirrors.add_flag("http://flag.example/main").unwrap();
    assert!(mirrors.resolve(&provider(), &template(""), "debian-security").is_err());
}

#[test]
fn repositories_are_the_providers_then_the_templates() {
    let mut mirrors = Mirrors::new();
    mirrors.add_flag("http://m.example/debian").unwrap();
    let key = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(key.path(), b"from a file").unwrap();
    let template = template(&format!(
        "{{codename: trixie, url: 'http://m.example/debian', component: main contrib}},
         {{codename: noble, url: 'https://one.example/x/', pkey: 'https://one.example/k', priority: 1001, allowPackages: [a]}},
         {{codename: noble, url: 'https://two.example', pkeys: ['file://{0}', '{0}'], component: a b}},
         {{codename: todo, url: '<URL>', pkey: '<PUBLIC_KEY_URL>'}},
         {{codename: local, path: /srv/debs, pkey: '[trusted=yes]'}}",
        key.path().display()
    ));
    let fetch = |url: &str| Ok(format!("fetched {url}").into_bytes());
    let all = repositories(&provider(), &mirrors, &template, &fetch, &[]).unwrap();
    let rows: Vec<_> = all
        .iter()
        .map(|r| format!("{} {} {} {:?} {}", r.id, r.base_url, r.suite, r.components, r.priority))
        .collect();
    assert_eq!(
        rows,
        [
            r#"trixie http://m.example/debian trixie ["main", "non-free-firmware", "contrib"] 500"#,
            r#"trixie-updates http://m.example/debian trixie-updates ["main", "non-free-firmware"] 500"#,
            r#"trixie-security http://m.example/debian-security trixie-security ["main", "non-free-firmware"] 500"#,
            r#"noble https://one.example/x noble ["main"] 1001"#,
            r#"noble-2 https://two.example noble ["a", "b"] 500"#,
            r#"local file:///srv/debs local ["main"] 500"#,
        ]
    );
    assert_eq!(all[3].keys, [b"fetched https://one.example/k"]);
    assert_eq!(all[4].keys, [b"from a file", b"from a file"]);
    assert_eq!(
        all.iter()
            .filter(|r| r.trusted)
            .map(|r| r.id.as_str())
            .collect::<Vec<_>>(),
        ["local"]
    );
}

#[test]
fn a_repository_that_cannot_be_verified_is_an_error() {
    let mut mirrors = Mirrors::new();
    mirrors.add_flag("http://m.example/debian").unwrap();
    let error = |entry: &str| {
        let fail = |_: &str| Err("the server answered 404".to_owned());
        repositories(&provider(), &mirrors, &template(entry), &fail, &[]).unwrap_err()
    };
    let no_key = error("{codename: x, url: 'http://x.example'}");
    assert_eq!(
        no_key.to_string(),
        "the repository x (http://x.example) of the template has no key"
    );
    assert!(no_key.hint().unwrap().contains("pkey"));
    let placeholder = error("{codename: x, url: 'http://x.example', pkey: '<PUBLIC_KEY_URL>'}");
    assert!(placeholder.to_string().ends_with("has no key"));
    let gone = error("{codename: x, url: 'http://x.example', pkey: 'http://x.example/k'}");
    assert_eq!(
        gone.to_string(),
        "the key http://x.example/k of the repository x: the server answered 404"
    );
    let missing = error("{codename: x, url: 'http://x.example', pkey: '/no/such/key'}");
    assert!(missing.to_string().contains("No such file"), "{missing}");
}

#[test]
fn a_vendors_own_server_is_the_last_resort() {
    let providers = Providers::embedded().unwrap();
    let ubuntu = |arch: &str| providers.by_id(&format!("ubuntu-ubuntu24-{arch}")).unwrap().clone();
    let url = |mirrors: &Mirrors, archive: &str| {
        let (url, origin) = mirrors.resolve(&ubuntu("x86_64"), &template(""), archive).unwrap();
        format!("{url} ({origin})")
    };
    let mut mirrors = Mirrors::new();
    assert_eq!(
        url(&mirrors, "ubuntu"),
        "http://archive.ubuntu.com/ubuntu (the provider)"
    );
    assert_eq!(
        url(&mirrors, "ubuntu-security"),
        "http://security.ubuntu.com/ubuntu (the provider)"
    );
    assert_eq!(ubuntu("aarch64").archives(), ["ubuntu-ports"]);
    mirrors.add_flag("http://m.example/ubuntu").unwrap();
    assert_eq!(url(&mirrors, "ubuntu"), "http://m.example/ubuntu (the command line)");
    // That server may or may not have the other archive, whose own server is known.
    assert_eq!(
        url(&mirrors, "ubuntu-security"),
        "http://security.ubuntu.com/ubuntu (the provider)"
    );
    mirrors.add_flag("ubuntu-security=http://m.example/sec").unwrap();
    assert_eq!(
        url(&mirrors, "ubuntu-security"),
        "http://m.example/sec (the command line)"
    );

    // eLxr states no fingerprint: a build stops before it trusts any of its data.
    let elxr = providers.by_id("wind-river-elxr-elxr12-x86_64").unwrap();
    let error = repositories(elxr, &Mirrors::new(), &template(""), &|_| Ok(b"any key".to_vec()), &[]).unwrap_err();
    assert!(error.to_string().contains("not pinned"), "{error}");
    assert!(error.hint().unwrap().contains("docs/providers.md"));
}
