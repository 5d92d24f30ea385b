//! Hostile and senseless tarballs.

use super::super::foreign::{Limits, PrepareOptions, prepare};
use super::foreign::{Foreign, dumped, gzip};
use super::*;
use std::io::Write as _;

/// A tar stream made by hand.
#[derive(Default, Clone)]
pub(super) struct Archive(Vec<u8>);

impl Archive {
    pub(super) fn add(mut self, kind: u8, name: &[u8], link: &[u8], content: &[u8]) -> Self {
        self = self.header(kind, name, link, content.len() as u64);
        self.0.extend(content);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    /// Adds a header alone, which claims `size` bytes of content.
    pub(super) fn header(mut self, kind: u8, name: &[u8], link: &[u8], size: u64) -> Self {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::new(kind));
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1_700_000_000);
        header.set_size(size);
        header.as_old_mut().name[..name.len()].copy_from_slice(name);
        header.as_old_mut().linkname[..link.len()].copy_from_slice(link);
        header.set_cksum();
        self.0.extend(header.as_bytes());
        self
    }

    /// Returns the stream with `rest` behind it, which has its own end.
    pub(super) fn followed_by(self, rest: &[u8]) -> Vec<u8> {
        [&self.0[..], rest].concat()
    }

    pub(super) fn end(mut self) -> Vec<u8> {
        self.0.resize(self.0.len() + 1024, 0);
        self.0
    }
}

#[test]
fn what_leads_out_or_cannot_be_is_refused() {
    let one = |kind, name: &[u8], link: &[u8]| Archive::default().add(kind, name, link, b"").end();
    let long = |name: &[u8]| {
        Archive::default()
            .add(b'L', b"@", b"", name)
            .add(b'0', b"f", b"", b"")
            .end()
    };
    let deep = "d/".repeat(3000) + "f";
    let loops = Archive::default()
        .add(b'2', b"a", b"b", b"")
        .add(b'2', b"b", b"a", b"")
        .add(b'0', b"a/f", b"", b"");
    let half = "d/".repeat(1100);
    let deeper = Archive::default()
        .add(b'L', b"@", b"", half.as_bytes())
        .add(b'5', b"d", b"", b"")
        .add(b'K', b"@", b"", half.as_bytes())
        .add(b'2', b"link", b"d", b"")
        .add(b'L', b"@", b"", format!("link/{half}f").as_bytes())
        .add(b'0', b"f", b"", b"");
    let full = Archive::default()
        .add(b'0', b"d/f", b"", b"x")
        .add(b'0', b"d", b"", b"y");
    let record = |text: &str| format!("{} {text}\n", text.len() + 4).into_bytes();
    let pax = |text: &str| {
        let records = record(text);
        Archive::default()
            .add(b'x', b"x", b"", &records)
            .add(b'0', b"f", b"", b"12345")
            .end()
    };
    for (what, bytes, expected) in [
        ("escape", one(b'0', b"../etc/passwd", b""), "`..`"),
        ("escape behind a slash", one(b'0', b"/../etc/passwd", b""), "`..`"),
        ("hard link out", one(b'1', b"f", b"../../etc/passwd"), "`..`"),
        ("hard link to nothing", one(b'1', b"f", b"missing"), "hard link"),
        (
            "hard link to a directory",
            Archive::default()
                .add(b'5', b"d", b"", b"")
                .add(b'1', b"f", b"d", b"")
                .end(),
            "hard link",
        ),
        (
            "below a file",
            Archive::default()
                .add(b'0', b"f", b"", b"")
                .add(b'0', b"f/x", b"", b"")
                .end(),
            "not a directory",
        ),
        ("links in a circle", loops.end(), "symbolic links"),
        ("in the way", full.end(), "not empty"),
        ("another volume", one(b'M', b"f", b""), "volume"),
        ("link without target", one(b'2', b"l", b""), "symbolic link"),
        ("name too long", long(&[b'n'; 256]), "255"),
        ("too long", long(deep.as_bytes()), "4095"),
        ("too deep", deeper.end(), "deeper"),
        ("root as a file", one(b'0', b".", b""), "root"),
        ("bad size", pax("size=99999999"), "ends early"),
        ("negative owner", pax("uid=-1000"), "uid"),
        ("sparse beyond its size", pax("GNU.sparse.map=0,5,9,1"), "sparse"),
        (
            "sparse too large",
            pax("GNU.sparse.realsize=99999999999999999999"),
            "GNU.sparse.realsize",
        ),
        ("no end", Archive::default().add(b'0', b"f", b"", b"x").0, "cut short"),
        (
            "garbage",
            [Archive::default().add(b'0', b"f", b"", b"x").0, vec![7; 512]].concat(),
            "no tar header",
        ),
        (
            "cut in content",
            Archive::default().header(b'0', b"f", b"", 1 << 40).0,
            "ends early",
        ),
        ("xz", b"\xfd7zXZ\0\0\0".to_vec(), "xz"),
        ("text", b"packages:\n".to_vec(), "neither a .tar"),
        ("nothing", Vec::new(), "neither a .tar"),
    ] {
        let foreign = Foreign::new();
        for bytes in [bytes.clone(), gzip(&bytes, 6)] {
            foreign.put(&bytes);
            let error = foreign.refused();
            let is_packed_text = bytes.starts_with(&[0x1f, 0x8b]) && matches!(what, "xz" | "text" | "nothing");
            assert!(
                is_packed_text || error.to_string().contains(expected),
                "{what}: {error}"
            );
        }
    }
}

/// Corrects the checksum of every header of a tar stream.
fn seal(stream: &mut [u8]) {
    let mut position = 0;
    while let Some(header) = stream.get_mut(position..position + 512) {
        if header.iter().all(|byte| *byte == 0) {
            return;
        }
        header[148..156].fill(b' ');
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        let size = std::str::from_utf8(&header[124..135]).ok();
        let size = size
            .and_then(|digits| usize::from_str_radix(digits, 8).ok())
            .unwrap_or(0);
        position += 512 + size.min(stream.len()).next_multiple_of(512);
    }
}

#[test]
fn whatever_a_tarball_says_it_is_refused_or_shown() {
    let foreign = Foreign::within(Path::new("/dev/shm"));
    let record = |text: &str| format!("{} {text}\n", text.len() + 4).into_bytes();
    let map = record("GNU.sparse.map=0,5,900,5");
    let sparse = [&map[..], &record("GNU.sparse.size=1000")].concat();
    let tar = Archive::default()
        .add(b'g', b"global", b"", &record("mtime=1700000000.25"))
        .add(b'5', b"./", b"", b"")
        .add(b'0', b"./dir/file", b"", &tree::noise(1, 700))
        .add(b'1', b"./hard", b"./dir/file", b"")
        .add(b'2', b"./link", b"dir", b"")
        .add(b'0', b"./link/through", b"", b"x")
        .add(b'x', b"x", b"", &sparse)
        .add(b'0', b"./sparse", b"", b"1234567890")
        .add(b'L', b"@", b"", &[b'n'; 200])
        .add(b'3', b"./short", b"", b"")
        .add(b'S', b"./old-sparse", b"", &[7; 512]);
    let mut tar = tar.0;
    let header = tar.len() - 1024;
    for (place, number) in [(386, b"00000001000"), (398, b"00000001000"), (483, b"00000002000")] {
        tar[header + place..][..11].copy_from_slice(number);
    }
    let tar = Archive(tar).end();
    let mut shown = 0;
    let draws: Vec<_> = tree::noise(9, 600 * 16).chunks(16).map(<[u8]>::to_vec).collect();
    for draw in draws {
        let mut bytes = tar.clone();
        for edit in draw.chunks(4).take(usize::from(draw[0] % 4) + 1) {
            let place = usize::from(u16::from_le_bytes([edit[1], edit[2]])) % bytes.len();
            bytes[place] = edit[3];
        }
        seal(&mut bytes);
        let _ = fs::remove_file(foreign.paths().index);
        foreign.put(&if draw[0] & 64 == 0 { bytes } else { gzip(&bytes, 1) });
        if prepare(&foreign.paths(), &PrepareOptions::default()).is_err() {
            continue;
        }
        let snapshot = Snapshot::open(&foreign.paths()).unwrap();
        let mut nodes = vec![snapshot.root()];
        while let Some(node) = nodes.pop() {
            let meta = snapshot.attributes(node).unwrap();
            let _ = snapshot.entries(node, 0, &mut |entry| {
                nodes.push(entry.node);
                true
            });
            if let Ok(count) = snapshot.read_at(node, 0, &mut vec![0; 5000]) {
                assert_eq!(count as u64, meta.size_bytes.min(5000));
            }
        }
        dumped(&foreign);
        shown += 1;
    }
    assert!(shown > 100, "{shown}");
}

#[test]
fn bombs_are_refused() {
    let foreign = Foreign::new();
    let limits = Limits {
        tar_bytes_max: 1 << 20,
        nodes_max: 50,
        names_bytes_max: 900,
    };
    let options = PrepareOptions {
        limits,
        ..PrepareOptions::default()
    };
    let files = |count: usize, name: &str| {
        let add = |archive: Archive, number| archive.add(b'0', format!("{name}{number}").as_bytes(), b"", b"");
        (0..count).fold(Archive::default(), add).end()
    };
    let content = vec![0; 2 << 20];
    let large = Archive::default().add(b'0', b"f", b"", &content).end();
    let mut behind = Archive::default().add(b'0', b"f", b"", b"x").end();
    behind.extend(&content);
    let xattr = [&b"997 SCHILY.xattr.user.a="[..], &[b'x'; 972], b"\n"].concat();
    let attributes = Archive::default()
        .add(b'x', b"x", b"", &xattr)
        .add(b'0', b"f", b"", b"")
        .end();
    for (what, bytes, expected) in [
        ("content", large, "1048576 bytes"),
        ("behind the end", behind, "1048576 bytes"),
        ("many files", files(60, ""), "50 files"),
        ("many directories", files(1, &"d/".repeat(49)), "50 files"),
        ("long names", files(20, &"n".repeat(60)), "900 bytes"),
        ("attributes", attributes, "900 bytes"),
    ] {
        for packed in [gzip(&bytes, 9), zstd::encode_all(&bytes[..], 19).unwrap(), bytes] {
            foreign.put(&packed);
            let error = prepare(&foreign.paths(), &options).unwrap_err();
            assert!(error.to_string().contains(expected), "{what}: {error}");
        }
    }
    // A frame that wants more memory than it gets.
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
    encoder.window_log(30).unwrap();
    encoder.long_distance_matching(true).unwrap();
    encoder.write_all(&files(1, "a")).unwrap();
    foreign.put(&encoder.finish().unwrap());
    assert!(foreign.refused().to_string().contains("damaged near byte"));
}

#[test]
fn a_tarball_that_is_cut_short_is_refused() {
    let foreign = Foreign::within(Path::new("/dev/shm"));
    fs::write(foreign.tree().join("a"), tree::noise(1, 40_000)).unwrap();
    fs::write(foreign.tree().join("b"), tree::noise(2, 10_000)).unwrap();
    let tar = foreign.tar(&["--blocking-factor=2"]);
    for packed in [tar.clone(), gzip(&tar, 6), zstd::encode_all(&tar[..], 3).unwrap()] {
        let ends = |packed: &[u8]| packed.len() - if packed == tar { 1024 } else { 0 };
        for length in (0..ends(&packed)).step_by(389) {
            foreign.put(&packed[..length]);
            foreign.refused();
        }
    }
    // gzip members that are whole, but not all of them.
    foreign.put(
        &tar.chunks(10_240)
            .take(3)
            .flat_map(|part| gzip(part, 6))
            .collect::<Vec<_>>(),
    );
    assert!(foreign.refused().to_string().contains("cut short"));
}
