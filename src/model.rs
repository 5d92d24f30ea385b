//! The merged, validated template: typed values that the later stages take.

mod baseline;
mod command;
mod container;
mod debconf;
mod encryption;
mod files;
mod installation;
pub mod machine;
mod network;
mod partition;
mod people;
mod signing;
mod stated;

use std::ops::RangeInclusive;
use std::path::PathBuf;

use crate::package::{Arch, ForeignArch, PackageFilter, Sha256};
use crate::words::words;

pub use baseline::*;
pub use command::{Configuration, When};
pub use container::Container;
pub use debconf::{DebconfAnswer, QuestionType};
pub use encryption::Encryption;
pub use files::{AdditionalFile, FileSource, mode_in_image};
pub use installation::{Installation, Selection};
pub use machine::{Machine, Services};
pub use network::{Interface, Network, NetworkBackend, Route};
pub use partition::{FileCompression, FileSystem, PartitionFlag, PartitionType};
pub use people::{Group, HashMethod, Password, User};
pub use signing::{Enrollment, PassphraseSource, SecureBoot, Signing};
pub use stated::StatedPackage;

/// A template after merge and validation.
#[derive(Debug, Clone, PartialEq)]
pub struct Template {
    /// `image`.
    pub image: ImageInfo,
    /// `target`.
    pub target: Target,
    /// `disk`.
    pub disk: Disk,
    /// `container`.
    pub container: Container,
    /// `systemConfig`.
    pub system: SystemConfig,
    /// `packageRepositories`.
    pub repositories: Vec<PackageRepository>,
    /// `sbomPackageMetadata`.
    pub stated: Vec<StatedPackage>,
}

impl Template {
    /// Says whether the image is a medium that installs something: one whose disk has partitions. Without them it is a live
    /// system.
    pub fn installs(&self) -> bool {
        self.target.image_type == ImageType::Iso && !self.disk.partitions.is_empty()
    }
}

/// `image`: the names of the output.
#[derive(Debug, Clone, PartialEq, Default)]
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
    /// Gives the provider id, `{os}-{dist}-{arch}`.
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
    /// An archive for the Windows Subsystem for Linux.
    Wsl2,
}

impl ImageType {
    /// Says whether the image is a disk; the others are archives of the tree, or have one.
    pub const fn has_disk(self) -> bool {
        matches!(self, Self::Raw)
    }

    /// Returns the artifact that an image without a disk consists of, or begins with.
    pub const fn archive(self) -> Option<ArtifactFormat> {
        match self {
            Self::Raw => None,
            Self::Img | Self::Iso => Some(ArtifactFormat::Img),
            Self::Wsl2 => Some(ArtifactFormat::Tar),
        }
    }
}

words!(ImageType {
    (Self::Raw): "raw",
    (Self::Img): "img",
    (Self::Iso): "iso",
    (Self::Wsl2): "wsl2",
});

/// `disk`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Disk {
    /// A name for people.
    pub name: String,
    /// Output files wanted besides or instead of the `.raw`.
    pub artifacts: Vec<Artifact>,
    /// Size of the disk in bytes, if the template gives it.
    pub size_bytes: Option<u64>,
    /// Kind of partition table.
    pub table: PartitionTable,
    /// The partitions, in order.
    pub partitions: Vec<Partition>,
    /// The size of its sectors.
    pub sector_size: SectorSize,
    /// The place among them of the one that grows to the end of the disk when the machine boots.
    pub growing: Option<usize>,
    /// The disk that an installer takes.
    pub installation: Installation,
}

/// `disk.sectorSize`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SectorSize {
    /// 512 bytes.
    #[default]
    Bytes512,
    /// 4,096 bytes.
    Bytes4096,
}

impl SectorSize {
    /// Returns the size in bytes.
    pub const fn bytes(self) -> u64 {
        match self {
            Self::Bytes512 => 512,
            Self::Bytes4096 => 4096,
        }
    }

    /// Returns the size of `bytes`, if there is such.
    pub fn of(bytes: i64) -> Option<Self> {
        match bytes {
            512 => Some(Self::Bytes512),
            4096 => Some(Self::Bytes4096),
            _ => None,
        }
    }
}

/// `disk.artifacts[]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Artifact {
    /// Its container.
    pub format: ArtifactFormat,
    /// Compression, if any.
    pub compression: Option<Compression>,
    /// Level of the compression, if the template gives one.
    pub level: Option<u32>,
}

/// `disk.artifacts[].type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArtifactFormat {
    /// The disk itself, byte by byte.
    Raw,
    /// QEMU's.
    Qcow2,
    /// The same with compressed clusters.
    Qcow2Zstd,
    /// Microsoft's older one: all of the disk and a footer.
    Vhd,
    /// The same with the blocks that hold data alone.
    VhdDynamic,
    /// Microsoft's newer one.
    Vhdx,
    /// VMware's for import: stream-optimized.
    Vmdk,
    /// VMware's for running from: sparse.
    VmdkSparse,
    /// VirtualBox's.
    Vdi,
    /// The tree as an archive.
    Tar,
    /// The tree as an initrd.
    Img,
    /// The tree as an initrd, with its kernel in one program for UEFI.
    Uki,
    /// The layers as a container image.
    Oci,
    /// What Azure takes.
    Azure,
    /// What Google Compute Engine takes.
    Gcp,
    /// What AWS takes.
    Aws,
    /// A virtual machine for VMware and VirtualBox.
    Ova,
}

words!(ArtifactFormat {
    (Self::Raw): "raw",
    (Self::Qcow2): "qcow2",
    (Self::Qcow2Zstd): "qcow2-zstd",
    (Self::Vhd): "vhd",
    (Self::VhdDynamic): "vhd-dynamic",
    (Self::Vhdx): "vhdx",
    (Self::Vmdk): "vmdk",
    (Self::VmdkSparse): "vmdk-sparse",
    (Self::Vdi): "vdi",
    (Self::Tar): "tar",
    (Self::Img): "img",
    (Self::Uki): "uki",
    (Self::Oci): "oci",
    (Self::Azure): "azure",
    (Self::Gcp): "gcp",
    (Self::Aws): "aws",
    (Self::Ova): "ova",
});

impl ArtifactFormat {
    /// Returns the end of the file's name, behind a dot: each format has its own.
    pub const fn suffix(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Qcow2 => "qcow2",
            Self::Qcow2Zstd => "zstd.qcow2",
            Self::Vhd => "vhd",
            Self::VhdDynamic => "dynamic.vhd",
            Self::Vhdx => "vhdx",
            Self::Vmdk => "vmdk",
            Self::VmdkSparse => "sparse.vmdk",
            Self::Vdi => "vdi",
            Self::Azure => "azure.vhd",
            Self::Gcp => "gcp.tar.gz",
            Self::Aws => "aws.vmdk",
            Self::Ova => "ova",
            Self::Tar => "tar",
            Self::Img => "img",
            Self::Uki => "efi",
            Self::Oci => "oci.tar",
        }
    }

    /// Says whether the format is compressed as its receiver asks for, so that no other compression makes sense.
    pub const fn has_own_compression(self) -> bool {
        matches!(self, Self::Gcp | Self::Aws | Self::Ova)
    }
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

words!(Compression {
    (Self::Gzip): "gz" | "gzip",
    (Self::Xz): "xz",
    (Self::Zstd): "zstd" | "zst",
    (Self::Bzip2): "bz2" | "bzip2",
});

impl Compression {
    /// Returns the levels that the method has, as its own program counts them: gzip(1), xz(1), zstd(1), bzip2(1).
    pub const fn levels(self) -> RangeInclusive<u32> {
        match self {
            Self::Gzip | Self::Bzip2 => 1..=9,
            Self::Xz => 0..=9,
            Self::Zstd => 1..=22,
        }
    }

    /// Returns the level that an artifact has if its template gives none.
    pub const fn default_level(self) -> u32 {
        match self {
            Self::Gzip | Self::Xz | Self::Zstd => 6,
            Self::Bzip2 => 9,
        }
    }
}

/// `disk.partitionTableType`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PartitionTable {
    /// GUID partition table.
    #[default]
    Gpt,
    /// DOS partition table.
    Mbr,
}

words!(PartitionTable {
    (Self::Gpt): "gpt",
    (Self::Mbr): "mbr",
});

/// `disk.partitions[]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Partition {
    /// `id`, unique in the template.
    pub id: String,
    /// GPT partition name; the id if the template gives none.
    pub name: String,
    /// `type`; the one that a flag implies if the template names none.
    pub kind: PartitionType,
    /// `typeUUID`, if given: wins over `kind`.
    pub type_uuid: Option<uuid::Uuid>,
    /// `fsType`; `None` leaves the partition unformatted.
    pub file_system: Option<FileSystem>,
    /// `fsLabel`.
    pub label: Option<String>,
    /// `fsCompression`; `None` compresses nothing.
    pub compression: Option<FileCompression>,
    /// First byte.
    pub start_bytes: u64,
    /// Byte behind the last one; `None` is the rest of the disk.
    pub end_bytes: Option<u64>,
    /// Where the image mounts it; `None` for none.
    pub mount_point: Option<String>,
    /// Options for fstab.
    pub mount_options: String,
    /// `flags`.
    pub flags: Vec<PartitionFlag>,
    /// Whether it holds the hash tree of a verified root. It has no file system then, whatever the template gives it.
    pub is_hash_tree: bool,
}

impl Disk {
    /// Says whether the file system of the root is one that is never written.
    pub fn has_fixed_root(&self) -> bool {
        let mut mounted = self
            .partitions
            .iter()
            .filter(|partition| partition.mount_point.as_deref() == Some("/"));
        mounted.any(|root| root.file_system.is_some_and(|kind| !kind.is_written()))
    }
}

/// `systemConfig`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SystemConfig {
    /// Name of the build and its directory; never empty, one path component.
    pub name: String,
    /// A description for people.
    pub description: String,
    /// `hostname`, if given.
    pub hostname: Option<String>,
    /// `machineId`.
    pub machine_id: MachineId,
    /// `services`, `timezone`, `locale`, `keymap`, `sysctl` and `kernelModules`.
    pub machine: Machine,
    /// `network`, if it has interfaces.
    pub network: Option<Network>,
    /// `immutability.enabled`.
    pub immutable: bool,
    /// `groups`.
    pub groups: Vec<Group>,
    /// `users`.
    pub users: Vec<User>,
    /// `bootloader`.
    pub bootloader: Bootloader,
    /// `fde`, if it is enabled.
    pub encryption: Option<Encryption>,
    /// `signing`, or the keys of `immutability`.
    pub signing: Option<Signing>,
    /// `packages`: the packages that the template names.
    pub packages: Vec<String>,
    /// Names of the packages that the image must not have: `removePackages`, and those of `packages` with a `-`.
    pub removed_packages: Vec<String>,
    /// `recommends`: the packages come with those that they recommend.
    pub recommends: bool,
    /// `recommendsOf`: names of packages for which this holds in any case.
    pub recommends_of: Vec<String>,
    /// `foreignArchitectures`.
    pub foreign_architectures: Vec<ForeignArch>,
    /// `debconf`: answers to questions of packages.
    pub debconf: Vec<DebconfAnswer>,
    /// `additionalFiles`.
    pub additional_files: Vec<AdditionalFile>,
    /// `configurations`: commands run in the image, in order.
    pub commands: Vec<Configuration>,
    /// `allowSecrets`: paths of keys and identities that all copies of the image are to share.
    pub allow_secrets: Vec<String>,
    /// `kernel`.
    pub kernel: Kernel,
}

impl SystemConfig {
    /// Gives the places in the image of `additionalFiles`.
    pub fn destinations(&self) -> impl Iterator<Item = &str> {
        self.additional_files.iter().map(|file| file.destination.as_str())
    }

    /// Gives the places of files that oic must not remove: those of `additionalFiles` and `allowSecrets`.
    pub fn meant(&self) -> impl Iterator<Item = &str> {
        self.destinations().chain(self.allow_secrets.iter().map(String::as_str))
    }
}

/// `machineId`: what the image has in place of the machine's id, which each machine draws when it boots (machine-id(5)).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum MachineId {
    /// Nothing: the machine is configured, and lacks an id only.
    #[default]
    Empty,
    /// A word that makes the first boot that of a system which is not configured yet: `ConditionFirstBoot=` holds.
    Uninitialized,
    /// An id of 32 hexadecimal digits, which all copies of the image share.
    Given(String),
}

impl MachineId {
    /// Makes it of the words `empty` and `uninitialized`, or an id.
    pub fn of(text: &str) -> Self {
        match text {
            "empty" => Self::Empty,
            "uninitialized" => Self::Uninitialized,
            id => Self::Given(id.to_owned()),
        }
    }
}

/// `systemConfig.bootloader`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Bootloader {
    /// `bootType`.
    pub boot_type: BootType,
    /// `provider`.
    pub provider: BootProvider,
    /// `secureBoot`.
    pub secure_boot: SecureBoot,
}

/// `bootloader.bootType`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BootType {
    /// UEFI.
    #[default]
    Efi,
    /// BIOS.
    Legacy,
}

words!(BootType {
    (Self::Efi): "efi",
    (Self::Legacy): "legacy",
});

/// `bootloader.provider`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BootProvider {
    /// GRUB.
    Grub,
    /// systemd-boot.
    #[default]
    SystemdBoot,
}

words!(BootProvider {
    (Self::Grub): "grub" | "grub2",
    (Self::SystemdBoot): "systemd-boot",
});

/// `systemConfig.kernel`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Kernel {
    /// `version`, if given.
    pub version: Option<String>,
    /// Kernel command line, without `root=`.
    pub command_line: String,
    /// Modules that the initrd gets besides its own choice.
    pub extra_modules: Vec<String>,
    /// Kernel packages.
    pub packages: Vec<String>,
    /// `uki`.
    pub form: KernelForm,
}

/// The form in which systemd-boot gets kernel and initrd: `kernel.uki`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum KernelForm {
    /// One EFI program, a unified kernel image.
    #[default]
    Unified,
    /// Files of their own, and an entry of the Boot Loader Specification that names them.
    Separate,
}

/// `packageRepositories[]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackageRepository {
    /// Suite or codename; also its id.
    pub codename: String,
    /// Base URL (`http`, `https`, `file`), or an absolute directory; empty if it has `packages` alone.
    pub url: String,
    /// `packages`: files with packages, which are a repository of their own.
    pub packages: Vec<PackageSource>,
    /// `insecureSkipVerify`: the servers of `packages` may have any certificate.
    pub any_certificate: bool,
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
    /// `checkValidUntil`; `true` if absent.
    pub check_valid_until: bool,
}

/// An entry of `packageRepositories[].packages`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackageSource {
    /// The file or directory.
    pub place: PackagePlace,
    /// The digest that the file must have, if the template pins it.
    pub sha256: Option<Sha256>,
}

/// Where a file with packages is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PackagePlace {
    /// At a URL (`https`).
    Url(String),
    /// On the build host; it may be a directory.
    Host(PathBuf),
}

impl std::fmt::Display for PackagePlace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Url(url) => f.write_str(url),
            Self::Host(path) => path.display().fmt(f),
        }
    }
}
