//! Damage anywhere gives the right bytes or an error, never wrong bytes.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use super::foreign::{Foreign, gzip};
use super::*;
use crate::overlay::layer::{FileKind, LayerResult};

/// Makes a small tree, so that thousands of damaged copies can be read whole.
fn small() -> Fixture {
    let fixture = Fixture::in_memory();
    let root = fixture.tree();
    fs::create_dir_all(root.join("usr/bin")).unwrap();
    for name in ["a", "b", "c"] {
        fs::write(
            root.join("usr/bin").join(name),
            tree::noise(name.len() as u64, 700).repeat(2),
        )
        .unwrap();
        std::os::unix::fs::symlink(name, root.join("usr").join(name)).unwrap();
    }
    fs::write(root.join("large"), tree::noise(3, (1 << 20) + 5000)).unwrap();
    rustix::fs::setxattr(
        root.join("usr/bin/a"),
        "trusted.x",
        b"value",
        rustix::fs::XattrFlags::empty(),
    )
    .unwrap();
    fixture.write();
    fixture
}

/// All answers of a layer, each on its own.
type Answers = BTreeMap<Vec<u8>, Option<String>>;

fn ask(layer: &dyn Layer) -> Answers {
    let mut answers = Answers::new();
    visit(layer, layer.root(), b"", &mut answers);
    answers
}

fn visit(layer: &dyn Layer, node: NodeId, path: &[u8], answers: &mut Answers) {
    let mut put = |what: &str, answer: LayerResult<String>| {
        answers.insert([path, b" ", what.as_bytes()].concat(), answer.ok());
    };
    let attributes = layer.attributes(node);
    put("attributes", attributes.clone().map(|meta| format!("{meta:?}")));
    put("link", layer.read_link(node).map(|target| format!("{target:?}")));
    put(
        "xattrs",
        layer
            .xattr(node, "trusted.x".as_ref())
            .map(|value| format!("{value:?}")),
    );
    let Ok(meta) = attributes else { return };
    if meta.kind == FileKind::Regular {
        let mut bytes = vec![0; meta.size_bytes as usize + 1];
        let read = layer.read_at(node, 0, &mut bytes);
        put("content", read.map(|count| Sha256::of(&bytes[..count]).to_string()));
    }
    let mut children = Vec::new();
    let listed = layer.entries(node, 0, &mut |entry| {
        children.push((entry.name.to_owned(), entry.node));
        true
    });
    put("names", listed.map(|()| format!("{children:?}")));
    for (name, child) in children {
        visit(layer, child, &[path, b"/", name.as_bytes()].concat(), answers);
    }
}

/// Checks that all answers are right or absent; an absent one hangs below one that failed.
fn check(right: &Answers, got: &Answers, what: &str) {
    for (question, answer) in got {
        let Some(answer) = answer else { continue };
        let expected = right.get(question).and_then(Option::as_ref);
        assert_eq!(Some(answer), expected, "{what}: {}", question.escape_ascii());
    }
}

fn open_answers(fixture: &Fixture) -> Option<Answers> {
    Snapshot::open(&fixture.paths()).ok().map(|snapshot| ask(&snapshot))
}

/// Returns a cheap sequence of positions and bits.
fn draws(seed: u64, count: usize) -> impl Iterator<Item = u64> {
    let bytes = tree::noise(seed, count * 8);
    let numbers: Vec<_> = bytes
        .chunks(8)
        .map(|chunk| u64::from_le_bytes(chunk.try_into().unwrap()))
        .collect();
    numbers.into_iter()
}

fn flip(path: &Path, position: u64, bit: u32) {
    let file = fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, position).unwrap();
    file.write_all_at(&[byte[0] ^ (1 << bit)], position).unwrap();
}

/// Flips a bit and leaves no trace in the metadata, as a bad disk does.
fn rot(path: &Path, position: u64, bit: u32) {
    let before = fs::metadata(path).unwrap().modified().unwrap();
    flip(path, position, bit);
    fs::File::open(path).unwrap().set_modified(before).unwrap();
}

fn reset_backing(fixture: &Fixture) {
    fs::remove_dir_all(fixture.paths().backing_dir).unwrap();
}

#[test]
fn flips_in_the_tarball() {
    let fixture = small();
    let right = open_answers(&fixture).unwrap();
    let tarball = fixture.paths().tarball;
    let size = fs::metadata(&tarball).unwrap().len();
    let mut failed = 0;
    for draw in draws(1, 1000) {
        reset_backing(&fixture);
        // Half of them near the small members, the table of contents and the footer.
        let position = if draw & 1 == 0 {
            draw % size
        } else {
            size - 1 - draw / 2 % 4000
        };
        flip(&tarball, position, (draw >> 60) as u32 % 8);
        if draw & 2 == 0 {
            fs::remove_file(fixture.paths().index).unwrap();
        }
        match open_answers(&fixture) {
            Some(answers) => {
                check(&right, &answers, &format!("tarball byte {position}"));
                failed += u32::from(answers.values().any(Option::is_none));
            }
            None => failed += 1,
        }
        flip(&tarball, position, (draw >> 60) as u32 % 8);
        open_answers(&fixture).unwrap();
    }
    assert!(failed > 400, "{failed}");
}

#[test]
fn flips_in_the_index() {
    let fixture = small();
    let right = open_answers(&fixture).unwrap();
    let index = fixture.paths().index;
    let good = fs::read(&index).unwrap();
    for draw in draws(2, 3000) {
        let (position, bit) = (draw % good.len() as u64, (draw >> 60) as u32 % 8);
        fs::write(&index, &good).unwrap();
        flip(&index, position, bit);
        let answers = open_answers(&fixture).expect("an unusable index is rebuilt");
        check(&right, &answers, &format!("index byte {position} bit {bit}"));
    }
}

#[test]
fn flips_in_the_backing_store_are_repaired() {
    let fixture = small();
    let right = open_answers(&fixture).unwrap();
    let files: Vec<_> = fs::read_dir(fixture.paths().backing_dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.file_name().unwrap().as_bytes().starts_with(b"members-"))
        .collect();
    assert_eq!(files.len(), 2);
    for draw in draws(3, 1000) {
        let file = &files[usize::from(draw % 5 == 0)];
        let size = fs::metadata(file).unwrap().len();
        flip(file, (draw >> 8) % size, (draw >> 60) as u32 % 8);
        assert_eq!(open_answers(&fixture).unwrap(), right);
    }
    // Holes where a crash lost the bytes but kept the mark.
    for file in &files {
        if file.extension().is_some_and(|extension| extension == "data") {
            fs::write(file, "").unwrap();
        }
    }
    assert_eq!(open_answers(&fixture).unwrap(), right);
    fs::write(&files[0], "").unwrap();
    fs::write(&files[1], "").unwrap();
    assert_eq!(open_answers(&fixture).unwrap(), right);
}

#[test]
fn flips_in_the_backing_store_while_it_is_used() {
    let fixture = small();
    let snapshot = fixture.open();
    let right = ask(&snapshot);
    let (data, size) = backing_data(&fixture.paths().backing_dir);
    for draw in draws(4, 1000) {
        flip(&data, (draw >> 8) % size, (draw >> 60) as u32 % 8);
        assert_eq!(ask(&snapshot), right);
    }
    fs::write(&data, "").unwrap();
    assert_eq!(ask(&snapshot), right);
}

/// Finds the file with the unpacked bytes, and its size.
fn backing_data(directory: &Path) -> (PathBuf, u64) {
    let mut files = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let data = files
        .find(|path| path.extension().is_some_and(|extension| extension == "data"))
        .unwrap();
    let size = fs::metadata(&data).unwrap().len();
    (data, size)
}

/// Makes a tarball from elsewhere with a tar stream of several megabytes, packed by `pack`.
fn foreign(pack: impl FnOnce(&[u8]) -> Vec<u8>) -> Foreign {
    let foreign = Foreign::within(Path::new("/dev/shm"));
    let root = foreign.tree();
    fs::create_dir_all(root.join("usr/bin")).unwrap();
    for name in ["a", "b", "c"] {
        fs::write(
            root.join("usr/bin").join(name),
            tree::noise(name.len() as u64, 700).repeat(2),
        )
        .unwrap();
        std::os::unix::fs::symlink(name, root.join("usr").join(name)).unwrap();
    }
    let text: Vec<u8> = tree::noise(3, 2_500_000).iter().map(|byte| b'a' + byte % 16).collect();
    fs::write(root.join("large"), text).unwrap();
    foreign.put(&pack(&foreign.tar(&[
        "--format=posix",
        "--sort=name",
        "--blocking-factor=2",
    ])));
    foreign
}

/// Flips bits of the tarball, the index and the backing store, unseen by their times, and reads everything.
fn flip_foreign(foreign: &Foreign, draws_count: usize) {
    let paths = foreign.paths();
    let right = ask(&foreign.open());
    let answers = || Snapshot::open(&paths).ok().map(|snapshot| ask(&snapshot));
    let mut failed = 0;
    for (number, draw) in draws(5, draws_count).enumerate() {
        let file = if number % 4 == 0 { &paths.index } else { &paths.tarball };
        let size = fs::metadata(file).unwrap().len();
        let (position, bit) = ((draw >> 8) % size, (draw >> 60) as u32 % 8);
        rot(file, position, bit);
        let _ = fs::remove_dir_all(&paths.backing_dir);
        match answers() {
            Some(answers) => {
                check(&right, &answers, &format!("{file:?} byte {position} bit {bit}"));
                failed += usize::from(answers.values().any(Option::is_none));
            }
            None => failed += 1,
        }
        rot(file, position, bit);
    }
    assert!(failed > draws_count / 2, "{failed}");
    assert_eq!(answers().unwrap(), right);
    let (data, size) = backing_data(&paths.backing_dir);
    for draw in draws(6, draws_count / 4) {
        flip(&data, (draw >> 8) % size, (draw >> 60) as u32 % 8);
        assert_eq!(answers().unwrap(), right);
    }
}

#[test]
fn flips_in_a_gzip_stream_from_elsewhere() {
    let foreign = foreign(|tar| gzip(tar, 6));
    assert!(foreign.open().stats().members_total > 1);
    flip_foreign(&foreign, 600);
}

#[test]
fn flips_in_zstd_frames_from_elsewhere() {
    flip_foreign(
        &foreign(|tar| {
            tar.chunks(900_000)
                .flat_map(|part| zstd::encode_all(part, 1).unwrap())
                .collect()
        }),
        600,
    );
}

#[test]
fn flips_in_a_tar_from_elsewhere() {
    let foreign = foreign(<[u8]>::to_vec);
    flip_foreign(&foreign, 600);
    // Its bytes are not copied, so every read verifies them in the tarball.
    let snapshot = foreign.open();
    let right = ask(&snapshot);
    let size = fs::metadata(&foreign.tarball).unwrap().len();
    for draw in draws(7, 300) {
        let (position, bit) = ((draw >> 8) % size, (draw >> 60) as u32 % 8);
        rot(&foreign.tarball, position, bit);
        check(&right, &ask(&snapshot), &format!("tar byte {position} bit {bit}"));
        rot(&foreign.tarball, position, bit);
        assert_eq!(ask(&snapshot), right);
    }
}

#[test]
fn flips_in_a_long_zstd_frame_from_elsewhere() {
    let foreign = Foreign::within(Path::new("/dev/shm"));
    let text: Vec<u8> = tree::noise(3, 1_000_000).iter().map(|byte| b'a' + byte % 2).collect();
    for name in 0..9 {
        fs::write(foreign.tree().join(name.to_string()), &text).unwrap();
    }
    foreign.put(&zstd::encode_all(&foreign.tar(&["--sort=name"])[..], 1).unwrap());
    flip_foreign(&foreign, 60);
}

#[test]
fn damage_elsewhere_names_the_file_and_the_repair() {
    let foreign = foreign(|tar| gzip(tar, 6));
    let snapshot = foreign.open();
    rot(&foreign.tarball, 300_000, 3);
    let error = snapshot.read_at(find(&snapshot, "large"), 0, &mut [0; 10]).unwrap_err();
    assert_eq!(error.errno, crate::overlay::layer::Errno::IO);
    for part in ["\"/large\"", "foreign.tar", "damaged between bytes", "good copy"] {
        assert!(error.message.contains(part), "{part}: {error}");
    }
    assert_eq!(
        snapshot.read_at(find(&snapshot, "usr/bin/a"), 0, &mut [0; 1]).unwrap(),
        1
    );
}

#[test]
fn truncation() {
    let fixture = small();
    let right = open_answers(&fixture).unwrap();
    let paths = fixture.paths();
    let index = fs::read(&paths.index).unwrap();
    for length in [0, 1, 100, 255, 256, 300, index.len() - 1] {
        fs::write(&paths.index, &index[..length]).unwrap();
        assert_eq!(open_answers(&fixture).unwrap(), right);
    }
    let tarball = fs::read(&paths.tarball).unwrap();
    for length in [0, 1, 17, 100_000, tarball.len() - 127, tarball.len() - 1] {
        fs::write(&paths.tarball, &tarball[..length]).unwrap();
        let error = Snapshot::open(&paths).unwrap_err();
        assert!(error.to_string().contains("chrootenv.tar.gz"), "{error}");
        assert_eq!(error.hint().unwrap().means(), [crate::hint::Means::CleanWorkspace]);
    }
    fs::write(&paths.tarball, [&tarball[..], &tarball[tarball.len() - 126..]].concat()).unwrap();
    assert!(Snapshot::open(&paths).is_err());
}

#[test]
fn damage_names_the_file_and_the_repair() {
    let fixture = small();
    // In the middle of the large file, which the first member holds.
    flip(&fixture.paths().tarball, 300_000, 3);
    let snapshot = fixture.open();
    let large = find(&snapshot, "large");
    let error = snapshot.read_at(large, 0, &mut [0; 10]).unwrap_err();
    assert_eq!(error.errno, crate::overlay::layer::Errno::IO);
    for part in [
        "\"/large\"",
        "chrootenv.tar.gz",
        "damaged between bytes",
        "delete the base and build again",
    ] {
        assert!(error.message.contains(part), "{part}: {error}");
    }
    let mut byte = [0; 1];
    assert_eq!(snapshot.read_at(find(&snapshot, "usr/bin/a"), 0, &mut byte).unwrap(), 1);
}

#[test]
fn a_full_backing_store_only_makes_it_slow() {
    let fixture = small();
    let right = open_answers(&fixture).unwrap();
    reset_backing(&fixture);
    let backing = fixture.paths().backing_dir;
    fs::create_dir(&backing).unwrap();
    let _mounted = Tmpfs::mount(backing, "size=64k");
    assert_eq!(open_answers(&fixture).unwrap(), right);
}
