//! The filter over the packages of a repository: `allowPackages` and `excludePackages`.

use super::glob;

/// A choice of packages by name. Packages that are both allowed and excluded are excluded, as with dnf (dnf.conf(5),
/// `includepkgs` and `excludepkgs`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PackageFilter {
    /// The only packages taken: names, prefixes of names, or patterns; empty means all.
    pub allow: Vec<String>,
    /// The packages never taken: names or patterns; of `.rpm` packages also names with version, architecture or both.
    pub exclude: Vec<String>,
}

impl PackageFilter {
    /// Returns whether the package `name` may be taken; `longer` gives the longer names that `exclude` may call it by.
    pub fn takes(&self, name: &str, longer: impl FnOnce() -> Vec<String>) -> bool {
        (self.allow.is_empty() || self.allow.iter().any(|entry| allows(entry, name)))
            && (self.exclude.is_empty() || !self.excludes(name, &longer()))
    }

    fn excludes(&self, name: &str, longer: &[String]) -> bool {
        let mut names = std::iter::once(name).chain(longer.iter().map(String::as_str));
        names.any(|name| self.exclude.iter().any(|entry| glob::matches(entry, name)))
    }

    /// Describes the fields of a template that limit the packages, with their entries; `None` if all packages may be
    /// taken.
    pub fn describe(&self) -> Option<String> {
        let field = |name, entries: &[String]| (!entries.is_empty()).then(|| format!("{name}: {}", entries.join(", ")));
        let fields = [
            field("allowPackages", &self.allow),
            field("excludePackages", &self.exclude),
        ];
        let fields: Vec<_> = fields.into_iter().flatten().collect();
        (!fields.is_empty()).then(|| fields.join(" and "))
    }

    /// Returns `allow` as patterns alone, as package managers take them.
    pub fn allow_patterns(&self) -> Vec<String> {
        let pattern = |entry: &String| match glob::is_pattern(entry) {
            true => entry.clone(),
            false => format!("{entry}*"),
        };
        self.allow.iter().map(pattern).collect()
    }
}

/// Returns whether `entry` matches `name`, as a pattern or as a prefix, which is how the templates of the older tool
/// name a family of packages.
fn allows(entry: &str, name: &str) -> bool {
    glob::matches(entry, name) || (!glob::is_pattern(entry) && name.starts_with(entry))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn takes(allow: &[&str], exclude: &[&str], name: &str) -> bool {
        let list = |entries: &[&str]| entries.iter().map(|entry| (*entry).to_owned()).collect();
        let filter = PackageFilter {
            allow: list(allow),
            exclude: list(exclude),
        };
        filter.takes(name, || vec![format!("{name}.noarch")])
    }

    #[test]
    fn allowed_are_names_beginnings_or_patterns() {
        assert!(takes(&[], &[], "curl") && takes(&["x", "curl"], &[], "curl"));
        assert!(takes(&["linux-image"], &[], "linux-image-amd64") && takes(&["lib*6"], &[], "libc6"));
        assert!(!takes(&["curl"], &[], "libcurl") && !takes(&["lib?"], &[], "libc6"));
    }

    #[test]
    fn a_filter_in_words() {
        let mut filter = PackageFilter::default();
        assert_eq!(filter.describe(), None);
        filter.exclude = vec!["curl".to_owned(), "lib*".to_owned()];
        assert_eq!(filter.describe().unwrap(), "excludePackages: curl, lib*");
        filter.allow = vec!["libfoo".to_owned()];
        assert_eq!(
            filter.describe().unwrap(),
            "allowPackages: libfoo and excludePackages: curl, lib*"
        );
    }

    #[test]
    fn excluded_are_names_or_patterns_and_longer_names() {
        assert!(!takes(&[], &["curl"], "curl") && takes(&[], &["curl"], "curl-minimal"));
        assert!(!takes(&["curl"], &["*-minimal"], "curl-minimal"));
        assert!(!takes(&[], &["curl.noarch"], "curl") && takes(&[], &["curl.x86_64"], "curl"));
    }
}
