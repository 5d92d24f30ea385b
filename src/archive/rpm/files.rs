//! The files of a package as its header lists them.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::Timespec;

use crate::archive::ArchiveError;
use crate::archive::stream::{Kind, Member, PATH_BYTES_MAX, relative};
use crate::archive::unpack::{UnpackOptions, Unpacked};
use crate::rpmfile::{Header, RpmFileError, Tag};

/// `%ghost`: the package owns the name and brings no content (rpm-tags(7), `Fileflags`).
const GHOST: u64 = 1 << 6;

/// One file.
#[derive(Debug)]
struct Entry {
    member: Member,
    is_ghost: bool,
    /// The index of its hard-link set; only for a regular file with hard links.
    set: Option<usize>,
    was_seen: bool,
}

/// Names of one inode.
#[derive(Debug, Default)]
struct LinkSet {
    names: Vec<usize>,
    /// The names that came before the content did.
    waiting: Vec<usize>,
    /// The name under which the content was made.
    made: Option<usize>,
}

/// What a payload member creates.
#[derive(Debug)]
pub(super) enum Content {
    /// Nothing yet: its content comes with another name of the same inode.
    Later,
    /// This file, and hard links to it.
    Here { member: Box<Member>, links: Vec<Member> },
}

/// The files of a package, with a mark on those that the payload has brought.
#[derive(Debug)]
pub(super) struct Files {
    entries: Vec<Entry>,
    by_path: HashMap<PathBuf, usize>,
    sets: Vec<LinkSet>,
}

impl Files {
    /// Reads the file list of `header`; `archive` names the package in messages. Few bytes can hold long names for very
    /// many files, which share a directory's name: all names together are bounded by `options`.
    pub(super) fn of(header: &Header, archive: &Path, options: &UnpackOptions) -> Result<Self, ArchiveError> {
        let malformed = |error: RpmFileError| ArchiveError::malformed(archive, error.to_string());
        let columns = Columns::of(header).map_err(malformed)?;
        let mut files = Self {
            entries: Vec::new(),
            by_path: HashMap::new(),
            sets: Vec::new(),
        };
        let mut inodes: HashMap<(u64, u64), Vec<usize>> = HashMap::new();
        let mut names = Unpacked::default();
        for number in 0..columns.count() {
            let uneven = || ArchiveError::malformed(archive, "its header has file lists of different lengths");
            let row = columns.row(number).ok_or_else(uneven)?;
            let member = row
                .member()
                .map_err(|problem| ArchiveError::refused(archive, &row.name, problem))?;
            names.count_name(&member, archive, options)?;
            let is_ghost = row.flags & GHOST != 0;
            if member.kind == Kind::Regular && !is_ghost {
                inodes.entry(row.inode).or_default().push(number);
            }
            if files.by_path.insert(member.path.clone(), number).is_some() {
                return Err(ArchiveError::refused(archive, &row.name, "the header lists it twice"));
            }
            files.entries.push(Entry {
                member,
                is_ghost,
                set: None,
                was_seen: false,
            });
        }
        for names in inodes.into_values().filter(|names| names.len() > 1) {
            for number in &names {
                if let Some(entry) = files.entries.get_mut(*number) {
                    entry.set = Some(files.sets.len());
                }
            }
            files.sets.push(LinkSet {
                names,
                ..LinkSet::default()
            });
        }
        Ok(files)
    }

    /// Finds the number of the file that a payload calls `name`.
    pub(super) fn find(&self, name: &Path) -> Option<usize> {
        let path = inside(name).ok()?;
        self.by_path.get(&path).copied()
    }

    /// Returns the bytes of content that the payload holds for file `number`, for payloads that do not state sizes: of
    /// hard links, only the last has content.
    pub(super) fn stored_bytes(&self, number: usize) -> u64 {
        let Some(entry) = self.entries.get(number) else {
            return 0;
        };
        let set = entry.set.and_then(|set| self.sets.get(set));
        match (&entry.member.kind, set) {
            (Kind::Regular, Some(set)) if set.names.last() != Some(&number) => 0,
            (Kind::Regular, _) => entry.member.size_bytes,
            (Kind::Symlink(target), _) => target.len() as u64,
            _ => 0,
        }
    }

    /// Records that the payload has file `number` with `claimed` bytes of content, and returns what to create. `None`
    /// stands for a payload that does not state sizes.
    ///
    /// # Errors
    /// The file's name and why it is refused.
    pub(super) fn take(&mut self, number: usize, claimed: Option<u64>) -> Result<Content, (PathBuf, &'static str)> {
        let stored = claimed.unwrap_or_else(|| self.stored_bytes(number));
        let Some(entry) = self.entries.get_mut(number) else {
            return Err((
                PathBuf::from(number.to_string()),
                "the package's header has no such file",
            ));
        };
        let name = || entry.member.name.clone();
        if std::mem::replace(&mut entry.was_seen, true) {
            return Err((name(), "the payload has it twice"));
        }
        if entry.is_ghost {
            return Err((name(), "the package only claims it, but the payload has it"));
        }
        let expected = match &entry.member.kind {
            Kind::Regular => entry.member.size_bytes,
            Kind::Symlink(target) => target.len() as u64,
            _ => 0,
        };
        let Some(set) = entry.set.and_then(|set| self.sets.get_mut(set)) else {
            if stored != expected {
                return Err((name(), "the payload gives it another size than the header"));
            }
            return Ok(Content::Here {
                member: Box::new(entry.member.clone()),
                links: Vec::new(),
            });
        };
        set.waiting.push(number);
        let is_last = set.waiting.len() == set.names.len();
        if set.made.is_none() && stored == 0 && !(is_last && expected == 0) {
            return match is_last {
                true => Err((name(), "the payload has no content for any of its hard links")),
                false => Ok(Content::Later),
            };
        }
        if set.made.is_some() && stored != 0 || set.made.is_none() && stored != expected {
            return Err((name(), "the payload gives it another size than the header"));
        }
        let first = *set.made.get_or_insert(number);
        let waiting: Vec<_> = set.waiting.drain(..).filter(|other| *other != first).collect();
        Ok(self.linked(first, number, &waiting))
    }

    /// Returns the content under the name `first`, or only further names for it.
    fn linked(&self, first: usize, number: usize, waiting: &[usize]) -> Content {
        let member = |number: usize| self.entries.get(number).map(|entry| entry.member.clone());
        let target = member(first).map(|member| member.path.into_os_string().into_encoded_bytes());
        let mut links = waiting.iter().filter_map(|other| {
            let mut link = member(*other)?;
            link.kind = Kind::HardLink(target.clone()?);
            link.size_bytes = 0;
            Some(link)
        });
        match member(number).filter(|_| first == number).or_else(|| links.next()) {
            Some(member) => Content::Here {
                member: Box::new(member),
                links: links.collect(),
            },
            None => Content::Later,
        }
    }

    /// Finds a file that the payload should have brought and did not.
    pub(super) fn missing(&self) -> Option<&Path> {
        let missing = self.entries.iter().find(|entry| !entry.was_seen && !entry.is_ghost)?;
        Some(&missing.member.name)
    }
}

/// The header's lists, one value per file in each.
struct Columns<'a> {
    base_names: Vec<&'a [u8]>,
    directory_names: Vec<&'a [u8]>,
    directories: Vec<u64>,
    modes: Vec<u64>,
    sizes: Vec<u64>,
    times: Vec<u64>,
    targets: Vec<&'a [u8]>,
    flags: Vec<u64>,
    devices: Vec<u64>,
    inodes: Vec<u64>,
    device_numbers: Vec<u64>,
}

impl<'a> Columns<'a> {
    fn of(header: &'a Header) -> Result<Self, RpmFileError> {
        let sizes = match header.has(Tag::LONG_FILE_SIZES) {
            true => Tag::LONG_FILE_SIZES,
            false => Tag::FILE_SIZES,
        };
        let base_names = header.byte_strings(Tag::BASE_NAMES)?;
        let directory_names = header.byte_strings(Tag::DIR_NAMES)?;
        let mut names = base_names.iter().chain(&directory_names);
        if names.any(|name| name.len() > PATH_BYTES_MAX) {
            let reason = format!("has a file name of more than {PATH_BYTES_MAX} bytes");
            return Err(RpmFileError::malformed("header", reason));
        }
        Ok(Self {
            base_names,
            directory_names,
            directories: header.numbers(Tag::DIR_INDEXES)?,
            modes: header.numbers(Tag::FILE_MODES)?,
            sizes: header.numbers(sizes)?,
            times: header.numbers(Tag::FILE_MTIMES)?,
            targets: header.byte_strings(Tag::FILE_LINK_TOS)?,
            flags: header.numbers(Tag::FILE_FLAGS)?,
            devices: header.numbers(Tag::FILE_DEVICES)?,
            inodes: header.numbers(Tag::FILE_INODES)?,
            device_numbers: header.numbers(Tag::FILE_RDEVS)?,
        })
    }

    fn count(&self) -> usize {
        self.base_names.len()
    }

    /// Returns the values of file `number`; `None` if a list is shorter than that of the names.
    fn row(&self, number: usize) -> Option<Row<'a>> {
        let at = |numbers: &[u64]| numbers.get(number).copied();
        let directory = usize::try_from(at(&self.directories)?).ok()?;
        let mut name = self.directory_names.get(directory)?.to_vec();
        name.extend(*self.base_names.get(number)?);
        Some(Row {
            name: PathBuf::from(OsStr::from_bytes(&name)),
            mode: u32::try_from(at(&self.modes)?).ok()?,
            size_bytes: at(&self.sizes)?,
            seconds: i64::try_from(at(&self.times)?).ok()?,
            target: self.targets.get(number)?,
            flags: at(&self.flags)?,
            inode: (at(&self.devices)?, at(&self.inodes)?),
            device_number: at(&self.device_numbers)?,
        })
    }
}

/// The header's values for one file.
struct Row<'a> {
    name: PathBuf,
    mode: u32,
    size_bytes: u64,
    seconds: i64,
    target: &'a [u8],
    flags: u64,
    inode: (u64, u64),
    device_number: u64,
}

impl Row<'_> {
    /// Converts the row to the member that it creates; the error is the reason of a refusal.
    fn member(&self) -> Result<Member, &'static str> {
        // Headers have sixteen bits for a device number: eight for each half.
        let device = || {
            let half = |shift: u32| u32::try_from(self.device_number >> shift & 0xff).unwrap_or_default();
            (half(8), half(0))
        };
        let kind = match self.mode & libc::S_IFMT {
            libc::S_IFREG => Kind::Regular,
            libc::S_IFDIR => Kind::Directory,
            libc::S_IFLNK => Kind::Symlink(self.target.to_vec()),
            libc::S_IFCHR => Kind::CharDevice(device().0, device().1),
            libc::S_IFBLK => Kind::BlockDevice(device().0, device().1),
            libc::S_IFIFO => Kind::Fifo,
            _ => return Err("it is of a kind that is not known"),
        };
        Ok(Member {
            path: inside(&self.name)?,
            name: self.name.clone(),
            permissions: self.mode & 0o7777,
            uid: 0,
            gid: 0,
            modified: Timespec {
                tv_sec: self.seconds,
                tv_nsec: 0,
            },
            xattrs: Vec::new(),
            acl_texts: Vec::new(),
            size_bytes: if kind == Kind::Regular { self.size_bytes } else { 0 },
            kind,
            sparse: None,
        })
    }
}

/// Returns the path below the root: headers have absolute names, payloads start them with `.`.
fn inside(name: &Path) -> Result<PathBuf, &'static str> {
    let bytes = name.as_os_str().as_bytes();
    let bytes = bytes.strip_prefix(b".").unwrap_or(bytes);
    let bytes = bytes.strip_prefix(b"/").unwrap_or(bytes);
    match bytes {
        b"" => Ok(PathBuf::new()),
        _ => relative(Path::new(OsStr::from_bytes(bytes))),
    }
}
