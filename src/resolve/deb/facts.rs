//! The facts about Debian packages used by the resolver and shown in explanations.

use std::collections::HashSet;

use crate::package::{DependencyKind, ResolvedPackage};
use crate::resolve::answer::Catalogue;
use crate::resolve::explain::Facts;
use crate::resolve::solver::{PackageId, Universe as _};

use super::universe::{Need, Universe};

impl Catalogue for Universe<'_> {
    fn satisfiers(&self, package: PackageId, chosen: &HashSet<PackageId>) -> Vec<(PackageId, DependencyKind)> {
        let relations = self.relations(package);
        let needs = relations.needs.iter();
        needs
            .filter_map(|need| {
                let satisfier = need.packages().find(|candidate| chosen.contains(candidate))?;
                Some((satisfier, need.kind))
            })
            .collect()
    }

    fn wished(&self, package: PackageId, chosen: &HashSet<PackageId>) -> Vec<PackageId> {
        let relations = self.relations(package);
        let wishes = relations.wishes.iter();
        let one_of = |need: &Need<'_>| need.packages().find(|candidate| chosen.contains(candidate));
        wishes.filter_map(one_of).collect()
    }

    fn label(&self, package: PackageId) -> &str {
        &self.record(package).name
    }

    fn goes_first(&self, package: PackageId) -> bool {
        self.record(package).essential
    }

    fn resolved(&self, package: PackageId) -> ResolvedPackage {
        super::resolved(self.record(package))
    }

    fn is_real(&self, _package: PackageId) -> bool {
        true
    }
}

impl Facts for Universe<'_> {
    fn version(&self, package: PackageId) -> &str {
        &self.record(package).version
    }

    fn need_text(&self, parent: PackageId, needed: PackageId) -> String {
        let text = self.relations(parent).need_text(needed);
        text.unwrap_or_else(|| self.label(needed).to_owned())
    }

    fn missing(&self, package: PackageId) -> Vec<String> {
        self.relations(package).missing(&self.describe(package), |text| {
            let name = text.split([' ', ':', '(', '|']).next().unwrap_or(text);
            let available = self.index.versions(name);
            let available: Vec<_> = available.iter().map(|id| &*self.record(*id).version).collect();
            match available[..] {
                [] => String::new(),
                _ => format!(" ({name} is available as {})", available.join(", ")),
            }
        })
    }

    fn clash_text(&self, a: PackageId, b: PackageId) -> Option<String> {
        self.relations(a).clash_with(b)
    }

    fn owner(&self, package: PackageId) -> PackageId {
        package
    }
}
