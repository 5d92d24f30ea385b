//! Dependencies as clauses over packages.
//!
//! Every dependency, plain or rich, is a formula over sets of packages ("one of these is there"). In conjunctive normal
//! form each clause says: if one of each `conditions` set is there, then one of `packages` must be.

use crate::package::{Capability, RpmDependency};
use crate::resolve::solver::PackageId;

/// Packages, the preferred first.
pub(super) type Set = Vec<PackageId>;

/// The limit of clauses per dependency, beyond those of any real package.
const CLAUSES_LIMIT: usize = 64;

/// One rule that must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Clause {
    /// Sets of packages: the clause binds only if one package of each is there.
    pub(super) conditions: Vec<Set>,
    /// One of these must be there then; empty: the conditions cannot hold together.
    pub(super) packages: Set,
}

/// The reason why a dependency cannot be used.
pub(super) type Refusal = &'static str;

/// Returns the clauses that say that `dependency` is fulfilled, or for a conflict that it is not; `satisfying` gives
/// the packages that provide a capability.
///
/// # Errors
/// If operators are combined in a way that rpm refuses, or the formula is too large.
pub(super) fn clauses(
    dependency: &RpmDependency<'_>,
    fulfilled: bool,
    satisfying: &mut dyn FnMut(&Capability<'_>) -> Set,
) -> Result<Vec<Clause>, Refusal> {
    let mut clauses = normal(&formula(dependency, satisfying)?, fulfilled)?;
    // A condition on one of no packages never holds, so its clause always does.
    clauses.retain(|clause| clause.conditions.iter().all(|condition| !condition.is_empty()));
    Ok(clauses)
}

enum Formula {
    /// One of these packages is there.
    One(Set),
    Not(Box<Self>),
    And(Vec<Self>),
    Or(Vec<Self>),
}

fn formula(
    dependency: &RpmDependency<'_>,
    satisfying: &mut dyn FnMut(&Capability<'_>) -> Set,
) -> Result<Formula, Refusal> {
    let mut of = |dependency: &RpmDependency<'_>| formula(dependency, satisfying);
    let mut all = |list: &[RpmDependency<'_>]| list.iter().map(&mut of).collect::<Result<Vec<_>, _>>();
    Ok(match dependency {
        RpmDependency::And(list) => Formula::And(all(list)?),
        RpmDependency::Or(list) => Formula::Or(all(list)?),
        // "then or not condition", "otherwise or condition".
        RpmDependency::If {
            then,
            condition,
            otherwise,
        } => {
            let mut both = vec![Formula::Or(vec![of(then)?, not(of(condition)?)])];
            if let Some(otherwise) = otherwise {
                both.push(Formula::Or(vec![of(otherwise)?, of(condition)?]));
            }
            Formula::And(both)
        }
        // "then and not condition", or "otherwise and condition".
        RpmDependency::Unless {
            then,
            condition,
            otherwise,
        } => {
            let mut either = vec![Formula::And(vec![of(then)?, not(of(condition)?)])];
            if let Some(otherwise) = otherwise {
                either.push(Formula::And(vec![of(otherwise)?, of(condition)?]));
            }
            Formula::Or(either)
        }
        RpmDependency::Plain(_) | RpmDependency::With(_) | RpmDependency::Without(..) => {
            Formula::One(set(dependency, satisfying)?)
        }
    })
}

fn not(formula: Formula) -> Formula {
    Formula::Not(Box::new(formula))
}

/// Returns the packages that satisfy a dependency each by itself.
fn set(dependency: &RpmDependency<'_>, satisfying: &mut dyn FnMut(&Capability<'_>) -> Set) -> Result<Set, Refusal> {
    match dependency {
        RpmDependency::Plain(capability) => Ok(satisfying(capability)),
        RpmDependency::Or(list) => {
            let mut all = Set::new();
            for part in list {
                join(&mut all, set(part, satisfying)?);
            }
            Ok(all)
        }
        RpmDependency::With(list) => {
            let mut parts = list.iter().map(|part| set(part, satisfying));
            let mut all = parts.next().unwrap_or(Ok(Set::new()))?;
            for part in parts {
                let part = part?;
                all.retain(|package| part.contains(package));
            }
            Ok(all)
        }
        RpmDependency::Without(first, second) => {
            let (mut first, second) = (set(first, satisfying)?, set(second, satisfying)?);
            first.retain(|package| !second.contains(package));
            Ok(first)
        }
        RpmDependency::And(_) | RpmDependency::If { .. } | RpmDependency::Unless { .. } => {
            Err("and, if and unless have no meaning inside with and without")
        }
    }
}

/// Adds the packages of `more` that `all` lacks.
fn join(all: &mut Set, more: Set) {
    for package in more {
        if !all.contains(&package) {
            all.push(package);
        }
    }
}

/// Returns the conjunctive normal form of a formula, or of its negation.
fn normal(formula: &Formula, holds: bool) -> Result<Vec<Clause>, Refusal> {
    match formula {
        Formula::One(packages) => Ok(vec![match holds {
            true => Clause {
                conditions: Vec::new(),
                packages: packages.clone(),
            },
            false => Clause {
                conditions: vec![packages.clone()],
                packages: Set::new(),
            },
        }]),
        Formula::Not(inner) => normal(inner, !holds),
        Formula::And(list) if holds => every(list, true),
        Formula::Or(list) if !holds => every(list, false),
        Formula::And(list) | Formula::Or(list) => any(list, holds),
    }
}

fn every(list: &[Formula], holds: bool) -> Result<Vec<Clause>, Refusal> {
    let mut all = Vec::new();
    for part in list {
        all.extend(normal(part, holds)?);
        check(all.len())?;
    }
    Ok(all)
}

/// Distributes "or" over the clauses of each part.
fn any(list: &[Formula], holds: bool) -> Result<Vec<Clause>, Refusal> {
    let mut all = vec![Clause::default()];
    for part in list {
        let part = normal(part, holds)?;
        check(all.len().saturating_mul(part.len()))?;
        let combine = |clause: &Clause| {
            let clause = clause.clone();
            part.iter().map(move |other| {
                let mut merged = clause.clone();
                merged.conditions.extend(other.conditions.iter().cloned());
                join(&mut merged.packages, other.packages.clone());
                merged
            })
        };
        all = all.iter().flat_map(combine).collect();
    }
    Ok(all)
}

fn check(clauses: usize) -> Result<(), Refusal> {
    match clauses > CLAUSES_LIMIT {
        true => Err("the expression is too complex"),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Returns the providers of a capability: `p0`, `p1`, … are provided by the package of that number, and `p9` by
    /// none.
    fn provided(capability: &Capability<'_>) -> Set {
        let number: PackageId = capability.name[1..].parse().unwrap();
        if number == 9 { Vec::new() } else { vec![number] }
    }

    fn holds(clauses: &[Clause], there: u32) -> bool {
        let met = |set: &Set| set.iter().any(|package| there & 1 << package != 0);
        clauses
            .iter()
            .all(|clause| !clause.conditions.iter().all(met) || met(&clause.packages))
    }

    /// Evaluates a boolean dependency directly by rpm's rules (rpm-dependencies(7)).
    fn meaning(dependency: &RpmDependency<'_>, there: u32) -> bool {
        let of = |dependency: &RpmDependency<'_>| meaning(dependency, there);
        match dependency {
            RpmDependency::Plain(capability) => provided(capability).iter().any(|package| there & 1 << package != 0),
            RpmDependency::And(list) => list.iter().all(of),
            RpmDependency::Or(list) => list.iter().any(of),
            RpmDependency::If {
                then,
                condition,
                otherwise,
            } => match (of(condition), otherwise) {
                (true, _) => of(then),
                (false, None) => true,
                (false, Some(otherwise)) => of(otherwise),
            },
            RpmDependency::Unless {
                then,
                condition,
                otherwise,
            } => match (of(condition), otherwise) {
                (false, _) => of(then),
                (true, None) => false,
                (true, Some(otherwise)) => of(otherwise),
            },
            RpmDependency::With(_) | RpmDependency::Without(..) => unreachable!(),
        }
    }

    fn expression() -> impl Strategy<Value = String> {
        let leaf = (0..10u32).prop_map(|number| format!("p{number}"));
        leaf.prop_recursive(3, 12, 3, |inner| {
            let pair = (inner.clone(), inner.clone(), inner);
            (pair, 0..6u32).prop_map(|((a, b, c), kind)| match kind {
                0 => format!("({a} and {b})"),
                1 => format!("({a} or {b} or {c})"),
                2 => format!("({a} if {b})"),
                3 => format!("({a} if {b} else {c})"),
                4 => format!("({a} unless {b})"),
                _ => format!("({a} unless {b} else {c})"),
            })
        })
    }

    proptest! {
        #[test]
        fn clauses_mean_what_the_dependency_means(text in expression(), fulfilled: bool) {
            let dependency = RpmDependency::parse(&text).unwrap();
            if let Ok(clauses) = clauses(&dependency, fulfilled, &mut provided) {
                for there in 0..1 << 9 {
                    prop_assert_eq!(holds(&clauses, there), meaning(&dependency, there) == fulfilled, "{} {:b}", text, there);
                }
            }
        }
    }

    #[test]
    fn with_and_without_are_about_one_package() {
        let mut satisfying = |capability: &Capability<'_>| match capability.name {
            "a" => vec![1, 2, 3],
            "b" => vec![3, 2],
            "c" => vec![2],
            _ => vec![],
        };
        let mut set = |text| {
            let clauses = clauses(&RpmDependency::parse(text).unwrap(), true, &mut satisfying);
            clauses.map(|clauses| clauses[0].packages.clone())
        };
        assert_eq!(set("(a with b)").unwrap(), [2, 3]);
        assert_eq!(set("(a without b)").unwrap(), [1]);
        assert_eq!(set("((a with b) without c)").unwrap(), [3]);
        assert_eq!(set("((c or b) with a)").unwrap(), [2, 3]);
        assert!(set("(a with (b if c))").is_err());
        let many = format!("({})", ["(a and b and c and a)"; 5].join(" or "));
        assert!(set(&many).is_err());
    }
}
