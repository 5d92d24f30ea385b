//! The dependency graph of a resolution as Graphviz text (`chrootpkgs.dot`, `--dotfile`).

use std::collections::{BTreeSet, VecDeque};
use std::fmt::Write as _;

use crate::package::Resolution;

/// Returns the graph in the DOT language: one node per package, one edge per dependency, in the order of the names.
///
/// With `roots`, only the packages of those names and their needs (direct or not) are drawn; names that are not part of
/// the resolution are ignored.
pub fn dot(resolution: &Resolution, roots: Option<&[&str]>) -> String {
    let shown = roots.map(|roots| reachable(resolution, roots));
    let is_shown = |at: &usize| shown.as_ref().is_none_or(|shown| shown.contains(at));
    let name = |at: usize| resolution.packages.get(at).map(|package| package.name.as_str());
    let nodes: BTreeSet<_> = (0..resolution.packages.len())
        .filter(is_shown)
        .filter_map(name)
        .collect();
    let edges: BTreeSet<_> = resolution
        .dependencies
        .iter()
        .filter(|edge| is_shown(&edge.from) && is_shown(&edge.to))
        .filter_map(|edge| Some((name(edge.from)?, name(edge.to)?)))
        .collect();
    let mut text = "digraph G {\n  rankdir=LR;\n  node [shape=box];\n".to_owned();
    // Writing to a string cannot fail.
    for node in nodes {
        let _ = writeln!(text, "  {};", quoted(node));
    }
    for (from, to) in edges {
        let _ = writeln!(text, "  {} -> {};", quoted(from), quoted(to));
    }
    text.push_str("}\n");
    text
}

/// Returns the packages called `roots` with all that they lead to.
fn reachable(resolution: &Resolution, roots: &[&str]) -> BTreeSet<usize> {
    let packages = resolution.packages.iter().enumerate();
    let start = packages
        .filter(|(_, package)| roots.contains(&package.name.as_str()))
        .map(|(at, _)| at);
    let mut reached: BTreeSet<_> = start.collect();
    let mut queue: VecDeque<_> = reached.iter().copied().collect();
    let mut edges: Vec<_> = resolution
        .dependencies
        .iter()
        .map(|edge| (edge.from, edge.to))
        .collect();
    edges.sort_unstable();
    while let Some(from) = queue.pop_front() {
        let first = edges.partition_point(|edge| edge.0 < from);
        for (_, to) in edges.iter().skip(first).take_while(|edge| edge.0 == from) {
            if reached.insert(*to) {
                queue.push_back(*to);
            }
        }
    }
    reached
}

/// Returns `name` as a quoted identifier of the DOT language.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resolve::test_support::resolution;

    #[test]
    fn all_and_part_of_a_graph() {
        let resolution = resolution(&["libc6", "bash", "a\"b", "vim"], &[(1, 0), (2, 1), (3, 0)], &[2, 3]);
        assert_eq!(
            dot(&resolution, None),
            "digraph G {\n  rankdir=LR;\n  node [shape=box];\n  \"a\\\"b\";\n  \"bash\";\n  \"libc6\";\n  \"vim\";\n  \
             \"a\\\"b\" -> \"bash\";\n  \"bash\" -> \"libc6\";\n  \"vim\" -> \"libc6\";\n}\n"
        );
        assert_eq!(
            dot(&resolution, Some(&["vim", "absent"])),
            "digraph G {\n  rankdir=LR;\n  node [shape=box];\n  \"libc6\";\n  \"vim\";\n  \"vim\" -> \"libc6\";\n}\n"
        );
    }
}
