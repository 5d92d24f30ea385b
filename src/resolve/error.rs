//! The reasons why a request cannot be resolved, in words.

use crate::hint::Hint;

/// The error for a request that cannot be resolved.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ResolveError {
    /// No repository has a package of this name.
    #[error("no repository has a package named {name}")]
    UnknownPackage {
        /// The requested name.
        name: String,
        /// Similar names, nearest first.
        similar: Vec<String>,
    },
    /// No repository has a group of this id.
    #[error("no repository has a group named {id}")]
    UnknownGroup {
        /// The requested id, without `@`.
        id: String,
        /// Similar ids, nearest first.
        similar: Vec<String>,
    },
    /// The name is virtual and several packages provide it.
    #[error("{name} is a virtual package that {} provide", providers.join(", "))]
    Virtual {
        /// The requested name.
        name: String,
        /// The packages that provide it, by name.
        providers: Vec<String>,
    },
    /// The package exists, but not in this version.
    #[error("no repository has version {version} of {name}")]
    NoSuchVersion {
        /// The requested package.
        name: String,
        /// The requested version.
        version: String,
        /// The versions that exist, best first.
        available: Vec<String>,
    },
    /// The pattern matches no package.
    #[error("no package matches {pattern}")]
    NothingMatches {
        /// The requested pattern.
        pattern: String,
    },
    /// The request names another architecture than the target's.
    #[error("{text}: the target is {target}, not {architecture}")]
    OtherArchitecture {
        /// The package as requested.
        text: String,
        /// The requested architecture.
        architecture: String,
        /// The target's architecture.
        target: &'static str,
    },
    /// The request is not a package name.
    #[error("{text:?} is not a package: expected name, name=version or name:architecture")]
    Malformed {
        /// The request as written.
        text: String,
    },
    /// The request leaves out a package that every image has.
    #[error("{name} cannot be left out: it belongs to the base of every image of the distribution")]
    OfBase {
        /// The package.
        name: String,
    },
    /// The requested packages cannot be installed together.
    #[error("the packages cannot be installed together:\n  {}", reasons.join("\n  "))]
    Unsolvable {
        /// The chain of needs and exclusions: sentences that lead from the request to the contradiction.
        reasons: Vec<String>,
        /// The requested packages that take part in it, by name.
        asked_for: Vec<String>,
        /// Advice for the user.
        hint: Option<String>,
    },
}

impl ResolveError {
    /// Returns the parts of the request that it is about: names, patterns and texts as requested.
    pub fn asked_for(&self) -> Vec<&str> {
        match self {
            Self::UnknownPackage { name, .. } | Self::Virtual { name, .. } | Self::NoSuchVersion { name, .. } => {
                vec![name]
            }
            Self::UnknownGroup { id, .. } => vec![id],
            Self::OfBase { .. } => Vec::new(),
            Self::NothingMatches { pattern } => vec![pattern],
            Self::OtherArchitecture { text, .. } | Self::Malformed { text } => vec![text],
            Self::Unsolvable { asked_for, .. } => asked_for.iter().map(String::as_str).collect(),
        }
    }

    /// Returns a hint on the next step of the user, if anything helps.
    pub fn hint(&self) -> Option<Hint> {
        match self {
            Self::UnknownPackage { similar, .. } if similar.is_empty() => {
                Some("check the name, and that its repository and component are in the template".into())
            }
            Self::UnknownPackage { similar, .. } => Some(format!("did you mean {}?", similar.join(" or ")).into()),
            Self::UnknownGroup { similar, .. } if similar.is_empty() => {
                Some("check the group's id: those of a repository stand in its comps file".into())
            }
            Self::UnknownGroup { similar, .. } => Some(format!("did you mean @{}?", similar.join(" or @")).into()),
            Self::Virtual { providers, .. } => {
                let first = providers.first()?;
                Some(format!("ask for one of them, such as {first}").into())
            }
            Self::NoSuchVersion { name, available, .. } => {
                Some(format!("{name} is available as {}", available.join(", ")).into())
            }
            Self::NothingMatches { .. } | Self::OfBase { .. } => None,
            Self::OtherArchitecture { text, .. } => {
                let name = text.split(':').next()?;
                Some(format!("write {name} without an architecture").into())
            }
            Self::Malformed { .. } => None,
            Self::Unsolvable { hint, .. } => hint.clone().map(Hint::from),
        }
    }
}

/// Returns at most three of `names` that differ from `wanted` by a slip or two, nearest first.
pub(super) fn similar<'a>(wanted: &str, names: impl Iterator<Item = &'a str>) -> Vec<String> {
    let limit = (wanted.len() / 4).clamp(1, 3);
    let near = |name: &&str| name.len().abs_diff(wanted.len()) <= limit;
    let mut found: Vec<_> = names.filter(near).map(|name| (distance(wanted, name), name)).collect();
    found.retain(|(distance, _)| *distance <= limit);
    found.sort_unstable();
    found.into_iter().take(3).map(|(_, name)| name.into()).collect()
}

/// Returns the number of bytes that must be inserted, deleted, replaced or swapped with their neighbour.
fn distance(a: &str, b: &str) -> usize {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    let mut two_ago = vec![0; b.len() + 1];
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (row, byte) in a.iter().enumerate() {
        let mut current = vec![row + 1; b.len() + 1];
        for (column, other) in b.iter().enumerate() {
            let replaced = last[column] + usize::from(byte != other);
            let mut best = replaced.min(last[column + 1] + 1).min(current[column] + 1);
            if row > 0 && column > 0 && *byte == b[column - 1] && a[row - 1] == *other {
                best = best.min(two_ago[column - 1] + 1);
            }
            current[column + 1] = best;
        }
        two_ago = std::mem::replace(&mut last, current);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_recognised() {
        let names = ["openssh-server", "openssl", "nginx", "vim"];
        let similar = |wanted| similar(wanted, names.into_iter());
        assert_eq!(similar("opnessh-server"), ["openssh-server"]);
        assert_eq!(similar("ngnix"), ["nginx"]);
        assert_eq!(similar("vi"), ["vim"]);
        assert!(similar("zzz").is_empty());
    }

    #[test]
    fn distances() {
        for (a, b, expected) in [
            ("", "abc", 3),
            ("abc", "acb", 1),
            ("abc", "abc", 0),
            ("kitten", "sitting", 3),
        ] {
            assert_eq!(distance(a, b), expected, "{a} {b}");
        }
    }
}
