//! The access control lists of a tarball: tar(1) writes accounts by their names, Linux keeps numbers.
//!
//! A name means the account in `etc/passwd` or `etc/group` of the tarball itself, and that of the build host if the
//! tarball has no such file. As with tar(1), a list that cannot be set is left out, and a list that is set decides about
//! the mode of its file.

use std::cell::{Cell, OnceCell};
use std::collections::HashMap;
use std::io::Read as _;
use std::path::Path;

use super::super::format::Node;
use crate::accounts;
use crate::archive::stream::Xattrs;
use crate::archive::stream::acl::{self, Account};
use crate::durable::open_regular;

/// Largest file of accounts that is read, in bytes.
const FILE_BYTES_MAX: u64 = 4 << 20;
/// Longest value of an attribute, as on Linux (`XATTR_SIZE_MAX`).
const VALUE_BYTES_MAX: usize = 64 << 10;
/// Files of accounts: users, then groups.
const FILES: [&str; 2] = [accounts::PASSWD, accounts::GROUP];

/// Lists in text form, by the names of their attributes.
pub(super) type AclTexts = Vec<(&'static str, Vec<u8>)>;

/// Accounts by name.
type Numbers = HashMap<Vec<u8>, u32>;

/// The accounts that a tarball's lists name.
#[derive(Debug, Default)]
pub(super) struct Accounts {
    /// The content of the tarball's own files, in the order of [`FILES`].
    own: [Option<Vec<u8>>; 2],
    numbers: OnceCell<[Numbers; 2]>,
    left_out: Cell<u64>,
}

impl Accounts {
    /// Returns the place for the content of the member `path` if it is a file of accounts. A later one replaces an
    /// earlier one.
    pub(super) fn place(&mut self, path: &Path, size_bytes: u64) -> Option<&mut Vec<u8>> {
        let which = FILES
            .iter()
            .position(|file| Path::new("/").join(path) == Path::new(file))?;
        let own = self.own.get_mut(which)?;
        *own = None;
        (size_bytes <= FILE_BYTES_MAX).then(|| own.insert(Vec::new()))
    }

    /// Returns the number of lists that were left out so far.
    pub(super) fn left_out(&self) -> u64 {
        self.left_out.get()
    }

    /// Gives `node` the lists in its `xattrs` and `texts`, as Linux does when they are set; returns the attributes that
    /// it has then, in the order of their names.
    pub(super) fn settle(&self, node: &mut Node, mut xattrs: Xattrs, texts: &AclTexts) -> Xattrs {
        for (attribute, text) in texts {
            match acl::from_text(text, &|account, name| self.number(account, name)) {
                Some(value) => xattrs.push(((*attribute).into(), value)),
                None => self.leave_out(),
            }
        }
        xattrs.retain(|(_, value)| value.len() <= VALUE_BYTES_MAX);
        xattrs.retain(|(name, value)| match name.as_slice() {
            name if name == acl::ACCESS.as_bytes() => self.grant(node, value),
            name if name == acl::DEFAULT.as_bytes() => {
                let is_valid = acl::sum_up(value).is_some();
                is_valid && node.mode & libc::S_IFMT == libc::S_IFDIR
            }
            _ => true,
        });
        xattrs.sort_unstable();
        xattrs
    }

    /// Sets the mode of `node` to what the list `value` grants; returns whether the list remains as an attribute.
    fn grant(&self, node: &mut Node, value: &[u8]) -> bool {
        match acl::sum_up(value) {
            // A link has none (symlink(7)).
            _ if node.mode & libc::S_IFMT == libc::S_IFLNK => false,
            Some(list) => {
                node.mode = node.mode & !0o777 | list.permissions;
                list.says_more_than_the_mode
            }
            None => {
                self.leave_out();
                false
            }
        }
    }

    fn leave_out(&self) {
        self.left_out.set(self.left_out.get() + 1);
    }

    fn number(&self, account: Account, name: &[u8]) -> Option<u32> {
        let [users, groups] = self.numbers.get_or_init(|| {
            let [users, groups] = &self.own;
            let text = |own: &Option<Vec<u8>>, host| own.clone().unwrap_or_else(|| of_host(Path::new(host)));
            let (users, groups) = (text(users, accounts::PASSWD), text(groups, accounts::GROUP));
            let users = accounts::users(&users).map(|user| (user.name, user.uid));
            let groups = accounts::groups(&groups).map(|group| (group.name, group.gid));
            [by_name(users), by_name(groups)]
        });
        let numbers = match account {
            Account::User => users,
            Account::Group => groups,
        };
        numbers.get(name).copied()
    }
}

/// Reads the file of accounts `path` of the build host; one that cannot be read is empty.
fn of_host(path: &Path) -> Vec<u8> {
    let read = || {
        let mut bytes = Vec::new();
        let file = open_regular(path).ok()?;
        file.take(FILE_BYTES_MAX).read_to_end(&mut bytes).ok()?;
        Some(bytes)
    };
    read().unwrap_or_default()
}

/// Collects numbers by name; the first of a name counts.
fn by_name<'a>(accounts: impl Iterator<Item = (&'a [u8], u32)>) -> Numbers {
    let mut numbers = Numbers::new();
    for (name, number) in accounts {
        numbers.entry(name.to_owned()).or_insert(number);
    }
    numbers
}
