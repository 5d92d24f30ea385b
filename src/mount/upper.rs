//! Whether a file system can hold the writable layer of an overlay, found out by trying.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt as _, chown};
use std::path::Path;

use rustix::fs::{CWD, FileType, Mode, XattrFlags, makedev, mknodat, setxattr};

use super::{MountError, table};
use crate::durable::{PathError, ScratchDir};

/// An ACL with an entry for user 1, as setxattr(2) takes it (posix_acl_xattr.h of Linux): version, then tag, permissions
/// and id of each entry.
const ACL: [u8; 44] = [
    2, 0, 0, 0, //
    0x01, 0, 6, 0, 0xff, 0xff, 0xff, 0xff, //
    0x02, 0, 4, 0, 1, 0, 0, 0, //
    0x04, 0, 4, 0, 0xff, 0xff, 0xff, 0xff, //
    0x10, 0, 4, 0, 0xff, 0xff, 0xff, 0xff, //
    0x20, 0, 4, 0, 0xff, 0xff, 0xff, 0xff,
];
/// A capability of a file, CAP_NET_RAW (`struct vfs_cap_data` in capability.h of Linux).
const CAPABILITY: [u8; 20] = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// A thing that an upper consists of: its name in words, and how one is made in the empty directory.
type Need = (&'static str, fn(&Path) -> io::Result<()>);

/// What an upper consists of, besides files and directories (Documentation/filesystems/overlayfs.rst of Linux).
const NEEDS: [Need; 6] = [
    ("extended attributes trusted.*", |at| {
        attribute(at, "trusted.overlay.opaque", b"y")
    }),
    ("whiteouts, which are device nodes", |at| {
        let made = mknodat(
            CWD,
            at.join("whiteout"),
            FileType::CharacterDevice,
            Mode::RUSR,
            makedev(0, 0),
        );
        Ok(made?)
    }),
    ("files of other users", |at| chown(file(at)?, Some(1), Some(1))),
    ("hard links", |at| fs::hard_link(file(at)?, at.join("link"))),
    ("access control lists, which are extended attributes", |at| {
        attribute(&file(at)?, "system.posix_acl_access", &ACL)
    }),
    ("capabilities of files, which are extended attributes", |at| {
        attribute(&file(at)?, "security.capability", &CAPABILITY)
    }),
];

/// Tries whether `directory` can hold the writable layer of an overlay.
///
/// # Errors
/// [`MountError::NoUpper`], naming what its file system lacks.
pub fn check(directory: &Path) -> Result<(), MountError> {
    let scratch = ScratchDir::create_in(directory)?;
    for (lacks, make) in NEEDS {
        make(scratch.path()).map_err(|source| MountError::NoUpper {
            directory: directory.to_owned(),
            file_system: kind(directory).unwrap_or_else(|| "unknown".to_owned()),
            lacks,
            source,
        })?;
    }
    Ok(())
}

fn attribute(path: &Path, name: &str, value: &[u8]) -> io::Result<()> {
    Ok(setxattr(path, name, value, XattrFlags::empty())?)
}

/// Makes a file in `at`, if it is not there yet, and returns its path.
fn file(at: &Path) -> io::Result<std::path::PathBuf> {
    let path = at.join("file");
    fs::File::create(&path)?;
    Ok(path)
}

/// Finds the type of the file system of `directory` in the table of mounts.
fn kind(directory: &Path) -> Option<String> {
    let device = fs::metadata(directory)
        .map_err(PathError::on("look at", directory))
        .ok()?
        .dev();
    let device = (rustix::fs::major(device), rustix::fs::minor(device));
    let mount = table::mounts().ok()?.into_iter().find(|mount| mount.device == device)?;
    Some(mount.file_system)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mount::api::Context;
    use crate::mount::{Label, Restrictions, namespace};

    #[test]
    fn a_file_system_without_attributes_is_refused_by_name() {
        for (file_system, is_refused) in [("tmpfs", false), ("ramfs", true)] {
            let place = tempfile::tempdir().unwrap();
            let look = || {
                let mount = Context::open(file_system, &Label::default())?
                    .mount(Restrictions::BUILD)?
                    .attach(place.path())?;
                let found = check(place.path());
                assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0, "nothing stays");
                mount.unmount()?;
                found
            };
            match namespace::with_temporary(look, Ok) {
                Ok(()) => assert!(!is_refused, "{file_system}"),
                Err(error) => {
                    let told = error.to_string();
                    assert!(is_refused, "{told}");
                    assert!(
                        told.contains("ramfs") && told.contains("extended attributes trusted.*"),
                        "{told}"
                    );
                }
            }
        }
    }
}
