//! Archives that bring packages along: tar, compressed or not, and zip.
//!
//! Invariant: nothing is written. The caller gets the content of one package after the other, within bounds, whatever
//! the archive says; names that lead out of the archive are refused.

use std::fs::File;
use std::io::{BufReader, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use super::compression::Compression;
use super::stream::{Kind, Rules, Stream, relative};
use super::{ArchiveError, to_the_end, zip};

/// The most members of an archive.
const MEMBERS_MAX: usize = 100_000;
/// The largest package in an archive, in bytes; it is held in memory.
const PACKAGE_BYTES_MAX: u64 = 1 << 30;
/// Upper limit for what an archive unpacks to, in bytes.
const ARCHIVE_BYTES_MAX: u64 = 16 << 30;

/// The form of an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// tar, with its compression.
    Tar(Compression),
    /// zip.
    Zip,
}

/// The endings of the names of archives.
pub const ENDINGS: [(&str, Form); 8] = [
    (".tar", Form::Tar(Compression::Plain)),
    (".tar.gz", Form::Tar(Compression::Gzip)),
    (".tgz", Form::Tar(Compression::Gzip)),
    (".tar.xz", Form::Tar(Compression::Xz)),
    (".txz", Form::Tar(Compression::Xz)),
    (".tar.zst", Form::Tar(Compression::Zstd)),
    (".tar.bz2", Form::Tar(Compression::Bzip2)),
    (".zip", Form::Zip),
];

impl Form {
    /// Finds the form of an archive by its `name`; `None` if its ending is that of no archive.
    pub fn of_name(name: &str) -> Option<Self> {
        let name = name.to_ascii_lowercase();
        let found = ENDINGS.iter().find(|(ending, _)| name.ends_with(ending));
        found.map(|(_, form)| *form)
    }
}

/// A package in an archive.
#[derive(Debug)]
pub struct Packed {
    /// The name of its member.
    pub name: String,
    /// Its bytes.
    pub content: Vec<u8>,
}

/// Reads the archive `file` and gives `each` package in it, that is each regular file whose name ends with `.` and
/// `extension`, in whatever directory. `shown` names the archive in messages.
///
/// # Errors
/// [`ArchiveError`] if the archive is damaged or out of bounds, or holds a name that leads out of it; the errors of
/// `each`.
pub fn packages<E: From<ArchiveError>>(
    file: File,
    shown: &Path,
    form: Form,
    extension: &str,
    each: &mut dyn FnMut(Packed) -> Result<(), E>,
) -> Result<(), E> {
    let mut bounds = Bounds {
        shown,
        left: ARCHIVE_BYTES_MAX,
        members: 0,
        extension,
    };
    match form {
        Form::Tar(compression) => of_tar(file, compression, &mut bounds, each),
        Form::Zip => of_zip(&file, &mut bounds, each),
    }
}

/// What an archive may still have.
struct Bounds<'a> {
    shown: &'a Path,
    left: u64,
    members: usize,
    extension: &'a str,
}

impl Bounds<'_> {
    /// Counts a member of `size_bytes`. Returns the name of a package, and `None` for another file.
    fn admit(&mut self, name: &Path, is_file: bool, size_bytes: u64) -> Result<Option<String>, ArchiveError> {
        let refused = |problem: &str| ArchiveError::refused(self.shown, name, problem);
        self.members += 1;
        if self.members > MEMBERS_MAX {
            return Err(refused("the archive has too many members"));
        }
        let inside = relative(name).map_err(refused)?;
        let is_package = inside.extension().is_some_and(|found| found == self.extension);
        // Nothing else is unpacked, and tar passes over it in one pass.
        self.left = match self.left.checked_sub(size_bytes) {
            Some(left) => left,
            None => return Err(refused("the archive unpacks to too much")),
        };
        if !is_file || !is_package {
            return Ok(None);
        }
        if size_bytes > PACKAGE_BYTES_MAX {
            return Err(refused("it is too large for a package"));
        }
        Ok(Some(
            String::from_utf8_lossy(inside.as_os_str().as_bytes()).into_owned(),
        ))
    }
}

fn of_tar<E: From<ArchiveError>>(
    file: File,
    compression: Compression,
    bounds: &mut Bounds<'_>,
    each: &mut dyn FnMut(Packed) -> Result<(), E>,
) -> Result<(), E> {
    let shown = bounds.shown;
    let read = ArchiveError::read;
    let decoder = compression.decoder(BufReader::new(file)).map_err(read(shown))?;
    let mut stream = Stream::new(decoder, shown, Rules::Tar);
    while let Some(member) = stream.next_member()? {
        let is_file = member.kind == Kind::Regular && member.sparse.is_none();
        let Some(name) = bounds.admit(&member.name, is_file, member.size_bytes)? else {
            continue;
        };
        let mut content = Vec::new();
        (&mut stream)
            .take(member.size_bytes)
            .read_to_end(&mut content)
            .map_err(read(shown))?;
        if content.len() as u64 != member.size_bytes {
            return Err(ArchiveError::malformed(shown, "its tar stream ends early: it is cut short").into());
        }
        each(Packed { name, content })?;
    }
    if !stream.found_end() {
        return Err(ArchiveError::malformed(shown, "its tar stream has no end: it is cut short").into());
    }
    Ok(to_the_end(&mut stream.into_inner(), shown)?)
}

fn of_zip<E: From<ArchiveError>>(
    file: &File,
    bounds: &mut Bounds<'_>,
    each: &mut dyn FnMut(Packed) -> Result<(), E>,
) -> Result<(), E> {
    for entry in zip::entries(file, bounds.shown)? {
        let name = super::stream::name_of(&entry.name);
        if let Some(name) = bounds.admit(&name, entry.is_file, entry.size_bytes.into())? {
            let content = zip::content(file, &entry, bounds.shown)?;
            each(Packed { name, content })?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::process::Command;

    use super::*;

    fn run(directory: &Path, program: &str, arguments: &[&str]) {
        let mut command = Command::new(program);
        command.args(arguments).current_dir(directory);
        let output = command
            .output()
            .unwrap_or_else(|_| panic!("this test needs the program {program}"));
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// Lists the packages of an archive in `directory`, as name and content.
    fn found(directory: &Path, name: &str) -> Result<Vec<(String, Vec<u8>)>, ArchiveError> {
        let mut all = Vec::new();
        let form = Form::of_name(name).unwrap();
        let file = File::open(directory.join(name)).unwrap();
        packages(file, Path::new(name), form, "deb", &mut |packed| {
            all.push((packed.name, packed.content));
            Ok::<_, ArchiveError>(())
        })?;
        all.sort();
        Ok(all)
    }

    fn tree() -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        fs::create_dir_all(at("in/sub")).unwrap();
        fs::write(at("in/a.deb"), "first".repeat(1000)).unwrap();
        fs::write(at("in/sub/b.deb"), "second").unwrap();
        fs::write(at("in/c.rpm"), "of another system").unwrap();
        fs::write(at("in/README"), "text").unwrap();
        std::os::unix::fs::symlink("/etc/passwd", at("in/link.deb")).unwrap();
        directory
    }

    const ZIP: &str = "import sys,zipfile\nz=zipfile.ZipFile(sys.argv[1],'w',int(sys.argv[2]))\n\
                       [z.write(n,m) for n,m in (a.split('=') for a in sys.argv[3:])]\nz.close()";

    #[test]
    fn every_form_gives_the_packages_that_the_programs_put_in() {
        let directory = tree();
        let at = directory.path();
        let expected = [
            ("in/a.deb".to_owned(), "first".repeat(1000).into_bytes()),
            ("in/sub/b.deb".to_owned(), b"second".to_vec()),
        ];
        for (name, option) in [
            ("x.tar", "-cf"),
            ("x.tar.gz", "-czf"),
            ("x.tgz", "-czf"),
            ("x.tar.xz", "-cJf"),
        ] {
            run(at, "tar", &[option, name, "in"]);
            assert_eq!(found(at, name).unwrap(), expected, "{name}");
        }
        let members = ["in/a.deb=in/a.deb", "in/sub/b.deb=in/sub/b.deb", "in/c.rpm=in/c.rpm"];
        for method in ["0", "8"] {
            let arguments = ["-c", ZIP, "x.zip", method];
            run(at, "python3", &[&arguments[..], &members].concat());
            assert_eq!(found(at, "x.zip").unwrap(), expected, "method {method}");
        }
        run(at, "python3", &["-c", ZIP, "x.zip", "14", members[0]]);
        let error = found(at, "x.zip").unwrap_err().to_string();
        assert!(error.contains("method other than deflate"), "{error}");
    }

    #[test]
    fn names_that_lead_out_are_refused() {
        let directory = tree();
        let at = directory.path();
        run(
            at,
            "tar",
            &["-cPf", "x.tar", "--transform", "s,^in/a,../a,", "in/a.deb"],
        );
        run(at, "python3", &["-c", ZIP, "x.zip", "8", "in/a.deb=in/../../a.deb"]);
        for name in ["x.tar", "x.zip"] {
            let error = found(at, name).unwrap_err().to_string();
            assert!(error.contains("..") && error.contains("refused"), "{name}: {error}");
        }
    }

    /// Whatever is damaged, there is an error or the content that was put in, and no panic.
    #[test]
    fn damage_is_an_error() {
        let directory = tree();
        let at = directory.path();
        run(at, "tar", &["-czf", "x.tgz", "in"]);
        run(
            at,
            "python3",
            &["-c", ZIP, "x.zip", "8", "in/a.deb=in/a.deb", "in/sub/b.deb=b.deb"],
        );
        for name in ["x.tgz", "x.zip"] {
            let whole = fs::read(at.join(name)).unwrap();
            let good = found(at, name).unwrap();
            let damaged = format!("damaged-{name}");
            for cut in [0, 1, 20, whole.len() / 2, whole.len() - 1] {
                fs::write(at.join(&damaged), &whole[..cut]).unwrap();
                assert!(found(at, &damaged).is_err(), "{name} cut at {cut}");
            }
            for position in 0..whole.len() {
                let mut bytes = whole.clone();
                bytes[position] ^= 0xff;
                fs::write(at.join(&damaged), bytes).unwrap();
                if let Ok(found) = found(at, &damaged) {
                    // A name may have changed, or a member be no package any more; no content may.
                    let is_good = |content: &Vec<u8>| good.iter().any(|(_, known)| known == content);
                    assert!(
                        found.iter().all(|(_, content)| is_good(content)),
                        "{name} at {position}"
                    );
                }
            }
        }
        fs::write(at.join("html.zip"), "<html>").unwrap();
        assert!(
            found(at, "html.zip")
                .unwrap_err()
                .to_string()
                .contains("not a zip file")
        );
    }
}
