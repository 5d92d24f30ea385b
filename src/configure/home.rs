//! The home directory of a user that a package made, where the template asks for another one.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rustix::fs::OFlags;

use super::{ConfigureError, Context};
use crate::accounts;
use crate::durable::PathError;
use crate::model::User;
use crate::root::Owner;

/// What a new home directory starts with (useradd(8)).
const SKELETON: &str = "/etc/skel";
/// The home directory of root; whatever else root may have for one is the system's.
const OF_ROOT: &str = "/root";
/// The mode of a new home directory.
const MODE: &str = "0700";

/// A user of the image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// User and primary group.
    pub(super) owner: Owner,
    /// Home directory.
    pub(super) home: String,
}

impl Entry {
    /// Finds the entry of the user `name`.
    pub(super) fn find(context: &Context<'_>, name: &str) -> Result<Option<Self>, ConfigureError> {
        let text = context.root.read(accounts::PASSWD)?.unwrap_or_default();
        let user = accounts::users(&text).find(|user| user.name == name.as_bytes());
        Ok(user.map(|user| Self {
            owner: Owner {
                uid: user.uid,
                gid: user.gid,
            },
            home: user.home.to_string_lossy().into_owned(),
        }))
    }

    /// Says whether the home directory is the user's own: not a directory of the system that some accounts name.
    fn is_own(&self, context: &Context<'_>) -> Result<bool, ConfigureError> {
        let is_directory = |mode: u32| mode & libc::S_IFMT == libc::S_IFDIR;
        if !context.root.mode(&self.home)?.is_some_and(is_directory) {
            return Ok(false);
        }
        if self.owner.uid == 0 {
            return Ok(self.home == OF_ROOT);
        }
        let directory = context
            .root
            .open_at(Path::new(&self.home), OFlags::PATH | OFlags::DIRECTORY)?;
        let metadata = std::fs::File::from(directory).metadata();
        let metadata = metadata.map_err(PathError::on("look at", &self.home))?;
        Ok(metadata.uid() == self.owner.uid)
    }
}

/// Makes the directory that the template names the home of `user`. `before` is the user's entry: a home of the user's own
/// moves, as `usermod --move-home` does; otherwise a new one starts as useradd(8) makes it.
pub(super) fn set(context: &Context<'_>, user: &User, before: &Entry) -> Result<(), ConfigureError> {
    let Some(home) = user.home.as_deref() else {
        return Ok(());
    };
    let (root, name) = (&context.root, &user.name);
    // usermod(8) refuses to do this while a process of the user runs, and it is one of root's.
    let users = root.read(accounts::PASSWD)?.unwrap_or_default();
    let mode = root.mode(accounts::PASSWD)?.unwrap_or(0o644);
    root.write(accounts::PASSWD, accounts::with_home(&users, name, home), mode)?;
    if root.exists(home)? {
        return Ok(());
    }
    if let Some(parent) = Path::new(home).parent() {
        root.create_directory(parent)?;
    }
    let tool = |argv: &[&str]| context.tool(argv.iter().copied()).map_err(ConfigureError::user(name));
    if before.is_own(context)? && !Path::new(home).starts_with(&before.home) {
        tool(&["mv", "--no-target-directory", "--", &before.home, home])?;
        let note = format!("user {name}: the home directory {} moved to {home}", before.home);
        context.work.progress.note(&note);
        return Ok(());
    }
    let owner = format!("{}:{}", before.owner.uid, before.owner.gid);
    match root.exists(SKELETON)? {
        true => tool(&["cp", "--archive", "--no-target-directory", "--", SKELETON, home])?,
        false => root.create_directory(home)?,
    }
    tool(&["chown", "--recursive", "--no-dereference", &owner, home])?;
    tool(&["chmod", MODE, home])?;
    context
        .work
        .progress
        .note(&format!("user {name}: made the home directory {home}"));
    Ok(())
}
