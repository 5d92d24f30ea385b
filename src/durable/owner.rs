//! Files that a process of root makes for another user.

use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Gid, Mode, OFlags, ResolveFlags, Uid, XattrFlags, fchown, fgetxattr, fsetxattr, openat2};

use super::PathError;
use super::file::directory_of;

/// The attribute that holds an access control list (acl(5)).
const ACL: &CStr = c"system.posix_acl_access";
/// The length in bytes of the list of a door.
const DOOR_LENGTH: usize = 44;
/// The place of the user's id in that list.
const DOOR_USER: std::ops::Range<usize> = 16..20;

/// A user and a group that own files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    /// The id of the user.
    pub uid: u32,
    /// The id of the group.
    pub gid: u32,
}

impl Owner {
    /// Gives the file `path`, which must be a regular file of the caller with one name, to this user and group. Its mode
    /// stays.
    ///
    /// # Errors
    /// If `path` leads through a symbolic link, is something else, or cannot be given away.
    pub fn take(self, path: &Path) -> Result<(), PathError> {
        let failed = |error: io::Error| PathError::on("give to its user", path)(error);
        let refused = |reason: &str| failed(io::Error::new(io::ErrorKind::PermissionDenied, reason));
        let file = File::from(open(path, OFlags::NONBLOCK).map_err(failed)?);
        let metadata = file.metadata().map_err(failed)?;
        if (metadata.uid(), metadata.gid()) == (self.uid, self.gid) {
            return Ok(());
        }
        if !metadata.is_file() {
            return Err(refused("it is no regular file"));
        }
        // A second name may be the file of a program of the host.
        if metadata.nlink() != 1 || metadata.uid() != rustix::process::geteuid().as_raw() {
            return Err(refused("it has another name, or another owner"));
        }
        let (uid, gid) = (Uid::from_raw(self.uid), Gid::from_raw(self.gid));
        fchown(&file, Some(uid), Some(gid)).map_err(|error| failed(error.into()))
    }

    /// Lets this user go through the private directory `path` to what lies below, by name; nothing else can be done with
    /// it. The list of the access control has this one user.
    ///
    /// # Errors
    /// If `path` leads through a symbolic link, or its file system has no such lists.
    pub fn let_through(self, path: &Path) -> Result<(), PathError> {
        let opened = open(path, OFlags::DIRECTORY);
        let set = opened.and_then(|opened| Ok(fsetxattr(&opened, ACL, &door(self.uid), XattrFlags::empty())?));
        set.map_err(PathError::on("let its user through", path))
    }
}

/// Returns the absolute name of `path` in which no directory is a symbolic link; its last part stays.
///
/// # Errors
/// If a directory of it does not exist.
pub fn real_name(path: &Path) -> Result<PathBuf, PathError> {
    let name = path.file_name().unwrap_or_default();
    let directory = directory_of(path).canonicalize();
    directory
        .map(|directory| directory.join(name))
        .map_err(PathError::on("find the directory of", path))
}

/// Says whether `directory` is a private one with a door for one user, as [`Owner::let_through`] makes it.
pub(super) fn is_door(directory: &File) -> bool {
    let mut list = [0; DOOR_LENGTH + 1];
    let Ok(length) = fgetxattr(directory, ACL, &mut list) else {
        return false;
    };
    let uid: Option<[u8; 4]> = list.get(DOOR_USER).and_then(|bytes| bytes.try_into().ok());
    let expected = uid.map(|uid| door(u32::from_le_bytes(uid)));
    length == DOOR_LENGTH && expected.is_some_and(|expected| list.starts_with(&expected))
}

/// Opens `path`, no part of which may be a symbolic link.
fn open(path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
    let flags = flags | OFlags::RDONLY | OFlags::CLOEXEC;
    Ok(openat2(CWD, path, flags, Mode::empty(), ResolveFlags::NO_SYMLINKS)?)
}

/// Makes the access control list of a directory that only its owner may use and only `uid` may search, as setxattr(2)
/// takes it (posix_acl_xattr.h of Linux): version, then tag, permissions and id of each entry.
fn door(uid: u32) -> [u8; DOOR_LENGTH] {
    const VERSION: u32 = 2;
    const NO_ID: u32 = u32::MAX;
    const ALL: u16 = 7;
    const SEARCH: u16 = 1;
    // ACL_USER_OBJ, ACL_USER, ACL_GROUP_OBJ, ACL_MASK, ACL_OTHER.
    let entries = [
        (0x01, ALL, NO_ID),
        (0x02, SEARCH, uid),
        (0x04, 0, NO_ID),
        (0x10, SEARCH, NO_ID),
        (0x20, 0_u16, NO_ID),
    ];
    let mut list = [0; DOOR_LENGTH];
    let bytes = VERSION.to_le_bytes().into_iter().chain(entries.into_iter().flat_map(
        |(tag, permissions, id): (u16, u16, u32)| {
            let [a, b] = tag.to_le_bytes();
            let [c, d] = permissions.to_le_bytes();
            let [e, f, g, h] = id.to_le_bytes();
            [a, b, c, d, e, f, g, h]
        },
    ));
    list.iter_mut().zip(bytes).for_each(|(place, byte)| *place = byte);
    list
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
    use std::process::Command;

    use super::*;
    use crate::durable::{private_directory, write_file};

    const OWNER: Owner = Owner {
        uid: 12_345,
        gid: 54_321,
    };

    fn is_root() -> bool {
        rustix::process::geteuid().is_root()
    }

    #[test]
    fn only_a_file_of_the_callers_own_is_given_away() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().canonicalize().unwrap();
        let at = |name: &str| root.join(name);
        for name in ["plain", "twice", "real", "of-another"] {
            write_file(at(name), "x").unwrap();
        }
        fs::hard_link(at("twice"), at("other-name")).unwrap();
        symlink("real", at("link")).unwrap();
        fs::create_dir(at("below")).unwrap();
        symlink("below", at("through")).unwrap();
        write_file(at("below/file"), "x").unwrap();
        for name in ["twice", "link", "through/file", "below", "absent"] {
            OWNER.take(&at(name)).expect_err(name);
        }
        assert_ne!(fs::metadata(at("real")).unwrap().uid(), OWNER.uid);
        if !is_root() {
            return;
        }
        chown(at("of-another"), Some(7), Some(7)).unwrap();
        OWNER.take(&at("of-another")).unwrap_err();
        OWNER.take(&at("plain")).unwrap();
        OWNER.take(&at("plain")).unwrap();
        let metadata = fs::metadata(at("plain")).unwrap();
        assert_eq!((metadata.uid(), metadata.gid()), (OWNER.uid, OWNER.gid));
        assert_eq!(metadata.permissions().mode() & 0o7777, 0o600);
    }

    #[test]
    fn a_door_lets_one_user_through_and_stays() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().canonicalize().unwrap();
        fs::set_permissions(&root, fs::Permissions::from_mode(0o755)).unwrap();
        let private = root.join("private");
        private_directory(&private).unwrap();
        write_file(private.join("file"), "mine").unwrap();
        if !is_root() {
            return;
        }
        OWNER.take(&private.join("file")).unwrap();
        let reads = |uid: u32, path: &str| {
            let mut command = Command::new("cat");
            let output = std::os::unix::process::CommandExt::uid(&mut command, uid)
                .arg(private.join(path))
                .output()
                .unwrap();
            output.status.success()
        };
        let lists = |uid: u32| {
            let mut command = Command::new("ls");
            let command = std::os::unix::process::CommandExt::uid(&mut command, uid);
            command.arg(&private).output().unwrap().status.success()
        };
        assert!(!reads(OWNER.uid, "file"));
        OWNER.let_through(&private).unwrap();
        // The next build keeps it.
        private_directory(&private).unwrap();
        assert!(reads(OWNER.uid, "file") && !lists(OWNER.uid));
        assert!(!reads(OWNER.uid + 1, "file"));
        // What only looks like a door is closed.
        fs::set_permissions(&private, fs::Permissions::from_mode(0o750)).unwrap();
        private_directory(&private).unwrap();
        assert!(!reads(OWNER.uid, "file"));
    }
}
