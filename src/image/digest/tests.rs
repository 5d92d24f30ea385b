//! Judged by the Python program of `docs/image-digest.md` and by the values of fsverity-utils there.

use std::fs;
use std::path::PathBuf;

use super::*;
use crate::cancel::Cancel;
use crate::image::tool::tests::run;
use oic_testkit::image_digest;

fn quiet(cancel: &Cancel) -> Work<'_> {
    Work::quiet(cancel)
}

/// Bytes, each with its offset.
type Writes<'a> = &'a [(u64, &'a [u8])];

/// Makes the file `name` of `size_bytes`, with each of `writes` at its offset.
fn file(directory: &Path, name: &str, size_bytes: u64, writes: Writes<'_>) -> PathBuf {
    let path = directory.join(name);
    let file = File::create_new(&path).unwrap();
    file.set_len(size_bytes).unwrap();
    for (at, bytes) in writes {
        file.write_all_at(bytes, *at).unwrap();
    }
    path
}

fn tree(path: &Path) -> DigestTree {
    of_file(path, quiet(&Cancel::default())).unwrap()
}

#[test]
fn a_second_reading_of_the_specification_agrees() {
    let directory = tempfile::tempdir().unwrap();
    let mut paths = Vec::new();
    let unit = UNIT_BYTES;
    for size_bytes in [
        0,
        1,
        4095,
        4096,
        4097,
        8192,
        unit - 1,
        unit,
        unit + 1,
        3 * unit,
        128 * unit,
        128 * unit + 5,
    ] {
        let end = [(size_bytes.saturating_sub(1), &b"x"[..])];
        let middle = [(size_bytes / 2, &b"in the middle"[..])];
        for (what, writes) in [("zeros", &[][..]), ("end", &end), ("middle", &middle)] {
            let fits = |(at, bytes): &&(u64, &[u8])| at + bytes.len() as u64 <= size_bytes;
            let writes: Vec<_> = writes.iter().filter(fits).copied().collect();
            paths.push(file(
                directory.path(),
                &format!("{what}-{size_bytes}"),
                size_bytes,
                &writes,
            ));
        }
    }
    let digests: Vec<String> = paths.iter().map(|path| tree(path).digest().to_string()).collect();
    assert_eq!(digests, image_digest::in_python(&paths));
}

#[test]
fn the_vectors_of_fsverity_hold() {
    let numbers: Vec<u8> = (0..1_u32 << 18).flat_map(u32::to_le_bytes).collect();
    let files: [(u64, Writes<'_>); 7] = [
        (0, &[]),
        (3, &[(0, b"abc")]),
        (4096, &[]),
        (4097, &[]),
        (1 << 20, &[(0, &numbers)]),
        (600 << 20, &[(314_572_800, b"here")]),
        (1 << 30, &[]),
    ];
    let directory = tempfile::tempdir().unwrap();
    let digests = files.iter().enumerate().map(|(number, (size_bytes, writes))| {
        tree(&file(directory.path(), &number.to_string(), *size_bytes, writes))
            .digest()
            .to_string()
    });
    let table = image_digest::PAGE.split("## Test vectors").nth(1).unwrap();
    let vectors = table.split('`').filter(|word| word.len() == 64);
    assert!(digests.eq(vectors), "{table}");
}

#[test]
fn written_zeros_are_holes() {
    let directory = tempfile::tempdir().unwrap();
    let size_bytes = 3 * UNIT_BYTES + 77;
    let zeros = vec![0; size_bytes as usize];
    let hole = file(directory.path(), "hole", size_bytes, &[]);
    let written = file(directory.path(), "written", size_bytes, &[(0, &zeros)]);
    assert_eq!(tree(&hole), tree(&written));
    assert_eq!(tree(&hole), DigestTree::of_zeros(size_bytes));
    assert_eq!(tree(&hole).units().len(), 1);
}

#[test]
fn a_change_costs_itself() {
    let directory = tempfile::tempdir().unwrap();
    let path = file(
        directory.path(),
        "raw",
        1 << 40,
        &[(5 << 30, b"data"), ((1 << 40) - 4, b"last")],
    );
    let before = tree(&path);
    assert_eq!(before.units().len(), 2);
    let changed = File::options().read(true).write(true).open(&path).unwrap();
    changed.write_all_at(&[0; 4], 5 << 30).unwrap();
    changed.write_all_at(b"other", (9 << 30) - 2).unwrap();
    let ranges = [(5 << 30, (5 << 30) + 4), ((9 << 30) - 2, (9 << 30) + 3)];
    let cancel = Cancel::default();
    let after = before.clone().update(&changed, &path, &ranges, quiet(&cancel)).unwrap();
    assert_eq!(after, tree(&path));
    assert_eq!(after.units().len(), 3);
    assert_ne!(after.digest(), before.digest());
    let threads = Work {
        threads: 7,
        ..quiet(&cancel)
    };
    assert_eq!(of_file(&path, threads).unwrap(), after);
    cancel.cancel();
    assert!(of_file(&path, quiet(&cancel)).unwrap_err().is_cancelled());
}

#[test]
fn only_the_units_of_an_image_make_a_tree() {
    let tree = |units: &[u64]| DigestTree::of_units(3 * UNIT_BYTES, units.iter().map(|number| (*number, [7; 32])));
    assert!(tree(&[2]).is_some() && tree(&[0, 2]).is_some());
    for wrong in [&[][..], &[1], &[2, 2], &[2, 0], &[0, 2, 3]] {
        assert!(tree(wrong).is_none(), "{wrong:?}");
    }
    assert!(DigestTree::of_units(0, std::iter::empty()).is_some());
}

#[test]
fn only_files_and_disks_have_a_digest() {
    let directory = tempfile::tempdir().unwrap();
    for path in [directory.path(), Path::new("/dev/null")] {
        let error = of_file(path, quiet(&Cancel::default())).unwrap_err();
        assert!(
            error.to_string().contains("neither a regular file nor a block device"),
            "{error}"
        );
    }
}

#[test]
fn sha256_covers_holes_byte_by_byte() {
    let directory = tempfile::tempdir().unwrap();
    let path = file(directory.path(), "raw", (3 << 20) + 5, &[(1 << 20, b"data")]);
    let told = run("coreutils", "sha256sum", &[path.to_str().unwrap()]);
    assert!(told.starts_with(&sha256(&path, quiet(&Cancel::default())).unwrap().to_string()));
    assert_eq!(
        sha256(&path, quiet(&Cancel::default())).unwrap(),
        Sha256::of(fs::read(&path).unwrap())
    );
}
