//! Renaming.
//!
//! A node is copied to the upper before it moves. A directory that is merged with one of a layer finds it afterwards
//! through a redirect; one that comes over a deleted or replaced name becomes opaque. Where a layer shows through the
//! old name, a whiteout is left behind by the same system call that moves.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;

use rustix::fs::{AtFlags, RenameFlags, XattrFlags, fsetxattr, renameat_with, statat, unlinkat};

use super::copy_up::mark_impure;
use super::create::set_opaque;
use super::ino::Ino;
use super::layer::{Errno, FileKind, LayerError, LayerResult};
use super::lookup::Found;
use super::mark::REDIRECT;
use super::node::{Node, UpperDirectory};
use super::stat::{Caller, RenameMode};
use super::work::is_whiteout;
use super::{Names, Overlay, check_name};
use crate::sync::{Arc, lock};

/// One side of a renaming.
struct Side<'a> {
    directory: Arc<Node>,
    name: &'a OsStr,
}

/// A reference that is given back when it goes out of scope.
struct Held<'a> {
    overlay: &'a Overlay,
    node: Arc<Node>,
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.overlay.forget(self.node.ino, 1);
    }
}

impl Side<'_> {
    fn upper(&self) -> Result<&UpperDirectory, Errno> {
        self.directory.upper_directory().ok_or(Errno::STALE)
    }
}

impl Overlay {
    /// Renames `from` (a directory and a name in it) to `to`. A caller that has a reference to a replaced node can go
    /// on using it.
    ///
    /// # Errors
    /// Those of renameat2(2); `EXDEV` if a directory's old path is too long to be remembered.
    pub fn rename(&self, caller: Caller, from: (Ino, &OsStr), to: (Ino, &OsStr), mode: RenameMode) -> LayerResult<()> {
        check_name(from.1)?;
        check_name(to.1)?;
        self.work()?;
        let from = Side {
            directory: self.directory(from.0)?,
            name: from.1,
        };
        let to = Side {
            directory: self.directory(to.0)?,
            name: to.1,
        };
        let source = self.hold(&from)?.ok_or(Errno::NOENT)?;
        let target = self.hold(&to)?;
        for side in [&from, &to] {
            self.copy_up(&side.directory, u64::MAX)?;
        }
        self.copy_up(&source.node, u64::MAX)?;
        if let (RenameMode::Exchange, Some(target)) = (mode, &target) {
            self.copy_up(&target.node, u64::MAX)?;
        }
        let names = self.write_names();
        let found = self.resolve(&names, &from.directory, from.name)?.ok_or(Errno::NOENT)?;
        if found.ino != source.node.ino {
            return Err(Errno::STALE.into());
        }
        let replaced = self.resolve(&names, &to.directory, to.name)?;
        match (&replaced, mode) {
            (None, RenameMode::Exchange) => return Err(Errno::NOENT.into()),
            (Some(_), RenameMode::NoReplace | RenameMode::NoReplaceWhiteout) => return Err(Errno::EXIST.into()),
            // Two names of one file: rename(2) does nothing.
            (Some(replaced), _) if replaced.ino == found.ino => return Ok(()),
            _ => {}
        }
        self.materialize(&from, &found)?;
        match (mode, target, replaced) {
            (RenameMode::Exchange, Some(target), Some(replaced)) => {
                self.materialize(&to, &replaced)?;
                self.exchange(&from, &to, &source.node, &target.node)
            }
            (RenameMode::Exchange, ..) => Err(Errno::NOENT.into()),
            (_, _, replaced) => {
                if let Some(replaced) = &replaced {
                    self.make_way(&names, &source.node, replaced)?;
                }
                self.rename_over(caller, &from, &to, &source.node, replaced, mode)
            }
        }
    }

    fn hold(&self, side: &Side<'_>) -> LayerResult<Option<Held<'_>>> {
        let names = self.read_names();
        let Some(found) = self.resolve(&names, &side.directory, side.name)? else {
            return Ok(None);
        };
        let (node, _) = self.enter(&names, &side.directory, side.name, found)?;
        Ok(Some(Held { overlay: self, node }))
    }

    /// Gives a file that the upper has only in the index its name as well.
    fn materialize(&self, side: &Side<'_>, found: &Found) -> LayerResult<()> {
        if found.is_in_upper {
            return Ok(());
        }
        mark_impure(&side.directory)?;
        let place = self.work()?.indexed(found.ino);
        Ok(place.link_to(&side.upper()?.descriptor, side.name)?)
    }

    /// Checks that `replaced` may be replaced by `source`, and prepares it.
    fn make_way(&self, names: &Names, source: &Node, replaced: &Found) -> LayerResult<()> {
        let is_directory = replaced.entry.kind == FileKind::Directory;
        match (source.is_directory(), is_directory) {
            (true, false) => return Err(Errno::NOTDIR.into()),
            (false, true) => return Err(Errno::ISDIR.into()),
            _ => {}
        }
        let Some(node) = self.table.find(replaced.ino) else {
            // The caller holds it.
            return Err(Errno::STALE.into());
        };
        if is_directory {
            self.clear(names, &node)
        } else {
            self.pin(names, &node)
        }
    }

    fn rename_over(
        &self,
        caller: Caller,
        from: &Side<'_>,
        to: &Side<'_>,
        source: &Node,
        replaced: Option<Found>,
        mode: RenameMode,
    ) -> LayerResult<()> {
        let leaves_whiteout = self.is_covering(&from.directory, from.name)?;
        let device = match mode {
            RenameMode::Whiteout | RenameMode::NoReplaceWhiteout => {
                mark_impure(&from.directory)?;
                Some(self.make_zero_device(caller)?)
            }
            _ => None,
        };
        self.prepare_move(source, to)?;
        move_in_upper(from, to, source, leaves_whiteout)?;
        self.book(from, to, source);
        if let Some(replaced) = replaced {
            self.table.unlink(replaced.ino, to.directory.ino, to.name);
            let node = self.table.find(replaced.ino);
            match (replaced.entry.kind, &node) {
                (FileKind::Directory, Some(node)) => node.set_links(Some(0)),
                (FileKind::Directory, None) => {}
                _ => self.lost_name(&replaced, node.as_deref())?,
            }
        }
        if let Some(device) = device {
            let number = device.place().stat()?.st_ino;
            device.commit(&from.upper()?.descriptor, from.name)?;
            if let Some(listing) = from.directory.listing().as_deref_mut() {
                listing.insert(from.name, FileKind::CharDevice, Ino::of_upper(number)?);
            }
        }
        Ok(())
    }

    fn exchange(&self, from: &Side<'_>, to: &Side<'_>, source: &Node, target: &Node) -> LayerResult<()> {
        self.prepare_move(source, to)?;
        self.prepare_move(target, from)?;
        let (old, new) = (&from.upper()?.descriptor, &to.upper()?.descriptor);
        renameat_with(old, from.name, new, to.name, RenameFlags::EXCHANGE)?;
        for (node, was, is) in [(source, from, to), (target, to, from)] {
            self.table.link(node.ino, is.directory.ino, is.name);
            self.table.unlink(node.ino, was.directory.ino, was.name);
            if let Some(listing) = is.directory.listing().as_deref_mut() {
                listing.insert(is.name, node.kind, node.ino);
            }
        }
        Ok(())
    }

    /// Prepares a node so that it shows the same after it has moved.
    fn prepare_move(&self, node: &Node, to: &Side<'_>) -> LayerResult<()> {
        if node.needs_impure_parent() {
            mark_impure(&to.directory)?;
        }
        let Some(upper) = node.upper_directory() else {
            return Ok(());
        };
        if node.lowers.is_empty() {
            if self.is_covering(&to.directory, to.name)? {
                set_opaque(&upper.descriptor)?;
            }
            return Ok(());
        }
        let is_absolute = lock(&upper.redirect)
            .as_deref()
            .is_some_and(|path| path.starts_with(b"/"));
        if is_absolute {
            return Ok(());
        }
        let path = self.lower_path(node)?;
        fsetxattr(&upper.descriptor, REDIRECT, &path, XattrFlags::empty()).map_err(|errno| match errno {
            Errno::NOSPC | Errno::RANGE | Errno::TOOBIG => LayerError::new(
                Errno::XDEV,
                "the old path of a renamed directory is too long to be remembered",
            ),
            errno => errno.into(),
        })?;
        *lock(&upper.redirect) = Some(path);
        Ok(())
    }

    /// Returns the path that a merged directory has in the layers.
    fn lower_path(&self, node: &Node) -> LayerResult<Vec<u8>> {
        let mut names: Vec<OsString> = Vec::new();
        let mut base = Vec::new();
        let mut link = self.table.first_link(node.ino).ok_or(Errno::NOENT)?;
        let mut upper_of = node.upper_directory();
        let mut holder;
        loop {
            let redirect = upper_of.and_then(|upper| lock(&upper.redirect).clone());
            match redirect {
                Some(path) if path.starts_with(b"/") => {
                    base = path;
                    break;
                }
                Some(name) => names.push(OsStr::from_bytes(&name).to_owned()),
                None => names.push(link.1),
            }
            holder = link.0;
            upper_of = holder.upper_directory();
            match self.table.first_link(holder.ino) {
                Some(next) => link = next,
                None => break,
            }
        }
        for name in names.iter().rev() {
            base.push(b'/');
            base.extend_from_slice(name.as_bytes());
        }
        Ok(base)
    }

    /// Records in memory that `source` has moved.
    fn book(&self, from: &Side<'_>, to: &Side<'_>, source: &Node) {
        self.table.link(source.ino, to.directory.ino, to.name);
        self.table.unlink(source.ino, from.directory.ino, from.name);
        if let Some(listing) = from.directory.listing().as_deref_mut() {
            listing.remove(from.name);
        }
        if let Some(listing) = to.directory.listing().as_deref_mut() {
            listing.insert(to.name, source.kind, source.ino);
        }
    }
}

/// Moves in the upper, over an existing `to`; leaves a whiteout behind if it is needed.
fn move_in_upper(from: &Side<'_>, to: &Side<'_>, source: &Node, leaves_whiteout: bool) -> LayerResult<()> {
    let (old, new) = (&from.upper()?.descriptor, &to.upper()?.descriptor);
    let flags = if leaves_whiteout {
        RenameFlags::WHITEOUT
    } else {
        RenameFlags::empty()
    };
    let is_over_whiteout = source.is_directory()
        && match statat(new, to.name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => is_whiteout(&stat),
            Err(Errno::NOENT) => false,
            Err(errno) => return Err(errno.into()),
        };
    if !is_over_whiteout {
        return Ok(renameat_with(old, from.name, new, to.name, flags)?);
    }
    // A directory cannot replace the whiteout, but it can change places with it.
    renameat_with(old, from.name, new, to.name, RenameFlags::EXCHANGE)?;
    if !leaves_whiteout {
        unlinkat(old, from.name, AtFlags::empty())?;
    }
    Ok(())
}
