//! Readers of a directory that change it as they go.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::Path;
use std::sync::Arc;

use super::differential::Room;
use super::memory_layer::MemoryLayer;
use super::target::{Direct, Op, Target as _};
use crate::overlay::layer::Layer;
use crate::overlay::{Ino, RenameMode};

const NAMES: usize = 300;
/// The entries that one request returns.
const BATCH: usize = 7;

/// What the directory `d` with its names is made of.
#[derive(Debug, Clone, Copy)]
enum Made {
    /// Everything is new.
    Upper,
    /// Everything is in one layer.
    Layer,
    /// The names are in two layers and the upper.
    Merged,
}

fn make(room: &Room, made: Made) -> Direct {
    let mut layers = [MemoryLayer::new(), MemoryLayer::new()];
    for layer in &mut layers {
        layer.directory("d");
    }
    let mut new = Vec::new();
    for number in 0..NAMES {
        let name = format!("d/{number}");
        match (made, number % 3) {
            (Made::Upper, _) | (Made::Merged, 0) => new.push(name),
            (Made::Layer, _) | (Made::Merged, 1) => drop(layers[1].file(&name, b"")),
            (Made::Merged, _) => drop(layers[0].file(&name, b"")),
        }
    }
    let [top, base] = layers.map(|layer| Arc::new(layer) as Arc<dyn Layer>);
    let mut direct = match made {
        Made::Merged => room.overlay(vec![top, base]),
        Made::Upper | Made::Layer => room.overlay(vec![base]),
    };
    for name in new {
        direct.apply(&Op::Create(name.into(), 0o644)).unwrap();
    }
    direct
}

/// Returns the next entries behind a cookie, by both kinds of listing.
fn next(direct: &Direct, directory: Ino, after: u64, with_metadata: bool) -> Vec<(u64, String)> {
    let mut got: Vec<(u64, String)> = Vec::new();
    let mut add = |cookie: u64, name: &OsStr| {
        if got.len() == BATCH {
            return false;
        }
        got.push((cookie, name.to_str().unwrap().to_owned()));
        true
    };
    let listed = match with_metadata {
        false => direct
            .overlay
            .read_dir(directory, after, &mut |entry| add(entry.cookie, entry.name)),
        true => direct
            .overlay
            .read_dir_plus(directory, after, &mut |entry, _| add(entry.cookie, entry.name)),
    };
    listed.unwrap();
    got
}

/// Lists `d`, calls `change` for each name as it comes, and returns how often each came.
fn read(direct: &mut Direct, with_metadata: bool, change: &dyn Fn(&mut Direct, &str)) -> BTreeMap<String, usize> {
    let directory = direct.find(Path::new("d")).unwrap();
    let mut seen = BTreeMap::new();
    let (mut after, mut total) = (0, 0);
    loop {
        let batch = next(direct, directory, after, with_metadata);
        let Some((last, _)) = batch.last() else {
            return seen;
        };
        after = *last;
        for (_, name) in batch {
            total += 1;
            assert!(total < 20 * NAMES, "the listing does not end");
            change(direct, &name);
            *seen.entry(name).or_default() += 1;
        }
    }
}

fn rename(direct: &mut Direct, from: &str, to: &str) {
    let path = |name: &str| Path::new("d").join(name);
    direct
        .apply(&Op::Rename(path(from), path(to), RenameMode::Replace))
        .unwrap();
}

fn each_way(check: impl Fn(Made, bool)) {
    for made in [Made::Upper, Made::Layer, Made::Merged] {
        for with_metadata in [false, true] {
            check(made, with_metadata);
        }
    }
}

#[test]
fn a_name_that_is_away_for_a_moment_is_listed_once() {
    type Change = fn(&mut Direct, &str);
    let changes: [(&str, Change); 4] = [
        ("renamed and back", |direct, name| {
            rename(direct, name, "TEMPORARY");
            rename(direct, "TEMPORARY", name);
        }),
        ("deleted and made again", |direct, name| {
            direct.apply(&Op::Unlink(Path::new("d").join(name))).unwrap();
            direct.apply(&Op::Create(Path::new("d").join(name), 0o644)).unwrap();
        }),
        ("deleted and made a directory", |direct, name| {
            direct.apply(&Op::Unlink(Path::new("d").join(name))).unwrap();
            direct
                .apply(&Op::MakeDirectory(Path::new("d").join(name), 0o755))
                .unwrap();
        }),
        ("replaced", |direct, name| {
            direct.apply(&Op::Create("d/NEW".into(), 0o644)).unwrap();
            rename(direct, "NEW", name);
        }),
    ];
    each_way(|made, with_metadata| {
        for (what, change) in changes {
            let room = Room::new();
            let mut direct = make(&room, made);
            let seen = read(&mut direct, with_metadata, &change);
            let wrong: Vec<_> = seen.iter().filter(|(_, count)| **count != 1).collect();
            assert!(wrong.is_empty(), "{made:?}, {what}: {wrong:?}");
            let lasting = seen.keys().filter(|name| name.parse::<usize>().is_ok()).count();
            assert_eq!(lasting, NAMES, "{made:?}, {what}");
        }
    });
}

#[test]
fn a_reader_that_gives_every_entry_a_new_name_comes_to_the_end() {
    each_way(|made, with_metadata| {
        let room = Room::new();
        let mut direct = make(&room, made);
        let renamed = std::cell::Cell::new(0);
        let seen = read(&mut direct, with_metadata, &|direct, name| {
            renamed.set(renamed.get() + 1);
            rename(direct, name, &format!("renamed-{}", renamed.get()));
        });
        let of_before = seen.keys().filter(|name| name.parse::<usize>().is_ok()).count();
        assert_eq!(of_before, NAMES, "{made:?}");
    });
}
