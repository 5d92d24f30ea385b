//! The architectures whose packages dpkg installs.

use crate::durable::PathError;
use crate::package::Targets;
use crate::root::Root;

/// dpkg's list of architectures, one per line, its own first; absent if that is the only one.
const LIST: &str = "/var/lib/dpkg/arch";

/// Does what `dpkg --add-architecture` does for each foreign architecture of `targets` (dpkg(1)).
///
/// # Errors
/// If the list cannot be read or written.
pub fn add_architectures(root: &Root, targets: Targets<'_>) -> Result<(), PathError> {
    if targets.foreign.is_empty() {
        return Ok(());
    }
    let read = root.read(LIST)?.unwrap_or_default();
    let read = String::from_utf8_lossy(&read);
    let mut listed: Vec<&str> = read.lines().collect();
    let before = listed.len();
    for arch in targets.deb() {
        if !listed.contains(&arch) {
            listed.push(arch);
        }
    }
    if listed.len() == before {
        return Ok(());
    }
    root.write(LIST, listed.join("\n") + "\n", 0o644)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::package::{Arch, ForeignArch};

    #[test]
    fn architectures_are_added_once() {
        let directory = tempfile::tempdir().unwrap();
        let root = Root::open(directory.path()).unwrap();
        root.create_directory("/var/lib/dpkg").unwrap();
        let list = || root.read(LIST).unwrap().map(|text| String::from_utf8(text).unwrap());
        add_architectures(&root, Arch::X86_64.into()).unwrap();
        assert_eq!(list(), None);
        let targets = Targets {
            native: Arch::X86_64,
            foreign: &[ForeignArch::I386],
        };
        for _ in 0..2 {
            add_architectures(&root, targets).unwrap();
            assert_eq!(list().as_deref(), Some("amd64\ni386\n"));
        }
    }
}
