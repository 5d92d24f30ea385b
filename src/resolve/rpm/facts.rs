//! The facts about RPM packages used by the resolver and shown in explanations.

use std::collections::HashSet;

use crate::package::{Capability, DependencyKind, ResolvedPackage};
use crate::resolve::answer::Catalogue;
use crate::resolve::explain::Facts;
use crate::resolve::solver::{PackageId, Universe as _};

use super::universe::Universe;

impl Catalogue for Universe<'_> {
    fn satisfiers(&self, package: PackageId, chosen: &HashSet<PackageId>) -> Vec<(PackageId, DependencyKind)> {
        let relations = self.relations(package);
        let there = |id: &PackageId| chosen.contains(id);
        let binding = relations.needs.iter().filter(|need| need.binds(there));
        binding
            .filter_map(|need| Some((need.clause.packages.iter().copied().find(there)?, need.kind)))
            .collect()
    }

    fn wished(&self, package: PackageId, chosen: &HashSet<PackageId>) -> Vec<PackageId> {
        let relations = self.relations(package);
        let there = |id: &PackageId| chosen.contains(id);
        let binding = relations.wishes.iter().filter(|wish| wish.binds(there));
        binding
            .filter_map(|wish| wish.clause.packages.iter().copied().find(there))
            .collect()
    }

    fn label(&self, package: PackageId) -> &str {
        &self.record(self.owner_of(package)).name
    }

    fn goes_first(&self, _package: PackageId) -> bool {
        false
    }

    fn resolved(&self, package: PackageId) -> ResolvedPackage {
        self.record(package).resolved()
    }

    fn is_real(&self, package: PackageId) -> bool {
        self.owner_of(package) == package
    }
}

impl Facts for Universe<'_> {
    fn version(&self, package: PackageId) -> &str {
        &self.record(package).evr
    }

    fn need_text(&self, parent: PackageId, needed: PackageId) -> String {
        let text = self.relations(parent).need_text(needed);
        text.unwrap_or_else(|| self.label(needed).to_owned())
    }

    fn missing(&self, package: PackageId) -> Vec<String> {
        self.relations(package).missing(&self.describe(package), |text| {
            let known = Capability::parse(text).map(|wanted| self.index.versions(wanted.name));
            let known: Vec<_> = known.unwrap_or_default().iter().map(|id| self.version(*id)).collect();
            match known[..] {
                [] => String::new(),
                _ => format!(" (it is available as {})", known.join(", ")),
            }
        })
    }

    fn clash_text(&self, a: PackageId, b: PackageId) -> Option<String> {
        let told = |a, b| {
            let relations = self.relations(a);
            let condition = relations
                .needs
                .iter()
                .find(|need| need.clause.conditions.iter().any(|condition| condition.contains(&b)));
            relations
                .clash_with(b)
                .or_else(|| condition.map(|need| format!("Requires: {}", need.text)))
        };
        told(a, b).or_else(|| told(b, a))
    }

    fn owner(&self, package: PackageId) -> PackageId {
        self.owner_of(package)
    }
}
