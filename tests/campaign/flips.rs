//! Bits that flip in every kind of file that oic keeps: by a write, and below the file system, where no time and no
//! inode number shows it.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use oic_testkit::disk::Disk;

use crate::ground::{Ground, Site};
use crate::random::Random;
use crate::tally::{Fault, Tally};

/// A kind of kept file, and whether `oic cache verify` knows every byte of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Kind {
    name: &'static str,
    /// Whether a build may use it unread (`docs/decisions/0016-rot.md`, "Limits").
    is_trusted: bool,
    /// Whether any flipped bit is found.
    is_covered: bool,
}

/// Kinds by a part of the path and the end of the name; the first that fits counts.
const KINDS: [(&str, &str, Kind); 14] = [
    ("pkgCache/", ".deb", kind("package", true, true)),
    ("/metadata/", "", kind("metadata", false, false)),
    (
        "chrootbuild/chrootenv",
        ".tar.gz",
        kind("tarball of the base", false, true),
    ),
    ("chrootbuild/chrootenv", ".idx", kind("index of the base", false, true)),
    // What was not unpacked yet is a hole with nothing behind it.
    ("chrootbuild/chroot/", ".data", kind("backing store", false, false)),
    (
        "chrootbuild/chroot/",
        ".map",
        kind("map of the backing store", false, true),
    ),
    ("/layers/", "layer.json", kind("manifest of a layer", false, true)),
    ("/layers/", "layer.sums", kind("checksums of a layer", false, true)),
    ("/layers/", "", kind("file of a layer", false, true)),
    ("/imagebuild/", "upper.json", kind("manifest of an upper", false, true)),
    ("/imagebuild/", "upper.sums", kind("checksums of an upper", false, true)),
    ("/upper/", "", kind("file of an upper", false, true)),
    ("/imagebuild/", ".image-record", kind("record of an image", false, true)),
    ("/imagebuild/", ".raw", kind("image", true, true)),
];

const fn kind(name: &'static str, is_trusted: bool, is_covered: bool) -> Kind {
    Kind {
        name,
        is_trusted,
        is_covered,
    }
}

fn kind_of(path: &str) -> Option<Kind> {
    if ["build.log", ".lock", "/lock", "chrootpkgs.dot"]
        .iter()
        .any(|end| path.ends_with(end))
    {
        return None;
    }
    let fits = |part: &str, end: &str| path.contains(part) && path.ends_with(end);
    KINDS
        .iter()
        .find(|(part, end, _)| fits(part, end))
        .map(|(.., kind)| *kind)
}

/// Lists the kept files of `site` by kind.
fn files(site: &Site) -> Vec<(Kind, Vec<PathBuf>)> {
    let mut found = std::collections::BTreeMap::<Kind, Vec<PathBuf>>::new();
    let mut pending = vec![site.cache(), site.work()];
    while let Some(directory) = pending.pop() {
        for entry in fs::read_dir(directory).unwrap().flatten() {
            let metadata = entry.metadata().unwrap();
            let path = entry.path();
            if metadata.is_dir() {
                pending.push(path);
            } else if metadata.is_file()
                && metadata.len() > 0
                && let Some(kind) = kind_of(path.to_str().unwrap_or_default())
            {
                found.entry(kind).or_default().push(path);
            }
        }
    }
    let mut all: Vec<_> = found.into_iter().collect();
    all.iter_mut().for_each(|(_, paths)| paths.sort());
    all
}

/// Draws a file and a place in it that is no hole.
fn draw(site: &Site, random: &mut Random) -> (Kind, PathBuf, u64) {
    let all = files(site);
    let (kind, paths) = random.one_of(&all);
    let path = random.one_of(paths).clone();
    let file = File::open(&path).unwrap();
    let length = file.metadata().unwrap().len();
    let drawn = random.below(length);
    // lseek(2): what is not data is a hole.
    let data = rustix::fs::seek(&file, rustix::fs::SeekFrom::Data(drawn)).unwrap_or(0);
    (*kind, path, data)
}

/// Flips a bit by a write, and leaves the time of modification.
fn write(path: &Path, offset: u64) {
    let file = File::options().read(true).write(true).open(path).unwrap();
    let modified = file.metadata().unwrap().modified().unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset).unwrap();
    file.write_all_at(&[byte[0] ^ 1 << (offset % 8)], offset).unwrap();
    file.set_modified(modified).unwrap();
}

/// The way by which a bit flips.
enum Way {
    Write,
    Below(Disk),
}

impl Way {
    fn flip(&self, path: &Path, offset: u64) {
        match self {
            Self::Write => write(path, offset),
            Self::Below(disk) => disk.flip(path, offset),
        }
    }

    /// Returns whether verify must find it. An image that was written to is its owner's, and no damage.
    fn must_be_found(&self, kind: Kind) -> bool {
        kind.is_covered && (kind.name != "image" || matches!(self, Self::Below(_)))
    }
}

/// Flips bits by writes.
pub fn by_write(ground: &Ground) -> Tally {
    let planned = ground.scale.count(8, 210);
    attempts(ground, "flips by write", planned, &ground.site("flips"), &Way::Write)
}

/// Flips bits in the file below a file system.
pub fn below(ground: &Ground) -> Tally {
    let planned = ground.scale.count(4, 105);
    let directory = ground.directory().join("below");
    fs::create_dir_all(&directory).unwrap();
    let disk = Disk::ext4(&directory.join("disk"), &directory.join("image"), 1 << 30);
    let site = ground.site_in(disk.at());
    attempts(ground, "flips below", planned, &site, &Way::Below(disk))
}

fn attempts(ground: &Ground, name: &str, planned: u64, site: &Site, way: &Way) -> Tally {
    let (mut tally, mut random) = (Tally::of(planned), ground.random(name));
    for _ in 0..planned {
        if !tally.goes_on(&ground.scale) {
            break;
        }
        tally.attempts(1);
        let (kind, path, offset) = draw(site, &mut random);
        let case = format!("{}: {} at {offset}", kind.name, path.display());
        way.flip(&path, offset);
        // What lies above is made again half of the time, so that the damaged file is read.
        match random.below(4) {
            // Without its record, an image is just a file.
            _ if kind.name == "image" => {}
            0 => site.forget(&["imagebuild/tiny/.image-record"]),
            1 => site.forget(&["imagebuild", "chrootbuild/layers"]),
            _ => {}
        }
        let is_there = path.exists();
        if kind.is_trusted || random.below(2) == 0 {
            verify(ground, &mut tally, &case, site, way.must_be_found(kind) && is_there);
        }
        ground.check_build(&mut tally, &case, site);
        let repaired = ground.run(site, &["cache", "verify", "--repair"]);
        ground.check_end(&mut tally, &format!("{case}, the repair"), &repaired, &[Some(0)]);
        ground.check_leftovers(&mut tally, &case, site, true);
    }
    tally
}

/// Checks that verify finds the damage and names the file or its directory, and that a repair removes it.
fn verify(ground: &Ground, tally: &mut Tally, case: &str, site: &Site, must_find: bool) {
    let found = ground.run(site, &["cache", "verify"]);
    let codes: &[_] = if must_find { &[Some(1)] } else { &[Some(0), Some(1)] };
    let verified = ground.check_end(tally, &format!("{case}, verify"), &found, codes);
    if verified && found.code == Some(1) && found.stdout.trim().is_empty() {
        tally.fault(
            Fault::WrongCode,
            format!("{case}: verify names nothing: {}", found.stderr),
        );
    }
    let repaired = ground.run(site, &["cache", "verify", "--repair"]);
    ground.check_end(tally, &format!("{case}, the repair"), &repaired, &[Some(0)]);
}
