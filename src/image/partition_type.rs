//! What a partition is for, as GPT knows it: type GUIDs and attribute bits.
//!
//! From the UEFI specification 2.10 (section 5.3.3) and the UAPI Discoverable
//! Partitions Specification (UAPI.2).

use uuid::{Uuid, uuid};

use crate::package::Arch;

/// The EFI system partition.
pub const ESP: Uuid = uuid!("c12a7328-f81f-11d2-ba4b-00a0c93ec93b");
/// Linux file system data.
pub const LINUX: Uuid = uuid!("0fc63daf-8483-4772-8e79-3d69d8477de4");

/// Every `type` name of a template with its GUID and, for roots, the only architecture it fits.
pub const NAMES: [(&str, Uuid, Option<Arch>); 15] = [
    ("linux", LINUX, None),
    ("bios", uuid!("21686148-6449-6e6f-744e-656564454649"), None),
    ("esp", ESP, None),
    ("xbootldr", uuid!("bc13c2ff-59e6-4262-a352-b275fd6f7172"), None),
    (
        "linux-root-amd64",
        uuid!("4f68bce3-e8cd-4db1-96e7-fbcaf984b709"),
        Some(Arch::X86_64),
    ),
    (
        "linux-root-arm64",
        uuid!("b921b045-1df0-41c3-af44-4c6f280d3fae"),
        Some(Arch::Aarch64),
    ),
    ("linux-swap", uuid!("0657fd6d-a4ab-43c4-84e5-0933c84b4f4f"), None),
    ("linux-home", uuid!("933ac7e1-2eb4-4f13-b844-0e14e2aef915"), None),
    ("linux-srv", uuid!("3b8f8425-20e0-4f3b-907f-1a25a76f98e8"), None),
    ("linux-var", uuid!("4d21b016-b534-45c2-a9fb-5c16e091fd2d"), None),
    ("linux-tmp", uuid!("7ec6f557-3bc5-4aca-b293-16ef5df639d1"), None),
    ("linux-lvm", uuid!("e6d6d379-f507-44c2-a23c-238f2a3df928"), None),
    ("linux-raid", uuid!("a19d880f-05fc-4d3b-a006-743f0f84911e"), None),
    ("linux-luks", uuid!("ca7d7ccb-63ed-4c53-861c-1742536059cc"), None),
    ("linux-dm-crypt", uuid!("7ffec5c9-2d00-49b7-8941-3ea10a5586b7"), None),
];

/// The GUID and the architecture (if it fits only one) of a template's type name.
pub fn by_name(name: &str) -> Option<(Uuid, Option<Arch>)> {
    NAMES
        .iter()
        .find(|(n, ..)| *n == name)
        .map(|(_, guid, arch)| (*guid, *arch))
}

/// The GPT attribute bits of one template `flag`; `None` for an unknown one.
///
/// Flags that say what a partition is for have a meaning on MBR and in the type only: no bit.
pub fn attribute_bits(flag: &str) -> Option<u64> {
    Some(match flag {
        "boot" | "esp" | "bios_grub" | "lvm" | "raid" | "swap" => 0,
        "required" => 1 << 0,
        "no_block_io" => 1 << 1,
        "legacy_boot" => 1 << 2,
        "grow_file_system" => 1 << 59,
        "read_only" => 1 << 60,
        "no_auto" => 1 << 63,
        _ => return None,
    })
}

/// Every flag that [`attribute_bits`] knows, for messages.
pub const FLAGS: &str = "boot, esp, required, no_block_io, legacy_boot, grow_file_system, read_only, no_auto, \
    bios_grub, lvm, raid, swap";
