//! The merged, validated template: typed values that the later stages take.

use std::path::PathBuf;

use crate::package::{Arch, PackageFilter};

/// A template after merge and validation.
#[derive(Debug, Clone, PartialEq)]
pub struct Template {
    /// `image`.
    pub image: ImageInfo,
    /// `target`.
    pub target: Target,
    /// `disk`.
    pub disk: Disk,
    /// `systemConfig`.
    pub system: SystemConfig,
    /// `packageRepositories`.
    pub repositories: Vec<PackageRepository>,
}

/// `image`: what the output is called.
#[derive(Debug, Clone, PartialEq)]
pub struct ImageInfo {
    /// Base name of the output files.
    pub name: String,
    /// Version of the template's author.
    pub version: String,
}

/// `target`: which provider builds what kind of image.
#[derive(Debug, Clone, PartialEq)]
pub struct Target {
    /// `target.os`, such as `debian`.
    pub os: String,
    /// `target.dist`, such as `debian13`.
    pub dist: String,
    /// `target.arch`.
    pub arch: Arch,
    /// `target.imageType`.
    pub image_type: ImageType,
}

impl Target {
    /// The provider id, `{os}-{dist}-{arch}`.
    pub fn provider_id(&self) -> String {
        format!("{}-{}-{}", self.os, self.dist, self.arch)
    }
}

/// `target.imageType`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImageType {
    /// A disk image.
    Raw,
    /// An initrd image.
    Img,
    /// An installation medium.
    Iso,
}

impl ImageType {
    /// The image type that a template names.
    pub fn named(name: &str) -> Option<Self> {
        [Self::Raw, Self::Img, Self::Iso]
            .into_iter()
            .find(|kind| kind.as_str() == name)
    }

    /// The name in templates.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Img => "img",
            Self::Iso => "iso",
        }
    }
}

/// `disk`.
#[derive(Debug, Clone, PartialEq)]
pub struct Disk {
    /// A name for people.
    pub name: String,
    /// Output files wanted besides or instead of the `.raw`.
    pub artifacts: Vec<Artifact>,
    /// Size of the disk in bytes, if the template says.
    pub size_bytes: Option<u64>,
    /// Kind of partition table.
    pub table: PartitionTable,
    /// The partitions, in order.
    pub partitions: Vec<Partition>,
}

/// `disk.artifacts[]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Artifact {
    /// `raw`, `qcow2`, `vhd`, `vhdx`, `vmdk` or `vdi`.
    pub format: String,
    /// Compression, if any.
    pub compression: Option<Compression>,
}

/// `disk.artifacts[].compression`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// `gz` or `gzip`; file suffix `.gz`.
    Gzip,
    /// `xz`; file suffix `.xz`.
    Xz,
    /// `zstd`; file suffix `.zstd`.
    Zstd,
    /// `bz2`; file suffix `.bz2`.
    Bzip2,
}

/// `disk.partitionTableType`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PartitionTable {
    /// GUID partition table.
    Gpt,
    /// DOS partition table.
    Mbr,
}

/// `disk.partitions[]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Partition {
    /// `id`, unique in the template.
    pub id: String,
    /// GPT partition name; the id if the template gives none.
    pub name: String,
    /// `type`, such as `esp` or `linux-root-amd64`.
    pub kind: String,
    /// `typeUUID`, if given: wins over `kind`.
    pub type_uuid: Option<uuid::Uuid>,
    /// `fsType`; `None` leaves the partition unformatted.
    pub file_system: Option<FileSystem>,
    /// `fsLabel`.
    pub label: Option<String>,
    /// First byte.
    pub start_bytes: u64,
    /// Byte behind the last one; `None` is the rest of the disk.
    pub end_bytes: Option<u64>,
    /// Where it is mounted in the image; `None` for none.
    pub mount_point: Option<String>,
    /// Options for fstab.
    pub mount_options: String,
    /// `flags`.
    pub flags: Vec<String>,
}

/// `fsType`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileSystem {
    /// FAT with 32-bit entries (`fat32`, `vfat`).
    Fat32,
    /// FAT with 16-bit entries.
    Fat16,
    /// ext2.
    Ext2,
    /// ext3.
    Ext3,
    /// ext4.
    Ext4,
    /// XFS.
    Xfs,
    /// Swap space.
    Swap,
}

impl FileSystem {
    /// The type as fstab(5) names it.
    pub fn fstab_type(self) -> &'static str {
        match self {
            Self::Fat32 | Self::Fat16 => "vfat",
            Self::Ext2 => "ext2",
            Self::Ext3 => "ext3",
            Self::Ext4 => "ext4",
            Self::Xfs => "xfs",
            Self::Swap => "swap",
        }
    }
}

/// `systemConfig`.
#[derive(Debug, Clone, PartialEq)]
pub struct SystemConfig {
    /// Names the build and its directory; never empty, one path component.
    pub name: String,
    /// For people.
    pub description: String,
    /// `hostname`, if given.
    pub hostname: Option<String>,
    /// `immutability.enabled`.
    pub immutable: bool,
    /// `users`.
    pub users: Vec<User>,
    /// `bootloader`.
    pub bootloader: Bootloader,
    /// `packages`: what is asked for by name.
    pub packages: Vec<String>,
    /// `additionalFiles`.
    pub additional_files: Vec<AdditionalFile>,
    /// `configurations[].cmd`: commands run in the image, in order.
    pub commands: Vec<String>,
    /// `kernel`.
    pub kernel: Kernel,
}

/// `systemConfig.users[]`.
#[derive(Clone, PartialEq, Eq)]
pub struct User {
    /// Login name.
    pub name: String,
    /// What `password` and `hash_algo` say.
    pub password: Password,
    /// `passwordMaxAge` in days.
    pub password_max_age_days: Option<u32>,
    /// Supplementary groups.
    pub groups: Vec<String>,
    /// Whether the user may use sudo.
    pub sudo: bool,
    /// Home directory, if not the default.
    pub home: Option<String>,
    /// Login shell, if not the default.
    pub shell: Option<String>,
    /// Program that takes the login shell's place.
    pub startup_script: Option<String>,
}

/// A user's password.
#[derive(Clone, PartialEq, Eq)]
pub enum Password {
    /// None: the account is locked.
    Locked,
    /// Clear text, to be hashed with the method.
    Plain {
        /// The clear text.
        text: String,
        /// `hash_algo`; `sha512` if absent.
        method: HashMethod,
    },
    /// A crypt(5) string as is.
    Hashed(String),
}

/// `hash_algo`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HashMethod {
    /// SHA-512 crypt.
    Sha512,
    /// SHA-256 crypt.
    Sha256,
    /// bcrypt.
    Bcrypt,
    /// yescrypt.
    Yescrypt,
}

// Passwords must not reach a log through `{:?}`.
impl std::fmt::Debug for Password {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Locked => "Locked",
            Self::Plain { .. } => "Plain(…)",
            Self::Hashed(_) => "Hashed(…)",
        })
    }
}

impl std::fmt::Debug for User {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("User")
            .field("name", &self.name)
            .field("password", &self.password)
            .finish_non_exhaustive()
    }
}

/// `systemConfig.bootloader`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bootloader {
    /// `bootType`.
    pub boot_type: BootType,
    /// `provider`.
    pub provider: BootProvider,
}

/// `bootloader.bootType`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BootType {
    /// UEFI.
    Efi,
    /// BIOS.
    Legacy,
}

/// `bootloader.provider`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BootProvider {
    /// GRUB.
    Grub,
    /// systemd-boot with a unified kernel image.
    SystemdBoot,
}

/// `systemConfig.additionalFiles[]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdditionalFile {
    /// Where its content comes from.
    pub source: FileSource,
    /// Where it goes in the image; absolute.
    pub destination: String,
}

/// The content of an additional file.
#[derive(Clone, PartialEq, Eq)]
pub enum FileSource {
    /// A file on the build host, absolute.
    Host(PathBuf),
    /// A file that came with oic: samples have no directory of their own.
    Embedded(&'static [u8]),
}

impl std::fmt::Debug for FileSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Host(path) => f.debug_tuple("Host").field(path).finish(),
            Self::Embedded(bytes) => write!(f, "Embedded({} bytes)", bytes.len()),
        }
    }
}

/// `systemConfig.kernel`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kernel {
    /// `version`, if given.
    pub version: Option<String>,
    /// Kernel command line, without `root=`.
    pub command_line: String,
    /// Modules that the initrd gets besides its own choice.
    pub extra_modules: Vec<String>,
    /// Kernel packages.
    pub packages: Vec<String>,
}

/// `packageRepositories[]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackageRepository {
    /// Suite or codename; also its id.
    pub codename: String,
    /// Base URL (`http`, `https`, `file`), or an absolute directory.
    pub url: String,
    /// Keys that may sign it: URLs, or absolute paths.
    pub keys: Vec<String>,
    /// `[trusted=yes]`: unsigned is accepted, loudly.
    pub trusted: bool,
    /// Components.
    pub components: Vec<String>,
    /// Pin priority; 500 if absent.
    pub priority: i32,
    /// `allowPackages`, `excludePackages`.
    pub filter: PackageFilter,
}
