//! Replaces groups of packages (`@id`) by the packages that dnf installs for them by default.

use std::collections::{BTreeSet, HashSet};

use crate::repo::rpm::{Group, GroupPackageKind};
use crate::resolve::ResolveError;
use crate::resolve::error::similar;

/// A request without groups.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Expanded {
    /// The packages to request; a conditional package of a group is `(name if other)`.
    pub packages: Vec<String>,
    /// Packages of the groups that no repository has, with the group's id. They are left out, as with dnf.
    pub absent: Vec<(String, String)>,
}

impl Expanded {
    /// Takes `asked` as it is, if it has no group.
    pub fn of(asked: &[String]) -> Self {
        Self {
            packages: asked.to_vec(),
            absent: Vec::new(),
        }
    }
}

/// Replaces each `@id` in `asked` by the packages of the group: the mandatory and the default ones, and the conditional
/// ones with their condition. Groups of one id, of several repositories, count as one. `is_known` says whether a
/// repository has a package of that name.
///
/// # Errors
/// [`ResolveError::UnknownGroup`] if no repository has a requested group.
pub fn expand(asked: &[String], groups: &[Group], is_known: impl Fn(&str) -> bool) -> Result<Expanded, ResolveError> {
    let (mut expanded, mut seen) = (Expanded::default(), HashSet::new());
    for text in asked {
        let Some(id) = text.strip_prefix('@') else {
            expanded.packages.push(text.clone());
            continue;
        };
        let mut found = groups.iter().filter(|group| group.id == id).peekable();
        if found.peek().is_none() {
            let ids: BTreeSet<&str> = groups.iter().map(|group| group.id.as_str()).collect();
            return Err(ResolveError::UnknownGroup {
                id: id.to_owned(),
                similar: similar(id, ids.into_iter()),
            });
        }
        for package in found.flat_map(|group| &group.packages) {
            let name = &package.name;
            let text = match &package.kind {
                GroupPackageKind::Optional => continue,
                GroupPackageKind::Mandatory | GroupPackageKind::Default => name.clone(),
                GroupPackageKind::Conditional(other) => format!("({name} if {other})"),
            };
            match is_known(name) {
                true if seen.insert(text.clone()) => expanded.packages.push(text),
                true => {}
                false => expanded.absent.push((name.clone(), id.to_owned())),
            }
        }
    }
    Ok(expanded)
}

/// Returns whether `text` names a group.
pub fn is_group(text: &str) -> bool {
    text.starts_with('@')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repo::rpm::parse_comps;

    #[test]
    fn groups_become_packages() {
        let comps = r#"<comps><group><id>core</id><packagelist><packagereq>bash</packagereq><packagereq>gone</packagereq>
            <packagereq type="optional">vim</packagereq><packagereq type="default">less</packagereq>
            <packagereq type="conditional" requires="kde">kde-x</packagereq></packagelist></group>
            <group><id>core</id><packagelist><packagereq>more</packagereq></packagelist></group></comps>"#;
        let groups = parse_comps(comps.as_bytes()).unwrap();
        let expand = |asked: &[&str]| {
            let asked: Vec<_> = asked.iter().map(|text| (*text).to_owned()).collect();
            expand(&asked, &groups, |name| name != "gone")
        };
        let expanded = expand(&["first", "@core", "bash=1"]).unwrap();
        assert_eq!(
            expanded.packages,
            ["first", "bash", "less", "(kde-x if kde)", "more", "bash=1"]
        );
        assert_eq!(expanded.absent, [("gone".to_owned(), "core".to_owned())]);
        let error = expand(&["@cor"]).unwrap_err();
        assert_eq!(error.to_string(), "no repository has a group named cor");
        assert_eq!(error.hint().as_deref(), Some("did you mean @core?"));
    }
}
