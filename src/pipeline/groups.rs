//! Which packages are installed in which step.
//!
//! First what the images of a provider have in common (`system`): kernels and the packages of the default template,
//! with all that they need. Then the initrd is made, then the rest is installed. The rule looks at one template
//! only, never at what other builds left behind: so a build from scratch makes the same steps, and the same bytes, as one that
//! finds the first of them done (`docs/decisions/0010-step-layers.md`).

use std::collections::BTreeSet;

use crate::package::{Resolution, ResolvedPackage};
use crate::resolve::lockfile::{Steps, label};

/// The steps of `image`, of which `base` is there already; `roots` are what `system` is made of, as asked for.
pub(super) fn steps(base: &Resolution, image: &Resolution, roots: &[String]) -> Steps {
    let of_base: BTreeSet<_> = base.packages.iter().map(|package| package.sha256).collect();
    let of_image: BTreeSet<_> = image.packages.iter().map(|package| package.sha256).collect();
    let replaced = base
        .packages
        .iter()
        .filter(|package| !of_image.contains(&package.sha256));
    let system = closure(image, roots);
    let packages = image.packages.iter().enumerate();
    let system = packages.filter(|(index, package)| system.contains(index) && !of_base.contains(&package.sha256));
    let manual = image.requested.iter().filter_map(|index| image.packages.get(*index));
    let mut manual: Vec<String> = manual.map(label).collect();
    manual.sort();
    manual.dedup();
    Steps {
        base: base.packages.iter().map(label).collect(),
        replaced: replaced.cloned().collect(),
        system: system.map(|(_, package)| label(package)).collect(),
        manual,
    }
}

/// Indices of the packages that `roots` name, and of all that these need.
fn closure(image: &Resolution, roots: &[String]) -> BTreeSet<usize> {
    let wanted: BTreeSet<&str> = roots.iter().map(|root| name(root)).collect();
    let is_root = |package: &ResolvedPackage| wanted.contains(package.name.as_str());
    let packages = image.packages.iter().enumerate();
    let mut pending: Vec<usize> = packages
        .filter(|(_, package)| is_root(package))
        .map(|(index, _)| index)
        .collect();
    let mut found = BTreeSet::new();
    while let Some(index) = pending.pop() {
        if found.insert(index) {
            let needed = image.dependencies.iter().filter(|dependency| dependency.from == index);
            pending.extend(needed.map(|dependency| dependency.to));
        }
    }
    found
}

/// The name in `name`, `name=version` or `name:architecture`.
fn name(asked: &str) -> &str {
    asked.split(['=', ':']).next().unwrap_or(asked)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::package::{Dependency, DependencyKind, Sha256};

    fn package(name: &str, version: &str) -> ResolvedPackage {
        ResolvedPackage {
            name: name.into(),
            version: version.into(),
            architecture: "amd64".into(),
            repository: "r".into(),
            path: format!("{name}.deb"),
            size_bytes: 1,
            installed_size_bytes: 1,
            sha256: Sha256::of(format!("{name} {version}")),
            stanza: String::new(),
        }
    }

    fn needs(from: usize, to: usize) -> Dependency {
        Dependency {
            from,
            to,
            kind: DependencyKind::Depends,
        }
    }

    #[test]
    fn a_package_is_in_the_first_step_that_needs_it() {
        let base = Resolution {
            packages: vec![package("libc", "1"), package("tool", "1")],
            ..Resolution::default()
        };
        let names = ["libc", "udev", "kmod", "kernel", "sudo", "libsudo"];
        let mut packages: Vec<_> = names.iter().map(|name| package(name, "1")).collect();
        packages.push(package("tool", "2"));
        let image = Resolution {
            packages,
            dependencies: vec![
                needs(1, 0),
                needs(3, 2),
                needs(2, 0),
                needs(4, 5),
                needs(4, 1),
                needs(3, 3),
            ],
            requested: vec![4, 3, 1],
        };
        let steps = steps(&base, &image, &["kernel=1".into(), "udev".into(), "absent".into()]);
        assert_eq!(steps.base, ["libc:amd64", "tool:amd64"]);
        assert_eq!(steps.replaced, [package("tool", "1")]);
        assert_eq!(steps.system, ["udev:amd64", "kmod:amd64", "kernel:amd64"]);
        assert_eq!(steps.manual, ["kernel:amd64", "sudo:amd64", "udev:amd64"]);
    }
}
