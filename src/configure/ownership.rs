//! Owners of the template's files: the user of the home directory that a file lies in, unless the template says
//! otherwise.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use super::{ConfigureError, Context};
use crate::accounts::{self, User};
use crate::durable::PathError;
use crate::root::{Owner, Root};

/// User ids of people (login.defs(5), `UID_MIN` and `UID_MAX`). Home directories of other users are often system
/// directories, and belong to their user only where the template names that user.
const PEOPLE: std::ops::RangeInclusive<u32> = 1000..=60000;
/// Directories that their programs want to be closed to others.
const CLOSED: [&str; 2] = [".ssh", ".gnupg"];

/// A user's home directory.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Home {
    directory: PathBuf,
    owner: Owner,
}

/// The home directories of an image, and its databases of users and groups.
#[derive(Debug)]
pub(super) struct Homes {
    homes: Vec<Home>,
    users: Vec<u8>,
    groups: Vec<u8>,
}

impl Homes {
    /// Reads the users of the image.
    pub(super) fn read(context: &Context<'_>) -> Result<Self, ConfigureError> {
        let named = context.request.template.system.users.iter();
        let named: BTreeSet<&[u8]> = named.map(|user| user.name.as_bytes()).collect();
        let users = context.root.read(accounts::PASSWD)?.unwrap_or_default();
        let is_home = |user: &User<'_>| {
            let is_persons = PEOPLE.contains(&user.uid) || named.contains(user.name);
            is_persons && user.home.is_absolute() && user.home != Path::new("/")
        };
        let homes = accounts::users(&users).filter(is_home).map(|user| Home {
            directory: user.home.to_owned(),
            owner: owner_of(&user),
        });
        Ok(Self {
            homes: homes.collect(),
            groups: context.root.read(accounts::GROUP)?.unwrap_or_default(),
            users,
        })
    }

    /// Finds the innermost home directory above `path`.
    fn around(&self, path: &Path) -> Option<&Home> {
        let around = self.homes.iter().filter(|home| path.starts_with(&home.directory));
        around.max_by_key(|home| home.directory.components().count())
    }

    /// Makes the missing directories above `path` in a home directory; they belong to its user.
    ///
    /// # Errors
    /// If they cannot be made.
    pub(super) fn make_directories(&self, root: &Root, path: &Path) -> Result<(), PathError> {
        let Some(home) = self.around(path) else { return Ok(()) };
        let above = path.ancestors().skip(1);
        let inside: Vec<_> = above.take_while(|path| path.starts_with(&home.directory)).collect();
        for directory in inside.into_iter().rev() {
            if root.exists(directory)? {
                continue;
            }
            root.create_directory(directory)?;
            root.set_owner(directory, home.owner)?;
            let is_closed = |name: &OsStr| CLOSED.iter().any(|closed| name == *closed);
            if directory.file_name().is_some_and(is_closed) {
                root.set_mode(directory, 0o700)?;
            }
        }
        Ok(())
    }

    /// Gives the owner of the file `path` for which the template says `said`; `None` for root.
    ///
    /// # Errors
    /// In words, if the image does not have the user or group.
    pub(super) fn owner(&self, path: &Path, said: Option<&str>) -> Result<Option<Owner>, String> {
        let Some(said) = said else {
            return Ok(self.around(path).map(|home| home.owner));
        };
        let (user, group) = match said.split_once(':') {
            Some((user, group)) => (user, Some(group)),
            None => (said, None),
        };
        let user_where = |is_one: &dyn Fn(&User<'_>) -> bool| accounts::users(&self.users).find(|user| is_one(user));
        let known = user_where(&|known| known.name == user.as_bytes());
        let absent = |kind: &str, name: &str| format!("the image has no {kind} {name}");
        let uid = match (known, user.parse()) {
            (Some(known), _) => known.uid,
            (None, Ok(number)) => number,
            (None, Err(_)) => return Err(absent("user", user)),
        };
        let by_number = || user_where(&|known| known.uid == uid);
        let gid = match group {
            None => known.or_else(by_number).map_or(uid, |known| known.gid),
            Some(name) => {
                let known = accounts::groups(&self.groups).find(|group| group.name == name.as_bytes());
                match (known, name.parse()) {
                    (Some(known), _) => known.gid,
                    (None, Ok(number)) => number,
                    (None, Err(_)) => return Err(absent("group", name)),
                }
            }
        };
        Ok(Some(Owner { uid, gid }))
    }
}

fn owner_of(user: &User<'_>) -> Owner {
    let User { uid, gid, .. } = *user;
    Owner { uid, gid }
}
