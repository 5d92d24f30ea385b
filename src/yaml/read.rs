//! Files to sources; every path that is hostile or mistaken is refused, as far as this can be seen.

use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use super::parse::MAX_BYTES;
use super::{Finding, Findings, Source};
use crate::durable;

/// Reads a `.yml` or `.yaml` file: a regular file, or a link to one, at most [`MAX_BYTES`] bytes, UTF-8.
///
/// # Errors
/// A finding that names the file and what is wrong with it.
pub fn read_source(path: &Path) -> Result<Arc<Source>, Findings> {
    if !path.extension().is_some_and(|e| e == "yml" || e == "yaml") {
        return Err(wrong(path, "the file name must end in .yml or .yaml".to_owned()));
    }
    match durable::open_regular(path) {
        Ok(file) => read_stream(path, file),
        Err(error) if error.kind() == std::io::ErrorKind::InvalidInput => Err(wrong(path, error.to_string())),
        Err(error) => Err(wrong(path, format!("cannot be opened: {error}"))),
    }
}

/// Reads a text that comes without a file, such as standard input; `name` stands for it in messages.
///
/// # Errors
/// As [`read_source`].
pub fn read_stream(name: &Path, stream: impl Read) -> Result<Arc<Source>, Findings> {
    let mut bytes = Vec::new();
    if let Err(error) = stream.take(MAX_BYTES + 1).read_to_end(&mut bytes) {
        return Err(wrong(name, format!("cannot be read: {error}")));
    }
    if bytes.len() as u64 > MAX_BYTES {
        return Err(wrong(name, format!("is larger than {MAX_BYTES} bytes")));
    }
    match String::from_utf8(bytes) {
        Ok(text) => Ok(Source::new(name, text)),
        Err(error) => {
            let message = format!("is not UTF-8 at byte {}", error.utf8_error().valid_up_to());
            Err(wrong(name, message))
        }
    }
}

fn wrong(path: &Path, message: String) -> Findings {
    Findings::from(Finding::without_position(path, "", message))
}
