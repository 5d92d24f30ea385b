//! `kernel.version`: which of the versions that the repositories have is installed.

use crate::template::model::Kernel;

/// The kernel packages to ask for, and what to tell if none of them has the wanted version.
///
/// A package of which the newest version is not the wanted one, but another is, is asked for
/// in that version. If none is, the newest is taken: templates of the older tool, which paid
/// no attention to the field, name versions that no repository has any more. `versions` gives the
/// versions of a package, the newest first.
pub(super) fn packages<'a>(kernel: &Kernel, versions: impl Fn(&str) -> Vec<&'a str>) -> (Vec<String>, Option<String>) {
    let Some(wanted) = kernel.version.as_deref() else {
        return (kernel.packages.clone(), None);
    };
    let mut found = kernel.packages.is_empty();
    let mut offered: Vec<String> = Vec::new();
    let mut packages = Vec::new();
    for name in &kernel.packages {
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

/// Whether a package's version, without its epoch, is `wanted` or continues it.
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
            let kernel = Kernel {
                version: version.map(str::to_owned),
                command_line: String::new(),
                extra_modules: vec![],
                packages: vec!["linux-image-amd64".to_owned()],
            };
            let (packages, warning) = packages(&kernel, |_| vec!["6.12.63-1", "6.12.57-1", "6.1.158-1"]);
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
