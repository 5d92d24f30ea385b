//! The nodes in memory: references to them, and their names.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};

use super::ino::Ino;
use super::layer::{Errno, LayerResult};
use super::node::{NewEntry, Node};
use crate::sync::{Arc, Mutex, lock};

/// A name of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Link {
    parent: Ino,
    name: OsString,
}

#[derive(Debug)]
struct Slot {
    node: Arc<Node>,
    /// References given out by lookups and not given back.
    lookups: u64,
    /// Links of other nodes in the table that name this one as their parent.
    children: u64,
    /// Known names, the oldest first.
    links: Vec<Link>,
}

#[derive(Debug, Default)]
struct Slots {
    by_ino: HashMap<Ino, Slot>,
    generations: u64,
}

/// All nodes that are referred to, and their ancestors.
#[derive(Debug, Default)]
pub(super) struct Table {
    slots: Mutex<Slots>,
}

impl Table {
    /// Adds the root, which stays for good.
    pub(super) fn set_root(&self, root: NewEntry) {
        let node = Arc::new(Node::new(Ino::ROOT, 0, root));
        let slot = Slot {
            node,
            lookups: 1,
            children: 0,
            links: Vec::new(),
        };
        lock(&self.slots).by_ino.insert(Ino::ROOT, slot);
    }

    /// Returns the node with this number; `None` if it is not in memory.
    pub(super) fn find(&self, ino: Ino) -> Option<Arc<Node>> {
        lock(&self.slots).by_ino.get(&ino).map(|slot| Arc::clone(&slot.node))
    }

    /// Returns the node with this number; `ESTALE` if it is not in memory.
    pub(super) fn get(&self, ino: Ino) -> LayerResult<Arc<Node>> {
        self.find(ino).ok_or_else(|| Errno::STALE.into())
    }

    /// Takes a reference to the node with this number, which has this name, perhaps besides others. The node is made
    /// of `entry` if it is not in memory.
    pub(super) fn enter(&self, ino: Ino, parent: Ino, name: &OsStr, entry: NewEntry) -> Arc<Node> {
        let slots = &mut *lock(&self.slots);
        let generations = &mut slots.generations;
        let slot = slots.by_ino.entry(ino).or_insert_with(|| {
            *generations += 1;
            Slot {
                node: Arc::new(Node::new(ino, *generations, entry)),
                lookups: 0,
                children: 0,
                links: Vec::new(),
            }
        });
        slot.lookups += 1;
        let node = Arc::clone(&slot.node);
        slots.add_link(ino, parent, name);
        node
    }

    /// Takes a reference to a node in memory, and adds this name.
    pub(super) fn refer(&self, ino: Ino, parent: Ino, name: &OsStr) {
        let mut slots = lock(&self.slots);
        if let Some(slot) = slots.by_ino.get_mut(&ino) {
            slot.lookups += 1;
        }
        slots.add_link(ino, parent, name);
    }

    /// Gives back `count` references.
    pub(super) fn forget(&self, ino: Ino, count: u64) {
        let mut slots = lock(&self.slots);
        if ino == Ino::ROOT {
            return;
        }
        if let Some(slot) = slots.by_ino.get_mut(&ino) {
            slot.lookups = slot.lookups.saturating_sub(count);
        }
        let dropped = slots.drop_unused(ino);
        drop(slots);
        // Closing descriptors of deleted files can take long.
        drop(dropped);
    }

    /// Returns the directory and name of the oldest known link.
    pub(super) fn first_link(&self, ino: Ino) -> Option<(Arc<Node>, OsString)> {
        let slots = lock(&self.slots);
        let link = slots.by_ino.get(&ino)?.links.first()?;
        let parent = slots.by_ino.get(&link.parent)?;
        Some((Arc::clone(&parent.node), link.name.clone()))
    }

    /// Returns the number of known names.
    pub(super) fn link_count(&self, ino: Ino) -> usize {
        lock(&self.slots).by_ino.get(&ino).map_or(0, |slot| slot.links.len())
    }

    /// Adds a name, if the node is in memory.
    pub(super) fn link(&self, ino: Ino, parent: Ino, name: &OsStr) {
        lock(&self.slots).add_link(ino, parent, name);
    }

    /// Removes a name, if it is known.
    pub(super) fn unlink(&self, ino: Ino, parent: Ino, name: &OsStr) {
        let mut slots = lock(&self.slots);
        let Some(slot) = slots.by_ino.get_mut(&ino) else {
            return;
        };
        let before = slot.links.len();
        slot.links.retain(|link| link.parent != parent || link.name != name);
        if slot.links.len() == before {
            return;
        }
        if let Some(directory) = slots.by_ino.get_mut(&parent) {
            directory.children = directory.children.saturating_sub(1);
        }
        let dropped = slots.drop_unused(parent);
        drop(slots);
        drop(dropped);
    }

    /// Returns the number of nodes in memory.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        lock(&self.slots).by_ino.len()
    }
}

impl Slots {
    fn add_link(&mut self, ino: Ino, parent: Ino, name: &OsStr) {
        let Some(slot) = self.by_ino.get_mut(&ino) else {
            return;
        };
        if slot.links.iter().any(|link| link.parent == parent && link.name == name) {
            return;
        }
        if slot.links.is_empty() {
            // Nearly every node has one name, and there can be millions of nodes.
            slot.links.reserve_exact(1);
        }
        slot.links.push(Link {
            parent,
            name: name.to_owned(),
        });
        if let Some(directory) = self.by_ino.get_mut(&parent) {
            directory.children += 1;
        }
    }

    /// Takes out `ino` if it is not referred to, then its ancestors likewise.
    fn drop_unused(&mut self, ino: Ino) -> Vec<Slot> {
        let mut dropped = Vec::new();
        let mut candidates = vec![ino];
        while let Some(ino) = candidates.pop() {
            let unused = |slot: &Slot| slot.lookups == 0 && slot.children == 0;
            if ino == Ino::ROOT || !self.by_ino.get(&ino).is_some_and(unused) {
                continue;
            }
            let Some(slot) = self.by_ino.remove(&ino) else {
                continue;
            };
            for link in &slot.links {
                if let Some(directory) = self.by_ino.get_mut(&link.parent) {
                    directory.children = directory.children.saturating_sub(1);
                    candidates.push(link.parent);
                }
            }
            dropped.push(slot);
        }
        dropped
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::overlay::layer::FileKind;

    fn entry(kind: FileKind) -> NewEntry {
        NewEntry {
            kind,
            lowers: Vec::new(),
            upper: None,
            links: None,
            changed: None,
        }
    }

    #[test]
    fn ancestors_stay_as_long_as_a_descendant_is_referred_to() {
        let table = Table::default();
        table.set_root(entry(FileKind::Directory));
        let name = OsStr::new("x");
        let (a, b) = (Ino(65), Ino(129));
        table.enter(a, Ino::ROOT, name, entry(FileKind::Directory));
        table.enter(b, a, name, entry(FileKind::Regular));
        table.enter(b, a, name, entry(FileKind::Regular));
        table.link(b, Ino::ROOT, OsStr::new("y"));
        table.forget(a, 1);
        assert_eq!(table.first_link(b).unwrap().0.ino, a);
        table.forget(b, 1);
        assert_eq!((table.len(), table.link_count(b)), (3, 2));
        table.unlink(b, a, name);
        assert_eq!(table.len(), 2);
        assert_eq!(table.first_link(b).unwrap().0.ino, Ino::ROOT);
        let generation = table.get(b).unwrap().generation;
        table.forget(b, 1);
        assert_eq!(table.len(), 1);
        assert!(table.get(b).is_err());
        assert_ne!(
            table.enter(b, Ino::ROOT, name, entry(FileKind::Regular)).generation,
            generation
        );
    }
}
