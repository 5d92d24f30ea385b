//! Files to sources, with everything that a hostile or mistaken path can be refused.

use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

use super::parse::MAX_BYTES;
use super::{Finding, Findings, Source};

/// Reads a `.yml` or `.yaml` file: a regular file (no symbolic link, which would let its owner
/// choose what a root process reads), at most [`MAX_BYTES`] bytes, UTF-8.
///
/// # Errors
/// A finding that names the file and what is wrong with it.
pub fn read_source(path: &Path) -> Result<Arc<Source>, Findings> {
    let fail = |message: String| Err(Findings::from(Finding::without_position(path, "", message)));
    if !path.extension().is_some_and(|e| e == "yml" || e == "yaml") {
        return fail("the file name must end in .yml or .yaml".to_owned());
    }
    let opened = std::fs::OpenOptions::new()
        .read(true)
        // NONBLOCK: opening a FIFO must not wait for a writer.
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_CLOEXEC)
        .open(path);
    let file = match opened {
        Ok(file) => file,
        Err(error) if error.raw_os_error() == Some(libc::ELOOP) => {
            let finding = Finding::without_position(path, "", "is a symbolic link, which is not followed");
            return Err(finding.hint("give the file that it points to").into());
        }
        Err(error) => return fail(format!("cannot be opened: {error}")),
    };
    if !file.metadata().is_ok_and(|meta| meta.is_file()) {
        return fail("is not a regular file".to_owned());
    }
    let mut bytes = Vec::new();
    if let Err(error) = file.take(MAX_BYTES + 1).read_to_end(&mut bytes) {
        return fail(format!("cannot be read: {error}"));
    }
    if bytes.len() as u64 > MAX_BYTES {
        return fail(format!("is larger than {MAX_BYTES} bytes"));
    }
    match String::from_utf8(bytes) {
        Ok(text) => Ok(Source::new(path, text)),
        Err(error) => fail(format!("is not UTF-8 at byte {}", error.utf8_error().valid_up_to())),
    }
}
