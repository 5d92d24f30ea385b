use super::*;
use crate::package::Sha256;

const DIGEST: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn stanza() -> String {
    format!(
        "Package: libc6\nSource: glibc\nVersion: 2:2.41-12+b1~x\nInstalled-Size: 12\nArchitecture: amd64\n\
         Multi-Arch: same\nESSENTIAL: yes\nPriority: required\nDepends: libgcc-s1,\n libcrypt1 (>= 1:4.4)\n\
         Pre-Depends: dpkg\nRecommends: r\nProvides: p (= 1)\nConflicts: c\nBreaks: b\nReplaces: s\n\
         Description: short\n long\n .\n more\nFilename: pool/main/g/glibc/libc6.deb\nSize: 34\nSHA256: {DIGEST}\n"
    )
}

/// Gives the records, or why the first stanza that is left out has none.
fn parse(text: &str) -> Result<Vec<PackageRecord>, ParseError> {
    let mut parsed = parse_packages(text.into(), "trixie".into(), 500);
    match parsed.skipped.is_empty() {
        true => Ok(parsed.records),
        false => Err(parsed.skipped.remove(0)),
    }
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
            first.checksum.to_string().as_str(),
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

/// As with apt, the SHA-256 counts if there is one, and no algorithm but these two.
#[test]
fn a_package_may_be_listed_by_its_sha_512_alone() {
    let long = DIGEST.repeat(2);
    let only =
        |field: &str, digits: &str| stanza().replace(&format!("SHA256: {DIGEST}"), &format!("{field}: {digits}"));
    let record = parse(&only("SHA512", &long)).unwrap().remove(0);
    assert_eq!(
        (record.checksum.algorithm(), record.checksum.to_string()),
        (Algorithm::Sha512, long.clone())
    );
    let both = parse(&format!("{}SHA512: {long}\n", stanza())).unwrap().remove(0);
    assert_eq!(both.checksum.to_string(), DIGEST);
    for (field, digits, reason) in [
        ("SHA512", DIGEST, "field sha512 is malformed"),
        ("SHA256", &long, "field sha256 is malformed"),
        ("SHA384", &long[..96], "field sha256 is missing"),
        ("SHA1", &long[..40], "field sha256 is missing"),
    ] {
        let error = parse(&only(field, digits)).unwrap_err();
        assert!(error.reason.contains(reason), "{field}: {error}");
    }
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
                "Filename: a\u{7f}",
            ],
        ),
        (
            "Size: 34",
            &["Size: -1", "Size: 99999999999999999999", "Size: x", "Size:"],
        ),
        ("SHA256: e3", &["SHA256: ", "SHA256: zz"]),
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

/// What apt overlooks does not cost the package, and names it; the stanzas around are not touched either way.
#[test]
fn what_is_odd_is_named_and_the_rest_is_used() {
    type Seen = fn(&PackageRecord) -> String;
    let table: [(&str, &str, &str, Seen, &str); 7] = [
        (
            "Installed-Size: 12",
            "Installed-Size: x",
            "Installed-Size \"x\"",
            |r| r.installed_size_bytes.to_string(),
            "0",
        ),
        (
            "Multi-Arch: same",
            "Multi-Arch: maybe",
            "Multi-Arch \"maybe\"",
            |r| format!("{:?}", r.multi_arch),
            "No",
        ),
        (
            "Source: glibc",
            "Depends: before",
            "Depends appears twice",
            |r| r.depends.to_string(),
            "libgcc-s1, libcrypt1 (>= 1:4.4)",
        ),
        (
            "Source: glibc",
            "Version: 1",
            "Version appears twice",
            |r| r.version.to_string(),
            "2:2.41-12+b1~x",
        ),
        (
            "Source: glibc",
            "no field",
            "expected \"Field: value\"",
            |r| r.name.to_string(),
            "libc6",
        ),
        (
            "Filename: pool/main",
            "Filename: pool/a b",
            "",
            |r| r.path.to_string(),
            "pool/a%20b/g/glibc/libc6.deb",
        ),
        (
            "Description: short",
            "Description: \u{fffd}",
            "",
            |r| r.name.to_string(),
            "libc6",
        ),
    ];
    let other = stanza().replace("libc6", "other");
    for (from, to, named, seen, expected) in table {
        let text = format!("{other}\n{}\n{other}", stanza().replacen(from, to, 1));
        let parsed = parse_packages(text.into(), "trixie".into(), 500);
        assert_eq!(
            (parsed.records.len(), parsed.skipped.len()),
            (3, 0),
            "{to}: {:?}",
            parsed.skipped
        );
        assert_eq!(seen(&parsed.records[1]), expected, "{to}");
        let notes: Vec<String> = parsed.repaired.iter().map(ToString::to_string).collect();
        match named {
            "" => assert!(notes.is_empty(), "{notes:?}"),
            named => assert!(
                notes.len() == 1 && notes[0].contains(named) && notes[0].contains("(package \"libc6\")"),
                "{notes:?} should name {named}"
            ),
        }
    }
    let unusable = ["\nSHA256: ", "\nSize: ", "\nFilename: ", "\nVersion: "];
    for field in unusable {
        let text = format!("{other}\n{}\n{other}", stanza().replace(field, "\nX: "));
        let parsed = parse_packages(text.into(), "trixie".into(), 500);
        assert_eq!((parsed.records.len(), parsed.skipped.len()), (2, 1), "{field}");
        assert_eq!(parsed.skipped[0].package.as_deref(), Some("libc6"));
    }
}

#[test]
fn a_leading_dot_of_the_path_is_dropped() {
    assert_eq!(
        &*parse(&stanza().replace("pool/", "./pool/")).unwrap()[0].path,
        "pool/main/g/glibc/libc6.deb"
    );
}

/// Compares with dpkg-scanpackages on the same stanza: dpkg must take what oic takes.
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
        let parsed = parse_packages_on(threads, text.into(), "trixie".into(), 500);
        let tell = |record: &PackageRecord| format!("{record:?} {}", record.stanza.as_str());
        let records: Vec<String> = parsed.records.iter().map(tell).collect();
        (records, parsed.skipped)
    };
    let (one, skipped) = read(1, &text);
    assert_eq!(skipped, []);
    assert!(one.len() > 10_000);
    for threads in [0, 2, 3, 4, 100] {
        assert!(read(threads, &text).0 == one, "{threads} threads");
    }
    // The same errors, with their lines, in every part.
    for share in [1, 3, 5] {
        let at = text.len() / 6 * share;
        let at = at + text[at..].find("Version: 1\n").unwrap();
        let broken = format!("{}Version: \n{}", &text[..at], &text[at + "Version: 1\n".len()..]);
        let broken = broken.replacen("Size: 1\nSHA256: ", "Size: x\nSHA256: ", if share == 5 { 0 } else { 1 });
        assert!(read(4, &broken) == read(1, &broken));
        assert!(!read(1, &broken).1.is_empty());
    }
    assert_eq!(parts("a\n\nb\n\nc", 3), [0..6, 6..7]);
    assert_eq!(parts("abc", 3), vec![0..3; 1]);
    assert_eq!(parts("", 0), vec![0..0; 1]);
}
