//! Hard links.

use std::ffi::OsStr;

use super::copy_up::mark_impure;
use super::create::Vacancy;
use super::ino::Ino;
use super::layer::{Errno, LayerResult};
use super::lookup::{Found, Metadata};
use super::mark::Note;
use super::node::Node;
use super::place::Place;
use super::stat::Stat;
use super::{Names, Overlay, check_name};
use crate::sync::{Arc, lock};

impl Overlay {
    /// Makes `name` in the directory `parent` another name of `ino` and takes a reference to it.
    ///
    /// # Errors
    /// `EPERM` for a directory, `EEXIST`, `EMLINK`, `ENOENT` if the node has no name any more, `EROFS`.
    pub fn link(&self, ino: Ino, parent: Ino, name: &OsStr) -> LayerResult<Stat> {
        check_name(name)?;
        let node = self.table.get(ino)?;
        if node.is_directory() {
            return Err(Errno::PERM.into());
        }
        let parent = self.directory(parent)?;
        self.copy_up(&parent, u64::MAX)?;
        self.copy_up(&node, u64::MAX)?;
        let names = self.write_names();
        let vacancy = self.vacancy(&names, &parent, name)?;
        let directory = &parent.upper_directory().ok_or(Errno::STALE)?.descriptor;
        let place = self.place(&names, &node)?;
        if node.needs_impure_parent() {
            mark_impure(&parent)?;
        }
        match vacancy {
            Vacancy::Free => place.link_to(directory, name)?,
            Vacancy::Whiteout => {
                let temporary = self.work()?.temporary();
                place.link_to(temporary.directory(), temporary.name())?;
                temporary.commit(directory, name)?;
            }
        }
        if let Some(links) = node.links() {
            let links = links.saturating_add(1);
            note_links(&place, links)?;
            node.set_links(Some(links));
        }
        self.table.refer(node.ino, parent.ino, name);
        if let Some(listing) = parent.listing().as_deref_mut() {
            listing.insert(name, node.kind, node.ino);
        }
        self.stat(&names, &node)
    }

    /// Keeps hold of the inode of `node` if its last known name is about to be removed, for processes that have it
    /// open.
    pub(super) fn pin(&self, names: &Names, node: &Node) -> LayerResult<()> {
        let Some(file) = node.upper_file() else {
            return Ok(());
        };
        if file.pinned.get().is_some() || self.table.link_count(node.ino) > 1 {
            return Ok(());
        }
        let io = lock(&file.io).clone();
        let itself = match io {
            Some(io) => io,
            None => Arc::new(self.place(names, node)?.open(rustix::fs::OFlags::PATH)?),
        };
        // Another thread has set it, to the same inode.
        let _ = file.pinned.set(itself);
        Ok(())
    }

    /// Counts the names that are left after one of `found` was removed, where the upper's inode does not count them.
    pub(super) fn lost_name(&self, found: &Found, node: Option<&Node>) -> LayerResult<()> {
        let work = self.work()?;
        let count = match &found.metadata {
            Metadata::Layer(attributes) => Some(found.entry.links.unwrap_or(attributes.links)),
            Metadata::Upper(_) => found.entry.links,
        };
        let Some(left) = count.map(|links| links.saturating_sub(1)) else {
            return Ok(());
        };
        match &found.metadata {
            Metadata::Layer(_) if left > 0 => {
                let time = work.put_stub(found.ino, left)?;
                if let Some(node) = node {
                    node.set_changed(time);
                }
            }
            Metadata::Upper(_) if left > 0 => note_links(&work.indexed(found.ino), left)?,
            _ if found.entry.links.is_some() => work.remove_from_index(found.ino)?,
            _ => {}
        }
        if let Some(node) = node {
            let is_told_by_inode = left == 0 && matches!(found.metadata, Metadata::Upper(_));
            node.set_links((!is_told_by_inode).then_some(left));
        }
        Ok(())
    }
}

/// Stores the number of an indexed file's names in its note.
fn note_links(place: &Place, links: u32) -> LayerResult<()> {
    let note = Note {
        links: Some(links),
        ..place.note()?.unwrap_or_default()
    };
    Ok(place.set_note(note)?)
}
