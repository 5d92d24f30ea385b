//! qemu-img (package qemu-utils) makes images of all formats, from a disk with data and holes.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use proptest::prelude::*;

use super::super::medium::{Memory, RawFile};
use super::*;
use crate::image::tool::tests::run;

const DISK_BYTES: u64 = 24 << 20;

/// The options of qemu-img for each format.
const FORMATS: &[(&[&str], Format)] = &[
    (&["-O", "qcow2"], Format::Qcow2),
    (&["-O", "qcow2", "-o", "compat=0.10,cluster_size=4096"], Format::Qcow2),
    (&["-c", "-O", "qcow2"], Format::Qcow2),
    (
        &["-c", "-O", "qcow2", "-o", "compression_type=zstd,cluster_size=2M"],
        Format::Qcow2,
    ),
    (&["-O", "vpc", "-o", "force_size=on"], Format::Vhd),
    (&["-O", "vpc", "-o", "subformat=fixed,force_size=on"], Format::Vhd),
    (&["-O", "vhdx", "-o", "block_size=1M"], Format::Vhdx),
    (&["-O", "vmdk"], Format::Vmdk),
    (&["-O", "vmdk", "-o", "subformat=streamOptimized"], Format::Vmdk),
    (&["-O", "vdi"], Format::Vdi),
];

fn raw(directory: &Path) -> PathBuf {
    let path = directory.join("raw");
    let file = File::create(&path).unwrap();
    file.set_len(DISK_BYTES).unwrap();
    let data: Vec<u8> = (0..500_000_u32).flat_map(u32::to_le_bytes).collect();
    file.write_all_at(&data, 5_000_000).unwrap();
    file.write_all_at(b"at the start", 0).unwrap();
    file.write_all_at(b"at the end", DISK_BYTES - 10).unwrap();
    path
}

fn convert(directory: &Path, index: usize) -> PathBuf {
    let (raw, path) = (raw(directory), directory.join(format!("image{index}")));
    let names = [raw.to_str().unwrap(), path.to_str().unwrap()];
    run(
        "qemu-utils",
        "qemu-img",
        &[&["convert", "-f", "raw"], FORMATS[index].0, &names].concat(),
    );
    path
}

#[test]
fn what_qemu_img_makes_is_the_same_disk() {
    let directory = tempfile::tempdir().unwrap();
    for (index, (options, format)) in FORMATS.iter().enumerate() {
        let path = convert(directory.path(), index);
        let (found, disk) = open(Arc::new(RawFile::open(&path).unwrap())).unwrap();
        assert_eq!((found, disk.size_bytes()), (*format, DISK_BYTES), "{options:?}");
        let mut bytes = vec![0; DISK_BYTES as usize];
        for (piece, place) in bytes.chunks_mut(1_234_567).zip((0..).step_by(1_234_567)) {
            disk.read_at(place, piece).unwrap();
        }
        assert!(bytes == fs::read(directory.path().join("raw")).unwrap(), "{options:?}");
    }
}

#[test]
fn what_depends_on_another_file_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let base = convert(directory.path(), 0);
    let path = directory.path().join("on top");
    let names = [base.to_str().unwrap(), path.to_str().unwrap()];
    run(
        "qemu-utils",
        "qemu-img",
        &["create", "-f", "qcow2", "-F", "qcow2", "-b", names[0], names[1]],
    );
    let message = |bytes: Vec<u8>| open(Arc::new(Memory::new(bytes))).unwrap_err().to_string();
    assert_eq!(
        message(fs::read(&path).unwrap()),
        "oic does not read a qcow2 with a backing file"
    );
    assert_eq!(
        message(b"\x1f\x8b\x08 and more".to_vec()),
        "it is compressed by gzip; decompress it first"
    );
    let flat = b"# Disk DescriptorFile\nversion=1".to_vec();
    assert_eq!(message(flat), "it is a VMDK whose data are in other files");
    assert_eq!(open(Arc::new(Memory::new(vec![0; 700]))).unwrap().0, Format::Raw);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// No damage makes a reader panic or take much memory.
    #[test]
    fn damage_is_an_error_or_another_disk(
        which in 0..FORMATS.len(),
        flips in prop::collection::vec((0..400_000_usize, any::<u8>()), 1..30),
        length in prop::option::of(0..500_000_usize),
    ) {
        static IMAGES: OnceLock<Vec<Vec<u8>>> = OnceLock::new();
        let images = IMAGES.get_or_init(|| {
            let directory = tempfile::tempdir().unwrap();
            (0..FORMATS.len()).map(|index| fs::read(convert(directory.path(), index)).unwrap()).collect()
        });
        let mut bytes = images[which].clone();
        for (at, value) in flips {
            // Mostly in the first bytes, where the structures are.
            let at = if at % 2 == 0 { at % 1024 } else { at };
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= value;
            }
        }
        bytes.truncate(length.unwrap_or(bytes.len()));
        if let Ok((_, disk)) = open(Arc::new(Memory::new(bytes))) {
            let mut piece = vec![0; 300_000];
            for place in [0, 5_000_000, 7_000_000] {
                if disk.size_bytes() >= place + 300_000 {
                    let _ = disk.read_at(place, &mut piece);
                }
            }
        }
    }
}
