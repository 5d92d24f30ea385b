//! Files that are not made of the disk: those that are delivered as they are, and those that are made of something else.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use super::Order;
use super::index::{Entry, Key, Record};
use crate::durable::{AtomicFile, PathError};
use crate::image::content::Source;
use crate::image::digest;
use crate::image::error::ImageError;
use crate::package::Sha256;
use crate::work::Work;

/// A file to deliver.
#[derive(Debug)]
pub struct Beside<'a> {
    /// Its name.
    pub name: String,
    /// Its bytes.
    pub body: Body<'a>,
}

/// Makes the file that will become the given one, and syncs it; returns it with its digest.
pub type Make<'a> = dyn Fn(&Path, Work<'_>) -> Result<(AtomicFile, Sha256), ImageError> + 'a;

/// The bytes of a file.
pub enum Body<'a> {
    /// Those of a source.
    Source(Source),
    /// Those that a function makes, with the digest of all that decides about them.
    Made(Sha256, Box<Make<'a>>),
    /// The same of a function that reads files of this delivery, so it runs when those have their names.
    Late(Sha256, Box<Make<'a>>),
}

impl fmt::Debug for Body<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Source(source) => f.debug_tuple("Source").field(source).finish(),
            Self::Made(identity, _) => f.debug_tuple("Made").field(identity).finish(),
            Self::Late(identity, _) => f.debug_tuple("Late").field(identity).finish(),
        }
    }
}

/// A file that is complete, or was before.
pub(super) enum Ready<'a> {
    /// The file of the build before.
    Kept(Entry),
    /// A new one, which does not have its name yet, with its digest.
    New(AtomicFile, Key<'a>, Sha256),
    /// One that this function makes at this path.
    Due(PathBuf, &'a Make<'a>, Key<'a>),
}

/// Writes and syncs the files of `order` that the `earlier` record does not have. They do not have their names then.
///
/// # Errors
/// If a source cannot be read, or a file not written.
pub(super) fn write<'a>(order: Order<'a>, earlier: &Record, work: Work<'_>) -> Result<Vec<Ready<'a>>, ImageError> {
    order
        .beside
        .iter()
        .map(|file| ready(file, order, earlier, work))
        .collect()
}

fn ready<'a>(
    file: &'a Beside<'a>,
    order: Order<'a>,
    earlier: &Record,
    work: Work<'_>,
) -> Result<Ready<'a>, ImageError> {
    let path = order.directory.join(&file.name);
    let (method, content) = match &file.body {
        Body::Source(source) => {
            let digest = Sha256::of_reader(source.reader());
            (
                "as it is",
                digest.map_err(PathError::on("read the contents of", &path))?.0,
            )
        }
        Body::Made(identity, _) | Body::Late(identity, _) => ("made", *identity),
    };
    let key = Key {
        name: &file.name,
        method: Sha256::of(method),
        content: Some(content),
    };
    if let Some(entry) = earlier.unchanged(key, order.directory) {
        return Ok(Ready::Kept(entry));
    }
    match &file.body {
        Body::Source(source) => {
            let mut new = AtomicFile::create(&path)?;
            let copied = io::copy(&mut source.reader(), new.file());
            let synced = copied.and_then(|_| new.file().sync_all());
            synced.map_err(PathError::on("write", &path))?;
            Ok(Ready::New(new, key, content))
        }
        Body::Made(_, make) => {
            let (new, digest) = make(&path, work)?;
            Ok(Ready::New(new, key, digest))
        }
        Body::Late(_, make) => Ok(Ready::Due(path, make, key)),
    }
}

impl Ready<'_> {
    /// Gives the file its name, and describes it.
    ///
    /// # Errors
    /// If that fails, or the file cannot be made.
    pub(super) fn deliver(self, work: Work<'_>) -> Result<Entry, ImageError> {
        let (file, key, digest) = match self {
            Self::Kept(entry) => return Ok(entry),
            Self::New(file, key, digest) => (file, key, digest),
            Self::Due(path, make, key) => {
                let (file, digest) = make(&path, work)?;
                (file, key, digest)
            }
        };
        let delivered = file.commit()?;
        let entry = Entry::new(key, &delivered, Some(digest), Vec::new());
        Ok(entry.map_err(PathError::on("look at", key.name))?)
    }
}

/// Makes the file that will become `target` of the bytes of `source`, synced; returns it with its digest.
///
/// # Errors
/// If reading or writing fails, or the user asked to stop.
pub fn from_source(source: &Source, target: &Path, work: Work<'_>) -> Result<(AtomicFile, Sha256), ImageError> {
    let mut new = AtomicFile::create(target)?;
    let copied = io::copy(&mut source.reader(), new.file());
    let copied = copied.map_err(PathError::on("write", target))?;
    if copied != source.size_bytes() {
        let short = io::Error::other("what it is made of became shorter meanwhile");
        return Err(PathError::on("write", target)(short).into());
    }
    new.file().sync_all().map_err(PathError::on("sync", target))?;
    let digest = digest::sha256(new.temporary_path(), work)?;
    Ok((new, digest))
}
