//! Which packages are installed in which step.
//!
//! First what the images of a provider have in common (`system`): kernels and the packages of the default template,
//! with all that they need. Then the initrd is made, then the rest is installed. The rule looks at one template only,
//! never at what other builds left behind: so a build from scratch makes the same steps, and the same bytes, as one
//! that finds the first of them done (`docs/decisions/0010-step-layers.md`).

use std::collections::BTreeSet;

use crate::package::Resolution;
use crate::resolve::lockfile::{Steps, label};

/// Divides `image`, whose `base` is installed already, into steps; `common` is what its system would be if the template
/// asked for nothing else. If the image needs another system, everything is the system: then images share nothing.
pub fn steps(base: &Resolution, image: &Resolution, common: &Resolution) -> Steps {
    let digests = |resolution: &Resolution| -> BTreeSet<_> {
        resolution.packages.iter().map(|package| package.checksum).collect()
    };
    let (of_base, of_image, of_system) = (digests(base), digests(image), digests(common));
    let is_shared = of_system.is_subset(&of_image);
    let beyond_base = image
        .packages
        .iter()
        .filter(|package| !of_base.contains(&package.checksum));
    let system = beyond_base.filter(|package| !is_shared || of_system.contains(&package.checksum));
    let replaced = base
        .packages
        .iter()
        .filter(|package| !of_image.contains(&package.checksum));
    let manual = image.requested.iter().filter_map(|index| image.packages.get(*index));
    let mut manual: Vec<String> = manual.map(label).collect();
    manual.sort();
    manual.dedup();
    Steps {
        base: base.packages.iter().map(label).collect(),
        replaced: replaced.cloned().collect(),
        system: system.map(label).collect(),
        manual,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::package::{ResolvedPackage, Sha256};

    fn resolution(packages: &[(&str, &str)], requested: Vec<usize>) -> Resolution {
        let package = |(name, version): &(&str, &str)| ResolvedPackage {
            name: (*name).into(),
            version: (*version).into(),
            architecture: "amd64".into(),
            repository: "r".into(),
            path: format!("{name}.deb"),
            size_bytes: 1,
            installed_size_bytes: 1,
            checksum: Sha256::of(format!("{name} {version}")).into(),
            stanza: String::new(),
        };
        Resolution {
            packages: packages.iter().map(package).collect(),
            dependencies: Vec::new(),
            requested,
        }
    }

    #[test]
    fn the_system_is_what_it_would_be_alone() {
        let base = resolution(&[("libc", "1"), ("tool", "1")], vec![]);
        let common = resolution(&[("libc", "1"), ("udev", "1"), ("kernel", "1")], vec![]);
        let image = resolution(
            &[
                ("libc", "1"),
                ("udev", "1"),
                ("tool", "2"),
                ("sudo", "1"),
                ("kernel", "1"),
            ],
            vec![4, 3, 3],
        );
        let shared = steps(&base, &image, &common);
        assert_eq!(shared.base, ["libc:amd64", "tool:amd64"]);
        assert_eq!(shared.replaced, base.packages[1..]);
        assert_eq!(shared.system, ["udev:amd64", "kernel:amd64"]);
        assert_eq!(shared.manual, ["kernel:amd64", "sudo:amd64"]);

        let other = resolution(&[("libc", "1"), ("udev", "2"), ("kernel", "1")], vec![]);
        let alone = steps(&base, &image, &other);
        assert_eq!(alone.system, ["udev:amd64", "tool:amd64", "sudo:amd64", "kernel:amd64"]);
    }
}
