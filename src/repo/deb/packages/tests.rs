use super::*;

const DIGEST: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn stanza() -> String {
    format!(
        "Package: libc6\nSource: glibc\nVersion: 2:2.41-12+b1~x\nInstalled-Size: 12\nArchitecture: amd64\n\
         Multi-Arch: same\nESSENTIAL: yes\nPriority: required\nDepends: libgcc-s1,\n libcrypt1 (>= 1:4.4)\n\
         Pre-Depends: dpkg\nRecommends: r\nProvides: p (= 1)\nConflicts: c\nBreaks: b\nReplaces: s\n\
         Description: short\n long\n .\n more\nFilename: pool/main/g/glibc/libc6.deb\nSize: 34\nSHA256: {DIGEST}\n"
    )
}

fn parse(text: &str) -> Result<Vec<PackageRecord>, ParseError> {
    parse_packages(text.into(), "trixie".into(), 500)
}

#[test]
fn reads_every_field_and_keeps_the_stanza() {
    let text = format!(
        "{}\n{}",
        stanza(),
        stanza().replace("libc6", "libc7").replace("ESSENTIAL", "X")
    );
    let records = parse(&text).unwrap();
    assert_eq!(records.len(), 2);
    let first = &records[0];
    assert_eq!(
        (&*first.name, &*first.version, &*first.architecture),
        ("libc6", "2:2.41-12+b1~x", "amd64")
    );
    assert_eq!(
        (first.multi_arch, first.essential, &*first.priority),
        (MultiArch::Same, true, "required")
    );
    assert_eq!(
        (&*first.depends, &*first.pre_depends),
        ("libgcc-s1, libcrypt1 (>= 1:4.4)", "dpkg")
    );
    assert_eq!(
        (&*first.recommends, &*first.provides, &*first.conflicts),
        ("r", "p (= 1)", "c")
    );
    assert_eq!(
        (&*first.breaks, &*first.replaces, &*first.path),
        ("b", "s", "pool/main/g/glibc/libc6.deb")
    );
    assert_eq!((first.size_bytes, first.installed_size_bytes), (34, 12 * 1024));
    assert_eq!(
        (
            first.sha256.to_string().as_str(),
            &*first.repository,
            first.priority_pin
        ),
        (DIGEST, "trixie", 500)
    );
    assert_eq!(first.stanza.as_str(), stanza());
    assert_eq!((&*records[1].name, records[1].essential), ("libc7", false));
    assert!(parse("").unwrap().is_empty());
}

#[test]
fn a_missing_field_is_an_error_that_names_package_and_field() {
    for field in ["Version", "Architecture", "Filename", "Size", "SHA256"] {
        let text = stanza().replace(&format!("\n{field}: "), &format!("\nX-{field}: "));
        let error = parse(&format!("{}\n{text}", stanza())).unwrap_err();
        assert_eq!((error.line, error.package.as_deref()), (25, Some("libc6")), "{error}");
        assert!(error.reason.contains(&field.to_lowercase()), "{error}");
    }
    let error = parse(&stanza().replace("Package: ", "Paket: ")).unwrap_err();
    assert!(error.reason.contains("field package is missing"), "{error}");
}

#[test]
fn refuses_what_is_unsafe_or_malformed() {
    let table = [
        (
            "Package: libc6",
            &[
                "Package: ../x",
                "Package: a/b",
                "Package: a b",
                "Package: .a",
                "Package: -a",
                "Package:",
            ][..],
        ),
        (
            "Version: 2:2.41-12+b1~x",
            &[
                "Version: 1/2",
                "Version: x:1",
                "Version: 1_2",
                "Version: ..",
                "Version: :1",
            ],
        ),
        (
            "Architecture: amd64",
            &["Architecture: ../x", "Architecture: a b", "Architecture: AMD"],
        ),
        (
            "Filename: pool",
            &[
                "Filename: /pool",
                "Filename: ../pool",
                "Filename: pool/..",
                "Filename: a/%2E%2e",
                "Filename: a/.%2e",
                "Filename: a%2f..",
                "Filename: a?",
                "Filename: a#",
                "Filename: a\\b",
                "Filename: a b",
                "Filename: a\u{7f}",
            ],
        ),
        (
            "Size: 34",
            &["Size: -1", "Size: 99999999999999999999", "Size: x", "Size:"],
        ),
        ("Installed-Size: 12", &["Installed-Size: x"]),
        ("SHA256: e3", &["SHA256: ", "SHA256: zz"]),
        ("Multi-Arch: same", &["Multi-Arch: maybe"]),
        ("Source: glibc", &["package: libc7", "Size: 1", "no field"]),
    ];
    for (from, replacements) in table {
        for to in replacements {
            let text = stanza().replace(from, to);
            assert_ne!(text, stanza());
            assert!(parse(&text).is_err(), "{to}");
        }
    }
    let long = stanza().replace("Package: libc6", &format!("Package: {}", "a".repeat(240)));
    assert!(parse(&long).unwrap_err().reason.contains("too long"));
}

#[test]
fn a_leading_dot_of_the_path_is_dropped() {
    assert_eq!(
        &*parse(&stanza().replace("pool/", "./pool/")).unwrap()[0].path,
        "pool/main/g/glibc/libc6.deb"
    );
}

/// dpkg-scanpackages' view of the same stanza: dpkg itself must take what we take.
#[test]
fn dpkg_takes_the_same_names_and_versions() {
    for version in ["1", "2:2.41-12+b1~x", "1.0~rc1-1", "1:2:3"] {
        let status = std::process::Command::new("dpkg")
            .args(["--validate-version", version])
            .status()
            .unwrap();
        assert_eq!(status.success(), is_version(version), "{version}");
    }
    for name in ["libc6", "g++", "a.b-c", "-a", "a/b", ".a", "a b"] {
        let output = std::process::Command::new("dpkg")
            .args(["--validate-pkgname", name])
            .output()
            .unwrap();
        assert_eq!(output.status.success(), is_name(name), "{name}");
    }
}

proptest::proptest! {
    #[test]
    fn any_text_ends_without_panic(text in "(Package|Size|SHA256|Filename|[ -~é]{0,20})[:\\n ][ -~\\n\\té]{0,300}") {
        let _ = parse(&text);
    }

    #[test]
    fn a_changed_byte_never_panics(at in 0usize..600, byte in proptest::prelude::any::<char>()) {
        let text: String = stanza().chars().enumerate().map(|(i, c)| if i == at { byte } else { c }).collect();
        let _ = parse(&text);
    }
}

#[test]
fn several_threads_read_the_same() {
    let stanza = |number: usize| {
        let digest = Sha256::of(number.to_le_bytes());
        let lines = "\n line\n .".repeat(number % 7);
        format!(
            "Package: p{number}\nVersion: 1\nArchitecture: amd64\nDescription: ä{lines}\nFilename: pool/p{number}.deb\nSize: 1\n\
             SHA256: {digest}\n"
        )
    };
    let mut text = String::new();
    while text.len() < 5 * PART_BYTES {
        text += &stanza(text.len());
        text += ["\n", "\n\n\n", " \t\n"][text.len() % 3];
    }
    let read = |threads, text: &str| {
        let records = parse_packages_on(threads, text.into(), "trixie".into(), 500)?;
        let tell = |record: &PackageRecord| format!("{record:?} {}", record.stanza.as_str());
        Ok::<Vec<String>, ParseError>(records.iter().map(tell).collect())
    };
    let one = read(1, &text).unwrap();
    assert!(one.len() > 10_000);
    for threads in [0, 2, 3, 4, 100] {
        assert!(read(threads, &text).unwrap() == one, "{threads} threads");
    }
    // The same error, with its line, wherever it is; of two the first.
    for share in [1, 3, 5] {
        let at = text.len() / 6 * share;
        let at = at + text[at..].find("Version: 1\n").unwrap();
        let broken = format!("{}Version: \n{}", &text[..at], &text[at + "Version: 1\n".len()..]);
        let broken = broken.replacen("Size: 1\nSHA256: ", "Size: x\nSHA256: ", if share == 5 { 0 } else { 1 });
        assert_eq!(read(4, &broken), read(1, &broken));
        assert!(read(1, &broken).is_err());
    }
    assert_eq!(parts("a\n\nb\n\nc", 3), [0..6, 6..7]);
    assert_eq!(parts("abc", 3), vec![0..3; 1]);
    assert_eq!(parts("", 0), vec![0..0; 1]);
}
