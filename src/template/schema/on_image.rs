//! Fields of images that are built on a finished image.

use super::checks;
use crate::model::{BaselineFormat, BaselineMode, ConflictPolicy, PackageOperation};
use crate::yaml::Node;
use crate::yaml::schema::{Field, Text, fields};

/// A value of the boot loader's configuration.
const LOADER_TEXT: Text = Text::ANY.pattern(
    r#"[^"$\\`\n]*"#,
    "a single line without double quotes, $, backslashes and backticks",
);
const KERNEL_PACKAGE: Text = Text::ANY.filled().max_chars(256).pattern(
    r"[A-Za-z0-9*?\[][A-Za-z0-9._+:~*?\[\]-]*",
    "a package name: letters, digits and . _ + : ~ -, or a pattern with * ? [ ]",
);

fields! {
    /// `baseline`.
    mod baseline {
        MODE: BaselineMode = Field::word(
            "mode",
            "create (if absent) builds from packages, overlay builds on the image that source names.",
        );
        SOURCE: Node = Field::map("source", source::ALL, "The image to build on; with mode overlay only.");
    }
}

fields! {
    /// `baseline.source`.
    mod source {
        PATH: str = Field::text(
            "path",
            Text::ANY.filled().check(checks::LOCAL_PATH),
            "An image on the build host, relative to the template; either this or url.",
        );
        URL: str = Field::text(
            "url",
            Text::ANY.filled().check(checks::HTTPS_URL),
            "Where the image is downloaded from; either this or path.",
        );
        FORMAT: BaselineFormat = Field::word("format", "Format of the image; raw if absent.");
        SBOM_PATH: str = Field::text(
            "sbomPath",
            Text::ANY.check(checks::LOCAL_PATH),
            "The image's bill of materials, SPDX 2.3 as JSON.",
        );
    }
}

fields! {
    /// `overlayPolicy`.
    mod overlay_policy {
        PACKAGE_OPERATION: PackageOperation = Field::word(
            "packageOperation",
            "Whether packages of the image may change their version; additive-only if absent.",
        );
        CONFLICT_POLICY: ConflictPolicy = Field::word(
            "conflictPolicy",
            "Whether a package that the template names may take the place of one that it conflicts with; fail if absent.",
        );
        KERNEL_CMDLINE: str = Field::text(
            "kernelCmdline",
            LOADER_TEXT,
            "The kernel command line in the configuration of GRUB.",
        );
        GRUB_DEFAULT: str = Field::text("grubDefault", LOADER_TEXT, "The default entry of GRUB's menu.");
        ALLOW_DISK_RESIZE: bool = Field::bool(
            "allowDiskResize",
            "Whether the root file system may grow to disk.size; false if absent.",
        );
        ALLOW_PACKAGE_REMOVAL: bool = Field::bool(
            "allowPackageRemoval",
            "Whether packages of the image may be removed; false if absent.",
        );
        REPLACE_KERNEL: Node = Field::map(
            "replaceKernel",
            replace_kernel::ALL,
            "Takes another kernel in the place of all that the image has.",
        );
    }
}

fields! {
    /// `overlayPolicy.replaceKernel`.
    mod replace_kernel {
        PACKAGE: str = Field::text("package", KERNEL_PACKAGE, "The package of the new kernel.").required();
        HEADERS: Node = Field::any("headers", "Of a later version of the older tool; has no effect.");
        MODULES: Node = Field::any("modules", "Of a later version of the older tool; has no effect.");
        VERSION: Node = Field::any("version", "Of a later version of the older tool; has no effect.");
    }
}

/// The keys of `overlayPolicy.replaceKernel` that are read and not obeyed.
pub(in crate::template) const WITHOUT_EFFECT: [Field<Node>; 3] = [
    replace_kernel::HEADERS,
    replace_kernel::MODULES,
    replace_kernel::VERSION,
];
