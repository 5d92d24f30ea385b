//! The kernel and initrd of a tree, by version.

use std::cmp::Ordering;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use super::BootError;
use super::tree::Tree;
use crate::package::Arch;

/// A kernel that can be booted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Its version, as `uname -r` will say.
    pub version: String,
    /// The kernel, from the image's root.
    pub image: PathBuf,
    /// Its initrd, from the image's root.
    pub initrd: PathBuf,
}

/// The directory of kernel modules, and of some kernels themselves (kernel-install(8), "Files").
const MODULES: &str = "/usr/lib/modules";

/// Finds a kernel as [`newest`] does, and its initrd.
///
/// # Errors
/// [`BootError`] if there is no such kernel, or no initrd for it.
pub fn find(root: &dyn Tree, arch: Arch, wanted: Option<&str>) -> Result<Found, BootError> {
    let (version, image) = newest(root, arch, wanted)?;
    let candidates = initrds(&version);
    let [usual, ..] = &candidates;
    let missing = || BootError::Missing {
        path: usual.clone(),
        hint: "add a package that makes it, such as initramfs-tools or dracut, to systemConfig.packages".into(),
    };
    Ok(Found {
        initrd: first_of(root, &candidates)?.ok_or_else(missing)?,
        version,
        image,
    })
}

/// Finds the newest kernel of `root`, `/boot/vmlinuz-VERSION` or `/usr/lib/modules/VERSION/vmlinuz`, whose version
/// is `wanted` or continues it (`6.12` is met by `6.12.48-amd64`); the newest of all if none does. Returns its version
/// and its path.
///
/// # Errors
/// [`BootError`] if there is no such kernel.
pub fn newest(root: &dyn Tree, arch: Arch, wanted: Option<&str>) -> Result<(String, PathBuf), BootError> {
    let kernels = images(root)?;
    let wanted = wanted.and_then(|wanted| kernels.iter().rev().find(|(version, _)| meets(version, wanted)));
    let found = wanted.or(kernels.last()).cloned();
    found.ok_or_else(|| BootError::Missing {
        path: "/boot/vmlinuz-*".into(),
        hint: format!(
            "add a kernel, such as linux-image-{} on Debian and kernel elsewhere, to systemConfig.kernel.packages",
            arch.deb()
        ),
    })
}

/// Returns the version of the kernel that [`find`] chooses for `wanted`, if that is not the newest.
///
/// # Errors
/// If the tree cannot be read.
pub fn chosen(root: &dyn Tree, wanted: Option<&str>) -> Result<Option<String>, BootError> {
    let mut kernels = images(root)?;
    let newest = kernels.pop();
    let Some((wanted, (newest, _))) = wanted
        .zip(newest)
        .filter(|(wanted, (newest, _))| !meets(newest, wanted))
    else {
        return Ok(None);
    };
    let older = kernels.into_iter().rev().map(|(version, _)| version);
    Ok(older
        .into_iter()
        .find(|version| *version != newest && meets(version, wanted)))
}

/// Lists the kernels of `root` that have an initrd, the newest first.
///
/// # Errors
/// If the tree cannot be read.
pub fn all(root: &dyn Tree) -> Result<Vec<Found>, BootError> {
    let mut found = Vec::new();
    for (version, image) in images(root)?.into_iter().rev() {
        if let Some(initrd) = first_of(root, &initrds(&version))? {
            found.push(Found { version, image, initrd });
        }
    }
    Ok(found)
}

/// Lists the kernels of `root` by version, the newest last.
fn images(root: &dyn Tree) -> Result<Vec<(String, PathBuf)>, BootError> {
    let (boot, modules) = (Path::new("/boot"), Path::new(MODULES));
    let mut kernels: Vec<(String, PathBuf)> = Vec::new();
    for (name, is_directory) in entries(root, boot)? {
        let version = name.strip_prefix("vmlinuz-").filter(|version| !version.is_empty());
        if let Some(version) = version.filter(|_| !is_directory) {
            kernels.push((version.to_owned(), boot.join(&name)));
        }
    }
    for (version, _) in entries(root, modules)? {
        let image = modules.join(&version).join("vmlinuz");
        if kernels.iter().all(|(known, _)| *known != version) && root.has(&image)? {
            kernels.push((version, image));
        }
    }
    kernels.sort_by(|(a, _), (b, _)| compare(a, b));
    Ok(kernels)
}

/// Lists the places of the initrd of the kernel `version`, the usual one first.
fn initrds(version: &str) -> [PathBuf; 3] {
    let boot = Path::new("/boot");
    [
        boot.join(format!("initrd.img-{version}")),
        boot.join(format!("initramfs-{version}.img")),
        Path::new(MODULES).join(version).join("initrd"),
    ]
}

/// Returns the first of `candidates` that exists in the tree `root`.
fn first_of(root: &dyn Tree, candidates: &[PathBuf]) -> Result<Option<PathBuf>, BootError> {
    for path in candidates {
        if root.has(path)? {
            return Ok(Some(path.clone()));
        }
    }
    Ok(None)
}

/// Returns the entries of `directory` whose names can be kernel versions; none if the directory is missing.
fn entries(root: &dyn Tree, directory: &Path) -> Result<Vec<(String, bool)>, BootError> {
    let entries = match root.has(directory)? {
        true => root.entries(directory)?,
        false => Vec::new(),
    };
    let named = entries.into_iter().filter_map(|(name, is_directory)| {
        let name = String::from_utf8(name.as_bytes().to_owned()).ok()?;
        (!name.chars().any(char::is_control)).then_some((name, is_directory))
    });
    Ok(named.collect())
}

fn meets(version: &str, wanted: &str) -> bool {
    version
        .strip_prefix(wanted)
        .is_some_and(|rest| !rest.starts_with(|c: char| c.is_ascii_digit()) || wanted.is_empty())
}

/// Orders kernel versions: numbers by value, `~` before anything, even the end.
pub fn compare(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a.as_bytes(), b.as_bytes());
    loop {
        let number = |text: &[u8]| text.iter().take_while(|c| c.is_ascii_digit()).count();
        let (a_digits, a_rest) = a.split_at(number(a));
        let (b_digits, b_rest) = b.split_at(number(b));
        let by_number = by_value(a_digits, b_digits);
        if by_number != Ordering::Equal {
            return by_number;
        }
        (a, b) = (a_rest, b_rest);
        let rank = |text: &[u8]| match text.first() {
            Some(b'~') => -1,
            None => 0,
            Some(c) => i32::from(*c),
        };
        match rank(a).cmp(&rank(b)) {
            Ordering::Equal if a.is_empty() => return Ordering::Equal,
            Ordering::Equal => (a, b) = (a.get(1..).unwrap_or_default(), b.get(1..).unwrap_or_default()),
            other => return other,
        }
    }
}

/// Compares two runs of digits of any length by value.
fn by_value(a: &[u8], b: &[u8]) -> Ordering {
    let significant = |digits: &[u8]| digits.iter().skip_while(|c| **c == b'0').copied().collect::<Vec<_>>();
    let (a, b) = (significant(a), significant(b));
    a.len().cmp(&b.len()).then(a.cmp(&b))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::merged::Merged;

    #[test]
    fn versions_are_ordered_by_number() {
        let ordered = [
            "6.1.0-9-amd64",
            "6.1.0-37-amd64",
            "6.12~rc1-amd64",
            "6.12.9+deb13-amd64",
            "6.12.48+deb13-amd64",
            "6.12.48+deb13-cloud-amd64",
            "10.0",
        ];
        for pair in ordered.windows(2) {
            assert_eq!(compare(pair[0], pair[1]), Ordering::Less, "{pair:?}");
            assert_eq!(compare(pair[1], pair[0]), Ordering::Greater, "{pair:?}");
        }
        assert_eq!(compare("6.01", "6.1"), Ordering::Equal);
        assert!(meets("6.12.48-amd64", "6.12") && !meets("6.120", "6.12") && meets("6.12", "6.12"));
    }

    #[test]
    fn the_newest_kernel_or_the_wanted_one() {
        let directory = tempfile::tempdir().unwrap();
        let boot = directory.path().join("boot");
        std::fs::create_dir(&boot).unwrap();
        let root = Merged::of_directory(directory.path()).unwrap();
        let error = find(&root, Arch::X86_64, None).unwrap_err();
        assert!(error.hint().unwrap().contains("linux-image-amd64"), "{error}");
        for name in [
            "vmlinuz-6.1.0-9-amd64",
            "vmlinuz-6.1.0-37-amd64",
            "initrd.img-6.1.0-37-amd64",
            "vmlinuz-",
        ] {
            std::fs::write(boot.join(name), "MZ").unwrap();
        }
        assert_eq!(find(&root, Arch::X86_64, None).unwrap().version, "6.1.0-37-amd64");
        let error = find(&root, Arch::X86_64, Some("6.1.0-9")).unwrap_err();
        assert_eq!(error.to_string(), "the image has no /boot/initrd.img-6.1.0-9-amd64");
        let found = find(&root, Arch::X86_64, Some("6.12")).unwrap();
        assert_eq!(found.version, "6.1.0-37-amd64");
        let beside = directory.path().join("usr/lib/modules/6.12.0-55.el10.x86_64");
        std::fs::create_dir_all(&beside).unwrap();
        for name in ["vmlinuz", "initrd"] {
            std::fs::write(beside.join(name), "MZ").unwrap();
        }
        let found = find(&root, Arch::X86_64, None).unwrap();
        assert_eq!(found.image, Path::new("/usr/lib/modules/6.12.0-55.el10.x86_64/vmlinuz"));
        assert_eq!(found.initrd, Path::new("/usr/lib/modules/6.12.0-55.el10.x86_64/initrd"));
    }
}
