//! The output of `createrepo_c`, and indexes that no tool should write.

use super::*;
use crate::package::Sha256;
use crate::rpmfile::{RpmHead, testing};

const SAMPLE: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<metadata xmlns="http://linux.duke.edu/metadata/common" xmlns:rpm="http://linux.duke.edu/metadata/rpm" packages="1">
<package type="rpm">
  <name>bash</name>
  <arch>x86_64</arch>
  <version epoch="0" ver="5.2" rel="1.azl3"/>
  <checksum type="sha256" pkgid="YES">ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad</checksum>
  <summary>A shell &amp; more</summary>
  <description>one
two</description>
  <time file="1700000001" build="1700000000"/>
  <size package="123" installed="456" archive="789"/>
  <location href="Packages/b/bash-5.2-1.azl3.x86_64.rpm"/>
  <format>
    <rpm:license>GPLv3</rpm:license>
    <rpm:provides><rpm:entry name="/bin/sh"/><rpm:entry name="bash" flags="EQ" epoch="0" ver="5.2" rel="1.azl3"/></rpm:provides>
    <rpm:requires>
      <rpm:entry name="filesystem" flags="GE" epoch="1" ver="3" pre="1"/>
      <rpm:entry name="libc.so.6(GLIBC_2.38)(64bit)"/>
      <rpm:entry name="rpmlib(CompressedFileNames)" flags="LE" epoch="0" ver="3.0.4" rel="1"/>
      <rpm:entry name="(a if b)"/>
    </rpm:requires>
    <rpm:conflicts><rpm:entry name="x" flags="LT" ver="2"/></rpm:conflicts>
    <rpm:obsoletes><rpm:entry name="y" flags="LE" ver="2~rc"/></rpm:obsoletes>
    <rpm:recommends><rpm:entry name="weak"/></rpm:recommends>
    <file>/usr/bin/bash</file><file type="dir">/etc/skel</file>
  </format>
</package>
</metadata>"#;

fn parse(text: &str) -> Result<Primary, XmlError> {
    parse_primary(text.as_bytes(), &"main".into(), 500, &|_| true)
}

#[test]
fn everything_that_counts_is_taken() {
    let Primary { records, skipped, .. } = parse(SAMPLE).unwrap();
    let expected = RpmRecord {
        name: "bash".into(),
        evr: "5.2-1.azl3".into(),
        arch: "x86_64".into(),
        summary: "A shell & more".into(),
        requires_pre: "filesystem >= 1:3".into(),
        requires: "libc.so.6(GLIBC_2.38)(64bit)\n(a if b)".into(),
        recommends: "weak".into(),
        provides: "/bin/sh\nbash = 5.2-1.azl3".into(),
        conflicts: "x < 2".into(),
        obsoletes: "y <= 2~rc".into(),
        files: "/usr/bin/bash\n/etc/skel".into(),
        path: "Packages/b/bash-5.2-1.azl3.x86_64.rpm".into(),
        size_bytes: 123,
        installed_size_bytes: 456,
        built_at: 1_700_000_000,
        checksum: Sha256::of("abc").into(),
        repository: "main".into(),
        priority: 500,
    };
    assert_eq!((records, skipped), (vec![expected], Vec::new()));
    let none = parse_primary(SAMPLE.as_bytes(), &"main".into(), 500, &|record| {
        &*record.name != "bash"
    });
    assert_eq!(none.unwrap(), Primary::default());
}

/// Two packages, the first of them with the mistake: the other one is used all the same, as apt and oic do it for a
/// `Packages` index.
#[test]
fn a_package_with_a_mistake_is_left_out() {
    let (before, rest) = SAMPLE.split_once("<package").unwrap();
    let (package, after) = rest.split_once("</metadata>").unwrap();
    for (from, to, told) in [
        ("<name>bash", "<name>", "the package \"\" cannot be used: its name or"),
        ("<name>bash", "<name>a/b", "the package \"a/b\""),
        ("Packages/b/bash", "../bash", "out of the repository"),
        ("Packages/b/bash", "/bash", "out of the repository"),
        (
            "<location href",
            "<location xml:base=\"http://e\" href",
            "another place",
        ),
        ("ba7816", "zz7816", "SHA-256"),
        (
            "type=\"sha256\"",
            "type=\"sha\"",
            "it is listed with a digest by \"sha\", which oic does not trust",
        ),
        (
            "package=\"123\"",
            "package=\"-1\"",
            "\"bash\" cannot be used: it has no size",
        ),
        (
            "ver=\"5.2\" rel=\"1.azl3\"/>\n  <checksum",
            "/>\n  <checksum",
            "it has the version",
        ),
        ("name=\"x\"", "name=\"x y\"", "\"x y\""),
        (
            "name=\"x\" flags=\"LT\"",
            "name=\"x\" flags=\"??\"",
            "dependency on x is malformed",
        ),
        ("epoch=\"1\"", "epoch=\"one\"", "no version"),
    ] {
        let changed = package.replace(from, to);
        assert_ne!(changed, package, "{from}");
        let other = package.replace("bash", "other");
        let text = format!("{before}<package{changed}<package{other}</metadata>{after}");
        let Primary { records, skipped, .. } = parse(&text).unwrap();
        assert_eq!(
            records.iter().map(|record| &*record.name).collect::<Vec<_>>(),
            ["other"]
        );
        assert!(
            matches!(&skipped[..], [error] if error.to_string().contains(told)),
            "{skipped:?} ({told})"
        );
        let six = format!("{before}{}</metadata>{after}", format!("<package{changed}").repeat(6));
        let six = parse(&six).unwrap();
        assert_eq!((six.records.len(), six.skipped.len(), six.skipped_count), (0, 5, 6));
    }
    let error = parse(&SAMPLE.replace("</metadata>", "")).unwrap_err();
    assert!(error.to_string().contains("ends inside"), "{error}");
    assert!(parse("<html></html>").is_err());
}

/// A replaced byte or a cut at each place yields an error or records, and every path stays inside.
#[test]
fn damage_is_survived() {
    for at in 0..SAMPLE.len() {
        for byte in *b"<>\"&/ \n" {
            let mut damaged = SAMPLE.as_bytes().to_vec();
            damaged[at] = byte;
            let records = parse_primary(&damaged[..], &"main".into(), 500, &|_| true);
            for record in records.unwrap_or_default().records {
                assert!(stays_inside(&record.path) && !record.name.is_empty());
            }
        }
        let cut = parse_primary(&SAMPLE.as_bytes()[..at], &"main".into(), 500, &|_| true);
        assert!(cut.is_err(), "cut at {at}");
    }
}

/// The index that `createrepo_c` makes of a package agrees with the package's own header.
#[test]
fn an_index_and_a_header_agree() {
    let directory = tempfile::tempdir().unwrap();
    let spec = "Name: both\nVersion: 2\nRelease: 3\nEpoch: 1\nSummary: s\nLicense: MIT\nBuildArch: noarch\n\
        Requires: a >= 1:2, (b or c)\nRequires(pre): d\nProvides: e = 4, f\nConflicts: g < 5\nObsoletes: h <= 6-1\n\
        %description\nx\n%install\nmkdir -p %{buildroot}/etc %{buildroot}/usr/bin %{buildroot}/usr/share/both\n\
        touch %{buildroot}/etc/both.conf %{buildroot}/usr/bin/both %{buildroot}/usr/share/both/data\n\
        %post\ntrue\n%files\n/etc/both.conf\n/usr/bin/both\n/usr/share/both\n";
    let path = testing::build(directory.path(), spec);
    let made = std::process::Command::new("createrepo_c")
        .args(["--quiet", "--no-database", "--general-compress-type=gz"])
        .arg(directory.path().join("RPMS"))
        .output()
        .expect("this test needs createrepo_c (package createrepo-c)");
    assert!(made.status.success(), "{made:?}");
    let repodata = directory.path().join("RPMS/repodata");
    let primary = std::fs::read_dir(repodata).unwrap().map(|entry| entry.unwrap().path());
    let primary = primary
        .into_iter()
        .find(|path| path.to_str().unwrap().contains("primary"))
        .unwrap();
    let bytes = std::fs::read(primary).unwrap();
    let text = std::io::read_to_string(flate2::read::GzDecoder::new(&*bytes)).unwrap();
    let indexed = parse(&text).unwrap().records.pop().unwrap();

    let bytes = std::fs::read(&path).unwrap();
    let head = RpmHead::read(&mut &bytes[..]).unwrap();
    let place = crate::repo::rpm::local::Place {
        path: path.file_name().unwrap().to_str().unwrap().to_owned(),
        size_bytes: bytes.len() as u64,
        checksum: Sha256::of(&bytes).into(),
        repository: "main".into(),
        priority: 500,
    };
    let mut own = crate::repo::rpm::local::record(&head, &place).unwrap();
    // The header has all files, the index only those that it lists; and it orders dependencies by name.
    let listed: Vec<_> = own.files.lines().filter(|file| lists_file(file)).collect();
    assert_eq!(listed.join("\n"), &*indexed.files);
    assert!(own.files.contains("/usr/share/both/data"));
    own.files = indexed.files.clone();
    let sorted = |record: &RpmRecord| {
        let sort = |lines: &str| {
            let mut lines: Vec<_> = lines.lines().map(|line| line.replace("0:", "")).collect();
            lines.sort_unstable();
            lines.dedup();
            lines.join("\n").into()
        };
        RpmRecord {
            requires: sort(&record.requires),
            recommends: sort(&record.recommends),
            requires_pre: sort(&record.requires_pre),
            provides: sort(&record.provides),
            conflicts: sort(&record.conflicts),
            obsoletes: sort(&record.obsoletes),
            ..record.clone()
        }
    };
    assert_eq!(sorted(&own), sorted(&indexed));
}
