//! ext2, ext3 and ext4 through `mke2fs -d`, straight into a partition of the
//! raw file, then a pass of our own that sets what `mke2fs` takes from the clock.
//!
//! Every default of the host's `mke2fs.conf` is overruled, so that hosts agree.

mod times;

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use uuid::Uuid;

use super::tool::{self, ToolError};
use crate::cancel::Cancel;
use crate::durable::{PathError, TEMPORARY_PREFIX};
use crate::template::model::FileSystem;

const BLOCK_BYTES: u64 = 4096;
/// Below this size a file system gets an inode for every 4 KiB, above for every 16 KiB (as mke2fs does).
const SMALL_BYTES: u64 = 512 << 20;

const FEATURES_EXT2: &str = "none,sparse_super,large_file,filetype,resize_inode,dir_index,ext_attr";
const FEATURES_EXT3: &str = ",has_journal";
const FEATURES_EXT4: &str = ",extent,huge_file,flex_bg,metadata_csum,64bit,dir_nlink,extra_isize";

/// A configuration that leaves nothing to the host (mke2fs.conf(5)).
const CONFIGURATION: &str = "\
[defaults]
\tbase_features = none
\tdefault_mntopts = acl,user_xattr
\tenable_periodic_fsck = 0
[fs_types]
\text2 = {\n\t\tinode_size = 256\n\t}
\text3 = {\n\t\tinode_size = 256\n\t}
\text4 = {\n\t\tinode_size = 256\n\t}
\tfloppy = {\n\t\tinode_size = 256\n\t}
\tsmall = {\n\t\tinode_size = 256\n\t}
\tbig = {\n\t\tinode_size = 256\n\t}
\thuge = {\n\t\tinode_size = 256\n\t}
";

/// Why no ext file system was made.
#[derive(Debug, thiserror::Error)]
pub enum ExtError {
    /// The tree is larger than the partition.
    #[error("the files do not fit into {size_bytes} bytes: {detail}")]
    Full {
        /// Size of the partition.
        size_bytes: u64,
        /// What mke2fs said.
        detail: String,
    },
    /// The host's disk is full.
    #[error("no space left on the device of {}", .0.display())]
    NoSpace(PathBuf),
    /// mke2fs is missing or failed.
    #[error(transparent)]
    Tool(#[from] ToolError),
    /// Reading or writing failed.
    #[error(transparent)]
    Io(#[from] PathError),
    /// What mke2fs wrote is not what it should be.
    #[error("{}: unexpected ext file system: {what}", path.display())]
    Format {
        /// The raw file.
        path: PathBuf,
        /// What is wrong with it.
        what: &'static str,
    },
}

/// What an ext file system is made like.
#[derive(Debug, Clone)]
pub struct Spec {
    /// ext2, ext3, or otherwise ext4.
    pub kind: FileSystem,
    /// Where the partition starts in the raw file.
    pub offset_bytes: u64,
    /// Its size.
    pub size_bytes: u64,
    /// UUID of the file system.
    pub uuid: Uuid,
    /// Seed of the directory hashes.
    pub hash_seed: Uuid,
    /// Label, at most 16 bytes.
    pub label: Option<String>,
    /// The time it is made at; no file in it is younger. Seconds since 1970, at least 1.
    pub epoch_seconds: u64,
}

/// The mke2fs of the host.
#[derive(Debug, Clone)]
pub struct Mke2fs {
    program: PathBuf,
    /// 1.47 and later can be told that the file reads as zeros.
    knows_prezeroed: bool,
}

impl Mke2fs {
    /// Looks for mke2fs; `purpose` is the field that needs it.
    ///
    /// # Errors
    /// [`ToolError::Missing`], or if it does not run.
    pub fn find(purpose: &str) -> Result<Self, ToolError> {
        let program = tool::find("mke2fs", "e2fsprogs", purpose)?;
        let version = tool::run(&program, &[OsStr::new("-V")], &[], &Cancel::default())?;
        let mut numbers = version.split([' ', '.']).skip(1).map_while(|n| n.parse::<u32>().ok());
        let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
        Ok(Self {
            program,
            knows_prezeroed: version >= (1, 47),
        })
    }

    /// Makes a file system in `raw`, which reads as zeros at its place, with
    /// what lies below the directory `source` (nothing without one).
    ///
    /// Owners, modes, links, devices, xattrs and holes are kept; modification
    /// times later than the epoch, and all other times, become the epoch. The
    /// root directory gets the owner, mode and modification time of `source`.
    ///
    /// # Errors
    /// [`ExtError`]; the partition then holds a part of it.
    pub fn make(&self, raw: &Path, source: Option<&Path>, spec: &Spec, cancel: &Cancel) -> Result<(), ExtError> {
        let directory = raw.parent().unwrap_or(Path::new("/"));
        let mut configuration = tempfile::Builder::new()
            .prefix(TEMPORARY_PREFIX)
            .tempfile_in(directory)
            .map_err(PathError::on("create a temporary file in", directory))?;
        configuration
            .write_all(CONFIGURATION.as_bytes())
            .map_err(PathError::on("write", configuration.path()))?;
        let epoch: OsString = spec.epoch_seconds.max(1).to_string().into();
        let environment = [
            ("MKE2FS_CONFIG", configuration.path().as_os_str()),
            ("E2FSPROGS_FAKE_TIME", epoch.as_os_str()),
            ("SOURCE_DATE_EPOCH", epoch.as_os_str()),
        ];
        let arguments = self.arguments(raw, source, spec);
        let arguments: Vec<&OsStr> = arguments.iter().map(OsString::as_os_str).collect();
        tool::run(&self.program, &arguments, &environment, cancel).map_err(|error| explain(error, raw, spec))?;
        times::normalize(raw, source, spec)
    }

    fn arguments(&self, raw: &Path, source: Option<&Path>, spec: &Spec) -> Vec<OsString> {
        let (kind, features) = match spec.kind {
            FileSystem::Ext2 => ("ext2", FEATURES_EXT2.to_owned()),
            FileSystem::Ext3 => ("ext3", [FEATURES_EXT2, FEATURES_EXT3].concat()),
            _ => ("ext4", [FEATURES_EXT2, FEATURES_EXT3, FEATURES_EXT4].concat()),
        };
        let zeros = if self.knows_prezeroed {
            "assume_storage_prezeroed=1"
        } else {
            "lazy_itable_init=1,lazy_journal_init=1"
        };
        let extended = format!(
            "offset={},root_owner=0:0,hash_seed={},nodiscard,{zeros}",
            spec.offset_bytes, spec.hash_seed
        );
        let ratio = if spec.size_bytes < SMALL_BYTES { "4096" } else { "16384" };
        let uuid = spec.uuid.to_string();
        let mut arguments: Vec<OsString> = [
            "-q", "-F", "-t", kind, "-b", "4096", "-I", "256", "-i", ratio, "-O", &features, "-E", &extended, "-U",
            &uuid,
        ]
        .map(OsString::from)
        .to_vec();
        if let Some(label) = &spec.label {
            arguments.extend(["-L".into(), label.into()]);
        }
        if let Some(source) = source {
            arguments.extend(["-d".into(), source.into()]);
        }
        arguments.push(raw.into());
        arguments.push((spec.size_bytes / BLOCK_BYTES).to_string().into());
        arguments
    }
}

/// Tells a full partition from a full disk.
fn explain(error: ToolError, raw: &Path, spec: &Spec) -> ExtError {
    let ToolError::Failed { stderr, .. } = &error else {
        return error.into();
    };
    let is_full = ["Could not allocate", "No free space", "too small"]
        .iter()
        .any(|text| stderr.contains(text));
    if is_full {
        ExtError::Full {
            size_bytes: spec.size_bytes,
            detail: stderr.clone(),
        }
    } else if stderr.contains("No space left on device") {
        ExtError::NoSpace(raw.to_owned())
    } else {
        error.into()
    }
}

/// Owner, mode and modification time of a directory.
struct RootInode {
    mode: u32,
    uid: u32,
    gid: u32,
    mtime_seconds: u64,
}

impl RootInode {
    fn of(source: &Path) -> Result<Self, PathError> {
        use std::os::unix::fs::MetadataExt as _;
        let metadata = fs::metadata(source).map_err(PathError::on("read", source))?;
        Ok(Self {
            mode: metadata.mode(),
            uid: metadata.uid(),
            gid: metadata.gid(),
            mtime_seconds: u64::try_from(metadata.mtime()).unwrap_or(0),
        })
    }
}

#[cfg(test)]
pub(super) mod tests;
