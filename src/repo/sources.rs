//! The host's apt sources (sources.list(5)), the last resort to find a Debian mirror.
//!
//! Parsing is pure; only [`debian_mirrors`] reads files. The result is not trusted: it is a list of URLs, and
//! signatures decide which of their files may be used.

use std::fs;
use std::path::Path;

use super::deb::ParseError;
use super::deb::deb822::{Scanner, Token};
use crate::durable;

/// Largest file of apt sources that is read, in bytes.
const SOURCES_LIMIT_BYTES: u64 = 1 << 20;

/// One archive of binary packages that a source file names: one URI and one suite.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// As written, without a trailing slash.
    pub uri: String,
    /// Suite, or a path that ends in `/` (then there are no components).
    pub suite: String,
    /// Components.
    pub components: Vec<String>,
    /// `Signed-By`: a path, fingerprints, or a whole key.
    pub signed_by: Option<String>,
}

/// Base URLs of Debian's archives, without a trailing slash.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MirrorHints {
    /// The main archive.
    pub debian: Option<String>,
    /// The security archive.
    pub debian_security: Option<String>,
}

/// Finds Debian's archives in `sources.list` and `sources.list.d` below `etc_apt` (`/etc/apt`). Files that are absent
/// or malformed are ignored, as are disabled sources, other archives, and transports other than `http`, `https` and
/// `file`.
pub fn debian_mirrors(etc_apt: &Path) -> MirrorHints {
    let mut files = vec![etc_apt.join("sources.list")];
    let parts = fs::read_dir(etc_apt.join("sources.list.d"))
        .into_iter()
        .flatten()
        .flatten();
    let mut parts: Vec<_> = parts.map(|entry| entry.path()).collect();
    parts.sort();
    files.extend(parts);
    let mut sources = Vec::new();
    for path in files {
        let Some(name) = path
            .file_name()
            .and_then(|name| name.to_str())
            .filter(|name| is_file_name(name))
        else {
            continue;
        };
        let Some(text) = text_of(&path) else { continue };
        match parse(name, &text) {
            Ok(found) => sources.extend(found),
            Err(error) => tracing::debug!(path = %path.display(), %error, "apt sources that cannot be read"),
        }
    }
    choose(&sources)
}

/// Reads an apt sources file; `None`, which the log explains, if it cannot be read.
fn text_of(path: &Path) -> Option<String> {
    let read = durable::open_regular(path).and_then(|file| durable::read_at_most(file, SOURCES_LIMIT_BYTES));
    match read {
        Ok(bytes) => Some(String::from_utf8_lossy(&bytes).into_owned()),
        Err(error) => {
            tracing::debug!(path = %path.display(), %error, "apt sources that cannot be read");
            None
        }
    }
}

/// Parses the enabled binary sources of a file; its name's extension (`sources`, `list`) tells its syntax.
///
/// # Errors
/// [`ParseError`] if it does not have that syntax.
pub fn parse(file_name: &str, text: &str) -> Result<Vec<Source>, ParseError> {
    if file_name.ends_with(".sources") {
        parse_deb822(text)
    } else {
        parse_one_line(text)
    }
}

/// Returns the first source of each archive.
fn choose(sources: &[Source]) -> MirrorHints {
    let first = |kind| {
        sources
            .iter()
            .find(|source| archive(source) == Some(kind))
            .map(|source| source.uri.clone())
    };
    MirrorHints {
        debian: first(Archive::Debian),
        debian_security: first(Archive::Security),
    }
}

/// The archives of Debian itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Archive {
    Debian,
    Security,
}

/// Returns Debian's archive that a source names, if it names one.
fn archive(source: &Source) -> Option<Archive> {
    const RELEASES: [&str; 11] = [
        "buster",
        "bullseye",
        "bookworm",
        "trixie",
        "forky",
        "duke",
        "sid",
        "oldstable",
        "stable",
        "testing",
        "unstable",
    ];
    const POCKETS: [&str; 4] = ["", "-updates", "-backports", "-proposed-updates"];
    const AREAS: [&str; 4] = ["main", "contrib", "non-free", "non-free-firmware"];
    let scheme = source.uri.split_once(':').map_or("", |(scheme, _)| scheme);
    if !matches!(scheme, "http" | "https" | "file") || source.uri.contains("$(") {
        return None;
    }
    let release = RELEASES.iter().find_map(|release| source.suite.strip_prefix(release));
    let archive = match release? {
        "-security" | "/updates" => Archive::Security,
        pocket if POCKETS.contains(&pocket) => Archive::Debian,
        _ => return None,
    };
    let directory = match archive {
        Archive::Debian => "/debian",
        Archive::Security => "/debian-security",
    };
    let keyed = match &source.signed_by {
        // Another key means another vendor, whatever the path.
        Some(key) => key.contains("debian-archive"),
        None => source.uri.ends_with(directory),
    };
    let has_main = source.components.iter().any(|component| component == "main");
    let areas = source
        .components
        .iter()
        .all(|component| AREAS.contains(&component.as_str()));
    (keyed && has_main && areas).then_some(archive)
}

/// Parses `Types`, `URIs`, `Suites`, `Components`, `Enabled`, `Signed-By` (sources.list(5), "DEB822-style format").
fn parse_deb822(text: &str) -> Result<Vec<Source>, ParseError> {
    let mut scanner = Scanner::with_comments(text);
    let mut sources = Vec::new();
    let mut fields: Vec<(String, String)> = Vec::new();
    while let Some(token) = scanner.token()? {
        match token {
            Token::Field(field) => {
                let lines = field.value.lines().filter(|line| !line.starts_with('#'));
                fields.push((field.name.to_ascii_lowercase(), lines.collect::<Vec<_>>().join("\n")));
            }
            Token::End { .. } => {
                sources.extend(from_fields(&fields));
                fields.clear();
            }
        }
    }
    Ok(sources)
}

fn from_fields(fields: &[(String, String)]) -> Vec<Source> {
    let get = |name: &str| {
        fields
            .iter()
            .find(|(field, _)| field == name)
            .map(|(_, value)| value.as_str())
    };
    let words = |name: &str| get(name).unwrap_or_default().split_ascii_whitespace();
    let off = ["no", "false", "without", "off", "disable", "0"];
    let disabled = get("enabled").is_some_and(|value| off.contains(&value.to_ascii_lowercase().as_str()));
    if disabled || !words("types").any(|kind| kind == "deb") {
        return Vec::new();
    }
    let source = |uri: &str, suite: &str| Source {
        uri: uri.trim_end_matches('/').to_owned(),
        suite: suite.to_owned(),
        components: words("components").map(str::to_owned).collect(),
        signed_by: get("signed-by").filter(|key| !key.is_empty()).map(str::to_owned),
    };
    words("uris")
        .flat_map(|uri| words("suites").map(move |suite| source(uri, suite)))
        .collect()
}

/// Parses `deb [option=value …] uri suite [component …]` (sources.list(5), "One-line-style format").
fn parse_one_line(text: &str) -> Result<Vec<Source>, ParseError> {
    let mut sources = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.split('#').next().unwrap_or_default().trim();
        let rest = match line.split_once(|c: char| c.is_ascii_whitespace()) {
            Some(("deb", rest)) => rest.trim_start(),
            Some(("deb-src", _)) => continue,
            None if line.is_empty() => continue,
            _ => {
                return Err(ParseError::at(
                    number,
                    format!("expected \"deb uri suite component…\", found {line:?}"),
                ));
            }
        };
        let (options, rest) = match rest.strip_prefix('[') {
            None => ("", rest),
            Some(inside) => inside
                .split_once(']')
                .ok_or_else(|| ParseError::at(number, "\"[\" without \"]\""))?,
        };
        let signed_by = options
            .split_ascii_whitespace()
            .find_map(|option| option.strip_prefix("signed-by="));
        // A cdrom URI may hold blanks, in brackets; such sources are of no use here.
        if rest.trim_start().starts_with("cdrom:") {
            continue;
        }
        let mut words = rest.split_ascii_whitespace().map(str::to_owned);
        let (Some(uri), Some(suite)) = (words.next(), words.next()) else {
            return Err(ParseError::at(number, "a source needs a URI and a suite"));
        };
        let uri = uri.trim_end_matches('/').to_owned();
        sources.push(Source {
            uri,
            suite,
            components: words.collect(),
            signed_by: signed_by.map(str::to_owned),
        });
    }
    Ok(sources)
}

/// Returns whether apt reads a file of this name: letters, digits and `-_.`, and the extension `list` or `sources`.
fn is_file_name(name: &str) -> bool {
    (name.ends_with(".list") || name.ends_with(".sources"))
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    const DEB822: &str = "# Debian\nTypes: deb deb-src\nURIs: http://a.example/debian/\n https://b.example/debian\n\
        Suites: trixie trixie-updates\n# between\nComponents: main contrib\n\
        Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg\n\nTypes: deb\nURIs: http://a.example/debian-security\n\
        Suites: trixie-security\nComponents: main\nSigned-By: /usr/share/keyrings/debian-archive-keyring.gpg\n\n\
        Enabled: no\nTypes: deb\nURIs: http://off.example/debian\nSuites: sid\nComponents: main\n\n\
        Types: deb-src\nURIs: http://src.example/debian\nSuites: sid\nComponents: main\n";

    fn hints(file_name: &str, text: &str) -> (Option<String>, Option<String>) {
        let hints = choose(&parse(file_name, text).unwrap());
        (hints.debian, hints.debian_security)
    }

    #[test]
    fn reads_deb822() {
        let sources = parse("debian.sources", DEB822).unwrap();
        let short: Vec<_> = sources
            .iter()
            .map(|source| format!("{} {}", source.uri, source.suite))
            .collect();
        assert_eq!(
            short,
            [
                "http://a.example/debian trixie",
                "http://a.example/debian trixie-updates",
                "https://b.example/debian trixie",
                "https://b.example/debian trixie-updates",
                "http://a.example/debian-security trixie-security",
            ]
        );
        assert_eq!(sources[0].components, ["main", "contrib"]);
        let expected = ("http://a.example/debian", "http://a.example/debian-security");
        assert_eq!(
            hints("debian.sources", DEB822),
            (Some(expected.0.into()), Some(expected.1.into()))
        );
    }

    #[test]
    fn reads_one_line_style() {
        let text = "# deb http://off.example/debian sid main\n\n\
            deb cdrom:[Debian GNU/Linux 13.0.0 _Trixie_ - Official amd64]/ trixie main\n\
            deb-src http://src.example/debian trixie main\n\
            deb [ arch=amd64 signed-by=/usr/share/keyrings/debian-archive-keyring.gpg ] http://a.example/x/debian/ trixie main # why\n\
            deb http://sec.example/debian-security bullseye/updates main non-free\n";
        let expected = ("http://a.example/x/debian", "http://sec.example/debian-security");
        assert_eq!(
            hints("sources.list", text),
            (Some(expected.0.into()), Some(expected.1.into()))
        );
        for bad in [
            "deb [arch=amd64 http://a sid main",
            "deb http://a",
            "rpm http://a sid main",
            "deb",
        ] {
            assert_eq!(
                parse("sources.list", &format!("\n{bad}\n")).unwrap_err().line,
                2,
                "{bad}"
            );
        }
    }

    #[test]
    fn passes_over_what_is_not_debian() {
        for line in [
            "deb https://vendor.example/linux/debian bookworm stable",
            "deb [signed-by=/etc/apt/keyrings/vendor.asc] https://vendor.example/debian bookworm main",
            "deb https://vendor.example/apt bookworm main",
            "deb http://archive.example/ubuntu noble main",
            "deb http://a.example/debian noble main",
            "deb http://a.example/debian trixie-vendor main",
            "deb http://a.example/debian trixie-security main",
            "deb mirror+file:/etc/apt/mirrors/debian.list trixie main",
            "deb tor+http://a.example/debian trixie main",
            "deb http://a.example/$(ARCH)/debian trixie main",
            "deb http://a.example/debian ./",
        ] {
            assert_eq!(hints("x.list", line), (None, None), "{line}");
        }
        let file = Some("file:/srv/mirror/debian".to_owned());
        assert_eq!(hints("x.list", "deb file:/srv/mirror/debian/ sid main"), (file, None));
    }

    #[test]
    fn reads_the_directory_as_apt_does() {
        let directory = tempfile::tempdir().unwrap();
        let etc = directory.path();
        assert_eq!(debian_mirrors(etc), MirrorHints::default());
        fs::create_dir_all(etc.join("sources.list.d")).unwrap();
        let write = |name: &str, host: &str| {
            let text = format!("deb http://{host}.example/debian trixie main\n");
            fs::write(etc.join("sources.list.d").join(name), text).unwrap();
        };
        write("a.list.save", "saved");
        write("a b.list", "blank");
        write("b.list", "b");
        write("c.list", "c");
        fs::write(etc.join("sources.list.d/a.sources"), "nonsense\n").unwrap();
        assert_eq!(debian_mirrors(etc).debian.unwrap(), "http://b.example/debian");
        fs::write(etc.join("sources.list.d/a.sources"), DEB822).unwrap();
        assert_eq!(debian_mirrors(etc).debian.unwrap(), "http://a.example/debian");
        fs::write(
            etc.join("sources.list"),
            "deb http://first.example/debian trixie main\n",
        )
        .unwrap();
        assert_eq!(debian_mirrors(etc).debian.unwrap(), "http://first.example/debian");
    }

    /// Compares with apt's own reader: the indexes that it would download for the same file.
    #[test]
    fn apt_reads_the_same_sources() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("debian.sources");
        fs::write(&path, DEB822).unwrap();
        let output = Command::new("apt-get")
            .args([
                "update",
                "--print-uris",
                "-o",
                "APT::Architecture=amd64",
                "-o",
                "APT::Architectures=amd64",
            ])
            .args(["-o", "Dir::Etc::sourceparts=/dev/null", "-o"])
            .arg(format!("Dir::Etc::sourcelist={}", path.display()))
            .output()
            .expect("this test needs apt-get: install the package apt");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let printed = String::from_utf8(output.stdout).unwrap();
        let index = |line: &str| {
            line.split_once("/binary-amd64/Packages")
                .map(|(before, _)| before.replace('\'', ""))
        };
        let mut apts: Vec<_> = printed.lines().filter_map(index).collect();
        let mut ours = Vec::new();
        for source in parse("debian.sources", DEB822).unwrap() {
            let index = |component| format!("{}/dists/{}/{component}", source.uri, source.suite);
            ours.extend(source.components.iter().map(index));
        }
        apts.sort();
        ours.sort();
        assert_eq!(apts, ours);
    }

    proptest::proptest! {
        #[test]
        fn any_text_ends_without_panic(text in "(deb |Types: deb\\n|URIs: )?[ -~\\n\\[\\]é]{0,200}") {
            for name in ["x.list", "x.sources"] {
                if let Ok(sources) = parse(name, &text) {
                    choose(&sources);
                }
            }
        }
    }
}
