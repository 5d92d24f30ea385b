//! What a merged directory lists.
//!
//! Cookies belong to names, not to positions: whoever goes on reading behind a cookie gets every
//! name that was there all the time exactly once, whatever came and went meanwhile.
//! Names that come from the topmost layer keep the cookies of that layer, so that a
//! reader of a directory that is copied up meanwhile can go on.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsStr;
use std::ops::Bound;

use super::ino::Ino;
use super::layer::FileKind;
use crate::sync::Arc;

/// Cookies from here on are ours; those of layers are below.
const FIRST_COOKIE: u64 = 1 << 62;

/// One name.
#[derive(Debug, Clone)]
pub(super) struct Item {
    pub(super) name: Arc<OsStr>,
    pub(super) kind: FileKind,
    pub(super) ino: Ino,
}

/// All names of a directory.
#[derive(Debug)]
pub(super) struct Listing {
    items: BTreeMap<u64, Item>,
    cookies: HashMap<Arc<OsStr>, u64>,
    next: u64,
    directories: u32,
}

impl Listing {
    pub(super) fn new() -> Self {
        Self {
            items: BTreeMap::new(),
            cookies: HashMap::new(),
            next: FIRST_COOKIE,
            directories: 0,
        }
    }

    /// Adds a name, or changes what it names. A new one gets `cookie`, or one of ours.
    pub(super) fn insert(&mut self, name: &OsStr, kind: FileKind, ino: Ino, cookie: Option<u64>) {
        self.directories += u32::from(kind == FileKind::Directory);
        if let Some(item) = self.cookies.get(name).and_then(|cookie| self.items.get_mut(cookie)) {
            self.directories -= u32::from(item.kind == FileKind::Directory);
            item.kind = kind;
            item.ino = ino;
            return;
        }
        let cookie = cookie.unwrap_or_else(|| {
            self.next += 1;
            self.next
        });
        let name: Arc<OsStr> = name.into();
        self.cookies.insert(Arc::clone(&name), cookie);
        self.items.insert(cookie, Item { name, kind, ino });
    }

    pub(super) fn remove(&mut self, name: &OsStr) {
        let Some(cookie) = self.cookies.remove(name) else {
            return;
        };
        if let Some(item) = self.items.remove(&cookie) {
            self.directories -= u32::from(item.kind == FileKind::Directory);
        }
    }

    pub(super) fn contains(&self, name: &OsStr) -> bool {
        self.cookies.contains_key(name)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// How many of the names are directories.
    pub(super) fn directories(&self) -> u32 {
        self.directories
    }

    /// Up to `count` names behind cookie `after` (0: from the start).
    pub(super) fn behind(&self, after: u64, count: usize) -> Vec<(u64, Item)> {
        self.items
            .range((Bound::Excluded(after), Bound::Unbounded))
            .take(count)
            .map(|(cookie, item)| (*cookie, item.clone()))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_gets_each_lasting_name_once() {
        let mut listing = Listing::new();
        for (cookie, name) in [(7, "a"), (9, "b"), (1 << 61, "c")] {
            listing.insert(name.as_ref(), FileKind::Regular, Ino(65), Some(cookie));
        }
        listing.insert("d".as_ref(), FileKind::Directory, Ino(65), None);
        let first = listing.behind(0, 2);
        assert_eq!(first.iter().map(|(cookie, _)| *cookie).collect::<Vec<_>>(), [7, 9]);
        listing.remove("a".as_ref());
        listing.remove("nothing".as_ref());
        listing.insert("a".as_ref(), FileKind::Directory, Ino(65), None);
        listing.insert("c".as_ref(), FileKind::Directory, Ino(65), Some(3));
        let rest: Vec<_> = listing.behind(9, 10).into_iter().map(|(_, item)| item.name).collect();
        assert_eq!(rest, ["c", "d", "a"].map(|name| Arc::<OsStr>::from(OsStr::new(name))));
        assert_eq!(listing.directories(), 3);
        assert!(listing.contains("d".as_ref()) && !listing.is_empty());
    }
}
