//! The fields of a template (`docs` and editor schemas come from the same table).

pub(super) mod checks;

use crate::yaml::schema::{Field, Shape, Text, Unique};

const TEXT: Shape = Shape::Text(Text::ANY);
const FILLED: Shape = Shape::Text(Text::ANY.filled());
const WORD: Text = Text::ANY
    .filled()
    .pattern("[A-Za-z0-9][A-Za-z0-9._-]*", "letters, digits, dot, - and _");
const NAME: &str = "[A-Za-z0-9]([A-Za-z0-9_-]*[A-Za-z0-9])?";
const VERSION: &str =
    r"[0-9]+(\.([0-9]+|[0-9]*[A-Za-z-][0-9A-Za-z-]*)){0,2}(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)*)?";
const PACKAGE: &str = r"[A-Za-z0-9][A-Za-z0-9+_.:~*?\[\]-]*(=[A-Za-z0-9][A-Za-z0-9+.:~-]*)?";
const PACKAGE_OR_GROUP: &str =
    r"[A-Za-z0-9][A-Za-z0-9+_.:~*?\[\]-]*(=[A-Za-z0-9][A-Za-z0-9+.:~-]*)?|@[A-Za-z0-9][A-Za-z0-9+_.-]*";

/// Partition types that have a name (UAPI.2 Discoverable Partitions Specification; UEFI 2.10, 5.3.3).
pub const PARTITION_TYPES: [&str; 15] = [
    "linux",
    "bios",
    "esp",
    "xbootldr",
    "linux-root-amd64",
    "linux-root-arm64",
    "linux-swap",
    "linux-home",
    "linux-srv",
    "linux-var",
    "linux-tmp",
    "linux-lvm",
    "linux-raid",
    "linux-luks",
    "linux-dm-crypt",
];

/// The partition type that a template's word means; some templates use other words.
pub(super) fn partition_type(word: &str) -> Option<&'static str> {
    let name = match word {
        "bios-boot" | "bios_grub" => "bios",
        "swap" => "linux-swap",
        "lvm" => "linux-lvm",
        "raid" => "linux-raid",
        other => other,
    };
    PARTITION_TYPES.into_iter().find(|known| *known == name)
}

/// The operating system whose templates may name any distribution: whether a provider has it
/// shows when the template is merged.
pub(super) const ANY_DISTRIBUTION: &str = "redhat-compatible-distro";

/// A template.
pub static TEMPLATE: &[Field] = &[
    Field::new(
        "metadata",
        Shape::Map(METADATA),
        "Helps people and tools to find the template; not built into the image.",
    ),
    Field::new("image", Shape::Map(IMAGE), "What the output is called.").required(),
    Field::new(
        "target",
        Shape::Map(TARGET),
        "Which distribution is built, for which machine.",
    )
    .required(),
    Field::new("disk", Shape::Map(DISK), "The disk image and its partitions."),
    Field::new("systemConfig", Shape::Map(SYSTEM), "What is in the image."),
    Field::new(
        "packageRepositories",
        Shape::List {
            item: &Shape::Map(REPOSITORY),
            unique: Unique::No,
        },
        "Repositories besides those of the distribution.",
    ),
];

static METADATA: &[Field] = &[
    Field::new("description", TEXT, "One sentence."),
    Field::new("use_cases", TEXTS, "What it is good for."),
    Field::new("keywords", TEXTS, "Words to find it by."),
];

const TEXTS: Shape = Shape::List {
    item: &TEXT,
    unique: Unique::No,
};

static IMAGE: &[Field] = &[
    Field::new(
        "name",
        Shape::Text(
            Text::ANY
                .filled()
                .max_chars(128)
                .pattern(NAME, "letters, digits, - and _, not at the ends"),
        ),
        "Base name of the output files.",
    )
    .required(),
    Field::new(
        "version",
        Shape::Text(
            Text::ANY
                .filled()
                .max_chars(64)
                .pattern(VERSION, "one to three parts such as 1.0.0, the first a number"),
        ),
        "Version of the image.",
    )
    .required(),
];

static TARGET: &[Field] = &[
    Field::new(
        "os",
        Shape::Text(WORD.examples(&[
            "azure-linux",
            "edge-microvisor-toolkit",
            "wind-river-elxr",
            "ubuntu",
            "redhat-compatible-distro",
            "debian",
        ])),
        "Operating system: one that a provider is for.",
    )
    .required(),
    Field::new(
        "dist",
        Shape::Text(WORD.examples(&[
            "azl3", "emt3", "elxr12", "ubuntu24", "ubuntu26", "el10", "debian12", "debian13",
        ])),
        "Distribution: one of the operating system's.",
    )
    .required(),
    Field::new(
        "arch",
        Shape::Text(Text::ANY.one_of(&["x86_64", "aarch64", "armv7hl"])),
        "Machine architecture.",
    )
    .required(),
    Field::new(
        "imageType",
        Shape::Text(Text::ANY.one_of(&["raw", "img", "iso"])),
        "Disk image, initrd or installation medium.",
    )
    .required(),
];

static DISK: &[Field] = &[
    Field::new("name", FILLED, "A name for people.").required(),
    Field::new(
        "path",
        Shape::Text(Text::ANY.check(checks::ABSOLUTE)),
        "Device that an installer writes to.",
    ),
    Field::new(
        "artifacts",
        Shape::List {
            item: &Shape::Map(ARTIFACT),
            unique: Unique::No,
        },
        "Output files; an uncompressed raw image if there are none.",
    ),
    Field::new(
        "size",
        Shape::Text(Text::ANY.check(checks::SIZE)),
        "Size of the disk, such as 4GiB.",
    ),
    Field::new(
        "partitionTableType",
        Shape::Text(Text::ANY.one_of(&["gpt", "mbr"])),
        "Kind of partition table; gpt if absent.",
    ),
    Field::new(
        "partitions",
        Shape::List {
            item: &Shape::Map(PARTITION),
            unique: Unique::Key("id"),
        },
        "The partitions, in the order of their numbers.",
    ),
];

static ARTIFACT: &[Field] = &[
    Field::new(
        "type",
        Shape::Text(Text::ANY.one_of(&["raw", "qcow2", "vhd", "vhdx", "vmdk", "vdi"])),
        "Format of the file.",
    )
    .required(),
    Field::new(
        "compression",
        Shape::Text(Text::ANY.one_of(&["gz", "gzip", "xz", "zstd", "bz2"])),
        "How it is compressed; not at all if absent.",
    ),
];

static PARTITION: &[Field] = &[
    Field::new(
        "id",
        Shape::Text(Text::ANY.pattern("[A-Za-z0-9._-]+", "letters, digits, dot, - and _")),
        "Identifies it in this template.",
    ),
    Field::new(
        "index",
        Shape::Int { min: 1, max: 128 },
        "Its number; partitions are numbered in their order.",
    ),
    Field::new(
        "name",
        Shape::Text(Text::ANY.check(checks::GPT_NAME)),
        "Name in the partition table; the id if absent.",
    ),
    Field::new("type", TEXT, "Type by name, such as esp or linux-root-amd64."),
    Field::new(
        "typeUUID",
        Shape::Text(Text::ANY.check(checks::UUID)),
        "Type as a GUID; wins over the name.",
    ),
    Field::new(
        "fsType",
        Shape::Text(Text::ANY.one_of(&[
            "fat32",
            "fat16",
            "vfat",
            "ext2",
            "ext3",
            "ext4",
            "xfs",
            "linux-swap",
            "swap",
            "none",
        ])),
        "File system; none leaves the partition unformatted.",
    ),
    Field::new(
        "fsLabel",
        Shape::Text(Text::ANY.max_chars(36)),
        "Label of the file system.",
    ),
    Field::new(
        "start",
        Shape::Text(Text::ANY.check(checks::SIZE)),
        "Where it starts, such as 1MiB.",
    ),
    Field::new(
        "end",
        Shape::Text(Text::ANY.check(checks::SIZE)),
        "Where it ends; \"0\" is the end of the disk.",
    ),
    Field::new(
        "mountPoint",
        Shape::Text(Text::ANY.check(checks::MOUNT_POINT)),
        "Where it is mounted; none for nowhere.",
    ),
    Field::new(
        "mountOptions",
        Shape::Text(Text::ANY.pattern(r"[^\s#]+", "no spaces, as in the fourth field of fstab(5)")),
        "Mount options for fstab; defaults if absent.",
    ),
    Field::new(
        "flags",
        Shape::List {
            item: &Shape::Text(Text::ANY.one_of(&[
                "esp",
                "boot",
                "bios_grub",
                "legacy_boot",
                "required",
                "no_block_io",
                "grow_file_system",
                "read_only",
                "no_auto",
                "hidden",
                "swap",
                "root",
                "lvm",
                "raid",
                "msftdata",
                "msftres",
                "diag",
                "prep",
                "irst",
                "bls_boot",
                "no_automount",
            ])),
            unique: Unique::No,
        },
        "Flags as parted(8) and systemd.repart name them.",
    ),
];

static SYSTEM: &[Field] = &[
    Field::new(
        "name",
        Shape::Text(Text::ANY.max_chars(128).check(checks::FILE_NAME)),
        "Names the build and its directory; the image name if absent.",
    ),
    Field::new("description", TEXT, "For people."),
    Field::new(
        "hostname",
        Shape::Text(Text::ANY.max_chars(64).check(checks::HOSTNAME)),
        "Name of the machine.",
    ),
    Field::new("initramfs", Shape::Map(INITRAMFS), "Initrd of an installation medium."),
    Field::new(
        "immutability",
        Shape::Map(IMMUTABILITY),
        "A root file system that is verified and never written.",
    ),
    Field::new(
        "users",
        Shape::List {
            item: &Shape::Map(USER),
            unique: Unique::Key("name"),
        },
        "Users to create.",
    ),
    Field::new("bootloader", Shape::Map(BOOTLOADER), "How the machine starts."),
    Field::new(
        "packages",
        PACKAGES_AND_GROUPS,
        "Packages by name; * and ? match several, name=version asks for one version, @id for a group of .rpm packages.",
    ),
    Field::new(
        "additionalFiles",
        Shape::List {
            item: &Shape::Map(ADDITIONAL_FILE),
            unique: Unique::No,
        },
        "Files of the build host to put into the image; of two for one place the later counts.",
    ),
    Field::new(
        "configurations",
        Shape::List {
            item: &Shape::Map(CONFIGURATION),
            unique: Unique::No,
        },
        "Commands to run in the image, in their order.",
    ),
    Field::new(
        "kernel",
        Shape::Map(KERNEL),
        "Kernel, its command line and its modules.",
    ),
];

const PACKAGE_NAME: Shape = Shape::Text(Text::ANY.filled().max_chars(256).pattern(
    PACKAGE,
    "a package name: letters, digits and + - . _ : ~ * ? [ ], the first one a letter or digit",
));

const PACKAGE_OR_GROUP_NAME: Shape = Shape::Text(Text::ANY.filled().max_chars(256).pattern(
    PACKAGE_OR_GROUP,
    "a package name: letters, digits and + - . _ : ~ * ? [ ], the first one a letter or digit; or @ and the id of a group",
));

const PACKAGES_AND_GROUPS: Shape = Shape::List {
    item: &PACKAGE_OR_GROUP_NAME,
    unique: Unique::Value,
};

static INITRAMFS: &[Field] = &[Field::new("template", TEXT, "Template of the initrd.")];

static IMMUTABILITY: &[Field] = &[
    Field::new("enabled", Shape::Bool, "Whether it is wanted.").required(),
    Field::new(
        "secureBootDBKey",
        key_file(r".*\.(key|pem)", "a path that ends in .key or .pem"),
        "Private key that signs for secure boot.",
    ),
    Field::new(
        "secureBootDBCrt",
        key_file(r".*\.(crt|pem)", "a path that ends in .crt or .pem"),
        "Its certificate, PEM.",
    ),
    Field::new(
        "secureBootDBCer",
        key_file(r".*\.cer", "a path that ends in .cer"),
        "Its certificate, DER.",
    ),
];

/// Whether `key` is a path of a secure boot key, where older templates have `${PLACEHOLDER}`s.
pub(super) fn is_key_path(key: &str) -> bool {
    key.starts_with("secureBoot")
}

const fn key_file(pattern: &'static str, words: &'static str) -> Shape {
    Shape::Text(Text::ANY.pattern(pattern, words).check(checks::KEY_PATH))
}

static USER: &[Field] = &[
    Field::new(
        "name",
        Shape::Text(Text::ANY.filled().max_chars(32).pattern(ACCOUNT, ACCOUNT_WORDS)),
        "Login name.",
    )
    .required(),
    Field::new(
        "password",
        Shape::Text(Text::ANY.max_chars(512).check(checks::ONE_LINE).secret()),
        "Clear text or a crypt(5) hash; the account is locked without one.",
    ),
    Field::new(
        "hash_algo",
        Shape::Text(
            Text::ANY
                .one_of(&["sha512", "sha256", "bcrypt", "yescrypt"])
                .refuse(&[("md5", "MD5 password hashes are broken within seconds; use sha512")]),
        ),
        "How a clear-text password is hashed; sha512 if absent.",
    ),
    Field::new(
        "passwordMaxAge",
        Shape::Int { min: 0, max: 99_999 },
        "Days until the password must be changed.",
    ),
    Field::new(
        "startupScript",
        Shape::Text(Text::ANY.check(checks::ACCOUNT_PATH)),
        "Program in the image that takes the place of the shell.",
    ),
    Field::new(
        "groups",
        Shape::List {
            item: &Shape::Text(Text::ANY.filled().max_chars(32).pattern(ACCOUNT, ACCOUNT_WORDS)),
            unique: Unique::No,
        },
        "More groups.",
    ),
    Field::new("sudo", Shape::Bool, "Whether the user may use sudo."),
    Field::new(
        "home",
        Shape::Text(Text::ANY.check(checks::ACCOUNT_PATH)),
        "Home directory.",
    ),
    Field::new(
        "shell",
        Shape::Text(Text::ANY.check(checks::ACCOUNT_PATH)),
        "Login shell.",
    ),
];

const ACCOUNT: &str = "[A-Za-z_][A-Za-z0-9_.-]*[$]?";
const ACCOUNT_WORDS: &str = "letters, digits, _ . and -, the first one a letter or _ (useradd(8))";

static BOOTLOADER: &[Field] = &[
    Field::new(
        "bootType",
        Shape::Text(Text::ANY.one_of(&["efi", "legacy"])),
        "UEFI or BIOS.",
    ),
    Field::new(
        "provider",
        Shape::Text(Text::ANY.one_of(&["grub", "grub2", "systemd-boot"])),
        "Boot loader.",
    ),
];

static ADDITIONAL_FILE: &[Field] = &[
    Field::new("local", FILLED, "The file on the build host, relative to the template.").required(),
    Field::new(
        "final",
        Shape::Text(Text::ANY.filled().check(checks::DESTINATION)),
        "Where it goes in the image.",
    )
    .required(),
];

static CONFIGURATION: &[Field] = &[Field::new(
    "cmd",
    Shape::Text(Text::ANY.filled().max_chars(65_536)),
    "A shell command.",
)
.required()];

static KERNEL: &[Field] = &[
    Field::new("name", TEXT, "For people."),
    Field::new(
        "version",
        Shape::Text(
            Text::ANY
                .max_chars(64)
                .pattern("[A-Za-z0-9][A-Za-z0-9.+~_-]*", "such as 6.12"),
        ),
        "Version of the kernel, or how it begins: chosen among the versions that the repositories have.",
    ),
    Field::new("cmdline", TEXT, "Kernel command line, without root=."),
    Field::new(
        "enableExtraModules",
        Shape::Text(Text::ANY.pattern(
            r"\s*[A-Za-z0-9_-]+(\s+[A-Za-z0-9_-]+)*\s*",
            "module names with spaces between them",
        )),
        "Modules that the initrd gets in addition, and loads.",
    ),
    Field::new("uki", Shape::Bool, "Whether kernel and initrd become one EFI program."),
    Field::new(
        "packages",
        Shape::List {
            item: &PACKAGE_NAME,
            unique: Unique::No,
        },
        "Kernel packages; they replace those of the default template.",
    ),
];

static REPOSITORY: &[Field] = &[
    Field::new(
        "codename",
        Shape::Text(
            Text::ANY
                .filled()
                .max_chars(128)
                .pattern("[A-Za-z0-9][A-Za-z0-9+._/-]*", "a suite such as trixie-backports"),
        ),
        "Suite or codename; also its name in messages.",
    )
    .required(),
    Field::new(
        "url",
        Shape::Text(Text::ANY.check(checks::REPOSITORY_URL)),
        "Base URL; a placeholder such as <URL> leaves the entry out.",
    ),
    Field::new(
        "path",
        Shape::Text(Text::ANY.check(checks::ABSOLUTE)),
        "Directory on the build host: a repository, or plain .deb files (these need pkey: \"[trusted=yes]\").",
    ),
    Field::new(
        "pkey",
        Shape::Text(Text::ANY.check(checks::KEY_URL)),
        "Key that signs it, or [trusted=yes].",
    ),
    Field::new(
        "pkeys",
        Shape::List {
            item: &Shape::Text(Text::ANY.filled().check(checks::KEY_URL)),
            unique: Unique::No,
        },
        "Keys that may sign it.",
    ),
    Field::new(
        "component",
        Shape::Text(Text::ANY.pattern(
            r"\s*[A-Za-z0-9._/-]+(\s+[A-Za-z0-9._/-]+)*\s*",
            "names with spaces between them",
        )),
        "Components; main if absent.",
    ),
    Field::new(
        "priority",
        Shape::Int { min: -9999, max: 9999 },
        "Pin priority, apt_preferences(5); 500 if absent. Also a preference of the image's own apt.",
    ),
    Field::new(
        "allowPackages",
        Shape::List {
            item: &Shape::Text(Text::ANY.filled().max_chars(256)),
            unique: Unique::No,
        },
        "Only these packages are taken from it: names, how they begin, or globs.",
    ),
    Field::new(
        "excludePackages",
        Shape::List {
            item: &Shape::Text(Text::ANY.filled().max_chars(256)),
            unique: Unique::No,
        },
        "These packages are never taken from it: names or globs; of .rpm packages also name-version-release.arch and its parts.",
    ),
];
