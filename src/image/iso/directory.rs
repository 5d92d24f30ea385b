//! Directories, and the path tables that list them (ECMA-119, 6.8, 6.9, 9.1 and 9.4).

use super::number::{both16, both32};
use super::rock_ridge::{self, Posix};
use super::tree::{Kind, Node, Tree};
use super::{BLOCK_BYTES, EXTENT_MAX_BYTES, time};

/// The most bytes of a record: an even number below 256.
const RECORD_MAX: usize = 254;
/// Bytes of a record before its identifier.
const HEAD_BYTES: usize = 33;
/// Flag of a directory.
const DIRECTORY: u8 = 2;
/// Flag of all records of a file but the last.
const MORE: u8 = 0x80;
const BLOCK: usize = BLOCK_BYTES as usize;

/// The places of all that records refer to.
#[derive(Debug)]
pub(super) struct Places {
    /// First block and bytes of each directory, by its number.
    pub(super) directories: Vec<(u32, u32)>,
    /// First block of each file.
    pub(super) contents: Vec<u32>,
    /// First block of the entries that have no place in records.
    pub(super) continuation: u32,
}

impl Places {
    /// Stands for places that nothing depends on yet.
    pub(super) fn unknown(tree: &Tree) -> Self {
        Self {
            directories: vec![(0, 0); tree.directories.len()],
            contents: vec![0; tree.contents.len()],
            continuation: 0,
        }
    }
}

/// Directories as they lie on the medium.
#[derive(Debug)]
pub(super) struct Records {
    /// The bytes of each directory, by its number: whole blocks.
    pub(super) directories: Vec<Vec<u8>>,
    /// The entries that have no place in records.
    pub(super) continuation: Vec<u8>,
}

/// Makes the records of all directories of `tree`. Their lengths do not depend on `places`.
pub(super) fn records(tree: &Tree, places: &Places, epoch_seconds: u64) -> Records {
    let mut writer = Writer {
        tree,
        places,
        time: time::record_time(epoch_seconds),
        continuation: Vec::new(),
    };
    let directories = tree.directories.iter().map(|node| writer.directory(*node)).collect();
    Records {
        directories,
        continuation: writer.continuation,
    }
}

struct Writer<'a> {
    tree: &'a Tree,
    places: &'a Places,
    time: [u8; 7],
    continuation: Vec<u8>,
}

impl Writer<'_> {
    /// Makes the records of the directory `node`.
    fn directory(&mut self, node: usize) -> Vec<u8> {
        let Some(Node {
            kind: Kind::Directory(_, children),
            parent,
            ..
        }) = self.tree.nodes.get(node)
        else {
            return Vec::new();
        };
        let mut bytes = Vec::new();
        for (identifier, of) in [(0, node), (1, *parent)] {
            let mut entries = self.of_directory(of);
            if identifier == 0 && node == 0 {
                entries.insert(0, rock_ridge::announcement());
                entries.push(rock_ridge::extension());
            }
            let record = self.record(&[identifier], DIRECTORY, self.place(of), &entries);
            append(&mut bytes, &record);
        }
        for child in children {
            for record in self.child(*child) {
                append(&mut bytes, &record);
            }
        }
        bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
        bytes
    }

    /// Makes the records of an entry: one for each extent of a file.
    fn child(&mut self, index: usize) -> Vec<Vec<u8>> {
        let tree = self.tree;
        let Some(node) = tree.nodes.get(index) else {
            return Vec::new();
        };
        let named = |mut entries: Vec<Vec<u8>>| {
            entries.extend(rock_ridge::name(&node.name));
            entries
        };
        match &node.kind {
            Kind::Directory(..) => {
                let entries = named(self.of_directory(index));
                vec![self.record(&node.identifier, DIRECTORY, self.place(index), &entries)]
            }
            Kind::Link(target) => {
                let mut entries = named(self.attributes(0o120_777, 1, index));
                entries.extend(rock_ridge::link(target));
                vec![self.record(&node.identifier, 0, (0, 0), &entries)]
            }
            Kind::File(content) => {
                let Some(file) = tree.contents.get(*content) else {
                    return Vec::new();
                };
                let serial = tree.nodes.len() + content;
                let entries = named(self.attributes(0o100_000 | file.permissions, file.links, serial));
                let first = self.places.contents.get(*content).copied().unwrap_or_default();
                let extents = extents(first, file.source.size_bytes());
                let last = extents.len() - 1;
                let extents = extents.into_iter().enumerate();
                extents
                    .map(|(number, extent)| {
                        let flags = if number == last { 0 } else { MORE };
                        self.record(&node.identifier, flags, extent, &entries)
                    })
                    .collect()
            }
        }
    }

    /// Makes the entries for the attributes of the directory `node`.
    fn of_directory(&self, node: usize) -> Vec<Vec<u8>> {
        let below = match self.tree.nodes.get(node).map(|node| &node.kind) {
            Some(Kind::Directory(_, children)) => children.as_slice(),
            _ => &[],
        };
        let below = below.iter().filter(|child| self.tree.number_of(**child).is_some());
        let links = u32::try_from(below.count()).unwrap_or(u32::MAX).saturating_add(2);
        self.attributes(0o040_555, links, node)
    }

    fn attributes(&self, mode: u32, links: u32, serial: usize) -> Vec<Vec<u8>> {
        let serial = u32::try_from(serial + 1).unwrap_or(u32::MAX);
        let posix = rock_ridge::posix(Posix { mode, links, serial });
        vec![posix, rock_ridge::times(self.time)]
    }

    /// Returns first block and bytes of the directory `node`.
    fn place(&self, node: usize) -> (u32, u32) {
        let number = self.tree.number_of(node);
        let place = number.and_then(|number| self.places.directories.get(number));
        place.copied().unwrap_or_default()
    }

    /// Makes a record of the extent (block, bytes); entries that it has no room for go to the continuation.
    fn record(&mut self, identifier: &[u8], flags: u8, (block, bytes): (u32, u32), entries: &[Vec<u8>]) -> Vec<u8> {
        let base = (HEAD_BYTES + identifier.len()).next_multiple_of(2);
        let total: usize = entries.iter().map(Vec::len).sum();
        let mut kept = entries.len();
        let mut used = total;
        if base + total > RECORD_MAX {
            used += rock_ridge::CONTINUATION_BYTES;
            while let Some(entry) = kept
                .checked_sub(1)
                .and_then(|last| entries.get(last))
                .filter(|_| base + used > RECORD_MAX)
            {
                used -= entry.len();
                kept -= 1;
            }
        }
        let (here, rest) = entries.split_at(kept);
        let mut system_use = here.concat();
        if !rest.is_empty() {
            system_use.extend(self.continue_with(&rest.concat()));
        }
        let length = (base + system_use.len()).next_multiple_of(2);
        let mut record = vec![u8::try_from(length).unwrap_or(u8::MAX), 0];
        record.extend(both32(block));
        record.extend(both32(bytes));
        record.extend(self.time);
        record.extend([flags, 0, 0]);
        record.extend(both16(1));
        record.push(u8::try_from(identifier.len()).unwrap_or(u8::MAX));
        record.extend(identifier);
        record.resize(base, 0);
        record.extend(system_use);
        record.resize(length, 0);
        record
    }

    /// Puts `entries` into the continuation, and returns the entry that leads there. They lie in one block.
    fn continue_with(&mut self, entries: &[u8]) -> Vec<u8> {
        let mut at = self.continuation.len();
        if at % BLOCK + entries.len() > BLOCK {
            at = at.next_multiple_of(BLOCK);
        }
        self.continuation.resize(at, 0);
        self.continuation.extend(entries);
        let number = |value: usize| u32::try_from(value).unwrap_or(u32::MAX);
        let block = self.places.continuation.saturating_add(number(at / BLOCK));
        rock_ridge::continuation(block, number(at % BLOCK), number(entries.len()))
    }
}

/// Appends a record, which lies in one block.
fn append(bytes: &mut Vec<u8>, record: &[u8]) {
    if bytes.len() % BLOCK + record.len() > BLOCK {
        bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
    }
    bytes.extend(record);
}

/// Divides a file of `size_bytes` from the block `first` on into extents: first block and bytes of each.
fn extents(first: u32, size_bytes: u64) -> Vec<(u32, u32)> {
    let mut extents = Vec::new();
    let mut done = 0;
    loop {
        let length = (size_bytes - done).min(EXTENT_MAX_BYTES);
        let block = u64::from(first) + done / BLOCK_BYTES;
        // What has no bytes has no place.
        let block = if size_bytes == 0 { 0 } else { block };
        extents.push((block as u32, length as u32));
        done += length;
        if done >= size_bytes {
            return extents;
        }
    }
}

/// Returns the number of bytes of a path table.
pub(super) fn path_table_bytes(tree: &Tree) -> u64 {
    let nodes = tree.directories.iter().filter_map(|node| tree.nodes.get(*node));
    nodes
        .map(|node| (8 + node.identifier.len().next_multiple_of(2)) as u64)
        .sum()
}

/// Makes the path tables: that of little-endian numbers, then the other one.
pub(super) fn path_tables(tree: &Tree, places: &Places) -> [Vec<u8>; 2] {
    let mut tables = [Vec::new(), Vec::new()];
    for (node, (block, _)) in tree.directories.iter().zip(&places.directories) {
        let Some(node) = tree.nodes.get(*node) else { continue };
        let parent = tree.number_of(node.parent).unwrap_or_default() + 1;
        let parent = u16::try_from(parent).unwrap_or(u16::MAX);
        let length = u8::try_from(node.identifier.len()).unwrap_or(u8::MAX);
        let numbers = [
            [&block.to_le_bytes()[..], &parent.to_le_bytes()].concat(),
            [&block.to_be_bytes()[..], &parent.to_be_bytes()].concat(),
        ];
        for (table, numbers) in tables.iter_mut().zip(numbers) {
            table.extend([length, 0]);
            table.extend(numbers);
            table.extend(&node.identifier);
            table.resize(table.len().next_multiple_of(2), 0);
        }
    }
    tables
}
