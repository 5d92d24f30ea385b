//! Files that are delivered as they are.

use std::io;

use super::Order;
use super::index::{Entry, Key, Record};
use crate::durable::{AtomicFile, PathError};
use crate::image::content::Source;
use crate::package::Sha256;

/// A file to deliver as it is.
#[derive(Debug, Clone)]
pub struct Beside {
    /// Its name.
    pub name: String,
    /// Its bytes.
    pub source: Source,
}

/// A file that is complete, or was before.
pub(super) enum Ready<'a> {
    /// The file of the build before.
    Kept(Entry),
    /// A new one, which does not have its name yet.
    New(AtomicFile, Key<'a>),
}

/// Writes and syncs the files of `order` that the `earlier` record does not have. They do not have their names then.
///
/// # Errors
/// If a source cannot be read, or a file not written.
pub(super) fn write<'a>(order: Order<'a>, earlier: &Record) -> Result<Vec<Ready<'a>>, PathError> {
    order.beside.iter().map(|file| ready(file, order, earlier)).collect()
}

fn ready<'a>(file: &'a Beside, order: Order<'a>, earlier: &Record) -> Result<Ready<'a>, PathError> {
    let path = order.directory.join(&file.name);
    let content = Sha256::of_reader(file.source.reader()).map_err(PathError::on("read the contents of", &path))?;
    let key = Key {
        name: &file.name,
        method: Sha256::of("as it is"),
        content: Some(content.0),
    };
    if let Some(entry) = earlier.unchanged(key, order.directory) {
        return Ok(Ready::Kept(entry));
    }
    let mut new = AtomicFile::create(&path)?;
    let copied = io::copy(&mut file.source.reader(), new.file());
    let synced = copied.and_then(|_| new.file().sync_all());
    synced.map_err(PathError::on("write", &path))?;
    Ok(Ready::New(new, key))
}

impl Ready<'_> {
    /// Gives the file its name, and describes it.
    ///
    /// # Errors
    /// If that fails.
    pub(super) fn deliver(self) -> Result<Entry, PathError> {
        match self {
            Self::Kept(entry) => Ok(entry),
            Self::New(file, key) => {
                let delivered = file.commit()?;
                let entry = Entry::new(key, &delivered, key.content, Vec::new());
                entry.map_err(PathError::on("look at", key.name))
            }
        }
    }
}
