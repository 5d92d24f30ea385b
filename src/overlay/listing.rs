//! The listing of a merged directory.
//!
//! A cookie belongs to a name, not to a position or to a moment: a name that is removed and comes back has the cookie
//! that it had. So a reader that goes on behind a cookie gets every name that was there all the time exactly once,
//! whatever came and went meanwhile; and it comes to the end, also if it renames each entry that it gets, because its
//! place only moves forward. Names of the topmost layer have the cookies of that layer, so that a reader of a directory
//! that is copied up meanwhile can go on. Behind them come all others, in the order of a hash of the name.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, HashMap};
use std::ffi::OsStr;
use std::hash::{Hash as _, Hasher as _};
use std::ops::Bound;

use super::ino::Ino;
use super::layer::FileKind;
use crate::sync::Arc;

/// The first cookie made of a hash; those of layers are below.
const FIRST_HASHED: u64 = 1 << 62;
/// The bits of a hash that are left out, so that its cookie is below 2^63 by a wide margin.
const SPARE_BITS: u32 = 3;

/// One name.
#[derive(Debug, Clone)]
pub(super) struct Item {
    pub(super) name: Arc<OsStr>,
    pub(super) kind: FileKind,
    pub(super) ino: Ino,
}

/// All names of a directory.
#[derive(Debug, Default)]
pub(super) struct Listing {
    items: BTreeMap<u64, Item>,
    /// The cookies of these names, and of names of the topmost layer that are gone.
    cookies: HashMap<Arc<OsStr>, u64>,
    directories: u32,
}

impl Listing {
    /// Gives `name`, which may come later or never, the cookie that the topmost layer has for it.
    pub(super) fn reserve(&mut self, name: &OsStr, cookie: u64) {
        self.cookies.insert(name.into(), cookie);
    }

    /// Adds a name, or changes its node.
    pub(super) fn insert(&mut self, name: &OsStr, kind: FileKind, ino: Ino) {
        self.directories += u32::from(kind == FileKind::Directory);
        let known = self
            .cookies
            .get_key_value(name)
            .map(|(name, cookie)| (Arc::clone(name), *cookie));
        if let Some(item) = known.as_ref().and_then(|(_, cookie)| self.items.get_mut(cookie)) {
            self.directories -= u32::from(item.kind == FileKind::Directory);
            item.kind = kind;
            item.ino = ino;
            return;
        }
        let (name, cookie) = known.unwrap_or_else(|| {
            let (name, cookie) = (Arc::from(name), self.hashed(name));
            self.cookies.insert(Arc::clone(&name), cookie);
            (name, cookie)
        });
        self.items.insert(cookie, Item { name, kind, ino });
    }

    /// Returns the cookie of a name that no layer gives one.
    fn hashed(&self, name: &OsStr) -> u64 {
        let mut hasher = DefaultHasher::new();
        name.hash(&mut hasher);
        let mut cookie = FIRST_HASHED + (hasher.finish() >> SPARE_BITS);
        while self.items.contains_key(&cookie) {
            cookie += 1;
        }
        cookie
    }

    pub(super) fn remove(&mut self, name: &OsStr) {
        let Some(&cookie) = self.cookies.get(name) else {
            return;
        };
        if cookie >= FIRST_HASHED {
            self.cookies.remove(name);
        }
        if let Some(item) = self.items.remove(&cookie) {
            self.directories -= u32::from(item.kind == FileKind::Directory);
        }
    }

    pub(super) fn contains(&self, name: &OsStr) -> bool {
        self.cookies
            .get(name)
            .is_some_and(|cookie| self.items.contains_key(cookie))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Returns the number of names that are directories.
    pub(super) fn directories(&self) -> u32 {
        self.directories
    }

    /// Returns up to `count` names behind cookie `after` (0: from the start).
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

    fn names(found: Vec<(u64, Item)>) -> Vec<String> {
        let name = |(_, item): (u64, Item)| item.name.to_str().unwrap().to_owned();
        found.into_iter().map(name).collect()
    }

    #[test]
    fn a_reader_gets_each_lasting_name_once() {
        let mut listing = Listing::default();
        for (cookie, name) in [(7, "a"), (9, "b"), (1 << 61, "c")] {
            listing.reserve(name.as_ref(), cookie);
            listing.insert(name.as_ref(), FileKind::Regular, Ino(65));
        }
        listing.reserve("whiteout".as_ref(), 8);
        listing.insert("d".as_ref(), FileKind::Directory, Ino(65));
        let first = listing.behind(0, 2);
        assert_eq!(first.iter().map(|(cookie, _)| *cookie).collect::<Vec<_>>(), [7, 9]);
        listing.remove("a".as_ref());
        listing.remove("nothing".as_ref());
        assert!(!listing.contains("a".as_ref()) && !listing.contains("whiteout".as_ref()));
        listing.insert("a".as_ref(), FileKind::Directory, Ino(65));
        listing.insert("whiteout".as_ref(), FileKind::Directory, Ino(65));
        listing.insert("c".as_ref(), FileKind::Directory, Ino(65));
        assert_eq!(names(listing.behind(9, 10)), ["c", "d"]);
        assert_eq!(names(listing.behind(0, 10)), ["a", "whiteout", "b", "c", "d"]);
        assert_eq!(listing.directories(), 4);
        assert!(listing.contains("d".as_ref()) && !listing.is_empty());
    }

    #[test]
    fn a_name_that_comes_back_has_its_old_cookie() {
        let mut listing = Listing::default();
        let all: Vec<String> = (0..1000).map(|number| number.to_string()).collect();
        listing.reserve("0".as_ref(), 1);
        for name in &all {
            listing.insert(name.as_ref(), FileKind::Regular, Ino(65));
        }
        let before = names(listing.behind(0, 2000));
        assert!(
            listing
                .behind(0, 2000)
                .iter()
                .all(|(cookie, _)| *cookie < (1 << 63) - 1000)
        );
        for name in all.iter().rev() {
            listing.remove(name.as_ref());
            listing.insert("temporary".as_ref(), FileKind::Regular, Ino(65));
            listing.remove("temporary".as_ref());
            listing.insert(name.as_ref(), FileKind::Regular, Ino(65));
        }
        assert_eq!(names(listing.behind(0, 2000)), before);
        assert_eq!(before.len(), 1000);
        // Names that are gone are not remembered, but for those of the layer.
        for name in &all {
            listing.remove(name.as_ref());
        }
        assert!(listing.is_empty() && listing.cookies.len() == 1);
    }
}
