//! Why a request cannot be resolved, in words.

/// A request cannot be resolved.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ResolveError {
    /// No repository has a package of this name.
    #[error("no repository has a package named {name}")]
    UnknownPackage {
        /// The name asked for.
        name: String,
        /// Names that differ little from it, nearest first.
        similar: Vec<String>,
    },
    /// No repository has a group of this id.
    #[error("no repository has a group named {id}")]
    UnknownGroup {
        /// The id asked for, without `@`.
        id: String,
        /// Ids that differ little from it, nearest first.
        similar: Vec<String>,
    },
    /// The name is virtual and several packages provide it.
    #[error("{name} is a virtual package that {} provide", providers.join(", "))]
    Virtual {
        /// The name asked for.
        name: String,
        /// The packages that provide it, by name.
        providers: Vec<String>,
    },
    /// The package exists, but not in this version.
    #[error("no repository has version {version} of {name}")]
    NoSuchVersion {
        /// The package asked for.
        name: String,
        /// The version asked for.
        version: String,
        /// The versions that exist, best first.
        available: Vec<String>,
    },
    /// The pattern matches no package.
    #[error("no package matches {pattern}")]
    NothingMatches {
        /// The pattern asked for.
        pattern: String,
    },
    /// The request names another architecture than the target's.
    #[error("{text}: the target is {target}, not {architecture}")]
    OtherArchitecture {
        /// The package as asked for.
        text: String,
        /// The architecture asked for.
        architecture: String,
        /// The target's architecture.
        target: &'static str,
    },
    /// The request is no package name.
    #[error("{text:?} is not a package: expected name, name=version or name:architecture")]
    Malformed {
        /// What was asked for.
        text: String,
    },
    /// The packages asked for cannot be together.
    #[error("the packages cannot be installed together:\n  {}", reasons.join("\n  "))]
    Unsolvable {
        /// Who needs or excludes whom: sentences that lead from the request to the contradiction.
        reasons: Vec<String>,
        /// What could be done about it.
        hint: Option<String>,
    },
}

impl ResolveError {
    /// What the user can do next, if there is something.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::UnknownPackage { similar, .. } if similar.is_empty() => {
                Some("check the name, and that its repository and component are in the template".to_owned())
            }
            Self::UnknownPackage { similar, .. } => Some(format!("did you mean {}?", similar.join(" or "))),
            Self::UnknownGroup { similar, .. } if similar.is_empty() => {
                Some("check the group's id: `dnf group list --ids` shows those of a system".to_owned())
            }
            Self::UnknownGroup { similar, .. } => Some(format!("did you mean @{}?", similar.join(" or @"))),
            Self::Virtual { providers, .. } => {
                let first = providers.first()?;
                Some(format!("ask for one of them, such as {first}"))
            }
            Self::NoSuchVersion { name, available, .. } => {
                Some(format!("{name} is available as {}", available.join(", ")))
            }
            Self::NothingMatches { .. } => None,
            Self::OtherArchitecture { text, .. } => {
                let name = text.split(':').next()?;
                Some(format!("write {name} without an architecture"))
            }
            Self::Malformed { .. } => None,
            Self::Unsolvable { hint, .. } => hint.clone(),
        }
    }
}

/// At most three of `names` that differ from `wanted` by a slip or two, nearest first.
pub(super) fn similar<'a>(wanted: &str, names: impl Iterator<Item = &'a str>) -> Vec<String> {
    let limit = (wanted.len() / 4).clamp(1, 3);
    let near = |name: &&str| name.len().abs_diff(wanted.len()) <= limit;
    let mut found: Vec<_> = names.filter(near).map(|name| (distance(wanted, name), name)).collect();
    found.retain(|(distance, _)| *distance <= limit);
    found.sort_unstable();
    found.into_iter().take(3).map(|(_, name)| name.to_owned()).collect()
}

/// How many bytes must be inserted, deleted, replaced or swapped with their neighbour.
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
