//! Finds the reason why a package is part of a resolution.

use std::collections::{HashMap, VecDeque};

use crate::package::{Dependency, DependencyKind, Resolution, ResolvedPackage};

use super::lockfile::label;

/// Returns the shortest chain of dependencies from a requested package to the one called `name`, or `name:architecture`;
/// one with recommendations only if there is no other. It is empty if that package was requested itself, and `None` if it is not part of the resolution or if no requested package leads to it
/// (it is essential, or an essential package needs it).
pub fn why(resolution: &Resolution, name: &str) -> Option<Vec<Dependency>> {
    let target = resolution
        .packages
        .iter()
        .position(|package| is_called(package, name))?;
    chain(resolution, target, |kind| kind != DependencyKind::Recommends).or_else(|| chain(resolution, target, |_| true))
}

/// Returns whether a package has this name, alone or with its architecture.
pub fn is_called(package: &ResolvedPackage, name: &str) -> bool {
    package.name == name || label(package) == name
}

/// Returns the shortest chain to the package `target` over edges of the kinds that count.
fn chain(resolution: &Resolution, target: usize, counts: fn(DependencyKind) -> bool) -> Option<Vec<Dependency>> {
    let mut outgoing: HashMap<usize, Vec<&Dependency>> = HashMap::new();
    for edge in resolution.dependencies.iter().filter(|edge| counts(edge.kind)) {
        outgoing.entry(edge.from).or_default().push(edge);
    }
    let mut reached: HashMap<usize, Option<&Dependency>> = resolution.requested.iter().map(|at| (*at, None)).collect();
    let mut queue: VecDeque<usize> = resolution.requested.iter().copied().collect();
    while let Some(from) = queue.pop_front() {
        for edge in outgoing.get(&from).into_iter().flatten() {
            reached.entry(edge.to).or_insert_with(|| {
                queue.push_back(edge.to);
                Some(edge)
            });
        }
    }
    let mut chain = Vec::new();
    let mut last = reached.get(&target)?;
    while let Some(edge) = last {
        chain.push(**edge);
        last = reached.get(&edge.from)?;
    }
    chain.reverse();
    Some(chain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resolve::test_support::resolution;

    #[test]
    fn the_shortest_chain_is_told() {
        // 3 and 4 are requested; 3 → 2 → 1 → 0, 4 → 1.
        let resolution = resolution(
            &["a", "b", "c", "d", "e", "f"],
            &[(3, 2), (2, 1), (1, 0), (4, 1)],
            &[3, 4],
        );
        let steps = |name| {
            Some(
                why(&resolution, name)?
                    .iter()
                    .map(|edge| (edge.from, edge.to))
                    .collect::<Vec<_>>(),
            )
        };
        assert_eq!(steps("a"), Some(vec![(4, 1), (1, 0)]));
        assert_eq!(steps("c"), Some(vec![(3, 2)]));
        assert_eq!(steps("d"), Some(vec![]));
        assert_eq!(steps("f"), None);
        assert_eq!(steps("absent"), None);
    }
}
