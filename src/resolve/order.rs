//! The order in which packages are installed.
//!
//! Invariant: a package's needs come before it, except inside a cycle of dependencies; there the order breaks as few
//! needs as it can, `Pre-Depends` last. The same input gives the same order.

use std::collections::{BTreeMap, BTreeSet};

use petgraph::algo::kosaraju_scc;
use petgraph::graph::{DiGraph, NodeIndex};
use petgraph::visit::EdgeRef as _;

use crate::package::{Dependency, DependencyKind};

/// Orders the packages `0..count`: of those that could come next the smallest number does. Edges that lead outside are
/// ignored.
pub(super) fn install_order(count: usize, dependencies: &[Dependency]) -> Vec<usize> {
    let mut graph = DiGraph::<(), DependencyKind>::with_capacity(count, dependencies.len());
    for _ in 0..count {
        graph.add_node(());
    }
    // A recommendation needs no order.
    let needs = dependencies
        .iter()
        .filter(|edge| edge.kind != DependencyKind::Recommends);
    for edge in needs.filter(|edge| edge.from != edge.to) {
        if edge.from < count && edge.to < count {
            graph.add_edge(NodeIndex::new(edge.from), NodeIndex::new(edge.to), edge.kind);
        }
    }
    // Iterative, unlike Tarjan's algorithm: a long chain must not exhaust the stack.
    let cycles = kosaraju_scc(&graph);
    let mut cycle_of = vec![0; count];
    for (number, members) in cycles.iter().enumerate() {
        for member in members {
            cycle_of[member.index()] = number;
        }
    }
    let mut unmet = vec![0_usize; cycles.len()];
    let mut between = BTreeSet::new();
    for edge in graph.edge_references() {
        let (from, to) = (cycle_of[edge.source().index()], cycle_of[edge.target().index()]);
        if from != to && between.insert((to, from)) {
            unmet[from] += 1;
        }
    }
    let smallest = |cycle: usize| (cycles[cycle].iter().min().copied(), cycle);
    let mut ready: BTreeSet<_> = (0..cycles.len())
        .filter(|cycle| unmet[*cycle] == 0)
        .map(smallest)
        .collect();
    let mut order = Vec::with_capacity(count);
    while let Some((_, cycle)) = ready.pop_first() {
        order_cycle(&graph, &cycles[cycle], &mut order);
        for &(_, dependent) in between.range((cycle, 0)..=(cycle, usize::MAX)) {
            unmet[dependent] -= 1;
            if unmet[dependent] == 0 {
                ready.insert(smallest(dependent));
            }
        }
    }
    order
}

/// Orders the members of one cycle: always the one next whose unmet needs weigh least.
fn order_cycle(graph: &DiGraph<(), DependencyKind>, cycle: &[NodeIndex], order: &mut Vec<usize>) {
    // Unmet `Pre-Depends`, then unmet `Depends`; only needs inside the cycle count.
    let mut unmet: BTreeMap<NodeIndex, (u32, u32)> = cycle.iter().map(|member| (*member, (0, 0))).collect();
    for member in cycle {
        for edge in graph.edges(*member) {
            if unmet.contains_key(&edge.target())
                && let Some(weight) = unmet.get_mut(member)
            {
                *slot(weight, *edge.weight()) += 1;
            }
        }
    }
    let mut waiting: BTreeSet<_> = unmet.iter().map(|(member, weight)| (*weight, *member)).collect();
    while let Some((_, next)) = waiting.pop_first() {
        order.push(next.index());
        for edge in graph.edges_directed(next, petgraph::Incoming) {
            if let Some(weight) = unmet.get_mut(&edge.source())
                && waiting.remove(&(*weight, edge.source()))
            {
                *slot(weight, *edge.weight()) -= 1;
                waiting.insert((*weight, edge.source()));
            }
        }
    }
}

fn slot(weight: &mut (u32, u32), kind: DependencyKind) -> &mut u32 {
    match kind {
        DependencyKind::PreDepends => &mut weight.0,
        DependencyKind::Depends | DependencyKind::Recommends => &mut weight.1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn needs(from: usize, to: usize) -> Dependency {
        Dependency {
            from,
            to,
            kind: DependencyKind::Depends,
        }
    }

    fn pre_needs(from: usize, to: usize) -> Dependency {
        Dependency {
            kind: DependencyKind::PreDepends,
            ..needs(from, to)
        }
    }

    #[test]
    fn needed_packages_come_first() {
        assert_eq!(install_order(4, &[needs(0, 3), needs(3, 2)]), [1, 2, 3, 0]);
    }

    #[test]
    fn a_cycle_keeps_its_pre_depends() {
        assert_eq!(install_order(2, &[pre_needs(0, 1), needs(1, 0)]), [1, 0]);
        assert_eq!(install_order(2, &[needs(0, 1), pre_needs(1, 0)]), [0, 1]);
        // A package outside that needs the cycle still comes after it.
        assert_eq!(install_order(3, &[needs(0, 1), needs(1, 2), needs(2, 1)]), [1, 2, 0]);
    }

    proptest! {
        #[test]
        fn every_acyclic_need_holds(edges in prop::collection::vec((0usize..30, 0usize..30, any::<bool>()), 0..80)) {
            let edges: Vec<_> = edges
                .into_iter()
                .filter(|(from, to, _)| from < to)
                .map(|(from, to, pre)| if pre { pre_needs(from, to) } else { needs(from, to) })
                .collect();
            let order = install_order(30, &edges);
            let place = |package| order.iter().position(|other| *other == package);
            for edge in &edges {
                prop_assert!(place(edge.to) < place(edge.from));
            }
            let mut sorted = order.clone();
            sorted.sort_unstable();
            prop_assert_eq!(sorted, (0..30).collect::<Vec<_>>());
        }
    }
}
