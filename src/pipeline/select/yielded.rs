//! The packages of the default template that give way to the template's own.
//!
//! A default template names what most images want. A template that names chrony does not want the default's
//! systemd-timesyncd, which excludes it.

use crate::package::{Resolution, asks_for};
use crate::resolve::ResolveError;
use crate::system::{Resolver, SystemError};

use super::key::Asked;
use super::wanted;

/// The packages of the default template that are left out, and what the user should know of that.
#[derive(Debug, Default)]
pub(super) struct Yielded {
    names: Vec<String>,
    pub(super) warnings: Vec<String>,
}

impl Yielded {
    /// Resolves `packages`, of which `recommending` bring what they recommend. Where those of the template exclude one that only the default template names, that one is
    /// taken out of `packages`.
    ///
    /// # Errors
    /// Those of the resolver, if the default template is not the cause.
    pub(super) fn resolve(
        &mut self,
        resolver: &mut (dyn Resolver + '_),
        packages: &mut Vec<String>,
        recommending: &[String],
        asked: &Asked<'_>,
    ) -> Result<Resolution, SystemError> {
        loop {
            match resolver.resolve(&wanted(packages, recommending)) {
                Err(SystemError::Resolve(error)) => match self.give_way(&error, asked) {
                    Some(name) => packages.retain(|package| *package != name),
                    None => return Err(error.into()),
                },
                resolved => return resolved,
            }
        }
    }

    /// Chooses the package that is left out because of `error`, if one can be.
    fn give_way(&mut self, error: &ResolveError, asked: &Asked<'_>) -> Option<String> {
        let ResolveError::Unsolvable { asked_for, .. } = error else {
            return None;
        };
        let is_own = |name: &&String| asked.named.iter().any(|text| asks_for(text, name));
        let only_default = |name: &&String| {
            let is_default = asked.common.contains(name) && !is_own(name);
            is_default && !asked.base.contains(name) && !self.names.contains(name)
        };
        let own = asked_for.iter().find(is_own)?;
        let name = asked_for.iter().find(only_default)?.clone();
        self.warnings.push(format!(
            "{name} of the default template is left out: it cannot be together with {own}, which the template asks for"
        ));
        self.names.push(name.clone());
        Some(name)
    }

    /// Removes the packages that are left out from `packages`.
    pub(super) fn remove_from(&self, packages: &mut Vec<String>) {
        packages.retain(|package| !self.names.contains(package));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::package::Arch;
    use crate::resolve::Wanted;

    /// A resolver that refuses all of these packages together.
    struct Excluding(&'static [&'static str]);

    impl Resolver for Excluding {
        fn resolve(&mut self, wanted: &Wanted<'_>) -> Result<Resolution, SystemError> {
            let names: Vec<String> = wanted.packages.to_vec();
            let is_wanted = |name: &&&str| names.iter().any(|wanted| wanted == **name);
            match self.0.iter().filter(is_wanted).count() == self.0.len() {
                false => Ok(Resolution::default()),
                true => Err(SystemError::Resolve(ResolveError::Unsolvable {
                    reasons: Vec::new(),
                    asked_for: self.0.iter().map(|name| (*name).to_owned()).collect(),
                    hint: None,
                })),
            }
        }
    }

    #[test]
    fn only_the_default_gives_way_and_only_to_the_template() {
        let words = |text: &str| -> Vec<String> { text.split_whitespace().map(str::to_owned).collect() };
        let common = words("timesyncd initrd dash");
        let base = words("dash");
        for (named, excluding, left) in [
            ("chrony", &["timesyncd", "chrony"][..], Some("dash initrd chrony")),
            ("chrony=4.6", &["timesyncd", "chrony"], None),
            ("chrony timesyncd", &["timesyncd", "chrony"], None),
            ("chrony", &["dash", "chrony"], None),
            ("chrony", &["timesyncd", "initrd"], None),
        ] {
            let named = words(named);
            let mut packages = words("dash timesyncd initrd");
            packages.extend(named.iter().map(|text| text.split('=').next().unwrap().to_owned()));
            packages.dedup();
            let asked = Asked {
                provider: String::new(),
                arch: Arch::X86_64,
                base: &base,
                common: &common,
                packages: &[],
                named: &named,
                removed: &[],
                recommends: false,
                recommends_of: &[],
                foreign: &[],
                kernel_version: None,
                kernel_packages: &[],
                own: Vec::new(),
            };
            let mut yielded = Yielded::default();
            let resolved = yielded.resolve(&mut Excluding(excluding), &mut packages, &[], &asked);
            match left {
                Some(left) => {
                    resolved.unwrap();
                    assert_eq!(packages, words(left), "{named:?}");
                    assert!(yielded.warnings[0].contains("timesyncd of the default template is left out"));
                }
                None if named[0].contains('=') => {
                    resolved.unwrap();
                    assert_eq!(yielded.names, ["timesyncd"], "a version does not matter");
                }
                None => assert!(resolved.is_err(), "{named:?} {excluding:?}"),
            }
        }
    }
}
