//! Databases of the right form are in `tests/it/system/inside.rs`, where rpm itself makes them.

use super::*;

/// Makes a database of SQLite with one table of two rows, one of them on pages of its own.
fn sqlite() -> Vec<u8> {
    const PAGE: usize = 512;
    let mut file = vec![0; PAGE * 4];
    file[..16].copy_from_slice(b"SQLite format 3\0");
    file[16..18].copy_from_slice(&(PAGE as u16).to_be_bytes());
    let mut leaf = |page: usize, start: usize, cells: &[Vec<u8>]| {
        let mut at = PAGE;
        file[page * PAGE + start] = 0x0d;
        file[page * PAGE + start + 3..][..2].copy_from_slice(&(cells.len() as u16).to_be_bytes());
        for (index, cell) in cells.iter().enumerate() {
            at -= cell.len();
            file[page * PAGE + at..][..cell.len()].copy_from_slice(cell);
            file[page * PAGE + start + 8 + 2 * index..][..2].copy_from_slice(&(at as u16).to_be_bytes());
        }
    };
    // type, name, tbl_name, rootpage, sql
    let schema = b"\x06\x17\x1d\x1d\x01\x0dtablePackagesPackages\x02";
    leaf(0, 100, &[[&[schema.len() as u8, 1], schema.as_slice()].concat()]);
    // 600 bytes, type 1212: more than a page.
    let body: Vec<u8> = (0..600).map(|at| at as u8).collect();
    let record = [b"\x04\x00\x89\x3c".as_slice(), &body].concat();
    let local = 39 + (record.len() - 39) % 508;
    let cell = [b"\x84\x5c\x01".as_slice(), &record[..local], &3_u32.to_be_bytes()].concat();
    let small = [&[7, 2], b"\x03\x00\x14".as_slice(), b"four"].concat();
    leaf(1, 0, &[cell, small]);
    file[2 * PAGE + 4..][..record.len() - local].copy_from_slice(&record[local..]);
    file
}

#[test]
fn rows_are_put_together_from_their_pages() {
    let found = blobs(Kind::Sqlite, &sqlite(), &[]).unwrap();
    let body: Vec<u8> = (0..600).map(|at| at as u8).collect();
    assert_eq!(found, [body, b"four".to_vec()]);
}

#[test]
fn circles_and_lies_are_errors() {
    let mut circle = sqlite();
    // An interior page whose only child is itself.
    circle[512..524].copy_from_slice(&[5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2]);
    assert!(
        blobs(Kind::Sqlite, &circle, &[])
            .unwrap_err()
            .to_string()
            .contains("used twice")
    );
    let mut beyond = sqlite();
    let at = beyond
        .windows(4)
        .rposition(|bytes| bytes == 3_u32.to_be_bytes())
        .unwrap();
    beyond[at..at + 4].copy_from_slice(&77_u32.to_be_bytes());
    assert!(blobs(Kind::Sqlite, &beyond, &[]).is_err());
    for kind in [Kind::Sqlite, Kind::Ndb, Kind::Bdb] {
        assert!(blobs(kind, b"", b"").is_err());
        assert!(blobs(kind, &[0; 5000], b"").is_err());
    }
}

proptest::proptest! {
    #[test]
    fn any_change_is_an_answer_or_an_error(at in 0..2048_usize, byte in proptest::prelude::any::<u8>(), end in 0..2048_usize) {
        let mut file = sqlite();
        file[at] = byte;
        file.truncate(end.max(at));
        let _ = blobs(Kind::Sqlite, &file, &file);
        for (kind, magic) in [(Kind::Ndb, b"RpmP\0\0\0\0\0\0\0\0\x01\0\0\0".as_slice()), (Kind::Bdb, b"\0\0\0\0\0\0\0\0\0\0\0\0\x61\x15\x06\0\0\0\0\0\0\x02\0\0")] {
            let mut file = [magic, &file].concat();
            file.resize(8192, byte);
            let _ = blobs(kind, &file, b"");
        }
    }
}
