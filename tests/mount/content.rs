//! Content, by read and write, by mapping, by descriptors that the kernel treats differently.

// Mapping is what is to be tried here.
#![allow(unsafe_code)]

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;

use memmap2::{Mmap, MmapMut};
use oic::mount::Engine;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use rustix::fs::{FallocateFlags, SeekFrom, copy_file_range, fallocate, ftruncate, seek};

use crate::cow::mount;
use crate::support::{Place, run};

pub const TESTS: &[(&str, fn())] = &[
    ("cow_content_is_what_was_written", random),
    ("cow_write_after_copy_up_never_reaches_the_base", trap),
    ("the_base_is_safe_from_other_users_too", trap_of_others),
];

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

fn random() {
    const CASES: u32 = 30;
    let mut runner = TestRunner::new(Config {
        cases: CASES,
        failure_persistence: None,
        max_shrink_iters: 300,
        ..Config::default()
    });
    let place = Place::new();
    fs::write(place.base().join("base"), vec![b'b'; 50_000]).unwrap();
    let checked = runner.run(&vec(touch(), 1..80), |touches| {
        let session = mount(&place, true).unwrap();
        let path = place.mnt().join("file");
        // Opened for writing only by the call that creates it: the kernel does not cache it.
        let direct = File::create_new(&path).unwrap();
        let cached = File::options().read(true).write(true).open(&path).unwrap();
        let base = || {
            File::options()
                .read(true)
                .write(true)
                .open(place.mnt().join("base"))
                .unwrap()
        };
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
        session.close().unwrap();
        for name in ["upper", "work", "work.base"] {
            let path = place.path(name);
            let removed = if path.is_dir() {
                fs::remove_dir_all(&path)
            } else {
                fs::remove_file(&path)
            };
            removed.unwrap();
        }
        Ok(())
    });
    if let Err(error) = checked {
        panic!("{error}");
    }
}

/// What a peer gets wrong: the write lands in the base through the file that the kernel
/// remembers for the inode (DESIGN 5).
fn trap() {
    let place = Place::new();
    fs::write(place.base().join("file"), vec![b'o'; 10_000]).unwrap();
    let session = mount(&place, false).unwrap();
    let path = place.mnt().join("file");
    let reader = File::open(&path).unwrap();
    // SAFETY: the file is changed below, by design: each access sees one byte or the other.
    let map = unsafe { Mmap::map(&reader) }.unwrap();
    assert_eq!(map[5000], b'o');
    let writer = File::options().write(true).open(&path).unwrap();
    writer.write_all_at(b"n", 5000).unwrap();
    assert_eq!(map[5000], b'n', "the mapping shows the write");
    let both = File::options().read(true).write(true).open(&path).unwrap();
    // SAFETY: as above.
    let mut shared = unsafe { MmapMut::map_mut(&both) }.unwrap();
    shared[6000] = b'm';
    shared.flush().unwrap();
    let mut byte = [0];
    reader.read_exact_at(&mut byte, 6000).unwrap();
    assert_eq!(byte, *b"m");
    fs::remove_file(&path).unwrap();
    writer.write_all_at(b"x", 7000).unwrap();
    reader.read_exact_at(&mut byte, 7000).unwrap();
    assert_eq!(byte, *b"x");
    drop((map, shared, reader, writer, both));
    session.close().unwrap();
    assert!(fs::read(place.base().join("file")).unwrap() == vec![b'o'; 10_000]);
}

/// The same by somebody who is not root, on both engines.
fn trap_of_others() {
    const SCRIPT: &str = r#"
import mmap, os
reader = os.open("file", os.O_RDONLY)
old = mmap.mmap(reader, 0, prot=mmap.PROT_READ)
assert old[5000] == ord("o")
writer = os.open("file", os.O_RDWR)
os.pwrite(writer, b"n", 5000)
new = mmap.mmap(writer, 0)
new[6000] = ord("m")
new.flush()
os.fsync(writer)
assert open("file", "rb").read()[4999:6001] == b"on" + b"o" * 999 + b"m"
"#;
    for engine in [Engine::Fuse, Engine::Kernel] {
        let place = Place::new();
        fs::write(place.base().join("file"), vec![b'o'; 10_000]).unwrap();
        run(&place.base(), &["chmod", "666", "file"]);
        run(&place.path(""), &["chmod", "755", ".", "base", "mnt"]);
        let session = place.mount_by(engine, false).unwrap();
        let user = [
            "setpriv",
            "--reuid=65534",
            "--regid=65534",
            "--clear-groups",
            "python3",
            "-c",
            SCRIPT,
        ];
        run(&place.mnt(), &user);
        session.close().unwrap();
        assert!(
            fs::read(place.base().join("file")).unwrap() == vec![b'o'; 10_000],
            "{engine:?}"
        );
        let session = place.mount_base();
        assert!(
            fs::read(place.mnt().join("file")).unwrap() == vec![b'o'; 10_000],
            "{engine:?}"
        );
        session.close().unwrap();
    }
}
