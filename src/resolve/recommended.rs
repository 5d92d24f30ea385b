//! Finds the packages that are part of a resolution only because others recommend them.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use crate::package::{DependencyKind, Resolution};

use super::lockfile::{Recommended, label};

/// Returns the packages of `image` that neither the request nor the `base` needs, but that others recommend.
pub fn recommended(base: &Resolution, image: &Resolution) -> Vec<Recommended> {
    let of_base: HashSet<_> = base.packages.iter().map(|package| package.checksum).collect();
    let is_base = |at: &usize| {
        image
            .packages
            .get(*at)
            .is_some_and(|package| of_base.contains(&package.checksum))
    };
    let mut queue: Vec<usize> = (0..image.packages.len()).filter(is_base).collect();
    queue.extend(&image.requested);
    let mut needed: BTreeSet<usize> = queue.iter().copied().collect();
    let mut edges: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    let mut wishes: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for edge in &image.dependencies {
        match edge.kind {
            DependencyKind::Recommends => wishes.entry(edge.to).or_default().push(edge.from),
            _ => edges.entry(edge.from).or_default().push(edge.to),
        }
    }
    while let Some(from) = queue.pop() {
        let others = edges.get(&from).into_iter().flatten();
        queue.extend(others.copied().filter(|to| needed.insert(*to)));
    }
    let named = |at: &usize| image.packages.get(*at).map(label);
    let only = wishes.iter().filter(|(to, _)| !needed.contains(to));
    only.filter_map(|(to, by)| {
        let mut by: Vec<String> = by.iter().filter_map(named).collect();
        by.sort();
        Some(Recommended {
            package: named(to)?,
            by,
        })
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::package::Dependency;
    use crate::resolve::test_support::resolution;

    #[test]
    fn only_what_nothing_needs_is_recommended() {
        // a is the base; d is requested and needs c; d and c recommend b, e and a; e needs f.
        let mut image = resolution(&["a", "b", "c", "d", "e", "f"], &[(3, 2), (4, 5)], &[3]);
        let kind = DependencyKind::Recommends;
        for (from, to) in [(3, 1), (2, 1), (3, 4), (3, 0), (3, 2)] {
            image.dependencies.push(Dependency { from, to, kind });
        }
        let found = recommended(&resolution(&["a"], &[], &[]), &image);
        let found: Vec<_> = found
            .iter()
            .map(|one| (one.package.as_str(), one.by.join(" ")))
            .collect();
        assert_eq!(
            found,
            [
                ("b:amd64", "c:amd64 d:amd64".to_owned()),
                ("e:amd64", "d:amd64".to_owned())
            ]
        );
    }
}
