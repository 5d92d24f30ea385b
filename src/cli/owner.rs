//! Whose files a build of root makes: those of the user behind sudo, in that user's directories, or of a user that the
//! command names.

use std::env;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use nix::unistd::{Gid, Group, Uid, User};

use crate::durable::{self, Owner};

use super::error::{CommandError, tell};

/// The user that gets files.
#[derive(Debug, Clone, Copy)]
pub struct Receiver {
    owner: Owner,
    /// Whether the command names the user, so that the place of a file does not matter.
    is_named: bool,
}

impl Receiver {
    /// Finds the user of `named`, `USER[:GROUP]`, or else the one behind sudo, if there is one.
    ///
    /// # Errors
    /// If there is no user or group of this name.
    pub fn find(named: Option<&str>) -> Result<Option<Self>, CommandError> {
        if let Some(named) = named {
            let owner = parse(named).map_err(|reason| CommandError::usage(format!("--owner: {reason}")))?;
            return Ok(Some(Self { owner, is_named: true }));
        }
        // sudo(8), ENVIRONMENT.
        let id = |name| env::var(name).ok()?.parse::<u32>().ok();
        let owner = id("SUDO_UID").zip(id("SUDO_GID"));
        let owner = owner.filter(|(uid, _)| *uid != 0 && rustix::process::geteuid().is_root());
        Ok(owner.map(|(uid, gid)| Self {
            owner: Owner { uid, gid },
            is_named: false,
        }))
    }

    /// Returns the owner of files in `directory`, unless they stay the caller's. The directory need not exist yet.
    pub fn of(self, directory: &Path) -> Option<Owner> {
        let is_owned = |path: &Path| path.metadata().is_ok_and(|found| found.uid() == self.owner.uid);
        let exists = directory.ancestors().find_map(|path| path.canonicalize().ok());
        let is_users = || exists.is_some_and(|exists| exists.ancestors().any(is_owned));
        (self.is_named || is_users()).then_some(self.owner)
    }
}

/// Reads `USER[:GROUP]`, names or numbers; without a group it is the user's own.
fn parse(text: &str) -> Result<Owner, String> {
    let (user, group) = match text.split_once(':') {
        Some((user, group)) => (user, Some(group)),
        None => (text, None),
    };
    let by_number = user.parse().ok().map(Uid::from_raw);
    let found = match by_number {
        Some(uid) => User::from_uid(uid),
        None => User::from_name(user),
    };
    let found = found.ok().flatten();
    let uid = found.as_ref().map(|user| user.uid).or(by_number);
    let uid = uid.ok_or_else(|| format!("there is no user {user:?} on this host"))?;
    let gid = match group {
        Some(group) => gid_of(group)?,
        None => found
            .map(|user| user.gid)
            .ok_or_else(|| format!("there is no user {user:?} on this host: name a group too, as in {user}:GROUP"))?,
    };
    Ok(Owner {
        uid: uid.as_raw(),
        gid: gid.as_raw(),
    })
}

/// Finds the group of a name or number.
fn gid_of(group: &str) -> Result<Gid, String> {
    if let Ok(number) = group.parse() {
        return Ok(Gid::from_raw(number));
    }
    let found = Group::from_name(group).ok().flatten();
    let found = found.ok_or_else(|| format!("there is no group {group:?} on this host"))?;
    Ok(found.gid)
}

/// Files that a command writes by the names that its user gave.
#[derive(Debug, Default)]
pub struct Outputs(Vec<(PathBuf, Owner)>);

impl Outputs {
    /// Notes where `files` lie, before any of them is written: the user may rename directories meanwhile.
    pub fn note<'a>(receiver: Option<Receiver>, files: impl IntoIterator<Item = &'a Path>) -> Self {
        let real = |file: &Path| {
            let real = durable::real_name(file).ok()?;
            let owner = receiver?.of(real.parent()?)?;
            Some((real, owner))
        };
        Self(files.into_iter().filter_map(real).collect())
    }

    /// Gives those that exist to their user. What fails is a warning.
    pub fn give(&self) {
        for (path, owner) in &self.0 {
            match owner.take(path) {
                Err(error) if error.source.kind() != ErrorKind::NotFound => tell(&format_args!("warning: {error}")),
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_and_groups_have_names_or_numbers() {
        let root = Ok(Owner { uid: 0, gid: 0 });
        for (text, expected) in [
            ("root", root),
            ("0", root),
            ("root:root", root),
            (
                "4000000001:7",
                Ok(Owner {
                    uid: 4_000_000_001,
                    gid: 7,
                }),
            ),
            ("4000000001", Err("name a group too")),
            ("no-such-user", Err("there is no user \"no-such-user\"")),
            ("root:no-such-group", Err("there is no group \"no-such-group\"")),
            ("", Err("there is no user")),
        ] {
            match (parse(text), expected) {
                (Ok(found), Ok(expected)) => assert_eq!(found, expected, "{text}"),
                (Err(reason), Err(words)) => assert!(reason.contains(words), "{text}: {reason}"),
                (found, _) => panic!("{text}: {found:?}"),
            }
        }
    }

    #[test]
    fn a_directory_is_the_users_if_one_above_is() {
        let directory = tempfile::tempdir().unwrap();
        let uid = std::fs::metadata(directory.path()).unwrap().uid();
        let receiver = |uid, is_named| Receiver {
            owner: Owner { uid, gid: 1 },
            is_named,
        };
        let below = directory.path().join("not/yet/there");
        assert!(receiver(uid, false).of(&below).is_some());
        assert!(receiver(uid + 1, false).of(&below).is_none());
        assert!(receiver(uid + 1, true).of(&below).is_some());
    }
}
