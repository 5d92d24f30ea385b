//! Small file systems that a test fills up, and below which it flips bits or makes reads fail.
//!
//! Each is mounted in the mount namespace of the caller, which should be a private one.

use std::fs::{self, File};
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use crate::faulty::Faulty;
use crate::tool;

const BLOCK_BYTES: u64 = 4096;
/// The name of the file that takes the space which [`Disk::leave`] does not leave.
const FILLER: &str = "filler";

/// A mounted file system of a small size; unmounted when dropped.
#[derive(Debug)]
pub struct Disk {
    at: PathBuf,
    /// What lies below an ext4; a tmpfs has nothing below it.
    below: Option<Below>,
}

/// The image file of an ext4.
#[derive(Debug)]
enum Below {
    /// A plain file.
    Plain(PathBuf),
    /// A file of which some ranges cannot be read.
    Faulty(Faulty),
}

impl Below {
    fn device_file(&self) -> &Path {
        match self {
            Self::Plain(image) => image,
            Self::Faulty(faulty) => faulty.path(),
        }
    }
}

impl Disk {
    /// Mounts an empty tmpfs of so many bytes at `at`.
    pub fn tmpfs(at: &Path, size_bytes: u64) -> Self {
        fs::create_dir_all(at).unwrap();
        let size = format!("size={size_bytes},mode=755");
        tool(
            "mount",
            &[
                "-t".as_ref(),
                "tmpfs".as_ref(),
                "-o".as_ref(),
                size.as_ref(),
                "none".as_ref(),
                at.as_os_str(),
            ],
        );
        Self {
            at: at.to_owned(),
            below: None,
        }
    }

    /// Makes an ext4 of so many bytes in the new file `image`, and mounts it at `at`.
    pub fn ext4(at: &Path, image: &Path, size_bytes: u64) -> Self {
        make(image, size_bytes);
        Self::with(at, Below::Plain(image.to_owned()))
    }

    /// Does the same as [`Self::ext4`], so that [`Self::fail`] works. `image` has a directory beside it then.
    pub fn faulty_ext4(at: &Path, image: &Path, size_bytes: u64) -> Self {
        make(image, size_bytes);
        Self::with(at, Below::Faulty(Faulty::over(image)))
    }

    fn with(at: &Path, below: Below) -> Self {
        fs::create_dir_all(at).unwrap();
        let disk = Self {
            at: at.to_owned(),
            below: Some(below),
        };
        disk.mount();
        disk
    }

    /// Returns the directory at which it is mounted.
    pub fn at(&self) -> &Path {
        &self.at
    }

    /// Names the type of the file system.
    pub fn kind(&self) -> &'static str {
        match self.below {
            None => "tmpfs",
            Some(_) => "ext4",
        }
    }

    /// Fills the file system, so that it has so many bytes left.
    pub fn leave(&self, free_bytes: u64) {
        self.relieve();
        let filler = self.at.join(FILLER);
        let (mut taken, mut step) = (0, u64::MAX);
        // The file's own extents take space too: the last steps are small.
        while step >= BLOCK_BYTES {
            step = step.min(self.free_bytes().saturating_sub(free_bytes));
            let (from, size) = (taken.to_string(), step.to_string());
            let args = ["--offset", &from, "--length", &size].map(std::ffi::OsStr::new);
            let mut command = std::process::Command::new("fallocate");
            let output = command.args(args).arg(&filler).output().unwrap();
            match output.status.success() {
                true => taken += step,
                false => step /= 2,
            }
        }
    }

    fn free_bytes(&self) -> u64 {
        let text = tool(
            "stat",
            &["-f".as_ref(), "-c".as_ref(), "%a %S".as_ref(), self.at.as_os_str()],
        );
        text.split_whitespace()
            .map(|number| number.parse::<u64>().unwrap())
            .product()
    }

    /// Gives back what [`Self::leave`] took.
    pub fn relieve(&self) {
        let _ = fs::remove_file(self.at.join(FILLER));
    }

    /// Flips one bit of `file` below the file system: nothing but the byte changes. The file system must not be in use.
    pub fn flip(&self, file: &Path, offset_bytes: u64) {
        let at = self.place(file, offset_bytes);
        self.unmount();
        let image = File::options().read(true).write(true).open(self.device_file()).unwrap();
        let mut byte = [0];
        image.read_exact_at(&mut byte, at).unwrap();
        image.write_all_at(&[byte[0] ^ 1 << (at % 8)], at).unwrap();
        image.sync_all().unwrap();
        drop(image);
        self.mount();
    }

    /// Makes every read of the content of `file` fail with `EIO`. The file system must not be in use.
    pub fn fail(&self, file: &Path) {
        let ranges = self.extents(file).into_iter().map(|(_, range)| range).collect();
        self.faults(ranges);
    }

    /// Makes all reads work again. The file system must not be in use.
    pub fn heal(&self) {
        self.faults(Vec::new());
    }

    fn faults(&self, ranges: Vec<Range<u64>>) {
        let Some(Below::Faulty(faulty)) = &self.below else {
            panic!("this disk cannot fail");
        };
        self.unmount();
        faulty.fail(ranges);
        self.mount();
    }

    /// Returns where the byte of `file` at `offset_bytes` lies in the image.
    fn place(&self, file: &Path, offset_bytes: u64) -> u64 {
        let extents = self.extents(file);
        let found = extents.iter().find_map(|(start, range)| {
            let within = offset_bytes.checked_sub(*start)?;
            (within < range.end - range.start).then_some(range.start + within)
        });
        found.unwrap_or_else(|| panic!("{} has nothing at {offset_bytes}: {extents:?}", file.display()))
    }

    /// Lists the extents of `file`, as filefrag(8) does: where each begins in the file, and its place in the image.
    fn extents(&self, file: &Path) -> Vec<(u64, Range<u64>)> {
        File::open(file).unwrap().sync_all().unwrap();
        let text = tool("filefrag", &["-v".as_ref(), file.as_os_str()]);
        let parse = |line: &str| {
            let mut fields = line.split(':');
            let number = |field: Option<&str>| field?.split("..").next()?.trim().parse::<u64>().ok();
            number(fields.next())?;
            let (logical, physical) = (number(fields.next())?, number(fields.next())?);
            let length = number(fields.next())?;
            Some((
                logical * BLOCK_BYTES,
                physical * BLOCK_BYTES..(physical + length) * BLOCK_BYTES,
            ))
        };
        text.lines().filter_map(parse).collect()
    }

    fn device_file(&self) -> &Path {
        self.below.as_ref().expect("a tmpfs lies on nothing").device_file()
    }

    fn mount(&self) {
        tool(
            "mount",
            &[
                "-o".as_ref(),
                "loop".as_ref(),
                self.device_file().as_os_str(),
                self.at.as_os_str(),
            ],
        );
    }

    fn unmount(&self) {
        tool("umount", &[&self.at]);
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let _ = std::process::Command::new("umount").arg("-l").arg(&self.at).status();
        } else {
            self.unmount();
        }
    }
}

fn make(image: &Path, size_bytes: u64) {
    File::create(image).unwrap().set_len(size_bytes).unwrap();
    let block = BLOCK_BYTES.to_string();
    let args = ["-q", "-F", "-m", "0", "-b", &block].map(std::ffi::OsStr::new);
    tool("mkfs.ext4", &[&args[..], &[image.as_os_str()]].concat());
}

/// Lists the loop devices whose file lies below `directory`.
pub fn loop_devices(directory: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/sys/block").unwrap().flatten() {
        let file = fs::read_to_string(entry.path().join("loop/backing_file")).unwrap_or_default();
        if Path::new(file.trim_end()).starts_with(directory) {
            found.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    found
}
