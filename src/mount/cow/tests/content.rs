//! Content, by read and write, by mapping, by descriptors that the kernel treats differently.

// Mapping is what is to be tried here.
#![allow(unsafe_code)]

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use memmap2::{Mmap, MmapMut};
use proptest::collection::vec;
use proptest::prelude::*;
use rustix::fs::{FallocateFlags, SeekFrom, copy_file_range, fallocate, ftruncate, seek};

use super::mounted;
use crate::overlay::directory::DirectoryLayer;
use crate::overlay::layer::Layer;
use crate::overlay::tests::differential::{Room, runner};
use crate::overlay::tests::memory_layer::MemoryLayer;

const LIMIT: u64 = 200_000;
const PAGE: u64 = 4096;

/// What is done to the content of a file.
#[derive(Debug, Clone)]
enum Touch {
    Write(bool, u64, u8, usize),
    MappedWrite(u64, u8, usize),
    Truncate(u64),
    Punch(u64, u64),
    Zero(u64, u64),
    Collapse(u64, u64),
    Copy(u64, u64, usize),
    Reserve(u64, u64),
    Check,
}

fn touch() -> impl Strategy<Value = Touch> {
    let at = || 0..LIMIT;
    let length = || 1..20_000_u64;
    let count = || prop_oneof![1..50_usize, 1..20_000_usize];
    prop_oneof![
        6 => (any::<bool>(), at(), any::<u8>(), count()).prop_map(|(a, b, c, d)| Touch::Write(a, b, c, d)),
        3 => (at(), any::<u8>(), count()).prop_map(|(a, b, c)| Touch::MappedWrite(a, b, c)),
        2 => at().prop_map(Touch::Truncate),
        1 => (at(), length()).prop_map(|(a, b)| Touch::Punch(a, b)),
        1 => (at(), length()).prop_map(|(a, b)| Touch::Zero(a, b)),
        1 => (0..20_u64, 1..5_u64).prop_map(|(a, b)| Touch::Collapse(a * PAGE, b * PAGE)),
        1 => (at(), at(), count()).prop_map(|(a, b, c)| Touch::Copy(a, b, c)),
        1 => (at(), length()).prop_map(|(a, b)| Touch::Reserve(a, b)),
        4 => Just(Touch::Check),
    ]
}

/// A file, open in the two ways that the kernel handles differently, and what must be in it.
struct Both {
    cached: File,
    direct: File,
    expected: Vec<u8>,
}

impl Both {
    fn grow(&mut self, size: u64) {
        let size = size as usize;
        if self.expected.len() < size {
            self.expected.resize(size, 0);
        }
    }

    fn fill(&mut self, at: u64, byte: u8, count: usize) {
        self.expected[at as usize..at as usize + count].fill(byte);
    }

    fn apply(&mut self, touch: &Touch) {
        let size = self.expected.len() as u64;
        match *touch {
            Touch::Write(direct, at, byte, count) => {
                let file = if direct { &self.direct } else { &self.cached };
                file.write_all_at(&vec![byte; count], at).unwrap();
                self.grow(at + count as u64);
                self.fill(at, byte, count);
            }
            Touch::MappedWrite(at, byte, count) if at + (count as u64) <= size => {
                // SAFETY: nobody else changes the file while it is mapped.
                let mut map = unsafe { MmapMut::map_mut(&self.cached) }.unwrap();
                map[at as usize..at as usize + count].fill(byte);
                self.fill(at, byte, count);
            }
            Touch::Truncate(to) => {
                ftruncate(&self.cached, to).unwrap();
                self.expected.resize(to as usize, 0);
            }
            Touch::Punch(at, length) => {
                let mode = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
                fallocate(&self.direct, mode, at, length).unwrap();
                let end = size.min(at + length);
                if at < end {
                    self.fill(at, 0, (end - at) as usize);
                }
            }
            Touch::Zero(at, length) => {
                fallocate(&self.cached, FallocateFlags::ZERO_RANGE, at, length).unwrap();
                self.grow(at + length);
                self.fill(at, 0, length as usize);
            }
            Touch::Collapse(at, length) if at + length < size => {
                // FUSE does not know it; what counts is that nothing else happens.
                fallocate(&self.cached, FallocateFlags::COLLAPSE_RANGE, at, length).unwrap_err();
            }
            Touch::Copy(from, to, count) if from + (count as u64) <= size => {
                let ends = [from + count as u64, to + count as u64];
                if from < ends[1] && to < ends[0] {
                    return;
                }
                let (mut at, mut into, mut left) = (from, to, count);
                while left > 0 {
                    left -= copy_file_range(&self.cached, Some(&mut at), &self.direct, Some(&mut into), left).unwrap();
                }
                self.grow(ends[1]);
                self.expected.copy_within(from as usize..ends[0] as usize, to as usize);
            }
            Touch::Reserve(at, length) => {
                fallocate(&self.cached, FallocateFlags::empty(), at, length).unwrap();
                self.grow(at + length);
            }
            _ => self.check(),
        }
    }

    fn check(&self) {
        let mut content = vec![0; self.expected.len() + 10];
        let mut length = 0;
        loop {
            match self.cached.read_at(&mut content[length..], length as u64).unwrap() {
                0 => break,
                more => length += more,
            }
        }
        assert!(content[..length] == self.expected, "by read");
        assert_eq!(self.cached.metadata().unwrap().len(), self.expected.len() as u64);
        if length > 0 {
            // SAFETY: nobody else changes the file while it is mapped.
            let map = unsafe { Mmap::map(&self.cached) }.unwrap();
            assert!(map[..] == self.expected, "by mapping");
        }
        // Between the holes that lseek(2) tells of, everything must be zero outside the data.
        let mut at = 0;
        while let Ok(data) = seek(&self.cached, SeekFrom::Data(at)) {
            assert!(self.expected[at as usize..data as usize].iter().all(|&byte| byte == 0));
            at = seek(&self.cached, SeekFrom::Hole(data)).unwrap();
        }
        assert!(self.expected[at as usize..].iter().all(|&byte| byte == 0));
    }
}

#[test]
fn random_content_is_what_was_written() {
    let checked = runner(20).run(&vec(touch(), 1..80), |touches| {
        let room = Room::new();
        let mut layer = MemoryLayer::new();
        layer.file("base", &[b'b'; 50_000]);
        mounted(&room, vec![Arc::new(layer)], |at| {
            let path = at.join("file");
            // Opened for writing only by the call that creates it: the kernel does not cache it.
            let direct = File::create_new(&path).unwrap();
            let cached = File::options().read(true).write(true).open(&path).unwrap();
            let base = || File::options().read(true).write(true).open(at.join("base")).unwrap();
            let pairs = [(cached, direct, Vec::new()), (base(), base(), vec![b'b'; 50_000])];
            for (cached, direct, expected) in pairs {
                let mut both = Both {
                    cached,
                    direct,
                    expected,
                };
                for touch in &touches {
                    both.apply(touch);
                }
                both.check();
            }
        });
        Ok(())
    });
    if let Err(error) = checked {
        panic!("{error}");
    }
}

/// What a peer gets wrong: the write lands in the layer through the file that the kernel
/// remembers for the inode (DESIGN 5).
#[test]
fn a_write_after_copy_up_never_reaches_the_layer() {
    let room = Room::new();
    let base = room.path("base");
    fs::create_dir(&base).unwrap();
    fs::write(base.join("file"), vec![b'o'; 10_000]).unwrap();
    let layer: Arc<dyn Layer> = Arc::new(DirectoryLayer::open(&base).unwrap());
    mounted(&room, vec![layer], |at| {
        let path = at.join("file");
        let reader = File::open(&path).unwrap();
        // SAFETY: the file is changed below, by design: each access sees one byte or the other.
        let map = unsafe { Mmap::map(&reader) }.unwrap();
        assert_eq!(map[5000], b'o');
        let writer = File::options().write(true).open(&path).unwrap();
        writer.write_all_at(b"n", 5000).unwrap();
        assert_eq!(map[5000], b'n', "the mapping shows the write");
        // SAFETY: as above.
        let mut shared = {
            let file = File::options().read(true).write(true).open(&path).unwrap();
            unsafe { MmapMut::map_mut(&file) }.unwrap()
        };
        shared[6000] = b'm';
        shared.flush().unwrap();
        let mut byte = [0];
        reader.read_exact_at(&mut byte, 6000).unwrap();
        assert_eq!(byte, *b"m");
        fs::remove_file(&path).unwrap();
        writer.write_all_at(b"x", 7000).unwrap();
        reader.read_exact_at(&mut byte, 7000).unwrap();
        assert_eq!(byte, *b"x");
    });
    assert!(fs::read(base.join("file")).unwrap() == vec![b'o'; 10_000]);
}
