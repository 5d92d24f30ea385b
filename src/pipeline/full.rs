//! A build that failed because a disk is full says so, also where a program of the image only ended with an error.

use std::path::Path;

use crate::durable::FullDisk;
use crate::pipeline::error::BuildError;

/// What programs of an image print for `ENOSPC` (strerror(3)).
const NO_SPACE: &str = "No space left on device";

/// Adds to `error` the first of `places` whose file system is full now, or the fullest one if `error` quotes a program
/// that found no space and has given its own back since. Adds nothing if the causes name a full one already, or the user
/// asked to stop.
pub fn explain(error: BuildError, places: &[&Path]) -> BuildError {
    if matches!(error, BuildError::Cancelled(_)) || FullDisk::behind(&error).is_some() {
        return error;
    }
    let now = places.iter().find_map(|place| FullDisk::now(place));
    let fullest = || {
        let all = places.iter().map(|place| FullDisk::at(place));
        all.min_by_key(|place| place.free_bytes)
    };
    let quoted = error.to_string().contains(NO_SPACE);
    match now.or_else(|| fullest().filter(|_| quoted)) {
        Some(full) => BuildError::Full {
            error: Box::new(error),
            full,
        },
        None => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_found_no_space_is_believed() {
        let refused = |complaint: &str| {
            BuildError::Install(crate::install::InstallError::Refused {
                program: "apt",
                complaints: vec![complaint.to_owned()],
            })
        };
        let directory = tempfile::tempdir().unwrap();
        let text = explain(
            refused("Write error (28: No space left on device)"),
            &[directory.path()],
        )
        .to_string();
        let told = format!("no space left: {} is on ", directory.path().display());
        assert!(text.starts_with(&told) && text.contains("apt cannot install"), "{text}");
        let other = explain(refused("Read error"), &[directory.path()]);
        assert!(matches!(other, BuildError::Install(_)), "{other}");
    }
}
