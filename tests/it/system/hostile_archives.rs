//! Hostile archives take time and memory in proportion to their members, and not more: each kind of them, with 10,000
//! and with 100,000. `benches/hostile.rs` prints a million.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a panic is the report

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::path::Path;
use std::time::{Duration, Instant};

use oic::archive::deb::{Deb, extract};
use oic::archive::unpack::UnpackOptions;
use oic::snapshot::foreign::{PrepareOptions, index_tarball};
use oic_testkit::hidden;
use oic_testkit::hostile::SHAPES;

const FEW: u32 = 10_000;
const MANY: u32 = 100_000;
/// Most memory for the larger archive, in bytes: ten KiB for each of its members.
const MEMORY_BYTES_MAX: u64 = 1 << 30;
/// A time that is too short to be compared.
const NOISE: Duration = Duration::from_secs(2);
/// The variables that tell the other process what to do.
const TASK: &str = "OIC_TEST_HOSTILE_TASK";
const FILE: &str = "OIC_TEST_HOSTILE_FILE";

/// Reads one archive in a process of its own: returns the time, and the most memory that the process had.
fn cost(task: &str, archive: &Path) -> (Duration, u64) {
    let mut command = hidden::command("system::hostile_archives::as_another_process");
    let output = hidden::run(command.env(TASK, task).env(FILE, archive)).stdout;
    let number = |name: &str| -> u64 {
        let (_, rest) = output.split_once(name).unwrap_or_else(|| panic!("{output}"));
        rest.split_whitespace().next().unwrap().parse().unwrap()
    };
    (Duration::from_millis(number("milliseconds:")), number("peak:") << 10)
}

#[test]
fn as_another_process() {
    let (Ok(task), Some(file)) = (std::env::var(TASK), std::env::var_os(FILE)) else {
        return;
    };
    let (start, file) = (Instant::now(), Path::new(&file));
    let directory = tempfile::tempdir_in("/dev/shm").unwrap();
    let result = match task.as_str() {
        "index" => index_tarball(file, &directory.path().join("idx"), &PrepareOptions::default())
            .map_err(|error| error.to_string()),
        _ => {
            let root = File::open(directory.path()).unwrap();
            let mut deb = Deb::open(file).unwrap();
            let control = deb.control_files().map(|files| files.len());
            println!("control: {control:?}");
            let unpacked = extract(&mut deb, root.as_fd(), &UnpackOptions::default());
            unpacked.map(drop).map_err(|error| error.to_string())
        }
    };
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    println!("milliseconds: {} peak: {peak} {result:?}", start.elapsed().as_millis());
}

/// Compares the costs of two archives of which the second has ten times as much of everything.
#[track_caller]
fn assert_in_proportion(what: &str, few: (Duration, u64), many: (Duration, u64)) {
    eprintln!("{what}: {few:?}, {many:?}");
    assert!(many.0 < few.0 * 30 + NOISE, "{what}: {few:?}, then {many:?}");
    assert!(many.1 < MEMORY_BYTES_MAX, "{what}: {many:?}");
}

#[test]
fn a_tarball_takes_work_in_proportion_to_its_members() {
    let directory = tempfile::tempdir_in("/dev/shm").unwrap();
    let file = directory.path().join("tar.gz");
    for shape in SHAPES {
        let [few, many] = [FEW, MANY].map(|entries| {
            shape.write_to(&file, entries);
            cost("index", &file)
        });
        assert_in_proportion(shape.name, few, many);
    }
}

/// Makes an ar file with these members.
fn ar(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut out = b"!<arch>\n".to_vec();
    for (name, content) in members {
        writeln!(
            out,
            "{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`",
            0,
            0,
            0,
            100_644,
            content.len()
        )
        .unwrap();
        out.extend(*content);
        out.resize(out.len().next_multiple_of(2), b'\n');
    }
    out
}

#[test]
fn a_package_takes_work_in_proportion_to_its_members() {
    let directory = tempfile::tempdir_in("/dev/shm").unwrap();
    let (tarball, package) = (directory.path().join("tar.gz"), directory.path().join("deb"));
    let names = [
        "long names in one directory",
        "a deep tree",
        "one name again and again",
        "hard links to one file",
    ];
    for shape in SHAPES.iter().filter(|shape| names.contains(&shape.name)) {
        let [few, many] = [FEW, MANY].map(|entries| {
            shape.write_to(&tarball, entries);
            let data = std::fs::read(&tarball).unwrap();
            let members = [
                ("debian-binary", &b"2.0\n"[..]),
                ("control.tar.gz", &data),
                ("data.tar.gz", &data),
            ];
            std::fs::write(&package, ar(&members)).unwrap();
            cost("unpack", &package)
        });
        assert_in_proportion(shape.name, few, many);
    }
}

/// An ar file has few members, however many it claims.
#[test]
fn a_package_has_few_parts() {
    let members = ar(&vec![("x", &b""[..]); MANY as usize]);
    let start = Instant::now();
    let error = Deb::new(std::io::Cursor::new(members), Path::new("x.deb")).unwrap_err();
    assert!(error.to_string().contains("16 ar members"), "{error}");
    assert!(start.elapsed() < NOISE);
}

/// Packs many zeros behind the end of an archive: what follows it is skipped, but not for ever.
#[test]
fn a_stream_does_not_go_on_behind_its_end() {
    let directory = tempfile::tempdir_in("/dev/shm").unwrap();
    let mut tarball = Vec::new();
    std::io::repeat(0).take(1 << 30).read_to_end(&mut tarball).unwrap();
    let zeros = zstd_of(&tarball);
    let members = [
        ("debian-binary", &b"2.0\n"[..]),
        ("control.tar.zst", &zeros),
        ("data.tar.zst", &zeros),
    ];
    let mut deb = Deb::new(std::io::Cursor::new(ar(&members)), Path::new("x.deb")).unwrap();
    let root = File::open(directory.path()).unwrap();
    let error = extract(&mut deb, root.as_fd(), &UnpackOptions::default()).unwrap_err();
    assert!(error.to_string().contains("behind its end"), "{error}");
}

/// Compresses with the program of that name.
fn zstd_of(bytes: &[u8]) -> Vec<u8> {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    std::io::Seek::rewind(&mut file).unwrap();
    let output = std::process::Command::new("zstd")
        .arg("-c")
        .stdin(file)
        .output()
        .unwrap();
    assert!(output.status.success());
    output.stdout
}
