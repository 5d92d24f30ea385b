//! Snapshots of many files, and mounts of them.
#![allow(dead_code)] // each user takes a part of it

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use oic::mount::Restrictions;
use oic::mount::server::{LayerRequest, Lifetime, Prefetch, SnapshotRequest};
use oic::mount::session::{self, MountRequest, Session, View};
use oic::package::Sha256;
use oic::snapshot::foreign::{PrepareOptions, prepare};
use oic::snapshot::{SnapshotPaths, WriteOptions, write};

/// A snapshot of empty files: half of them in one directory, the others in directories of 100.
pub struct Place {
    directory: tempfile::TempDir,
}

/// A mount, and how long it took to make.
pub struct Mounted {
    pub session: Session,
    pub time: Duration,
}

/// What the server takes (proc_pid_status(5)).
#[derive(Debug)]
pub struct Memory {
    /// Its own.
    pub anonymous_bytes: u64,
    /// Mapped files: mostly pages of the index, which the kernel can take back at any time.
    pub file_bytes: u64,
}

impl Place {
    /// Writes the snapshot, in memory.
    pub fn new(files: u32) -> Self {
        let directory = tempfile::tempdir_in("/dev/shm").unwrap();
        let tree = directory.path().join("tree");
        fs::create_dir_all(tree.join("many")).unwrap();
        fs::create_dir(directory.path().join("mnt")).unwrap();
        for number in 0..files / 2 {
            File::create(tree.join(format!("many/f{number}"))).unwrap();
            let below = tree.join(format!("d{}", number / 100));
            if number % 100 == 0 {
                fs::create_dir(&below).unwrap();
            }
            File::create(below.join(format!("f{number}"))).unwrap();
        }
        let place = Self { directory };
        let options = WriteOptions::new(Sha256::of("scale"));
        write(&tree, &place.at("tar.gz"), &place.at("idx"), &options).unwrap();
        fs::remove_dir_all(&tree).unwrap();
        place
    }

    /// Makes an index for a `.tar.gz` of one stream with the same files, in memory.
    pub fn foreign(files: u32) -> Self {
        let directory = tempfile::tempdir_in("/dev/shm").unwrap();
        fs::create_dir(directory.path().join("mnt")).unwrap();
        let place = Self { directory };
        let file = BufWriter::new(File::create(place.at("tar.gz")).unwrap());
        let mut gzip = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
        for number in 0..files / 2 {
            for name in [format!("many/f{number}"), format!("d{}/f{number}", number / 100)] {
                gzip.write_all(empty_file(&name).as_bytes()).unwrap();
            }
        }
        gzip.write_all(&[0; 1024]).unwrap();
        gzip.finish().unwrap().flush().unwrap();
        let paths = SnapshotPaths {
            tarball: place.at("tar.gz"),
            index: place.at("idx"),
            backing_dir: place.at("store"),
        };
        assert!(prepare(&paths, &PrepareOptions::default()).unwrap());
        place
    }

    pub fn at(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Mounts it.
    pub fn mount(&self) -> Mounted {
        let layers = LayerRequest {
            snapshot: Some(SnapshotRequest {
                tarball: self.at("tar.gz"),
                index: self.at("idx"),
                backing_dir: self.at("store"),
                prefetch: Prefetch::Sequential,
                record_order: false,
            }),
            pool: None,
        };
        let request = MountRequest {
            program: env!("CARGO_BIN_EXE_oic").into(),
            restrictions: Restrictions::VIEW,
            lifetime: Lifetime::Caller,
            ..MountRequest::view(layers, "base")
        };
        assert_eq!(request.view, View::Layer("base".into()));
        let start = Instant::now();
        let session = session::mount(&request, &self.at("mnt")).unwrap();
        Mounted {
            time: start.elapsed(),
            session,
        }
    }
}

fn empty_file(name: &str) -> tar::Header {
    let mut header = tar::Header::new_ustar();
    header.set_path(name).unwrap();
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(1_700_000_000);
    header.set_size(0);
    header.set_cksum();
    header
}

impl Mounted {
    pub fn at(&self) -> &Path {
        self.session.mount_point()
    }

    /// What its server takes now.
    pub fn server_memory(&self) -> Memory {
        let status = fs::read_to_string(format!("/proc/{}/status", self.session.server_pid().unwrap())).unwrap();
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
        };
        Memory {
            anonymous_bytes: field("RssAnon:"),
            file_bytes: field("RssFile:") + field("RssShmem:"),
        }
    }
}
