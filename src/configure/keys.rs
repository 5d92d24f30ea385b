//! Public keys that let users log in (sshd(8), "AUTHORIZED_KEYS FILE FORMAT").

use std::path::Path;

use super::error::one_line;
use super::home::Entry;
use super::{ConfigureError, Context};
use crate::model::User;

/// The file of the keys, below a home directory.
const FILE: &str = ".ssh/authorized_keys";

/// Writes the keys of `user`, whose account exists, to a file that sshd accepts: the user's own, closed to others
/// (sshd_config(5), `StrictModes`).
pub(super) fn write(context: &Context<'_>, user: &User) -> Result<(), ConfigureError> {
    if user.ssh_keys.is_empty() {
        return Ok(());
    }
    let mut text = String::new();
    for key in &user.ssh_keys {
        text.push_str(one_line("systemConfig.users[].sshKeys", key, "~/.ssh/authorized_keys")?);
        text.push('\n');
    }
    let root = &context.root;
    let no_home = |home: &str| ConfigureError::NoHome {
        user: user.name.clone(),
        home: home.to_owned(),
    };
    let entry = Entry::find(context, &user.name)?.ok_or_else(|| no_home(""))?;
    let is_directory = |mode: u32| mode & libc::S_IFMT == libc::S_IFDIR;
    if !root.mode(&entry.home)?.is_some_and(is_directory) {
        return Err(no_home(&entry.home));
    }
    let file = Path::new(&entry.home).join(FILE);
    if let Some(directory) = file.parent() {
        root.create_directory(directory)?;
        root.set_owner(directory, entry.owner)?;
        root.set_mode(directory, 0o700)?;
    }
    root.write(&file, text, 0o600)?;
    Ok(root.set_owner(&file, entry.owner)?)
}
