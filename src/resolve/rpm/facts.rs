//! What is told of RPM packages, to a resolution and to a reader.

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
        let relations = self.relations(parent);
        let need = relations
            .needs
            .iter()
            .find(|need| need.clause.packages.contains(&needed));
        need.map_or(self.label(needed), |need| need.text).to_owned()
    }

    fn missing(&self, package: PackageId) -> Vec<String> {
        let full = self.describe(package);
        let relations = self.relations(package);
        let mut lines = Vec::new();
        if let Some(malformed) = &relations.malformed {
            lines.push(format!("{full} cannot be installed: {malformed}"));
        }
        for need in relations.needs.iter().filter(|need| need.clause.packages.is_empty()) {
            let known = Capability::parse(need.text).map(|wanted| self.index.versions(wanted.name));
            let known: Vec<_> = known.unwrap_or_default().iter().map(|id| self.version(*id)).collect();
            let known = match known[..] {
                [] => String::new(),
                _ => format!(" (it is available as {})", known.join(", ")),
            };
            lines.push(format!("{full} needs {}, which no repository has{known}", need.text));
        }
        lines
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
