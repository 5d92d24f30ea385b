//! Extended attributes, without those that are the overlay's own.

use std::ffi::{OsStr, OsString};

use rustix::fs::XattrFlags;

use super::Overlay;
use super::ino::Ino;
use super::layer::{Errno, LayerResult};
use super::mark::{shown_name, split_names, stored_name};
use super::node::DefaultAcl;

const DEFAULT_ACL: &str = "system.posix_acl_default";

impl Overlay {
    /// The value of an attribute, or `None`.
    ///
    /// # Errors
    /// `ESTALE`, or what went wrong below.
    pub fn xattr(&self, ino: Ino, name: &OsStr) -> LayerResult<Option<Vec<u8>>> {
        let node = self.table.get(ino)?;
        let stored = stored_name(name);
        match (node.upper(), node.lowers.first()) {
            (None, Some(&lower)) => self.lower_xattr(lower, &stored),
            _ => {
                let names = self.read_names();
                Ok(self.place(&names, &node)?.xattr(&stored)?)
            }
        }
    }

    /// The names of all attributes.
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
    /// `ENODATA` if it is not there, `EROFS`, or what the upper's file system says.
    pub fn remove_xattr(&self, ino: Ino, name: &OsStr) -> LayerResult<()> {
        if self.xattr(ino, name)?.is_none() {
            self.work()?;
            return Err(Errno::NODATA.into());
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
