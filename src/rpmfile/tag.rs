//! The numbers under which headers keep their values (rpm's `rpmtag.h`, rpm-tags(7)).

/// The number of a value in a header. Signature headers have numbers of their own, which partly coincide.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tag(pub u32);

macro_rules! tags {
    ($($(#[$meta:meta])* $name:ident = $number:literal;)*) => {
        impl Tag {
            $($(#[$meta])* pub const $name: Self = Self($number);)*
        }
    };
}

tags! {
    /// The region of the main header that signatures cover.
    HEADER_IMMUTABLE = 63;

    /// Package name.
    NAME = 1000;
    /// Version.
    VERSION = 1001;
    /// Release.
    RELEASE = 1002;
    /// Epoch; a number.
    EPOCH = 1003;
    /// Summary: one line.
    SUMMARY = 1004;
    /// Build time in seconds since 1970.
    BUILD_TIME = 1006;
    /// Sum of its files' sizes; see `LONG_SIZE`.
    SIZE = 1009;
    /// Vendor.
    VENDOR = 1011;
    /// Licence.
    LICENSE = 1014;
    /// Who made the package.
    PACKAGER = 1015;
    /// Home page.
    URL = 1020;
    /// Architecture.
    ARCH = 1022;
    /// Script before installation.
    PRE_IN = 1023;
    /// Script after installation.
    POST_IN = 1024;
    /// Script before removal.
    PRE_UN = 1025;
    /// Script after removal.
    POST_UN = 1026;
    /// Size of each file; see `LONG_FILE_SIZES`.
    FILE_SIZES = 1028;
    /// Mode of each file.
    FILE_MODES = 1030;
    /// Device number of each file that is a device.
    FILE_RDEVS = 1033;
    /// Modification time of each file.
    FILE_MTIMES = 1034;
    /// Digest of each file in hexadecimal; empty for other than regular files.
    FILE_DIGESTS = 1035;
    /// Target of each symbolic link.
    FILE_LINK_TOS = 1036;
    /// Flags of each file: 1 configuration, 2 documentation, 16 noreplace, 64 ghost, ….
    FILE_FLAGS = 1037;
    /// Owner of each file.
    FILE_USER_NAME = 1039;
    /// Group of each file.
    FILE_GROUP_NAME = 1040;
    /// The source package.
    SOURCE_RPM = 1044;
    /// Names that it provides.
    PROVIDE_NAME = 1047;
    /// Operators and kinds of its requirements.
    REQUIRE_FLAGS = 1048;
    /// Names of its requirements.
    REQUIRE_NAME = 1049;
    /// Versions of its requirements.
    REQUIRE_VERSION = 1050;
    /// Operators of its conflicts.
    CONFLICT_FLAGS = 1053;
    /// Names of its conflicts.
    CONFLICT_NAME = 1054;
    /// Versions of its conflicts.
    CONFLICT_VERSION = 1055;
    /// Names of the packages that it replaces.
    OBSOLETE_NAME = 1090;
    /// File system of each file at build time; together with `FILE_INODES` it identifies hard links.
    FILE_DEVICES = 1095;
    /// Inode of each file at build time.
    FILE_INODES = 1096;
    /// Operators of the names that it provides.
    PROVIDE_FLAGS = 1112;
    /// Versions of the names that it provides.
    PROVIDE_VERSION = 1113;
    /// Operators of the packages that it replaces.
    OBSOLETE_FLAGS = 1114;
    /// Versions of the packages that it replaces.
    OBSOLETE_VERSION = 1115;
    /// Directory of each file, an index into `DIR_NAMES`.
    DIR_INDEXES = 1116;
    /// Last path component of each file.
    BASE_NAMES = 1117;
    /// Directories, with a slash at the end.
    DIR_NAMES = 1118;
    /// Script after the whole transaction.
    POST_TRANS = 1152;
    /// Form of the payload: `cpio`.
    PAYLOAD_FORMAT = 1124;
    /// Compression of the payload: `gzip`, `bzip2`, `xz`, `lzma`, `zstd`; absent: gzip.
    PAYLOAD_COMPRESSOR = 1125;
    /// Size of each file where some are 4 GiB or larger.
    LONG_FILE_SIZES = 5008;
    /// Sum of its files' sizes where that is 4 GiB or more.
    LONG_SIZE = 5009;
    /// Capabilities of each file, in the text form of cap_from_text(3).
    FILE_CAPS = 5010;
    /// Names of the packages that it works better with.
    RECOMMEND_NAME = 5046;
    /// Versions of the packages that it works better with.
    RECOMMEND_VERSION = 5047;
    /// Operators of the packages that it works better with.
    RECOMMEND_FLAGS = 5048;
    /// Digest of the compressed payload in hexadecimal.
    PAYLOAD_DIGEST = 5092;
    /// The algorithm of `PAYLOAD_DIGEST` as in OpenPGP; 8 is SHA-256.
    PAYLOAD_DIGEST_ALGORITHM = 5093;

    /// In a signature header: OpenPGP signature by DSA, ECDSA or EdDSA over the main header.
    SIGNATURE_DSA = 267;
    /// In a signature header: OpenPGP signature by RSA over the main header.
    SIGNATURE_RSA = 268;
    /// In a signature header: SHA-256 of the main header in hexadecimal.
    SIGNATURE_SHA256 = 273;
    /// In a signature header: OpenPGP signatures in base64 over the main header (RPM 6).
    SIGNATURE_OPENPGP = 278;
    /// In a signature header: OpenPGP signature by RSA over main header and payload.
    SIGNATURE_PGP = 1002;
    /// In a signature header: OpenPGP signature by DSA, ECDSA or EdDSA over main header and payload.
    SIGNATURE_GPG = 1005;
}
