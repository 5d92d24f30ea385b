//! Private mount namespaces (mount_namespaces(7)): mounts made inside vanish with the last process in it, also after
//! `kill -9`.

use std::fs::File;
use std::thread;

use nix::sched::{CloneFlags, setns, unshare};
use rustix::mount::{MountPropagationFlags, mount_change};

use super::MountError;
use crate::durable::PathError;

/// Moves the calling thread, and with it all threads and processes that it starts later, into a
/// new mount namespace from which nothing reaches the outside. Call it while there is only one thread.
///
/// What is unmounted outside goes inside, too: a copy that stayed would keep the file system, its server and its
/// writable layer in use. For that the copies are slaves (mount_namespaces(7)), not private.
///
/// # Errors
/// Without the privilege to do so (`CAP_SYS_ADMIN`).
pub fn enter_private() -> Result<(), MountError> {
    unshare(CloneFlags::CLONE_NEWNS).map_err(|errno| refused("make a private mount namespace", errno))?;
    mount_change("/", MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC)
        .map_err(MountError::refused("make the mounts of the namespace slaves"))
}

/// Runs `work` in a private mount namespace that ends with it, then `finish` with its
/// result back in the namespace of the caller. Mounts that `work` attached are gone by
/// then, except as far as a file system from `work` is made of them.
///
/// # Errors
/// Those of `work` and `finish`, and those of [`enter_private`].
pub(super) fn with_temporary<T: Send, U: Send>(
    work: impl FnOnce() -> Result<T, MountError> + Send,
    finish: impl FnOnce(T) -> Result<U, MountError> + Send,
) -> Result<U, MountError> {
    let path = "/proc/thread-self/ns/mnt";
    let run = || {
        let home = File::open(path).map_err(PathError::on("open", path))?;
        enter_private()?;
        let made = work()?;
        setns(&home, CloneFlags::CLONE_NEWNS).map_err(|errno| refused("return to the mount namespace", errno))?;
        finish(made)
    };
    // A namespace belongs to a thread: this one is thrown away afterwards.
    thread::scope(|scope| {
        scope.spawn(run).join().unwrap_or_else(|_| {
            Err(MountError::Server {
                message: "the mounting thread panicked".to_owned(),
                hint: None,
            })
        })
    })
}

fn refused(action: &str, errno: nix::errno::Errno) -> MountError {
    MountError::Refused {
        action: action.to_owned(),
        source: errno.into(),
        detail: String::new(),
    }
}
