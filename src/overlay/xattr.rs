//! Extended attributes, without the overlay's own.

use std::ffi::{OsStr, OsString};

use rustix::fs::XattrFlags;

use super::Overlay;
use super::ino::Ino;
use super::layer::{Errno, LayerResult};
use super::mark::{shown_name, split_names, stored_name};
use super::node::DefaultAcl;

const DEFAULT_ACL: &str = "system.posix_acl_default";
const ACCESS_ACL: &str = "system.posix_acl_access";
/// The namespaces in which users can name attributes (xattr(7)).
const NAMESPACES: [&str; 3] = ["user.", "trusted.", "security."];

fn is_acl(name: &OsStr) -> bool {
    name == ACCESS_ACL || name == DEFAULT_ACL
}

/// Refuses names that no file system for an upper has: `EOPNOTSUPP`, and `EINVAL` for a namespace alone.
fn check_namespace(name: &OsStr) -> Result<(), Errno> {
    if is_acl(name) {
        return Ok(());
    }
    let bytes = name.as_encoded_bytes();
    match NAMESPACES.iter().find_map(|space| bytes.strip_prefix(space.as_bytes())) {
        None => Err(Errno::OPNOTSUPP),
        Some([]) => Err(Errno::INVAL),
        Some(_) => Ok(()),
    }
}

impl Overlay {
    /// Returns the value of an attribute, or `None`.
    ///
    /// # Errors
    /// `ESTALE`, `EOPNOTSUPP` and `EINVAL` for a name that cannot exist, or the error of a layer or the upper.
    pub fn xattr(&self, ino: Ino, name: &OsStr) -> LayerResult<Option<Vec<u8>>> {
        let node = self.table.get(ino)?;
        check_namespace(name)?;
        let stored = stored_name(name);
        match (node.upper(), node.lowers.first()) {
            (None, Some(&lower)) => self.lower_xattr(lower, &stored),
            _ => {
                let names = self.read_names();
                Ok(self.place(&names, &node)?.xattr(&stored)?)
            }
        }
    }

    /// Returns the names of all attributes.
    ///
    /// # Errors
    /// As [`Self::xattr`].
    pub fn xattr_names(&self, ino: Ino) -> LayerResult<Vec<OsString>> {
        let node = self.table.get(ino)?;
        let shown = |name: &OsStr| shown_name(name).map(std::borrow::Cow::into_owned);
        match (node.upper(), node.lowers.first()) {
            (None, Some(&lower)) => {
                let names = self.lower_xattr_names(lower)?;
                Ok(names.iter().filter_map(|name| shown(name)).collect())
            }
            _ => {
                let names = self.read_names();
                let list = self.place(&names, &node)?.xattr_names()?;
                Ok(split_names(&list).filter_map(shown).collect())
            }
        }
    }

    /// Sets an attribute (setxattr(2)).
    ///
    /// # Errors
    /// `EEXIST`, `ENODATA` as `flags` demand, `EROFS`, or what the upper's file system says.
    pub fn set_xattr(&self, ino: Ino, name: &OsStr, value: &[u8], flags: XattrFlags) -> LayerResult<()> {
        self.change_xattr(ino, name, |place, stored| place.set_xattr(stored, value, flags))
    }

    /// Removes an attribute.
    ///
    /// # Errors
    /// `ENODATA` if it is absent and no ACL, `EROFS`, or what the upper's file system says.
    pub fn remove_xattr(&self, ino: Ino, name: &OsStr) -> LayerResult<()> {
        if self.xattr(ino, name)?.is_none() {
            self.work()?;
            return match is_acl(name) {
                // Its absence means the permissions alone.
                true => Ok(()),
                false => Err(Errno::NODATA.into()),
            };
        }
        self.change_xattr(ino, name, super::place::Place::remove_xattr)
    }

    fn change_xattr(
        &self,
        ino: Ino,
        name: &OsStr,
        change: impl FnOnce(&super::place::Place, &OsStr) -> Result<(), Errno>,
    ) -> LayerResult<()> {
        let node = self.table.get(ino)?;
        self.copy_up(&node, u64::MAX)?;
        let names = self.read_names();
        let result = change(&self.place(&names, &node)?, &stored_name(name));
        if let (DEFAULT_ACL, Some(directory)) = (name.to_str().unwrap_or_default(), node.upper_directory()) {
            directory.set_default_acl(DefaultAcl::Unknown);
        }
        Ok(result?)
    }
}
