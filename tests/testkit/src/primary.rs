//! A `primary.xml` of Fedora's size and shape; the packages are made up.

use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use crate::{dnf, sha256};

/// Fedora has about that many on one architecture.
pub const PACKAGES: usize = 60_000;

/// Package `n` needs the sonames of three packages before it, and a command of a fourth.
pub fn generate(packages: usize) -> String {
    let mut text = String::with_capacity(packages * 3000);
    text.push_str(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<metadata xmlns=\"http://linux.duke.edu/metadata/common\" \
         xmlns:rpm=\"http://linux.duke.edu/metadata/rpm\" packages=\"0\">\n",
    );
    for number in 0..packages {
        let name = name(number);
        let digest = sha256(number.to_le_bytes());
        let _ = write!(
            text,
            "<package type=\"rpm\">\n  <name>{name}</name>\n  <arch>x86_64</arch>\n  <version epoch=\"0\" ver=\"1.{number}\" rel=\"1.fc99\"/>\n  \
             <checksum type=\"sha256\" pkgid=\"YES\">{digest}</checksum>\n  <summary>One of many generated packages</summary>\n  \
             <description>This package was made up so that an index\nhas the size that those of distributions have,\n\
             with a text of some length for people to read &amp; ignore.</description>\n  \
             <packager>Some Project</packager>\n  <url>https://example.org/{name}</url>\n  \
             <time file=\"1700000001\" build=\"1700000000\"/>\n  <size package=\"{}\" installed=\"{}\" archive=\"{}\"/>\n  \
             <location href=\"Packages/p/{name}-1.{number}-1.fc99.x86_64.rpm\"/>\n  <format>\n    <rpm:license>MIT</rpm:license>\n    \
             <rpm:vendor>Some Project</rpm:vendor>\n    <rpm:group>Unspecified</rpm:group>\n    \
             <rpm:buildhost>builder.example.org</rpm:buildhost>\n    <rpm:sourcerpm>{name}-1.{number}-1.fc99.src.rpm</rpm:sourcerpm>\n    \
             <rpm:header-range start=\"4504\" end=\"90000\"/>\n    <rpm:provides>\n",
            1000 + number,
            4000 + number,
            5000 + number,
        );
        for (provided, version) in [
            (format!("lib{name}.so.1()(64bit)"), ""),
            (format!("lib{name}.so.1(V_1)(64bit)"), ""),
            (format!("{name}(x86-64)"), "flags"),
            (name.clone(), "flags"),
            (format!("config({name})"), "flags"),
        ] {
            let range = match version {
                "" => String::new(),
                _ => format!(" flags=\"EQ\" epoch=\"0\" ver=\"1.{number}\" rel=\"1.fc99\""),
            };
            let _ = writeln!(text, "      <rpm:entry name=\"{provided}\"{range}/>");
        }
        text.push_str("    </rpm:provides>\n    <rpm:requires>\n");
        if number > 0 {
            for other in [number / 2, number / 3, number / 5].map(self::name) {
                let _ = writeln!(text, "      <rpm:entry name=\"lib{other}.so.1()(64bit)\"/>");
                let _ = writeln!(text, "      <rpm:entry name=\"lib{other}.so.1(V_1)(64bit)\"/>");
            }
            let other = self::name(number / 7);
            let _ = writeln!(text, "      <rpm:entry name=\"/usr/bin/{other}\" pre=\"1\"/>");
            let _ = writeln!(
                text,
                "      <rpm:entry name=\"{other}\" flags=\"GE\" epoch=\"0\" ver=\"1.0\"/>"
            );
        }
        let _ = write!(
            text,
            "    </rpm:requires>\n    <file>/usr/bin/{name}</file>\n    \
             <file>/etc/{name}.conf</file>\n    <file type=\"dir\">/etc/{name}.d</file>\n  </format>\n</package>\n"
        );
    }
    text.push_str("</metadata>\n");
    text
}

fn name(number: usize) -> String {
    format!("package-{number:05}")
}

/// Forty of them.
pub fn request() -> Vec<String> {
    (0..40).map(|step| name(PACKAGES - 1 - step * 700)).collect()
}

/// Writes the indexes of a repository with those packages, but no package.
pub fn repository(root: &Path) -> Result<(), Box<dyn Error>> {
    fs::create_dir_all(root.join("repodata"))?;
    let mut filelists =
        format!("<filelists xmlns=\"http://linux.duke.edu/metadata/filelists\" packages=\"{PACKAGES}\">\n");
    for number in 0..PACKAGES {
        let (name, digest) = (name(number), sha256(number.to_le_bytes()));
        writeln!(
            filelists,
            "<package pkgid=\"{digest}\" name=\"{name}\" arch=\"x86_64\"><version epoch=\"0\" ver=\"1.{number}\" rel=\"1.fc99\"/>\
             <file>/usr/bin/{name}</file></package>"
        )?;
    }
    filelists.push_str("</filelists>\n");
    let mut repomd = "<repomd xmlns=\"http://linux.duke.edu/metadata/repo\"><revision>1</revision>\n".to_owned();
    for (kind, text) in [("primary", generate(PACKAGES)), ("filelists", filelists)] {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(text.as_bytes())?;
        let packed = encoder.finish()?;
        let path = format!("repodata/{kind}.xml.gz");
        writeln!(
            repomd,
            "<data type=\"{kind}\"><checksum type=\"sha256\">{}</checksum><open-checksum type=\"sha256\">{}</open-checksum>\
             <location href=\"{path}\"/><timestamp>1700000000</timestamp><size>{}</size><open-size>{}</open-size></data>",
            sha256(&packed),
            sha256(&text),
            packed.len(),
            text.len()
        )?;
        fs::write(root.join(path), packed)?;
    }
    Ok(fs::write(root.join("repodata/repomd.xml"), repomd + "</repomd>\n")?)
}

/// dnf over that repository, with a root and a cache of its own below `scratch`.
pub fn dnf(root: &Path, scratch: &Path, cached: bool) -> Command {
    let mut command = dnf::dnf(&[("main", root)], scratch);
    if cached {
        command.arg("--cacheonly");
    }
    command
}
