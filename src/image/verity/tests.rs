//! veritysetup (package cryptsetup-bin) makes the same trees.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use proptest::prelude::*;

use super::*;
use crate::cancel::Cancel;
use crate::image::canvas::{Canvas, Drawn};
use crate::image::tool::tests::{run, run_any};

const IDENTITY: Identity = Identity {
    uuid: Uuid::from_u128(0x1234_5678_9abc_8def_8123_4567_89ab_cdef),
    salt: [0x5a; 32],
};

/// Data at an offset in bytes.
type Write = (u64, Vec<u8>);

/// A disk with data and a hash tree over it.
struct Disk {
    directory: tempfile::TempDir,
    data_bytes: u64,
    drawn: Option<Drawn>,
    written_bytes: u64,
}

impl Disk {
    fn new(data_bytes: u64) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let file = File::create_new(directory.path().join("disk")).unwrap();
        file.set_len(data_bytes + size_bytes(data_bytes)).unwrap();
        Self {
            directory,
            data_bytes,
            drawn: None,
            written_bytes: 0,
        }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("disk")
    }

    /// Makes an image in the place of the one before, with `data` and a tree over it.
    fn draw(&mut self, data: &[Write], identity: Identity) -> RootHash {
        let (cancel, path) = (Cancel::default(), self.path());
        let file = File::options().read(true).write(true).open(&path).unwrap();
        let canvas = Canvas::new(&file, &path, self.drawn.as_ref());
        let region = Region::new(&canvas, 0, self.data_bytes);
        for (offset, bytes) in data {
            region.put(*offset, bytes).unwrap();
        }
        let tree = Region::new(&canvas, self.data_bytes, size_bytes(self.data_bytes));
        let root = write(region, tree, identity, Work::quiet(&cancel)).unwrap();
        let drawn = canvas.finish().unwrap().0;
        self.written_bytes = canvas.written_bytes();
        self.drawn = Some(drawn);
        root
    }

    /// Compares the tree and its root with those of veritysetup.
    fn judge(&self, root: RootHash, identity: Identity) {
        let bytes = fs::read(self.path()).unwrap();
        let (data, tree) = bytes.split_at(self.data_bytes as usize);
        let at = |name: &str| self.directory.path().join(name);
        fs::write(at("data"), data).unwrap();
        File::create(at("tree")).unwrap().set_len(tree.len() as u64).unwrap();
        let (salt, uuid) = (hex::encode(identity.salt), identity.uuid.to_string());
        let (data, made) = (at("data"), at("tree"));
        let said = veritysetup(&["format", "--salt", &salt, "--uuid", &uuid], &data, &made, &[]);
        assert!(said.contains(&root.to_string()), "{root}: {said}");
        assert!(fs::read(made).unwrap() == tree, "{} bytes", self.data_bytes);
    }
}

fn veritysetup(before: &[&str], data: &Path, tree: &Path, after: &[&str]) -> String {
    let paths = [data, tree].map(|path| path.to_str().unwrap());
    run("cryptsetup-bin", "veritysetup", &[before, &paths, after].concat())
}

/// Returns `blocks` blocks of data that are not zero.
fn noise(blocks: usize, seed: u8) -> Vec<u8> {
    (0..blocks * BLOCK_BYTES)
        .map(|at| ((at * 7 + at / 4096) % 251) as u8 ^ seed)
        .collect()
}

#[test]
fn trees_of_one_to_four_levels_are_those_of_veritysetup() {
    let block = BLOCK_BYTES as u64;
    // A rest that is no block, and the sizes at which a level or a block is added.
    for data_bytes in [
        block,
        block + 512,
        2 * block,
        128 * block,
        129 * block,
        16384 * block,
        16385 * block,
    ] {
        let mut disk = Disk::new(data_bytes);
        let root = disk.draw(&[(0, noise(1, 1))], IDENTITY);
        disk.judge(root, IDENTITY);
        let mut empty = Disk::new(data_bytes);
        let root = empty.draw(&[], IDENTITY);
        empty.judge(root, IDENTITY);
    }
}

#[test]
fn a_hole_is_not_read_and_a_change_costs_the_way_to_the_top() {
    let mut disk = Disk::new(3 << 30);
    let place = 1 << 30;
    let first = disk.draw(&[(0, noise(300, 1)), (place, noise(10, 2))], IDENTITY);
    let root = disk.draw(&[(0, noise(300, 1)), (place, noise(10, 2))], IDENTITY);
    assert_eq!((root, disk.written_bytes), (first, 0));
    let root = disk.draw(&[(0, noise(300, 1)), (place, noise(10, 3))], IDENTITY);
    assert_ne!(root, first);
    // The data, and one block of each of the three levels.
    assert_eq!(disk.written_bytes, (10 + 3) * 4096);
    let root = disk.draw(&[(0, noise(300, 1))], IDENTITY);
    assert_eq!(disk.written_bytes, 3 * 4096, "the rest is cleared");
    let mut fresh = Disk::new(3 << 30);
    assert_eq!(fresh.draw(&[(0, noise(300, 1))], IDENTITY), root);
    let trees = [&disk, &fresh].map(|disk| {
        let file = File::open(disk.path()).unwrap();
        let mut bytes = vec![0; size_bytes(disk.data_bytes) as usize];
        std::os::unix::fs::FileExt::read_exact_at(&file, &mut bytes, disk.data_bytes).unwrap();
        bytes
    });
    assert!(trees[0] == trees[1]);
}

#[test]
fn a_flipped_bit_is_found() {
    let mut disk = Disk::new(1 << 20);
    let root = disk.draw(&[(8192, noise(5, 1))], IDENTITY).to_string();
    let (path, offset) = (disk.path(), disk.data_bytes.to_string());
    let file = path.to_str().unwrap();
    let verify = || {
        let arguments = ["verify", "--hash-offset", &offset, file, file, &root];
        run_any("cryptsetup-bin", "veritysetup", &arguments)
    };
    // A device of data ends where the file does, so the superblock says how much there is.
    assert!(verify().0, "{}", verify().1);
    let mut bytes = fs::read(&path).unwrap();
    bytes[10_000] ^= 1;
    fs::write(&path, bytes).unwrap();
    assert!(!verify().0);
}

#[test]
fn a_tree_that_does_not_fit_says_how_large_it_is() {
    let file = tempfile::tempfile().unwrap();
    file.set_len(200 << 20).unwrap();
    let (canvas, cancel) = (Canvas::new(&file, Path::new("raw"), None), Cancel::default());
    let data = Region::new(&canvas, 0, 190 << 20);
    let tree = Region::new(&canvas, 190 << 20, 1 << 20);
    let error = write(data, tree, IDENTITY, Work::quiet(&cancel)).unwrap_err();
    assert_eq!(error.to_string(), "a hash tree over 190 MiB needs 2 MiB");
    // The example of the templates: 4,044 MiB.
    assert_eq!(size_bytes(4044 << 20).div_ceil(1 << 20), 32);
}

#[test]
fn partitions_are_named_by_the_root_hash() {
    let root = RootHash(std::array::from_fn(|at| at as u8));
    let (data, tree) = root.partition_uuids();
    assert_eq!(data.to_string().replace('-', ""), root.to_string()[..32]);
    assert_eq!(tree.to_string().replace('-', ""), root.to_string()[32..]);
}

/// Data of a disk with this number of blocks.
fn writes(blocks: u64) -> impl Strategy<Value = Vec<Write>> {
    let write = (0..blocks, 1..40_usize, 0..3_u8, any::<bool>()).prop_map(move |(at, count, seed, odd)| {
        let count = count.min((blocks - at) as usize);
        let mut bytes = noise(count, seed);
        if seed == 0 {
            bytes.fill(0);
        }
        if odd {
            bytes.truncate(bytes.len() - 100);
        }
        (at * BLOCK_BYTES as u64, bytes)
    });
    proptest::collection::vec(write, 0..6)
}

fn disks() -> impl Strategy<Value = (u64, Vec<Write>, Vec<Write>)> {
    let blocks = prop_oneof![1..300_u64, 1..20_000_u64, (0..3_u64).prop_map(|n| 16_383 + n)];
    blocks.prop_flat_map(|blocks| (Just(blocks), writes(blocks), writes(blocks)))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// New, made again, changed, and with another salt: the tree is always that of veritysetup.
    #[test]
    fn any_tree_is_that_of_veritysetup((blocks, first, second) in disks()) {
        let mut disk = Disk::new(blocks * BLOCK_BYTES as u64);
        let root = disk.draw(&first, IDENTITY);
        disk.judge(root, IDENTITY);
        let root = disk.draw(&second, IDENTITY);
        disk.judge(root, IDENTITY);
        let other = Identity { salt: [7; 32], ..IDENTITY };
        let root = disk.draw(&second, other);
        disk.judge(root, other);
    }
}
