//! The keys of a build's encrypted partitions.

use std::fmt;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use uuid::Uuid;
use zeroize::Zeroizing;

use crate::boot::unlock::Unlocked;
use crate::durable::{self, PathError};
use crate::image::luks::{self, Secret};
use crate::image::plan::{DiskPlan, PlannedPartition};
use crate::image::populate::{self, Content};
use crate::model::{Encryption, Unlock};
use crate::pipeline::error::BuildError;
use crate::pipeline::request::BuildRequest;
use crate::sign::key::Passphrase;

/// The bytes that a build draws by chance, and the fewest of a seed file.
const SEED_BYTES: usize = 32;
/// The largest seed file in bytes.
const SEED_LIMIT_BYTES: u64 = 64 << 10;
/// The namespace of the containers' identifiers.
const CONTAINERS: &[u8] = b"luks2";

/// What the partitions of a build are encrypted with. Nothing of it is ever shown.
pub struct Keys {
    passphrase: Passphrase,
    seed: Zeroizing<Vec<u8>>,
    /// Whether the seed comes from chance.
    is_random: bool,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keys")
    }
}

impl Keys {
    /// Reads passphrase and seed that the template of `request` names, before any work; None if it encrypts nothing. Without
    /// a seed file the one of the build before counts, or a new one by chance.
    ///
    /// # Errors
    /// If a file cannot be read or holds too little.
    pub fn open(request: &BuildRequest) -> Result<Option<Self>, BuildError> {
        let template = &request.loaded().template;
        let Some(encryption) = template
            .system
            .encryption
            .as_ref()
            .filter(|_| template.target.image_type.has_disk())
        else {
            return Ok(None);
        };
        let passphrase = Passphrase::read(&encryption.passphrase)?;
        let seed = match &encryption.seed {
            Some(path) => {
                let seed = read(path)?;
                if seed.len() < SEED_BYTES {
                    return Err(BuildError::Seed(path.clone()));
                }
                seed
            }
            None => {
                let path = request.image_build().disk_seed();
                let before = match request.from_scratch || !path.exists() {
                    true => None,
                    false => Some(read(&path)?).filter(|seed| seed.len() == SEED_BYTES),
                };
                match before {
                    Some(seed) => seed,
                    None => drawn()?,
                }
            }
        };
        Ok(Some(Self {
            passphrase,
            seed,
            is_random: encryption.seed.is_none(),
        }))
    }

    /// Returns the warning about chance, if there is some in the image.
    pub fn warning(&self) -> Option<String> {
        const TEXT: &str = "systemConfig.fde: the keys of the disk are drawn by chance, so another host builds another image; \
                            seedFile makes them the same everywhere";
        self.is_random.then(|| TEXT.to_owned())
    }

    /// Keeps a seed that came from chance for the next build.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn save(&self, path: &Path) -> Result<(), PathError> {
        match self.is_random {
            true => durable::write_file(path, &self.seed[..]),
            false => Ok(()),
        }
    }

    /// Encrypts what `encryption` names of `contents`, those of `plan`; returns how the image opens them.
    pub fn encrypt(&self, encryption: &Encryption, plan: &DiskPlan, contents: &mut [Content]) -> Vec<Unlocked> {
        let mut unlocked = Vec::new();
        for (planned, content) in plan.partitions.iter().zip(contents) {
            let partition = &planned.partition;
            if !encryption.has(&partition.id, partition.mount_point.as_deref()) {
                continue;
            }
            let uuid = container(planned);
            let secret = Secret::new(&self.seed, uuid);
            populate::encrypt(content, luks::Encryption::new(uuid, self.passphrase.bytes(), secret));
            unlocked.push(Unlocked {
                uuid,
                name: partition.id.clone(),
                key: (encryption.unlock == Unlock::Auto).then(|| Zeroizing::new(self.passphrase.bytes().to_owned())),
            });
        }
        unlocked
    }
}

/// Returns the identifier of the container on `planned`.
fn container(planned: &PlannedPartition) -> Uuid {
    Uuid::new_v5(&planned.fs_uuid, CONTAINERS)
}

fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, PathError> {
    let read = durable::open_regular(path).and_then(|file| durable::read_at_most(file, SEED_LIMIT_BYTES));
    read.map(Zeroizing::new).map_err(PathError::on("read", path))
}

/// Draws a seed by chance (random(4)).
fn drawn() -> Result<Zeroizing<Vec<u8>>, PathError> {
    const SOURCE: &str = "/dev/urandom";
    let mut seed = Zeroizing::new(vec![0; SEED_BYTES]);
    let read = File::open(SOURCE).and_then(|mut source| source.read_exact(&mut seed));
    read.map_err(PathError::on("read", SOURCE))?;
    Ok(seed)
}
