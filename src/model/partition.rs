//! What a partition is for, and its file system: types and attribute bits of partition tables.
//!
//! From the UEFI specification 2.10 (section 5.3.3) and the UAPI Discoverable Partitions Specification (UAPI.2).

use uuid::{Uuid, uuid};

use crate::package::Arch;
use crate::words::words;

/// `disk.partitions[].type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PartitionType {
    /// Linux file system data.
    #[default]
    Linux,
    /// GRUB's own space on a disk that boots by BIOS.
    Bios,
    /// The EFI system partition.
    Esp,
    /// More space for boot loaders, beside the ESP.
    Xbootldr,
    /// The root of an x86-64 system.
    RootAmd64,
    /// The root of an AArch64 system.
    RootArm64,
    /// The hash tree over the root of an x86-64 system.
    RootVerityAmd64,
    /// The hash tree over the root of an AArch64 system.
    RootVerityArm64,
    /// Swap space.
    Swap,
    /// `/home`.
    Home,
    /// `/srv`.
    Srv,
    /// `/var`.
    Var,
    /// `/var/tmp`.
    Tmp,
    /// A physical volume of LVM.
    Lvm,
    /// A member of a RAID.
    Raid,
    /// A LUKS volume.
    Luks,
    /// A plain dm-crypt volume.
    DmCrypt,
}

// The other words are those of templates of older tools.
words!(PartitionType {
    (Self::Linux): "linux",
    (Self::Bios): "bios" | "bios-boot" | "bios_grub",
    (Self::Esp): "esp",
    (Self::Xbootldr): "xbootldr",
    (Self::RootAmd64): "linux-root-amd64",
    (Self::RootArm64): "linux-root-arm64",
    (Self::RootVerityAmd64): "linux-root-amd64-verity",
    (Self::RootVerityArm64): "linux-root-arm64-verity",
    (Self::Swap): "linux-swap" | "swap",
    (Self::Home): "linux-home",
    (Self::Srv): "linux-srv",
    (Self::Var): "linux-var",
    (Self::Tmp): "linux-tmp",
    (Self::Lvm): "linux-lvm" | "lvm",
    (Self::Raid): "linux-raid" | "raid",
    (Self::Luks): "linux-luks",
    (Self::DmCrypt): "linux-dm-crypt",
});

impl PartitionType {
    /// Returns the type GUID.
    pub const fn guid(self) -> Uuid {
        match self {
            Self::Linux => uuid!("0fc63daf-8483-4772-8e79-3d69d8477de4"),
            Self::Bios => uuid!("21686148-6449-6e6f-744e-656564454649"),
            Self::Esp => uuid!("c12a7328-f81f-11d2-ba4b-00a0c93ec93b"),
            Self::Xbootldr => uuid!("bc13c2ff-59e6-4262-a352-b275fd6f7172"),
            Self::RootAmd64 => uuid!("4f68bce3-e8cd-4db1-96e7-fbcaf984b709"),
            Self::RootArm64 => uuid!("b921b045-1df0-41c3-af44-4c6f280d3fae"),
            Self::RootVerityAmd64 => uuid!("2c7357ed-ebd2-46d9-aec1-23d437ec2bf5"),
            Self::RootVerityArm64 => uuid!("df3300ce-d69f-4c92-978c-9bfb0f38d820"),
            Self::Swap => uuid!("0657fd6d-a4ab-43c4-84e5-0933c84b4f4f"),
            Self::Home => uuid!("933ac7e1-2eb4-4f13-b844-0e14e2aef915"),
            Self::Srv => uuid!("3b8f8425-20e0-4f3b-907f-1a25a76f98e8"),
            Self::Var => uuid!("4d21b016-b534-45c2-a9fb-5c16e091fd2d"),
            Self::Tmp => uuid!("7ec6f557-3bc5-4aca-b293-16ef5df639d1"),
            Self::Lvm => uuid!("e6d6d379-f507-44c2-a23c-238f2a3df928"),
            Self::Raid => uuid!("a19d880f-05fc-4d3b-a006-743f0f84911e"),
            Self::Luks => uuid!("ca7d7ccb-63ed-4c53-861c-1742536059cc"),
            Self::DmCrypt => uuid!("7ffec5c9-2d00-49b7-8941-3ea10a5586b7"),
        }
    }

    /// Returns the type in an MBR; `None` if an MBR has none. XBOOTLDR is that of UAPI.1, the others those of sfdisk(8).
    pub const fn mbr_code(self) -> Option<u8> {
        Some(match self {
            Self::Bios => return None,
            Self::Esp => 0xef,
            Self::Xbootldr => 0xea,
            Self::Swap => 0x82,
            Self::Lvm => 0x8e,
            Self::Raid => 0xfd,
            Self::Luks => 0xe8,
            _ => 0x83,
        })
    }

    /// Returns the architecture, if the type fits only one.
    pub fn arch(self) -> Option<Arch> {
        match self {
            Self::RootAmd64 | Self::RootVerityAmd64 => Some(Arch::X86_64),
            Self::RootArm64 | Self::RootVerityArm64 => Some(Arch::Aarch64),
            _ => None,
        }
    }

    /// Returns the types of the root of a system of `arch`, and of the hash tree over it; `None` if there are none here.
    pub fn verified_root_of(arch: Arch) -> Option<(Self, Self)> {
        match arch {
            Arch::X86_64 => Some((Self::RootAmd64, Self::RootVerityAmd64)),
            Arch::Aarch64 => Some((Self::RootArm64, Self::RootVerityArm64)),
            Arch::Armv7hl => None,
        }
    }

    /// Says whether it is that of a hash tree.
    pub fn is_hash_tree(self) -> bool {
        matches!(self, Self::RootVerityAmd64 | Self::RootVerityArm64)
    }
}

/// `disk.partitions[].flags[]`, as parted(8) and systemd.repart name them; those that oic writes stand first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PartitionFlag {
    /// The EFI system partition.
    Esp,
    /// What firmware boots from: in a GPT the EFI system partition, in an MBR the active one.
    Boot,
    /// The platform needs the partition: tools leave it alone (GPT bit 0).
    Required,
    /// Firmware offers no block device for the partition (GPT bit 1).
    NoBlockIo,
    /// A BIOS may boot from the partition (GPT bit 2; active in an MBR).
    LegacyBoot,
    /// systemd grows its file system when it mounts it (GPT bit 59).
    GrowFileSystem,
    /// systemd mounts it read-only (GPT bit 60).
    ReadOnly,
    /// systemd does not mount it by itself (GPT bit 63).
    NoAuto,
    /// The place of GRUB's core image.
    BiosGrub,
    /// A physical volume of LVM.
    Lvm,
    /// A member of a RAID.
    Raid,
    /// Swap space.
    Swap,
    /// Windows does not show it.
    Hidden,
    /// The root partition of Mac OS, and of Linux on other tables.
    Root,
    /// Microsoft's basic data.
    MsftData,
    /// Microsoft's reserved partition.
    MsftRes,
    /// A diagnosis or recovery partition.
    Diag,
    /// The PReP boot partition of PowerPC.
    Prep,
    /// The partition of Intel's Rapid Start.
    Irst,
    /// The extended boot loader partition (Boot Loader Specification).
    BlsBoot,
    /// What parted(8) calls [`Self::NoAuto`].
    NoAutomount,
}

words!(PartitionFlag {
    (Self::Esp): "esp",
    (Self::Boot): "boot",
    (Self::Required): "required",
    (Self::NoBlockIo): "no_block_io",
    (Self::LegacyBoot): "legacy_boot",
    (Self::GrowFileSystem): "grow_file_system",
    (Self::ReadOnly): "read_only",
    (Self::NoAuto): "no_auto",
    (Self::BiosGrub): "bios_grub",
    (Self::Lvm): "lvm",
    (Self::Raid): "raid",
    (Self::Swap): "swap",
    (Self::Hidden): "hidden",
    (Self::Root): "root",
    (Self::MsftData): "msftdata",
    (Self::MsftRes): "msftres",
    (Self::Diag): "diag",
    (Self::Prep): "prep",
    (Self::Irst): "irst",
    (Self::BlsBoot): "bls_boot",
    (Self::NoAutomount): "no_automount",
});

impl PartitionFlag {
    /// Returns the bits of the flag in a GPT entry; `None` for one that oic does not write. A flag for the purpose of a
    /// partition has no bit: GPT expresses it in the type.
    pub fn attribute_bits(self) -> Option<u64> {
        Some(match self {
            Self::Boot | Self::Esp | Self::BiosGrub | Self::Lvm | Self::Raid | Self::Swap => 0,
            Self::Required => 1 << 0,
            Self::NoBlockIo => 1 << 1,
            Self::LegacyBoot => 1 << 2,
            Self::GrowFileSystem => 1 << 59,
            Self::ReadOnly => 1 << 60,
            Self::NoAuto => 1 << 63,
            _ => return None,
        })
    }

    /// Returns the type that a partition with this flag has if its template names none.
    pub fn implied_type(self) -> Option<PartitionType> {
        Some(match self {
            Self::Esp => PartitionType::Esp,
            Self::BiosGrub => PartitionType::Bios,
            Self::Lvm => PartitionType::Lvm,
            Self::Raid => PartitionType::Raid,
            Self::Swap => PartitionType::Swap,
            _ => return None,
        })
    }
}

/// `disk.partitions[].fsCompression`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileCompression {
    /// LZ4.
    Lz4,
    /// Zstandard.
    Zstd,
}

words!(Option<FileCompression> {
    (Some(FileCompression::Lz4)): "lz4",
    (Some(FileCompression::Zstd)): "zstd",
    (None): "none",
});

/// Declares the file systems: for each its words, the largest number of bytes in its label, and its type in fstab(5).
macro_rules! file_systems {
    ($($(#[$doc:meta])+ $kind:ident: $first:literal $(| $other:literal)*, $label:literal, $fstab:literal;)+) => {
        /// `fsType`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum FileSystem {
            $($(#[$doc])+ $kind,)+
        }

        // `none` leaves a partition unformatted.
        words!(Option<FileSystem> {
            $((Some(FileSystem::$kind)): $first $(| $other)*,)+
            (None): "none",
        });

        impl FileSystem {
            /// Gives the largest number of bytes in a label (mkfs.fat(8), mke2fs(8), mkfs.xfs(8), mkswap(8)).
            pub fn max_label_bytes(self) -> usize {
                match self {
                    $(Self::$kind => $label,)+
                }
            }

            /// Says whether a running system can write to it.
            pub fn is_written(self) -> bool {
                self != Self::Erofs
            }

            /// Says whether its contents can be compressed with `compression`.
            pub fn compresses(self, compression: FileCompression) -> bool {
                match compression {
                    FileCompression::Lz4 | FileCompression::Zstd => self == Self::Erofs,
                }
            }

            /// Gives the type as fstab(5) names it.
            pub fn fstab_type(self) -> &'static str {
                match self {
                    $(Self::$kind => $fstab,)+
                }
            }
        }
    };
}

file_systems! {
    /// FAT with 32-bit entries.
    Fat32: "fat32" | "vfat", 11, "vfat";
    /// FAT with 16-bit entries.
    Fat16: "fat16", 11, "vfat";
    /// ext2.
    Ext2: "ext2", 16, "ext2";
    /// ext3.
    Ext3: "ext3", 16, "ext3";
    /// ext4.
    Ext4: "ext4", 16, "ext4";
    /// erofs, which is never written.
    Erofs: "erofs", 15, "erofs";
    /// XFS.
    Xfs: "xfs", 12, "xfs";
    /// Swap space.
    Swap: "linux-swap" | "swap", 15, "swap";
}
