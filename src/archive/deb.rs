//! Debian binary packages (deb(5), format 2.0): an ar file of `debian-binary`,
//! `control.tar` and `data.tar`.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};

use super::ar::{self, ArError};
use super::compression::Compression;
use super::unpack::{self, UnpackOptions, Unpacked};
use super::{ArchiveError, ar::Member};
use crate::durable::open_regular;

/// Size of the read buffer, in bytes.
const BUFFER_BYTES: usize = 128 << 10;
/// Upper limit for all control files of a package together, in bytes.
const CONTROL_BYTES_MAX: u64 = 64 << 20;

/// An open `.deb`. Its content is read on demand; nothing is kept in memory.
#[derive(Debug)]
pub struct Deb<R> {
    reader: R,
    path: PathBuf,
    control: (Member, Compression),
    data: (Member, Compression),
    build_seconds: u64,
}

/// A file of `control.tar`: `control`, a maintainer script, `conffiles` …
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ControlFile {
    /// Its name, without `./`.
    pub name: Vec<u8>,
    /// Its permission bits.
    pub permissions: u32,
    /// Its bytes.
    pub contents: Vec<u8>,
}

impl Deb<File> {
    /// Opens the package file `path`.
    ///
    /// # Errors
    /// If it cannot be read or is not a format 2 package.
    pub fn open(path: &Path) -> Result<Self, ArchiveError> {
        let file = open_regular(path).map_err(ArchiveError::read(path))?;
        Self::new(file, path)
    }
}

impl<R: Read + Seek> Deb<R> {
    /// Takes the package from `reader`; `path` is its name in messages.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn new(mut reader: R, path: &Path) -> Result<Self, ArchiveError> {
        let members = ar::members(&mut reader).map_err(|error| match error {
            ArError::Io(source) => ArchiveError::read(path)(source),
            ArError::Malformed(problem) => ArchiveError::malformed(path, problem),
        })?;
        let mut members = members.into_iter();
        let version = members
            .next()
            .filter(|member| member.name == b"debian-binary" && member.size_bytes <= 1024)
            .ok_or_else(|| ArchiveError::malformed(path, "the first ar member is not debian-binary"))?;
        let mut text = Vec::new();
        section(&mut reader, &version)
            .and_then(|mut section| section.read_to_end(&mut text))
            .map_err(ArchiveError::read(path))?;
        if !text.starts_with(b"2.") {
            return Err(ArchiveError::malformed(path, "its package format is not 2.0"));
        }
        // deb(5): members whose name starts with an underscore are to be ignored.
        let mut members = members.filter(|member| !member.name.starts_with(b"_"));
        Ok(Self {
            control: tar_member(path, members.next(), "control.tar")?,
            data: tar_member(path, members.next(), "data.tar")?,
            build_seconds: version.seconds,
            reader,
            path: path.to_owned(),
        })
    }

    /// Returns the build time, in seconds since 1970: the time of the first member, for which dpkg-deb(1) takes
    /// `SOURCE_DATE_EPOCH`, the date of the last entry in the changelog.
    pub fn build_seconds(&self) -> u64 {
        self.build_seconds
    }

    /// Reads all files of `control.tar`, in its order.
    ///
    /// # Errors
    /// If it is damaged, holds more than 64 MiB, or has a file without a name or in a directory.
    pub fn control_files(&mut self) -> Result<Vec<ControlFile>, ArchiveError> {
        let path = self.path.clone();
        let fail = || ArchiveError::read(&path);
        let reader = self.stream(false)?.take(CONTROL_BYTES_MAX + 1);
        let mut archive = tar::Archive::new(reader);
        let mut files = Vec::new();
        // Raw: control files have short names, and no long name is collected into memory.
        for entry in archive.entries().map_err(fail())?.raw(true) {
            let mut entry = entry.map_err(fail())?;
            let name = entry.path_bytes().into_owned();
            // An old kind of tar marks a directory by the slash alone.
            if !entry.header().entry_type().is_file() || name.ends_with(b"/") {
                continue;
            }
            let name = name.strip_prefix(b"./").unwrap_or(&name).to_owned();
            // dpkg takes no directories there either.
            if name.is_empty() || name.contains(&b'/') {
                let problem = format!("control.tar has a file with the name \"{}\"", name.escape_ascii());
                return Err(ArchiveError::malformed(&path, problem));
            }
            let mut contents = Vec::new();
            let read = entry.read_to_end(&mut contents).map_err(fail())?;
            if read as u64 != entry.size() {
                let problem = format!("control.tar is truncated, or larger than {CONTROL_BYTES_MAX} bytes");
                return Err(ArchiveError::malformed(&path, problem));
            }
            files.push(ControlFile {
                name,
                permissions: entry.header().mode().map_err(fail())? & 0o7777,
                contents,
            });
        }
        Ok(files)
    }

    /// Reads the control file `name` (`control`, `postinst`, `conffiles` …); `None` if the package lacks it.
    ///
    /// # Errors
    /// As [`Self::control_files`].
    pub fn control_file(&mut self, name: &str) -> Result<Option<Vec<u8>>, ArchiveError> {
        let files = self.control_files()?;
        Ok(files
            .into_iter()
            .find(|file| file.name == name.as_bytes())
            .map(|file| file.contents))
    }

    /// Returns the decompressed `data.tar` stream.
    ///
    /// # Errors
    /// If the package cannot be read.
    pub fn data(&mut self) -> Result<impl Read + '_, ArchiveError> {
        self.stream(true)
    }

    /// Returns the package's name in messages.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn stream(&mut self, data: bool) -> Result<Box<dyn Read + '_>, ArchiveError> {
        let Self {
            reader,
            path,
            control,
            data: data_tar,
            ..
        } = self;
        let (member, compression) = if data { data_tar } else { control };
        section(reader, member)
            .and_then(|section| compression.decoder(BufReader::with_capacity(BUFFER_BYTES, section)))
            .map_err(ArchiveError::read(path))
    }
}

/// Unpacks the files of `deb` into the directory `root`, as `dpkg` does: directories
/// and symbolic links to directories that exist are kept as they are.
///
/// # Errors
/// If the package is damaged, a member is refused (see [`unpack::unpack_tar`]) or
/// cannot be created.
pub fn extract<R: Read + Seek>(
    deb: &mut Deb<R>,
    root: BorrowedFd<'_>,
    options: &UnpackOptions,
) -> Result<Unpacked, ArchiveError> {
    let path = deb.path.clone();
    let mut stream = deb.stream(true)?;
    let unpacked = unpack::unpack_tar(&mut stream, root, &path, options)?;
    super::to_the_end(&mut stream, &path)?;
    Ok(unpacked)
}

fn section<'a, R: Read + Seek>(reader: &'a mut R, member: &Member) -> std::io::Result<std::io::Take<&'a mut R>> {
    reader.seek(SeekFrom::Start(member.offset))?;
    Ok(reader.take(member.size_bytes))
}

fn tar_member(path: &Path, member: Option<Member>, stem: &str) -> Result<(Member, Compression), ArchiveError> {
    let member = member.ok_or_else(|| ArchiveError::malformed(path, format!("it has no {stem}")))?;
    let suffix = member.name.strip_prefix(stem.as_bytes());
    let name = String::from_utf8_lossy(&member.name);
    let Some(suffix) = suffix else {
        return Err(ArchiveError::malformed(
            path,
            format!("ar member {name:?} stands where {stem} should"),
        ));
    };
    match Compression::from_suffix(suffix) {
        Some(compression) => Ok((member, compression)),
        None => Err(ArchiveError::malformed(
            path,
            format!("{name:?} is compressed in a way that is not supported (gz, bz2, xz, zst are)"),
        )),
    }
}
