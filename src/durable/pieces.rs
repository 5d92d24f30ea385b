//! Long files, read piece by piece.

use std::io::{ErrorKind, Read};
use std::path::Path;

use super::PathError;
use crate::cancel::{Cancel, Cancelled};

/// The longest piece, in bytes.
const PIECE_BYTES: usize = 256 << 10;

/// Reads `reader` to its end and passes all its bytes to `take`, piece by piece. `path` is for messages.
///
/// # Errors
/// Those of `take`; if reading fails; if one of `stop` is set.
pub fn each_piece<E: From<PathError> + From<Cancelled>>(
    mut reader: impl Read,
    path: &Path,
    stop: &[&Cancel],
    mut take: impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<(), E> {
    let mut buffer = vec![0; PIECE_BYTES];
    loop {
        for flag in stop {
            flag.check()?;
        }
        match reader.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => take(buffer.get(..count).unwrap_or_default())?,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(PathError::on("read", path)(error).into()),
        }
    }
}
