//! An entry of the Boot Loader Specification (UAPI.1, "Type #1"): kernel and initrd as files of their own, and a text
//! that names them.
//!
//! Names and fields are those of kernel-install(8) with `layout=bls` and the operating system's id as entry token: the
//! machine has no id yet, so the entry has none either.

use std::fmt::Write as _;
use std::path::PathBuf;

use crate::image::content::Source;

/// The id of a system whose os-release(5) has none.
const DEFAULT_ID: &str = "linux";

/// The parts of an entry.
#[derive(Debug, Clone)]
pub struct Parts {
    /// os-release(5) of the image.
    pub os_release: Vec<u8>,
    /// Kernel version.
    pub version: String,
    /// Kernel command line.
    pub command_line: String,
    /// The kernel.
    pub linux: Source,
    /// The initrd.
    pub initrd: Source,
}

/// Returns the files of the entry of `parts`, by their path on the EFI system partition.
pub fn files(parts: Parts) -> Vec<(PathBuf, Source)> {
    let os_release = String::from_utf8_lossy(&parts.os_release);
    let id = ["IMAGE_ID", "ID"].into_iter().find_map(|name| id(&os_release, name));
    let id = id.unwrap_or_else(|| DEFAULT_ID.to_owned());
    let Parts {
        version, command_line, ..
    } = parts;
    let title = value(&os_release, "PRETTY_NAME").filter(|title| !title.contains(char::is_control));
    let title = title.unwrap_or_else(|| format!("Linux {version}"));
    let directory = format!("{id}/{version}");
    let mut text = String::new();
    for (field, value) in [
        ("title", title.as_str()),
        ("version", &version),
        ("sort-key", &id),
        ("options", &command_line),
        ("linux", &format!("/{directory}/linux")),
        ("initrd", &format!("/{directory}/initrd")),
    ] {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{field:<10} {value}");
    }
    let at = |path: String| PathBuf::from(path);
    vec![
        (at(format!("{directory}/linux")), parts.linux),
        (at(format!("{directory}/initrd")), parts.initrd),
        (
            at(format!("loader/entries/{id}-{version}.conf")),
            Source::Bytes(text.into_bytes()),
        ),
        // Says that the entries are those of the specification.
        (at("loader/entries.srel".into()), "type1\n".into()),
    ]
}

/// Returns the value of `name` in `os_release` if it is an id, as os-release(5) defines them.
pub(super) fn id(os_release: &str, name: &str) -> Option<String> {
    let is_id = |id: &String| {
        let is_good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        !id.is_empty() && !id.starts_with('.') && id.chars().all(is_good)
    };
    value(os_release, name).filter(is_id)
}

/// Returns the value of `name` in `os_release`, without its quotes; the last one counts, as in a shell.
pub(super) fn value(os_release: &str, name: &str) -> Option<String> {
    let mut lines = os_release.lines().rev();
    let value = lines.find_map(|line| line.trim().strip_prefix(name)?.strip_prefix('='))?;
    let quoted = |quote: char| value.strip_prefix(quote)?.strip_suffix(quote);
    let inner = match (quoted('\''), quoted('"')) {
        (Some(literal), _) => return Some(literal.to_owned()),
        (_, Some(inner)) => inner,
        _ => value,
    };
    let mut characters = inner.chars();
    let mut text = String::new();
    while let Some(character) = characters.next() {
        text.extend(match character {
            '\\' => characters.next(),
            other => Some(other),
        });
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(os_release: &str, version: &str) -> (Vec<String>, String) {
        let made = files(Parts {
            os_release: os_release.into(),
            version: version.into(),
            command_line: "root=PARTUUID=x quiet".into(),
            linux: "MZ".into(),
            initrd: "initrd".into(),
        });
        let Source::Bytes(text) = &made[2].1 else { panic!() };
        let text = String::from_utf8(text.clone()).unwrap();
        let paths = made.iter().map(|(path, _)| path.to_str().unwrap().to_owned());
        (paths.collect(), text)
    }

    #[test]
    fn an_entry_names_its_files() {
        let os_release = "PRETTY_NAME=\"Debian GNU/Linux 13 (\\\"trixie\\\")\"\nID=debian\nVERSION_ID=\"13\"\n";
        let (paths, text) = entry(os_release, "6.12.48+deb13-amd64");
        assert_eq!(
            paths,
            [
                "debian/6.12.48+deb13-amd64/linux",
                "debian/6.12.48+deb13-amd64/initrd",
                "loader/entries/debian-6.12.48+deb13-amd64.conf",
                "loader/entries.srel",
            ]
        );
        let expected = "title      Debian GNU/Linux 13 (\"trixie\")
version    6.12.48+deb13-amd64
sort-key   debian
options    root=PARTUUID=x quiet
linux      /debian/6.12.48+deb13-amd64/linux
initrd     /debian/6.12.48+deb13-amd64/initrd
";
        assert_eq!(text, expected);
    }

    #[test]
    fn ids_that_lead_elsewhere_are_not_used() {
        for (os_release, expected) in [
            ("ID=a\nID='b'\n", "b"),
            ("ID=debian\nIMAGE_ID=\"mine-1\"\n", "mine-1"),
            ("IMAGE_ID=\nID=debian\n", "debian"),
            ("ID=../../EFI\n", "linux"),
            ("ID=.hidden\nIMAGE_ID=a/b", "linux"),
            ("PRETTY_NAME='a\tb'\n", "linux"),
        ] {
            let (paths, text) = entry(os_release, "6.1");
            assert_eq!(paths[0], format!("{expected}/6.1/linux"), "{os_release}");
            assert!(text.starts_with("title      Linux 6.1\n"), "{text}");
        }
    }
}
