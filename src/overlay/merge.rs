//! The merged view of the layers below the upper: names found top-down, directories merged.
//!
//! A layer above the bottom one may be a frozen upper, so whiteouts, opaque directories and
//! redirects count there too (overlayfs.rst).

use std::collections::{HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;

use rustix::fs::{AtFlags, statat};

use super::ino::Ino;
use super::layer::{Attributes, Errno, FileKind, LayerResult, NodeId};
use super::listing::Listing;
use super::mark::{OPAQUE, REDIRECT, YES};
use super::node::{LowerRef, Node, UpperDirectory};
use super::work::{is_whiteout, names_in};
use super::{Names, Overlay};

/// The result of a lookup in the layers.
#[derive(Debug)]
pub(super) struct LowerFound {
    /// The parts of a directory, the topmost first; anything else alone.
    pub(super) refs: Vec<LowerRef>,
    /// The metadata of the topmost part.
    pub(super) attributes: Attributes,
}

/// A name in a directory of the upper.
struct UpperItem {
    kind: FileKind,
    ino: Ino,
    is_whiteout: bool,
}

impl Overlay {
    /// Returns the node that the layers show as `name` in the directory merged of `parents`.
    pub(super) fn lower_child(&self, parents: &[LowerRef], name: &OsStr) -> LayerResult<Option<LowerFound>> {
        let mut found: Option<LowerFound> = None;
        for &LowerRef { layer: index, node } in parents {
            let layer = self.layers.get(index).ok_or(Errno::STALE)?;
            let Some(child) = layer.lookup(node, name)? else {
                continue;
            };
            let attributes = layer.attributes(child)?;
            let is_directory = attributes.kind == FileKind::Directory;
            if is_lower_whiteout(&attributes) || (found.is_some() && !is_directory) {
                break;
            }
            let child = LowerRef {
                layer: index,
                node: child,
            };
            found
                .get_or_insert(LowerFound {
                    refs: Vec::new(),
                    attributes,
                })
                .refs
                .push(child);
            if !is_directory {
                break;
            }
            if let Some(rest) = self.hidden_below(child)? {
                if let Some(found) = &mut found {
                    found.refs.extend(rest);
                }
                break;
            }
        }
        Ok(found)
    }

    /// Returns the directories that a layer's redirected or opaque directory merges with instead of those of the same
    /// name below; `None` if it merges with those.
    fn hidden_below(&self, directory: LowerRef) -> LayerResult<Option<Vec<LowerRef>>> {
        let next = directory.layer + 1;
        if next >= self.layers.len() {
            return Ok(None);
        }
        let layer = self.layers.get(directory.layer).ok_or(Errno::STALE)?;
        if let Some(path) = layer.xattr(directory.node, OsStr::new(REDIRECT))? {
            return self.lower_directory(next, &path).map(Some);
        }
        let opaque = layer.xattr(directory.node, OsStr::new(OPAQUE))?;
        Ok((opaque.as_deref() == Some(YES)).then(Vec::new))
    }

    /// Returns the directory that the layers from number `first` on have at `path` (absolute); empty if it is absent.
    pub(super) fn lower_directory(&self, first: usize, path: &[u8]) -> LayerResult<Vec<LowerRef>> {
        let layers = self.layers.iter().enumerate().skip(first);
        let mut refs: Vec<_> = layers
            .map(|(layer, tree)| LowerRef {
                layer,
                node: tree.root(),
            })
            .collect();
        for name in path.split(|&byte| byte == b'/').filter(|name| !name.is_empty()) {
            refs = match self.lower_child(&refs, OsStr::from_bytes(name))? {
                Some(found) if found.attributes.kind == FileKind::Directory => found.refs,
                _ => return Ok(Vec::new()),
            };
        }
        Ok(refs)
    }

    /// Returns the inode number of a node of a layer.
    pub(super) fn lower_ino(&self, lower: LowerRef) -> LayerResult<Ino> {
        let height = self.layers.len().checked_sub(lower.layer + 1).ok_or(Errno::STALE)?;
        Ino::of_layer(height, lower.node)
    }

    /// Returns the metadata of a node of a layer.
    pub(super) fn lower_attributes(&self, lower: LowerRef) -> LayerResult<Attributes> {
        self.layers.get(lower.layer).ok_or(Errno::STALE)?.attributes(lower.node)
    }

    /// Calls `work` with the listing of `directory`, which is made if it does not exist yet.
    pub(super) fn with_listing<T>(
        &self,
        names: &Names,
        directory: &Node,
        work: impl FnOnce(&mut Listing) -> T,
    ) -> LayerResult<T> {
        let mut listing = directory.listing();
        if let Some(listing) = listing.as_deref_mut() {
            return Ok(work(listing));
        }
        let made = listing.insert(Box::new(self.build_listing(names, directory)?));
        Ok(work(made))
    }

    fn build_listing(&self, names: &Names, directory: &Node) -> LayerResult<Listing> {
        let upper = match directory.upper_directory() {
            Some(upper) => self.upper_items(names, directory, upper)?,
            None => HashMap::new(),
        };
        let mut hidden: HashSet<OsString> = HashSet::new();
        let mut listing = Listing::default();
        for (depth, &lower) in directory.lowers.iter().enumerate() {
            let layer = self.layers.get(lower.layer).ok_or(Errno::STALE)?;
            let mut failure = None;
            layer.entries(lower.node, 0, &mut |entry| {
                let added = self.add_lower(&mut listing, &mut hidden, &upper, (depth, lower.layer), &entry);
                failure = added.err();
                failure.is_none()
            })?;
            if let Some(error) = failure {
                return Err(error);
            }
        }
        for (name, item) in &upper {
            if !item.is_whiteout {
                listing.insert(name, item.kind, item.ino);
            }
        }
        Ok(listing)
    }

    /// Reads the entries of a directory of the upper.
    fn upper_items(
        &self,
        names: &Names,
        directory: &Node,
        upper: &UpperDirectory,
    ) -> LayerResult<HashMap<OsString, UpperItem>> {
        let is_pure = directory.lowers.is_empty() && !upper.is_impure();
        let mut items = HashMap::new();
        for entry in names_in(&upper.descriptor)? {
            let (name, file_type, number) = entry?;
            let kind = FileKind::from_mode(file_type.as_raw_mode());
            let item = match kind {
                Some(kind) if is_pure && kind != FileKind::CharDevice => UpperItem {
                    kind,
                    ino: Ino::of_upper(number)?,
                    is_whiteout: false,
                },
                _ => self.look_at(names, directory, upper, &name)?,
            };
            items.insert(name, item);
        }
        Ok(items)
    }

    fn look_at(&self, names: &Names, directory: &Node, upper: &UpperDirectory, name: &OsStr) -> LayerResult<UpperItem> {
        let stat = statat(&upper.descriptor, name, AtFlags::SYMLINK_NOFOLLOW)?;
        if is_whiteout(&stat) {
            return Ok(UpperItem {
                kind: FileKind::CharDevice,
                ino: Ino::of_upper(stat.st_ino)?,
                is_whiteout: true,
            });
        }
        let found = self.resolve(names, directory, name)?.ok_or(Errno::STALE)?;
        Ok(UpperItem {
            kind: found.entry.kind,
            ino: found.ino,
            is_whiteout: false,
        })
    }

    /// Adds an entry of a layer to a listing, unless an upper one hides it.
    fn add_lower(
        &self,
        listing: &mut Listing,
        hidden: &mut HashSet<OsString>,
        upper: &HashMap<OsString, UpperItem>,
        (depth, layer): (usize, usize),
        entry: &super::layer::Entry<'_>,
    ) -> LayerResult<()> {
        if depth == 0 {
            listing.reserve(entry.name, entry.cookie);
        }
        if let Some(item) = upper.get(entry.name) {
            if !item.is_whiteout && !listing.contains(entry.name) {
                listing.insert(entry.name, item.kind, item.ino);
            }
            return Ok(());
        }
        if hidden.contains(entry.name) || listing.contains(entry.name) {
            return Ok(());
        }
        let lower = LowerRef {
            layer,
            node: entry.node,
        };
        if entry.kind == FileKind::CharDevice && is_lower_whiteout(&self.lower_attributes(lower)?) {
            hidden.insert(entry.name.to_owned());
            return Ok(());
        }
        listing.insert(entry.name, entry.kind, self.lower_ino(lower)?);
        Ok(())
    }

    /// Returns the part of a directory that only the bottom layer has; no whiteout is in it.
    pub(super) fn only_part(&self, directory: &Node) -> Option<LowerRef> {
        match &*directory.lowers {
            [lower] if directory.upper().is_none() && lower.layer + 1 == self.layers.len() => Some(*lower),
            _ => None,
        }
    }

    /// Returns whether the layers would show `name` in `directory` without the upper.
    pub(super) fn is_covering(&self, directory: &Node, name: &OsStr) -> LayerResult<bool> {
        Ok(!directory.lowers.is_empty() && self.lower_child(&directory.lowers, name)?.is_some())
    }

    /// Returns whether a directory shows no name.
    pub(super) fn is_empty(&self, names: &Names, directory: &Node) -> LayerResult<bool> {
        if let Some(lower) = self.only_part(directory) {
            let mut is_empty = true;
            let layer = self.layers.get(lower.layer).ok_or(Errno::STALE)?;
            layer.entries(lower.node, 0, &mut |_| {
                is_empty = false;
                false
            })?;
            return Ok(is_empty);
        }
        self.with_listing(names, directory, |listing| listing.is_empty())
    }

    /// Copies an attribute's value out of a layer.
    pub(super) fn lower_xattr(&self, lower: LowerRef, name: &OsStr) -> LayerResult<Option<Vec<u8>>> {
        self.layers
            .get(lower.layer)
            .ok_or(Errno::STALE)?
            .xattr(lower.node, name)
    }

    /// Returns the stored names of all attributes of a node of a layer.
    pub(super) fn lower_xattr_names(&self, lower: LowerRef) -> LayerResult<Vec<OsString>> {
        self.layers
            .get(lower.layer)
            .ok_or(Errno::STALE)?
            .xattr_names(lower.node)
    }

    /// Reads the content of a file of a layer.
    pub(super) fn lower_read(&self, lower: LowerRef, offset: u64, buffer: &mut [u8]) -> LayerResult<usize> {
        self.layers
            .get(lower.layer)
            .ok_or(Errno::STALE)?
            .read_at(lower.node, offset, buffer)
    }

    /// Returns the layer and its node.
    pub(super) fn layer_of(&self, lower: LowerRef) -> Option<(&dyn super::layer::Layer, NodeId)> {
        Some((&**self.layers.get(lower.layer)?, lower.node))
    }
}

fn is_lower_whiteout(attributes: &Attributes) -> bool {
    attributes.kind == FileKind::CharDevice && attributes.device == (0, 0)
}
