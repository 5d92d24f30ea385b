//! The host's apt sources, both forms (sources.list(5)): where a host gets its own packages
//! from, oic can get an image's from.

use std::path::{Path, PathBuf};

/// A file larger than this is no list of sources.
const MAX_BYTES: u64 = 1 << 20;

/// One source of binary packages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AptSource {
    /// Base URL without a slash at the end.
    pub url: String,
    /// Components.
    pub components: Vec<String>,
    /// `Signed-By`, if the source has it.
    pub signed_by: Option<String>,
}

impl AptSource {
    /// The URL of `archive` (such as `debian`) among `sources`: the one whose path has the
    /// archive's name and that has the component `main`. A vendor's repository may look the
    /// same, so one that the distribution's own keyring signs comes first, then the one with
    /// the shortest path. A wrong choice cannot do harm: signatures are checked.
    pub fn best_for<'a>(archive: &str, sources: &'a [Self]) -> Option<&'a str> {
        let path = |source: &'a Self| source.url.split('/').skip(3);
        let fits = |source: &&'a Self| {
            path(source).any(|part| part == archive) && source.components.iter().any(|c| c == "main")
        };
        let foreign = |source: &Self| {
            !source
                .signed_by
                .as_ref()
                .is_some_and(|key| key.contains("archive-keyring"))
        };
        sources
            .iter()
            .filter(fits)
            .min_by_key(|source| (foreign(source), path(source).count()))
            .map(|source| source.url.as_str())
    }
}

/// The sources that `sources.list` and `sources.list.d` in `directory` (`/etc/apt`) name, in the
/// order in which apt reads them. What cannot be read or understood is left out.
pub fn host_sources(directory: &Path) -> Vec<AptSource> {
    let mut files = vec![directory.join("sources.list")];
    if let Ok(entries) = std::fs::read_dir(directory.join("sources.list.d")) {
        let mut more: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
        more.sort();
        files.extend(more);
    }
    let mut sources = Vec::new();
    for path in files {
        let is_small = std::fs::metadata(&path).is_ok_and(|meta| meta.is_file() && meta.len() <= MAX_BYTES);
        let Some(text) = is_small.then(|| std::fs::read(&path).ok()).flatten() else {
            continue;
        };
        let text = String::from_utf8_lossy(&text);
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("list") => sources.extend(text.lines().filter_map(one_line)),
            Some("sources") => sources.extend(deb822(&text)),
            _ => {}
        }
    }
    sources
}

/// `deb [options] URI SUITE COMPONENT...`
fn one_line(line: &str) -> Option<AptSource> {
    let line = line.split('#').next()?.trim().strip_prefix("deb")?;
    let rest = line.strip_prefix([' ', '\t'])?.trim_start();
    let (options, rest) = match rest.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?,
        None => ("", rest),
    };
    let mut words = rest.split_whitespace();
    let url = usable(words.next()?)?;
    let _suite = words.next()?;
    let signed_by = options
        .split_whitespace()
        .find_map(|option| option.strip_prefix("signed-by="));
    Some(AptSource {
        url,
        components: words.map(str::to_owned).collect(),
        signed_by: signed_by.map(str::to_owned),
    })
}

/// Stanzas of `Types:`, `URIs:`, `Suites:`, `Components:`, `Signed-By:`.
fn deb822(text: &str) -> Vec<AptSource> {
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    let mut sources = Vec::new();
    for stanza in lines.split(|line| line.trim().is_empty()) {
        let field = |wanted: &str| -> Option<String> {
            let is_wanted = |line: &str| {
                line.split_once(':')
                    .is_some_and(|(name, _)| name.eq_ignore_ascii_case(wanted))
            };
            let at = stanza
                .iter()
                .position(|line| !line.starts_with([' ', '\t']) && is_wanted(line))?;
            let mut value = stanza.get(at)?.split_once(':')?.1.to_owned();
            for more in stanza
                .iter()
                .skip(at + 1)
                .take_while(|line| line.starts_with([' ', '\t']))
            {
                value.push_str(more);
            }
            Some(value)
        };
        let words = |name: &str| {
            field(name)
                .unwrap_or_default()
                .split_whitespace()
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        let is_off = field("Enabled").is_some_and(|value| matches!(value.trim(), "no" | "false" | "0"));
        if is_off || !words("Types").iter().any(|kind| kind == "deb") {
            continue;
        }
        for url in words("URIs").iter().filter_map(|url| usable(url)) {
            sources.push(AptSource {
                url,
                components: words("Components"),
                signed_by: field("Signed-By").map(|value| value.trim().to_owned()),
            });
        }
    }
    sources
}

/// What oic can fetch from: no `cdrom:`, no `mirror:`, and no password, which would end in a lockfile.
fn usable(url: &str) -> Option<String> {
    let rest = ["http://", "https://", "file://"]
        .iter()
        .find_map(|scheme| url.strip_prefix(scheme))?;
    let has_login = rest.split('/').next().is_some_and(|host| host.contains('@'));
    (!has_login).then(|| url.trim_end_matches('/').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = "\
# deb http://commented.example/debian trixie main
deb [arch=amd64 signed-by=/usr/share/keyrings/vendor.gpg] https://vendor.example/debian bookworm main
deb\thttp://mirror.example/mirrors/debian/ bookworm main contrib # the real one
deb-src http://src.example/debian bookworm main
deb cdrom:[Debian]/ bookworm main
deb http://me:secret@login.example/debian bookworm main
";
    const SOURCES: &str = "\
Types: deb
URIs: http://off.example/debian
Suites: bookworm
Components: main
Enabled: no

# comment
Types: deb deb-src
URIs: http://deb822.example/debian-security
 https://second.example/debian-security
Suites: bookworm-security
Components:
 main
 contrib
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
";

    #[test]
    fn both_forms_are_read() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("sources.list.d")).unwrap();
        std::fs::write(directory.path().join("sources.list"), LIST).unwrap();
        std::fs::write(directory.path().join("sources.list.d/debian.sources"), SOURCES).unwrap();
        std::fs::write(directory.path().join("sources.list.d/old.list.save"), LIST).unwrap();
        let sources = host_sources(directory.path());
        let urls: Vec<_> = sources.iter().map(|source| source.url.as_str()).collect();
        assert_eq!(
            urls,
            [
                "https://vendor.example/debian",
                "http://mirror.example/mirrors/debian",
                "http://deb822.example/debian-security",
                "https://second.example/debian-security",
            ]
        );
        assert_eq!(sources[2].components, ["main", "contrib"]);
        assert_eq!(
            AptSource::best_for("debian-security", &sources),
            Some("http://deb822.example/debian-security")
        );
        assert_eq!(AptSource::best_for("ubuntu", &sources), None);
    }

    #[test]
    fn the_distributions_own_source_comes_before_a_vendors() {
        let source = |line| one_line(line).unwrap();
        let sources = [
            source("deb https://vendor.example/debian bookworm main"),
            source(
                "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://a.example/x/y/debian bookworm main",
            ),
        ];
        assert_eq!(
            AptSource::best_for("debian", &sources),
            Some("http://a.example/x/y/debian")
        );
    }

    #[test]
    fn this_hosts_sources_are_understood() {
        // Compared with what apt itself makes of the same files.
        let output = std::process::Command::new("apt-get")
            .args(["indextargets", "--format", "$(REPO_URI)", "Created-By: Packages"])
            .output()
            .expect("apt-get of the package apt");
        let apt = String::from_utf8(output.stdout).unwrap();
        let ours: Vec<String> = host_sources(Path::new("/etc/apt"))
            .into_iter()
            .map(|source| source.url)
            .collect();
        for url in apt.lines().filter(|url| url.starts_with("http")) {
            assert!(
                ours.iter().any(|own| own == url.trim_end_matches('/')),
                "{url} {ours:?}"
            );
        }
    }
}
