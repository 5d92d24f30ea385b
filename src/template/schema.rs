//! The fields of a template (`docs` and editor schemas come from the same table).

mod answers;
pub(super) mod checks;
mod contents;
mod interfaces;
mod keys;
mod machine;
mod on_image;
mod people;
mod repositories;
mod runtime;
mod storage;

pub(super) use answers::debconf;
pub(super) use contents::{additional_file, configuration};
pub(super) use interfaces::{interface, network, route};
pub(super) use keys::signing;
pub(super) use machine::{UNIT_LISTS, services};
pub(super) use on_image::{WITHOUT_EFFECT, baseline, overlay_policy, source};
pub(super) use people::{group, user};
pub(super) use repositories::repository;
pub(super) use runtime::container;
pub(super) use storage::{fde, selection_policy};

use crate::model::{
    ArtifactFormat, BootProvider, BootType, Compression, FileCompression, FileSystem, ImageType, PartitionFlag,
    PartitionTable, PartitionType, SecureBoot,
};
use crate::package::{Arch, ForeignArch};
use crate::words::Words as _;
use crate::yaml::Node;
use crate::yaml::schema::{Field, Shape, Text, Unique, fields};

const TEXT: Text = Text::ANY;
const FILLED: Text = Text::ANY.filled();
const WORD: Text = Text::ANY
    .filled()
    .pattern("[A-Za-z0-9][A-Za-z0-9._-]*", "letters, digits, dot, - and _");
const NAME: &str = "[A-Za-z0-9]([A-Za-z0-9_-]*[A-Za-z0-9])?";
const VERSION: &str =
    r"[0-9]+(\.([0-9]+|[0-9]*[A-Za-z-][0-9A-Za-z-]*)){0,2}(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)*)?";
const PACKAGE: &str = r"[A-Za-z0-9][A-Za-z0-9+_.:~*?\[\]-]*(=[A-Za-z0-9][A-Za-z0-9+.:~-]*)?";
const PACKAGE_OR_GROUP: &str = r"[A-Za-z0-9][A-Za-z0-9+_.:~*?\[\]-]*(=[A-Za-z0-9][A-Za-z0-9+.:~-]*)?|@[A-Za-z0-9][A-Za-z0-9+_.-]*|-[A-Za-z0-9][A-Za-z0-9+_.~-]*";

/// The operating system whose templates may name any distribution: whether a provider has it
/// shows when the template is merged.
pub(super) const ANY_DISTRIBUTION: &str = "redhat-compatible-distro";

const PACKAGE_NAME: Text = FILLED.max_chars(256).pattern(
    PACKAGE,
    "a package name: letters, digits and + - . _ : ~ * ? [ ], the first one a letter or digit",
);
const PACKAGE_OR_GROUP_NAME: Text = FILLED.max_chars(256).pattern(
    PACKAGE_OR_GROUP,
    "a package name: letters, digits and + - . _ : ~ * ? [ ], the first one a letter or digit; or @ and the id of a group; or - and the name of a package to leave out",
);
const REMOVED_NAME: Text = FILLED.max_chars(256).pattern(
    "[A-Za-z0-9][A-Za-z0-9+_.~-]*",
    "the name of a package: letters, digits and + - . _ ~, the first one a letter or digit",
);

/// The fields of a template.
pub static TEMPLATE: &[Field] = template::ALL;

fields! {
    /// A template.
    mod template {
        EXTENDS: str = Field::text(
            "extends",
            TEXT.check(checks::ONE_LINE),
            "Another template, whose values hold where this one has none: a path relative to this file.",
        );
        METADATA: Node = Field::map(
            "metadata",
            metadata::ALL,
            "Helps people and tools to find the template; not built into the image.",
        );
        IMAGE: Node = Field::map("image", image::ALL, "What the output is called.").required();
        TARGET: Node = Field::map("target", target::ALL, "Which distribution is built, for which machine.").required();
        BASELINE: Node = Field::map("baseline", baseline::ALL, "The image to build on, for templates that do not start from packages.");
        OVERLAY_POLICY: Node = Field::map(
            "overlayPolicy",
            overlay_policy::ALL,
            "What may change in the image that is built on.",
        );
        DISK: Node = Field::map("disk", disk::ALL, "The disk image and its partitions.");
        CONTAINER: Node = Field::map("container", container::ALL, "What a container image starts, and its labels.");
        SYSTEM: Node = Field::map("systemConfig", system::ALL, "What is in the image.");
        REPOSITORIES: [Node] = Field::maps(
            "packageRepositories",
            &Shape::Map(repository::ALL),
            Unique::No,
            "Repositories besides those of the distribution.",
        );
        SBOM: [Node] = Field::maps(
            "sbomPackageMetadata",
            &Shape::Any,
            Unique::No,
            "What the bill of materials says about packages where they do not say it themselves, and software that no package manager knows: name, version, license, supplier, url, homepage, description, checksum.",
        );
    }
}

fields! {
    /// `metadata`.
    mod metadata {
        DESCRIPTION: str = Field::text("description", TEXT, "One sentence.");
        USE_CASES: [String] = Field::texts("use_cases", &Shape::Text(TEXT), Unique::No, "What it is good for.");
        KEYWORDS: [String] = Field::texts("keywords", &Shape::Text(TEXT), Unique::No, "Words to find it by.");
    }
}

fields! {
    /// `image`.
    mod image {
        NAME: str = Field::text(
            "name",
            FILLED.max_chars(128).pattern(super::NAME, "letters, digits, - and _, not at the ends"),
            "Base name of the output files.",
        )
        .required();
        VERSION: str = Field::text(
            "version",
            FILLED
                .max_chars(64)
                .pattern(super::VERSION, "one to three parts such as 1.0.0, the first a number"),
            "Version of the image.",
        )
        .required();
    }
}

fields! {
    /// `target`.
    mod target {
        OS: str = Field::text(
            "os",
            WORD.examples(&[
                "azure-linux",
                "edge-microvisor-toolkit",
                "wind-river-elxr",
                "ubuntu",
                ANY_DISTRIBUTION,
                "debian",
            ]),
            "Operating system: one that a provider is for.",
        )
        .required();
        DIST: str = Field::text(
            "dist",
            WORD.examples(&[
                "azl3", "emt3", "elxr12", "elxr13", "ubuntu24", "ubuntu26", "el10", "debian12", "debian13",
            ]),
            "Distribution: one of the operating system's.",
        )
        .required();
        ARCH: Arch = Field::word("arch", "Machine architecture.").required();
        IMAGE_TYPE: ImageType = Field::word("imageType", "Disk image, initrd, installation medium, or archive for WSL.").required();
    }
}

fields! {
    /// `disk`.
    mod disk {
        NAME: str = Field::text("name", FILLED, "A name for people.").required();
        PATH: str = Field::text("path", TEXT.check(checks::ABSOLUTE), "Device that an installer writes to.");
        SELECTION_POLICY: Node = Field::map(
            "selectionPolicy",
            selection_policy::ALL,
            "How an unattended installer chooses the disk if path is absent.",
        );
        EXTEND_LAST: bool = Field::bool(
            "extendLastPartitionToFillDisk",
            "Whether the first boot grows the last partition, which has to be mounted at /, to the end of the disk; false if absent.",
        );
        ARTIFACTS: [Node] = Field::maps(
            "artifacts",
            &Shape::Map(artifact::ALL),
            Unique::No,
            "Output files; an uncompressed raw image if there are none.",
        );
        SIZE: str = Field::text("size", TEXT.check(checks::SIZE), "Size of the disk, such as 4GiB.");
        SECTOR_SIZE: i64 = Field::int(
            "sectorSize",
            512,
            4096,
            "Size of the disk's sectors in bytes: 512, or 4096 for disks that have no smaller ones (they need a GPT and UEFI); 512 if absent.",
        );
        TABLE: PartitionTable = Field::word("partitionTableType", "Kind of partition table; gpt if absent.");
        PARTITIONS: [Node] = Field::maps(
            "partitions",
            &Shape::Map(partition::ALL),
            Unique::Key(partition::ID.name),
            "The partitions, in the order of their numbers.",
        );
    }
}

fields! {
    /// `disk.artifacts[]`.
    mod artifact {
        TYPE: ArtifactFormat = Field::word("type", "Format of the file, or the cloud that takes it.").required();
        COMPRESSION: Compression = Field::word("compression", "How it is compressed; not at all if absent.");
        LEVEL: i64 = Field::int(
            "compressionLevel",
            0,
            22,
            "How hard it is compressed, as the method's own program counts; gz, xz and zstd 6, bz2 9 if absent.",
        );
    }
}

fields! {
    /// `disk.partitions[]`.
    mod partition {
        ID: str = Field::text(
            "id",
            TEXT.pattern("[A-Za-z0-9._-]+", "letters, digits, dot, - and _"),
            "Identifies it in this template.",
        );
        INDEX: i64 = Field::int("index", 1, 128, "Its number; partitions are numbered in their order.");
        NAME: str = Field::text(
            "name",
            TEXT.check(checks::GPT_NAME),
            "Name in the partition table; the id if absent.",
        );
        TYPE: PartitionType = Field::word_or_other("type", "Type by name, such as esp or linux-root-amd64.");
        TYPE_UUID: str = Field::text("typeUUID", TEXT.check(checks::UUID), "Type as a GUID; wins over the name.");
        FS_TYPE: Option<FileSystem> = Field::word("fsType", "File system; none leaves the partition unformatted.");
        FS_COMPRESSION: Option<FileCompression> =
            Field::word("fsCompression", "How contents are compressed, on erofs; none if absent.");
        FS_LABEL: str = Field::text("fsLabel", TEXT.max_chars(36), "Label of the file system.");
        START: str = Field::text("start", TEXT.check(checks::SIZE), "Where it starts, such as 1MiB.");
        END: str = Field::text("end", TEXT.check(checks::SIZE), "Where it ends; \"0\" is the end of the disk.");
        MOUNT_POINT: str = Field::text(
            "mountPoint",
            TEXT.check(checks::MOUNT_POINT),
            "Where it is mounted; none for nowhere.",
        );
        MOUNT_OPTIONS: str = Field::text(
            "mountOptions",
            TEXT.pattern(r"[^\s#]+", "no spaces, as in the fourth field of fstab(5)"),
            "Mount options for fstab; defaults if absent.",
        );
        FLAGS: [PartitionFlag] = Field::words(
            "flags",
            &Shape::Text(TEXT.one_of(PartitionFlag::CHOICES)),
            Unique::No,
            "Flags as parted(8) and systemd.repart name them.",
        );
        GROW: bool = Field::bool(
            "grow",
            "Whether the partition, the last one on the disk, and its file system grow to the end of the disk when the machine boots; false if absent.",
        );
    }
}

fields! {
    /// `systemConfig`.
    mod system {
        NAME: str = Field::text(
            "name",
            TEXT.max_chars(128).check(checks::FILE_NAME),
            "Names the build and its directory; the image name if absent.",
        );
        DESCRIPTION: str = Field::text("description", TEXT, "For people.");
        HOSTNAME: str = Field::text(
            "hostname",
            TEXT.max_chars(64).check(checks::HOSTNAME),
            "Name of the machine.",
        );
        MACHINE_ID: str = Field::text(
            "machineId",
            TEXT.check(checks::MACHINE_ID),
            "What /etc/machine-id says until the machine has an id: empty (if absent), or uninitialized, with which the first \
             boot fulfills ConditionFirstBoot= and applies presets; or an id, which all copies of the image share.",
        );
        SERVICES: Node = Field::map("services", services::ALL, "systemd units that are switched on or off.");
        TIMEZONE: str = Field::text("timezone", machine::TIMEZONE, "Time zone of the machine; UTC if absent.");
        LOCALE: str = Field::text(
            "locale",
            machine::LOCALE,
            "Language of the machine; on Debian and its relatives the package locales makes it.",
        );
        KEYMAP: str = Field::text(
            "keymap",
            machine::KEYMAP,
            "Keyboard layout of the console; on Debian and its relatives the package console-setup sets it.",
        );
        SYSCTL: Node = Field::table(
            "sysctl",
            machine::PARAMETER,
            &machine::PARAMETER_VALUE,
            "Kernel parameters that each boot sets.",
        );
        KERNEL_MODULES: [String] = Field::texts(
            "kernelModules",
            &machine::MODULE,
            Unique::Value,
            "Kernel modules that each boot loads; kernel.enableExtraModules has those of the initrd.",
        );
        NETWORK: Node = Field::map("network", network::ALL, "Interfaces of the machine, and what configures them.");
        INITRAMFS: Node = Field::map("initramfs", initramfs::ALL, "Initrd of an installation medium.");
        IMMUTABILITY: Node = Field::map(
            "immutability",
            immutability::ALL,
            "A root file system that is verified and never written.",
        );
        SIGNING: Node = Field::map(
            "signing",
            signing::ALL,
            "The key that signs what the firmware starts, for Secure Boot with keys of your own.",
        );
        FDE: Node = Field::map("fde", fde::ALL, "Partitions that are encrypted.");
        GROUPS: [Node] = Field::maps(
            "groups",
            &Shape::Map(group::ALL),
            Unique::Key(group::NAME.name),
            "Groups to make before the users; a group that only a user names needs no entry.",
        );
        USERS: [Node] = Field::maps(
            "users",
            &Shape::Map(user::ALL),
            Unique::Key(user::NAME.name),
            "Users to create.",
        );
        BOOTLOADER: Node = Field::map("bootloader", bootloader::ALL, "How the machine starts.");
        PACKAGES: [String] = Field::texts(
            "packages",
            &Shape::Text(PACKAGE_OR_GROUP_NAME),
            Unique::Value,
            "Packages by name; * and ? match several, name=version asks for one version, @id for a group of .rpm packages; -name leaves out what the default or a parent asks for.",
        );
        REMOVE_PACKAGES: [String] = Field::texts(
            "removePackages",
            &Shape::Text(REMOVED_NAME),
            Unique::Value,
            "Packages that the image must not have, although the default or a parent asks for them; the same as -name in packages.",
        );
        RECOMMENDS: bool = Field::bool(
            "recommends",
            "Whether the packages come with those that they recommend, as apt and dnf install them by default; false if absent.",
        );
        RECOMMENDS_OF: [String] = Field::texts(
            "recommendsOf",
            &Shape::Text(REMOVED_NAME),
            Unique::Value,
            "Packages of the list that come with those that they and their needs recommend, where the others do not.",
        );
        FOREIGN_ARCHITECTURES: [ForeignArch] = Field::words(
            "foreignArchitectures",
            &machine::FOREIGN,
            Unique::Value,
            "Architectures besides the machine's own whose .deb packages can be asked for, as name:i386.",
        );
        DEBCONF: [Node] = Field::maps(
            "debconf",
            &Shape::Map(debconf::ALL),
            Unique::No,
            "Answers to questions that .deb packages ask while they are installed.",
        );
        ADDITIONAL_FILES: [Node] = Field::maps(
            "additionalFiles",
            &Shape::Map(additional_file::ALL),
            Unique::No,
            "Files and directories to put into the image; of two for one place the later counts.",
        );
        CONFIGURATIONS: [Node] = Field::maps(
            "configurations",
            &Shape::Map(configuration::ALL),
            Unique::No,
            "Commands to run in the image, in their order.",
        );
        ALLOW_SECRETS: [String] = Field::texts(
            "allowSecrets",
            &Shape::Text(FILLED.check(checks::DESTINATION)),
            Unique::No,
            "Private keys and identities, by path, that all copies of the image are to share; others are removed, or reported.",
        );
        KERNEL: Node = Field::map("kernel", kernel::ALL, "Kernel, its command line and its modules.");
    }
}

/// The lists that ask for packages and leave them out.
pub(super) const PACKAGE_LISTS: [Field<[String]>; 2] = [system::PACKAGES, system::REMOVE_PACKAGES];

fields! {
    /// `systemConfig.initramfs`.
    mod initramfs {
        TEMPLATE: str = Field::text("template", TEXT, "Template of the initrd.");
    }
}

fields! {
    /// `systemConfig.immutability`.
    mod immutability {
        ENABLED: bool = Field::bool("enabled", "Whether it is wanted.").required();
        KEY: str = Field::text(
            "secureBootDBKey",
            key_file(r".*\.(key|pem)", "a path that ends in .key or .pem"),
            "Private key that signs for secure boot.",
        );
        CERTIFICATE_PEM: str = Field::text(
            "secureBootDBCrt",
            key_file(r".*\.(crt|pem)", "a path that ends in .crt or .pem"),
            "Its certificate, PEM.",
        );
        CERTIFICATE_DER: str = Field::text(
            "secureBootDBCer",
            key_file(r".*\.cer", "a path that ends in .cer"),
            "Its certificate, DER.",
        );
    }
}

/// The files that secure boot needs. Older templates have `${PLACEHOLDER}`s in their paths.
pub(super) const SECURE_BOOT: [Field<str>; 3] = [
    immutability::KEY,
    immutability::CERTIFICATE_PEM,
    immutability::CERTIFICATE_DER,
];

/// Makes the rule for the path of a secure boot key; `words` explains `pattern`.
const fn key_file(pattern: &'static str, words: &'static str) -> Text {
    TEXT.pattern(pattern, words).check(checks::KEY_PATH)
}

fields! {
    /// `systemConfig.bootloader`.
    mod bootloader {
        BOOT_TYPE: BootType = Field::word("bootType", "UEFI or BIOS.");
        PROVIDER: BootProvider = Field::word("provider", "Boot loader.");
        SECURE_BOOT: SecureBoot = Field::word(
            "secureBoot",
            "Whose signatures the firmware verifies: own for those of systemConfig.signing (if absent), distribution for the shim, boot loader and kernel that the distribution has signed.",
        );
    }
}

fields! {
    /// `systemConfig.kernel`.
    mod kernel {
        NAME: str = Field::text("name", TEXT, "For people.");
        VERSION: str = Field::text(
            "version",
            TEXT.max_chars(64).pattern("[A-Za-z0-9][A-Za-z0-9.+~_-]*", "such as 6.12"),
            "Version of the kernel, or how it begins: chosen among the versions that the repositories have.",
        );
        CMDLINE: str = Field::text("cmdline", TEXT, "Kernel command line, without root=.");
        EXTRA_MODULES: str = Field::text(
            "enableExtraModules",
            TEXT.pattern(
                r"\s*[A-Za-z0-9_-]+(\s+[A-Za-z0-9_-]+)*\s*",
                "module names with spaces between them",
            ),
            "Modules that the initrd gets in addition, and loads.",
        );
        UKI: bool = Field::bool(
            "uki",
            "Whether kernel and initrd become one EFI program for systemd-boot; if false they are files of their own, which an entry of the Boot Loader Specification names; true if absent.",
        );
        PACKAGES: [String] = Field::texts(
            "packages",
            &Shape::Text(PACKAGE_NAME),
            Unique::No,
            "Kernel packages; they replace those of the default template.",
        );
    }
}
