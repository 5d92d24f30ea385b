//! Trees and tarballs of many empty files, and the memory that a server of them takes.

use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

/// Many empty files in memory: half of them in one directory, the others in directories of 100.
#[derive(Debug)]
pub struct Place {
    directory: tempfile::TempDir,
}

/// The resident memory of a process, from proc_pid_status(5).
#[derive(Debug)]
pub struct Memory {
    /// Bytes of its own.
    pub anonymous_bytes: u64,
    /// Bytes of mapped files: mostly pages of the index, which the kernel can take back at any time.
    pub file_bytes: u64,
}

impl Place {
    /// Makes a directory in memory with a mount point `mnt` and nothing else.
    fn new() -> Self {
        let directory = tempfile::tempdir_in("/dev/shm").expect("/dev/shm");
        fs::create_dir(directory.path().join("mnt")).unwrap();
        Self { directory }
    }

    /// Makes `files` as a directory `tree`.
    pub fn with_tree(files: u32) -> Self {
        let place = Self::new();
        let tree = place.at("tree");
        fs::create_dir_all(tree.join("many")).unwrap();
        for number in 0..files / 2 {
            File::create(tree.join(format!("many/f{number}"))).unwrap();
            let below = tree.join(format!("d{}", number / 100));
            if number % 100 == 0 {
                fs::create_dir(&below).unwrap();
            }
            File::create(below.join(format!("f{number}"))).unwrap();
        }
        place
    }

    /// Makes `files` as a `tar.gz` of one stream.
    pub fn with_tarball(files: u32) -> Self {
        let place = Self::new();
        let file = BufWriter::new(File::create(place.at("tar.gz")).unwrap());
        let mut gzip = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
        for number in 0..files / 2 {
            for name in [format!("many/f{number}"), format!("d{}/f{number}", number / 100)] {
                gzip.write_all(empty_file(&name).as_bytes()).unwrap();
            }
        }
        gzip.write_all(&[0; 1024]).unwrap();
        gzip.finish().unwrap().flush().unwrap();
        place
    }

    /// Returns the path of `name` in the directory.
    pub fn at(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
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

impl Memory {
    /// Reads the memory of the running process `pid`.
    pub fn of(pid: u32) -> Self {
        let status = fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("status")).unwrap();
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
        };
        Self {
            anonymous_bytes: field("RssAnon:"),
            file_bytes: field("RssFile:") + field("RssShmem:"),
        }
    }
}
