//! Archives that are small on disk and ask for much work or memory: many members, long and deep names, detours.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

const BLOCK_BYTES: usize = 512;

/// A kind of hostile tarball.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    /// Its name.
    pub name: &'static str,
    write: fn(&mut dyn Write, u32) -> io::Result<()>,
}

/// All kinds.
pub const SHAPES: &[Shape] = &[
    Shape {
        name: "long names in one directory",
        write: long_names,
    },
    Shape {
        name: "a deep tree",
        write: deep,
    },
    Shape {
        name: "detours through links",
        write: detours,
    },
    Shape {
        name: "one name again and again",
        write: same,
    },
    Shape {
        name: "hard links to one file",
        write: hard_links,
    },
    Shape {
        name: "a global header with attributes",
        write: global,
    },
    Shape {
        name: "attributes of one file",
        write: attributes,
    },
    Shape {
        name: "access control lists",
        write: lists,
    },
    Shape {
        name: "parts of a sparse file",
        write: sparse,
    },
    Shape {
        name: "zeros",
        write: zeros,
    },
];

impl Shape {
    /// Writes it with about `entries` of what it has many of, as a `.tar.gz` at `path`.
    pub fn write_to(&self, path: &Path, entries: u32) {
        let file = BufWriter::new(File::create(path).unwrap());
        let mut gzip = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
        (self.write)(&mut gzip, entries).unwrap();
        gzip.write_all(&[0; 2 * BLOCK_BYTES]).unwrap();
        gzip.finish().unwrap().flush().unwrap();
    }
}

/// Writes a member with its content.
fn member(out: &mut dyn Write, kind: u8, name: &str, link: &str, content: &[u8]) -> io::Result<()> {
    for (kind, long) in [(b'L', name), (b'K', link)] {
        if long.len() > 100 {
            header(out, kind, "@", "", long.len())?;
            padded(out, long.as_bytes())?;
        }
    }
    header(out, kind, name, link, content.len())?;
    padded(out, content)
}

fn header(out: &mut dyn Write, kind: u8, name: &str, link: &str, size: usize) -> io::Result<()> {
    let short = |text: &str| text.as_bytes()[..text.len().min(100)].to_vec();
    let (name, link) = (short(name), short(link));
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::new(kind));
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(1_700_000_000);
    header.set_size(size as u64);
    header.as_old_mut().name[..name.len()].copy_from_slice(&name);
    header.as_old_mut().linkname[..link.len()].copy_from_slice(&link);
    header.set_cksum();
    out.write_all(header.as_bytes())
}

fn padded(out: &mut dyn Write, content: &[u8]) -> io::Result<()> {
    out.write_all(content)?;
    out.write_all(&[0; BLOCK_BYTES][..content.len().wrapping_neg() % BLOCK_BYTES])
}

/// Makes a record of an extended header.
fn record(key: &str, value: &str) -> String {
    let rest = format!(" {key}={value}\n");
    let mut length = rest.len();
    while length != rest.len() + length.to_string().len() {
        length = rest.len() + length.to_string().len();
    }
    format!("{length}{rest}")
}

fn long_names(out: &mut dyn Write, entries: u32) -> io::Result<()> {
    let prefix = "n".repeat(200);
    (0..entries).try_for_each(|number| member(out, b'0', &format!("{prefix}{number}"), "", b""))
}

/// Every member lies in one of two directories that are a thousand deep, in turn.
fn deep(out: &mut dyn Write, entries: u32) -> io::Result<()> {
    let ways = ["a/", "b/"].map(|top| format!("{top}{}", "d/".repeat(1000)));
    (0..entries / 10).try_for_each(|number| {
        let way = &ways[number as usize % 2];
        member(out, b'0', &format!("{way}{number}"), "", b"")
    })
}

/// Forty links follow each other, each over a thousand directories; the members lie behind them.
fn detours(out: &mut dyn Write, entries: u32) -> io::Result<()> {
    let way = "d/../".repeat(800);
    member(out, b'5', "d/", "", b"")?;
    member(out, b'5', "end/", "", b"")?;
    for number in 0..39 {
        member(out, b'2', &format!("l{number}"), &format!("{way}l{}", number + 1), b"")?;
    }
    member(out, b'2', "l39", "end", b"")?;
    (0..entries).try_for_each(|number| member(out, b'0', &format!("l{}/{number}", number % 2), "", b""))
}

fn same(out: &mut dyn Write, entries: u32) -> io::Result<()> {
    (0..entries).try_for_each(|_| member(out, b'0', "file", "", b"x"))
}

fn hard_links(out: &mut dyn Write, entries: u32) -> io::Result<()> {
    member(out, b'0', "file", "", b"x")?;
    (0..entries).try_for_each(|number| member(out, b'1', &format!("h{number}"), "file", b""))
}

fn global(out: &mut dyn Write, entries: u32) -> io::Result<()> {
    let records: String = (0..200)
        .map(|number| record(&format!("SCHILY.xattr.user.n{number}"), "value"))
        .collect();
    header(out, b'g', "global", "", records.len())?;
    padded(out, records.as_bytes())?;
    (0..entries / 10).try_for_each(|number| member(out, b'0', &format!("f{number}"), "", b""))
}

fn attributes(out: &mut dyn Write, entries: u32) -> io::Result<()> {
    for start in (0..entries).step_by(100_000) {
        let numbers = start..entries.min(start + 100_000);
        let records: String = numbers
            .map(|number| record(&format!("SCHILY.xattr.user.{number}"), "v"))
            .collect();
        header(out, b'x', "x", "", records.len())?;
        padded(out, records.as_bytes())?;
        member(out, b'0', &format!("f{start}"), "", b"")?;
    }
    Ok(())
}

fn lists(out: &mut dyn Write, entries: u32) -> io::Result<()> {
    let list = "user::rw-\nuser:daemon:rw-\ngroup::r--\nmask::rw-\nother::r--\n";
    let record = record("SCHILY.acl.access", list);
    (0..entries).try_for_each(|number| {
        header(out, b'x', "x", "", record.len())?;
        padded(out, record.as_bytes())?;
        member(out, b'0', &format!("f{number}"), "", b"")
    })
}

/// One file with a byte in every other place (GNU tar manual, "PAX Format, Version 1.0").
fn sparse(out: &mut dyn Write, entries: u32) -> io::Result<()> {
    let records = [
        record("GNU.sparse.major", "1"),
        record("GNU.sparse.minor", "0"),
        record("GNU.sparse.realsize", &(u64::from(entries) * 2).to_string()),
    ];
    let records = records.concat();
    header(out, b'x', "x", "", records.len())?;
    padded(out, records.as_bytes())?;
    let mut map: String = format!("{entries}\n");
    map.extend((0..entries).map(|number| format!("{}\n1\n", u64::from(number) * 2)));
    map += &"\0".repeat(map.len().wrapping_neg() % BLOCK_BYTES);
    let content = [map.as_bytes(), &vec![b'x'; entries as usize]].concat();
    member(out, b'0', "sparse", "", &content)
}

/// One file with a KiB of zeros for each entry.
fn zeros(out: &mut dyn Write, entries: u32) -> io::Result<()> {
    let size = entries as usize * 1024;
    header(out, b'0', "zeros", "", size)?;
    (0..entries).try_for_each(|_| out.write_all(&[0; 1024]))
}
