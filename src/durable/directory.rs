//! Directories with modes of their own, independent of the caller's umask (umask(2)).

use std::fs::{self, DirBuilder, File, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use tempfile::TempDir;

use super::PathError;
use super::owner;

/// The mode of a directory that only its owner may enter.
const PRIVATE: u32 = 0o700;
/// The mode of a directory that every user may read.
const PUBLIC: u32 = 0o755;
/// The program's own umask (umask(2)).
const OWN_UMASK: u32 = 0o022;
/// Write permission for users that are neither owner nor of the group.
const OTHERS_WRITE: u32 = 0o002;

/// Replaces the caller's umask by 022, for this process and those that it starts. What is made without a mode of its own
/// is then the same for every caller.
pub fn take_own_umask() {
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(OWN_UMASK));
}

/// Makes the directory `path` with mode 0700, and missing parents with 0755. An existing directory is closed to all
/// but its owner, and one user that [`super::Owner::let_through`] lets through.
///
/// # Errors
/// If it cannot be made, is not a directory, or belongs to another user, who could open it again.
pub fn private_directory(path: &Path) -> Result<(), PathError> {
    make(path, PRIVATE).map_err(PathError::on("create", path))?;
    match close(path)? {
        true => Ok(()),
        false => Err(PathError::on("use", path)(io::Error::new(
            io::ErrorKind::PermissionDenied,
            "it belongs to another user, who could change what a build keeps in it; remove it or take another directory",
        ))),
    }
}

/// Closes the directory `path` to all but its owner (mode 0700). Returns `false` if the owner is another user than
/// the caller's; a missing directory is fine.
///
/// # Errors
/// If it is a symbolic link or no directory, or its mode cannot be read or set.
pub fn close(path: &Path) -> Result<bool, PathError> {
    restrict(path, |_| PRIVATE)
}

/// Makes the directory `path` and its missing parents with mode 0755. If it exists and belongs to the caller, takes
/// the write permission of all others away.
///
/// # Errors
/// If it cannot be made, or is not a directory.
pub fn public_directory(path: &Path) -> Result<(), PathError> {
    make(path, PUBLIC).map_err(PathError::on("create", path))?;
    match fs::metadata(path).map_err(PathError::on("look at", path))?.mode() & OTHERS_WRITE {
        0 => Ok(()),
        _ => restrict(path, |mode| mode & !OTHERS_WRITE).map(drop),
    }
}

/// Makes a directory with a name that starts with `prefix` in `parent`, mode 0700, removed when dropped.
///
/// # Errors
/// If it cannot be made.
pub fn private_scratch(prefix: &str, parent: &Path) -> Result<TempDir, PathError> {
    let mut builder = tempfile::Builder::new();
    // Without this the umask decides who may enter the directory.
    builder.prefix(prefix).permissions(Permissions::from_mode(PRIVATE));
    builder
        .tempdir_in(parent)
        .map_err(PathError::on("create a temporary directory in", parent))
}

/// Makes the missing parts of `path`: the last with `mode`, those above with [`PUBLIC`].
fn make(path: &Path, mode: u32) -> io::Result<()> {
    // The mode is never more open than wanted, not even for an instant; a strict umask is undone then.
    match DirBuilder::new().mode(mode).create(path) {
        Ok(()) => fs::set_permissions(path, Permissions::from_mode(mode)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => match path.is_dir() {
            true => Ok(()),
            false => Err(error),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
            make(parent.ok_or(error)?, PUBLIC)?;
            make(path, mode)
        }
        Err(error) => Err(error),
    }
}

/// Gives the directory `path` the mode that `wanted` makes of its present mode, if the caller owns it, and returns
/// whether the caller does. A missing directory counts as owned. No link is followed: another user may have put it
/// there.
fn restrict(path: &Path, wanted: impl Fn(u32) -> u32) -> Result<bool, PathError> {
    let flags = libc::O_DIRECTORY | libc::O_NOFOLLOW | libc::O_CLOEXEC;
    let opened = match File::options().read(true).custom_flags(flags).open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
        // Only another user's directory cannot be opened by name; the caller decides what that means.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Ok(false),
        opened => opened.map_err(PathError::on("open the directory (links are not followed)", path))?,
    };
    let metadata = opened.metadata().map_err(PathError::on("look at", path))?;
    if metadata.uid() != rustix::process::geteuid().as_raw() {
        return Ok(false);
    }
    let mode = metadata.mode() & 0o7777;
    // The group's permissions are the mask of the list that has the door.
    if wanted(mode) != mode && !(wanted(mode) == PRIVATE && owner::is_door(&opened)) {
        opened
            .set_permissions(Permissions::from_mode(wanted(mode)))
            .map_err(PathError::on("set the mode of", path))?;
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o7777
    }

    #[test]
    fn a_directory_has_its_mode_and_parents_are_open() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a/b/private");
        private_directory(&path).unwrap();
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o700, 0o755));
        let path = directory.path().join("c/public");
        public_directory(&path).unwrap();
        assert_eq!(mode(&path), 0o755);
    }

    #[test]
    fn an_earlier_one_is_tightened() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("earlier");
        for (before, private, public) in [(0o755, 0o700, 0o755), (0o777, 0o700, 0o775), (0o700, 0o700, 0o700)] {
            fs::create_dir(&path).unwrap();
            for (make, after) in [
                (private_directory as fn(&Path) -> Result<(), PathError>, private),
                (public_directory, public),
            ] {
                fs::set_permissions(&path, Permissions::from_mode(before)).unwrap();
                make(&path).unwrap();
                assert_eq!(mode(&path), after, "{before:o}");
            }
            fs::remove_dir(&path).unwrap();
        }
        assert!(close(&path).unwrap(), "a missing one is fine");
        assert!(!path.exists());
    }

    #[test]
    fn no_link_and_no_directory_of_another_user_is_taken() {
        let directory = tempfile::tempdir().unwrap();
        let (target, link) = (directory.path().join("target"), directory.path().join("link"));
        public_directory(&target).unwrap();
        std::os::unix::fs::symlink(&target, &link).unwrap();
        assert!(
            private_directory(&link)
                .unwrap_err()
                .to_string()
                .contains("links are not followed")
        );
        assert_eq!(mode(&target), 0o755);
        if rustix::process::geteuid().is_root() {
            std::os::unix::fs::chown(&target, Some(65_534), None).unwrap();
            let error = private_directory(&target).unwrap_err().to_string();
            assert!(error.contains("another user"), "{error}");
            assert!(!close(&target).unwrap());
        }
        fs::write(directory.path().join("file"), "").unwrap();
        assert!(private_directory(&directory.path().join("file")).is_err());
    }
}
