//! The SHA-256 of an image. It goes over all of the disk, holes too, one byte after the other: for most images that
//! takes longer than all else, so a digest remembers where it was on the way, and the next one begins where the images
//! begin to differ.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use sha2::Digest as _;
use sha2::digest::common::hazmat::{SerializableState as _, SerializedState};

use super::raw::{ImageError, next_data};
use crate::cancel::{Cancel, Cancelled};
use crate::durable::PathError;
use crate::package::Sha256;
use crate::progress::{Progress, Unit};

/// Between two states; a large image has them further apart.
const STEP_BYTES: u64 = 16 << 20;
const STATES_MAX: u64 = 4096;
/// Read and hashed at once.
const BUFFER_BYTES: usize = 1 << 20;

type State = SerializedState<sha2::Sha256>;

/// States of a SHA-256 that went over an image.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Checkpoints {
    /// The one at `index` is that after `index + 1` steps.
    states: Vec<State>,
}

impl Checkpoints {
    /// Bytes of one state in [`Self::states`].
    pub(super) const STATE_BYTES: usize = size_of::<State>();

    /// The states, each of [`Self::STATE_BYTES`] bytes.
    pub(super) fn states(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        self.states.iter().map(AsRef::as_ref)
    }

    /// From such states; `None` if one has another length.
    pub(super) fn of<'a>(states: impl Iterator<Item = &'a [u8]>) -> Option<Self> {
        let states = states.map(|state| State::try_from(state).ok());
        Some(Self {
            states: states.collect::<Option<_>>()?,
        })
    }

    /// Only those that have seen nothing but the first `unchanged_bytes` of an image of `size_bytes`.
    pub(super) fn within(mut self, unchanged_bytes: u64, size_bytes: u64) -> Self {
        let count = unchanged_bytes / step_bytes(size_bytes);
        self.states.truncate(usize::try_from(count).unwrap_or(usize::MAX));
        self
    }
}

fn step_bytes(size_bytes: u64) -> u64 {
    let least = size_bytes.div_ceil(STATES_MAX).next_multiple_of(BUFFER_BYTES as u64);
    least.max(STEP_BYTES)
}

/// The SHA-256 of the file `path`, with its holes as the zeros they stand for, and the states on the way. `known` are
/// states of what the file begins with. Holes are not read, but every byte goes through the hash, so this is worth a
/// thread beside other work.
///
/// # Errors
/// If reading fails or the user asked to stop.
pub fn digest(
    path: &Path,
    known: Checkpoints,
    progress: &dyn Progress,
    cancel: &Cancel,
) -> Result<(Sha256, Checkpoints), ImageError> {
    let file = File::open(path).map_err(PathError::on("open", path))?;
    let size_bytes = file.metadata().map_err(PathError::on("read", path))?.len();
    let follower = Follower {
        file: &file,
        path,
        size_bytes,
        finished: &|_| Some(u64::MAX),
    };
    follower.digest(known, progress, cancel)
}

/// The same of a file that is being filled: goes on as far as it is finished.
pub(super) struct Follower<'a> {
    /// The file.
    pub(super) file: &'a File,
    /// Its name in messages.
    pub(super) path: &'a Path,
    /// The size that it has already.
    pub(super) size_bytes: u64,
    /// Waits until more than so many bytes are final, and tells how many; `None` if there will not be more.
    pub(super) finished: &'a (dyn Fn(u64) -> Option<u64> + Sync),
}

impl Follower<'_> {
    /// As [`digest`]; also ends if the file is given up.
    pub(super) fn digest(
        &self,
        known: Checkpoints,
        progress: &dyn Progress,
        cancel: &Cancel,
    ) -> Result<(Sha256, Checkpoints), ImageError> {
        let step_bytes = step_bytes(self.size_bytes);
        let (mut hasher, mut checkpoints) = start(known);
        let mut offset = checkpoints.states.len() as u64 * step_bytes;
        let left = self.size_bytes.saturating_sub(offset);
        let task = progress.start("Hash image", Unit::Bytes, Some(left));
        let mut blocks = Blocks::new(self.file, self.size_bytes);
        let mut finished = 0;
        while offset < self.size_bytes && !cancel.is_cancelled() {
            if offset >= finished {
                finished = (self.finished)(offset).ok_or(Cancelled)?;
                blocks.forget();
            }
            let limit = (step_bytes - offset % step_bytes).min(finished - offset);
            let block = blocks.at(offset, limit).map_err(PathError::on("read", self.path))?;
            hasher.update(block);
            progress.advance(task, block.len() as u64);
            offset += block.len() as u64;
            if offset.is_multiple_of(step_bytes) {
                checkpoints.states.push(hasher.serialize());
            }
        }
        progress.finish(task);
        cancel.check()?;
        Ok((Sha256(hasher.finalize().into()), checkpoints))
    }
}

/// A hasher that has seen what `known` has.
fn start(known: Checkpoints) -> (sha2::Sha256, Checkpoints) {
    let last = known.states.last().map(sha2::Sha256::deserialize);
    match last {
        Some(Ok(hasher)) => (hasher, known),
        Some(Err(_)) | None => (sha2::Sha256::new(), Checkpoints::default()),
    }
}

/// A file's bytes in order, those of holes without reading.
struct Blocks<'a> {
    file: &'a File,
    size_bytes: u64,
    buffer: Vec<u8>,
    zeros: Vec<u8>,
    /// The data at or behind where it was looked for last.
    data: (u64, u64),
}

impl<'a> Blocks<'a> {
    fn new(file: &'a File, size_bytes: u64) -> Self {
        Self {
            file,
            size_bytes,
            buffer: vec![0; BUFFER_BYTES],
            zeros: vec![0; BUFFER_BYTES],
            data: (0, 0),
        }
    }

    /// Looks for holes anew: some may have been filled.
    fn forget(&mut self) {
        self.data = (0, 0);
    }

    /// The bytes at `offset`, which is before the end: some, but no more than `limit`.
    fn at(&mut self, offset: u64, limit: u64) -> io::Result<&[u8]> {
        if offset >= self.data.1 {
            self.data = next_data(self.file, offset, self.size_bytes)?;
        }
        let (start, end) = self.data;
        let is_hole = offset < start;
        let length = (if is_hole { start } else { end } - offset).min(limit);
        let length = length.min(BUFFER_BYTES as u64) as usize;
        if is_hole {
            return Ok(&self.zeros[..length]);
        }
        self.file.read_exact_at(&mut self.buffer[..length], offset)?;
        Ok(&self.buffer[..length])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::frontier::Frontier;
    use crate::progress::Silent;

    fn hash(path: &Path, known: Checkpoints) -> (Sha256, Checkpoints) {
        digest(path, known, &Silent, &Cancel::default()).unwrap()
    }

    #[test]
    fn it_goes_on_where_images_begin_to_differ() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("raw");
        let file = File::create(&path).unwrap();
        let size_bytes = 5 * STEP_BYTES + 12_345;
        file.set_len(size_bytes).unwrap();
        file.write_all_at(&[7; 100_000], STEP_BYTES - 50_000).unwrap();
        file.write_all_at(b"the end", size_bytes - 7).unwrap();
        let whole = |path| Sha256::of(std::fs::read(path).unwrap());
        let (first, checkpoints) = hash(&path, Checkpoints::default());
        assert_eq!(first, whole(&path));
        assert_eq!(checkpoints.states.len(), 5);
        assert_eq!(hash(&path, checkpoints.clone()), (first, checkpoints.clone()));

        let at = 3 * STEP_BYTES + 1;
        file.write_all_at(b"changed", at).unwrap();
        let known = checkpoints.clone().within(at, size_bytes);
        assert_eq!(known.states.len(), 3);
        let (second, again) = hash(&path, known);
        assert_eq!(second, whole(&path));
        assert_eq!(again.states[..3], checkpoints.states[..3]);
        assert_ne!(again.states[3..], checkpoints.states[3..]);
        assert_eq!(hash(&path, Checkpoints::default()), (second, again));
        assert_eq!(checkpoints.within(STEP_BYTES - 1, size_bytes), Checkpoints::default());
    }

    #[test]
    fn it_follows_those_who_fill_the_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("raw");
        let file = File::options()
            .create_new(true)
            .read(true)
            .write(true)
            .open(&path)
            .unwrap();
        let size_bytes = 2 * STEP_BYTES;
        file.set_len(size_bytes).unwrap();
        let frontier = Frontier::default();
        let holds: Vec<_> = (0..size_bytes)
            .step_by(1 << 20)
            .map(|at| (at, frontier.hold(at)))
            .collect();
        let follower = Follower {
            file: &file,
            path: &path,
            size_bytes,
            finished: &|offset| frontier.wait_beyond(offset),
        };
        let (sha256, checkpoints) = std::thread::scope(|scope| {
            let hashed = scope.spawn(|| follower.digest(Checkpoints::default(), &Silent, &Cancel::default()));
            let (odd, even): (Vec<_>, Vec<_>) = holds.into_iter().partition(|(at, _)| at >> 20 & 1 == 1);
            for (at, hold) in odd.into_iter().chain(even) {
                file.write_all_at(&at.to_le_bytes(), at + 4096).unwrap();
                drop(hold);
            }
            hashed.join().unwrap().unwrap()
        });
        assert_eq!((sha256, checkpoints), hash(&path, Checkpoints::default()));
        assert_eq!(sha256, Sha256::of(std::fs::read(&path).unwrap()));
        let _held = frontier.hold(0);
        frontier.abandon();
        assert!(
            follower
                .digest(Checkpoints::default(), &Silent, &Cancel::default())
                .is_err()
        );
    }

    #[test]
    fn large_images_have_few_states() {
        assert_eq!(step_bytes(0), STEP_BYTES);
        assert_eq!(step_bytes(64 << 30), STEP_BYTES);
        assert!((1 << 43) / step_bytes(1 << 43) <= STATES_MAX);
        assert_eq!(step_bytes((1 << 43) + 1) % (1 << 20), 0);
    }
}
