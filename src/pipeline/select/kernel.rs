//! `kernel.version`: which of the repositories' kernel versions is installed.

/// Gives the kernel packages to ask for, and a warning if none of them has the wanted version.
///
/// If a package's newest version is not the wanted one, but an older one is, the request names that version. If none
/// is, it takes the newest: templates of the older tool, which paid no attention to the field, name versions that no
/// repository has any more. `versions` gives the versions of a package, the newest first.
pub fn packages<'a>(
    version: Option<&str>,
    names: &[String],
    versions: impl Fn(&str) -> Vec<&'a str>,
) -> (Vec<String>, Option<String>) {
    let Some(wanted) = version else {
        return (names.to_vec(), None);
    };
    let mut found = names.is_empty();
    let mut offered: Vec<String> = Vec::new();
    let mut packages = Vec::new();
    for name in names {
        let versions = versions(name);
        let chosen = versions.iter().position(|version| meets(version, wanted));
        found |= chosen.is_some() || name.contains('=');
        packages.push(match chosen.and_then(|at| Some((at, versions.get(at)?))) {
            Some((at, version)) if at > 0 => format!("{name}={version}"),
            _ => name.clone(),
        });
        offered.extend(versions.first().map(|version| format!("{name} {version}")));
    }
    let warning = (!found).then(|| {
        format!(
            "systemConfig.kernel.version: no repository has a kernel {wanted}; the newest is taken: {}",
            if offered.is_empty() {
                "unknown".to_owned()
            } else {
                offered.join(", ")
            }
        )
    });
    (packages, warning)
}

/// Says whether a package's version, without its epoch, is `wanted` or continues it.
fn meets(version: &str, wanted: &str) -> bool {
    let version = version.split_once(':').map_or(version, |(_, rest)| rest);
    version
        .strip_prefix(wanted)
        .is_some_and(|rest| !rest.starts_with(|c: char| c.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_chooses_among_those_that_there_are() {
        let asked = |version: Option<&str>| {
            let names = ["linux-image-amd64".to_owned()];
            let offered = |_: &str| vec!["6.12.63-1", "6.12.57-1", "6.1.158-1"];
            let (packages, warning) = packages(version, &names, offered);
            (packages.join(" "), warning.is_some())
        };
        assert_eq!(asked(None), ("linux-image-amd64".to_owned(), false));
        assert_eq!(asked(Some("6.12")), ("linux-image-amd64".to_owned(), false));
        assert_eq!(
            asked(Some("6.12.57")),
            ("linux-image-amd64=6.12.57-1".to_owned(), false)
        );
        assert_eq!(asked(Some("6.1")), ("linux-image-amd64=6.1.158-1".to_owned(), false));
        assert_eq!(asked(Some("6.12.6")), ("linux-image-amd64".to_owned(), true));
    }
}
