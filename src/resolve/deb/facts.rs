//! What is told of Debian packages, to a resolution and to a reader.

use std::collections::HashSet;

use crate::package::{DependencyKind, ResolvedPackage};
use crate::resolve::answer::Catalogue;
use crate::resolve::explain::Facts;
use crate::resolve::solver::{PackageId, Universe as _};

use super::universe::Universe;

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
        let relations = self.relations(parent);
        let need = relations
            .needs
            .iter()
            .find(|need| need.packages().any(|id| id == needed));
        need.map_or(self.label(needed), |need| need.text).to_owned()
    }

    fn missing(&self, package: PackageId) -> Vec<String> {
        let full = self.describe(package);
        let relations = self.relations(package);
        let mut lines = Vec::new();
        if let Some(malformed) = &relations.malformed {
            lines.push(format!("{full} cannot be installed: {malformed}"));
        }
        for need in relations.needs.iter().filter(|need| need.packages().next().is_none()) {
            let name = need.text.split([' ', ':', '(', '|']).next().unwrap_or(need.text);
            let available = self.index.versions(name);
            let available: Vec<_> = available.iter().map(|id| &*self.record(*id).version).collect();
            let known = match available[..] {
                [] => String::new(),
                _ => format!(" ({name} is available as {})", available.join(", ")),
            };
            lines.push(format!("{full} needs {}, which no repository has{known}", need.text));
        }
        lines
    }

    fn clash_text(&self, a: PackageId, b: PackageId) -> Option<String> {
        self.relations(a).clash_with(b)
    }

    fn owner(&self, package: PackageId) -> PackageId {
        package
    }
}
