//! Fields of repositories.

use super::checks;
use crate::yaml::schema::{Field, Shape, Text, Unique, fields};

/// Names of packages, how they begin, or globs.
const PACKAGE_FILTER: Shape = Shape::Text(Text::ANY.filled().max_chars(256));

fields! {
    /// `packageRepositories[]`.
    mod repository {
        CODENAME: str = Field::text(
            "codename",
            Text::ANY.filled()
                .max_chars(128)
                .pattern(
                    r"[A-Za-z0-9][A-Za-z0-9+._/-]*|\.?/|\./[A-Za-z0-9][A-Za-z0-9+._/-]*/",
                    "a suite such as trixie-backports, or ./ for a flat repository",
                ),
            "Suite or codename; also its name in messages. With a slash at its end, a directory below the URL that has the index of a flat repository, such as ./.",
        )
        .required();
        URL: str = Field::text(
            "url",
            Text::ANY.check(checks::REPOSITORY_URL),
            "Base URL; a placeholder such as <URL> leaves the entry out.",
        );
        PATH: str = Field::text(
            "path",
            Text::ANY.check(checks::REPOSITORY_PATH),
            "Directory on the build host; a placeholder such as <PATH> counts as absent: a repository, or plain .deb files (these need pkey: \"[trusted=yes]\").",
        );
        PACKAGES: [String] = Field::texts(
            "packages",
            &Shape::Text(Text::ANY.filled().check(checks::PACKAGE_FILE)),
            Unique::Value,
            "Packages by file: https:// URLs, paths of .deb or .rpm files, of archives with such files (tar, zip), or of directories; #sha256=DIGEST behind one pins it. .deb files need pkey: \"[trusted=yes]\".",
        );
        INSECURE_SKIP_VERIFY: bool = Field::bool(
            "insecureSkipVerify",
            "Whether the servers of packages may have any certificate; each URL then needs its digest.",
        );
        PKEY: str = Field::text(
            "pkey",
            Text::ANY.check(checks::KEY_URL),
            "Key that signs it, or [trusted=yes].",
        );
        PKEYS: [String] = Field::texts(
            "pkeys",
            &Shape::Text(Text::ANY.filled().check(checks::KEY_URL)),
            Unique::No,
            "Keys that may sign it.",
        );
        COMPONENT: str = Field::text(
            "component",
            Text::ANY.pattern(
                r"\s*[A-Za-z0-9._/-]+(\s+[A-Za-z0-9._/-]+)*\s*",
                "names with spaces between them",
            ),
            "Components; main if absent.",
        );
        PRIORITY: i64 = Field::int(
            "priority",
            -9999,
            9999,
            "Pin priority, apt_preferences(5); 500 if absent. Also a preference of the image's own apt.",
        );
        ALLOW_PACKAGES: [String] = Field::texts(
            "allowPackages",
            &PACKAGE_FILTER,
            Unique::No,
            "Only these packages are taken from it: names, how they begin, or globs.",
        );
        EXCLUDE_PACKAGES: [String] = Field::texts(
            "excludePackages",
            &PACKAGE_FILTER,
            Unique::No,
            "These packages are never taken from it: names or globs; of .rpm packages also name-version-release.arch and its parts.",
        );
        CHECK_VALID_UNTIL: bool = Field::bool(
            "checkValidUntil",
            "Whether metadata past its Valid-Until is refused; true if absent. false is for archives that stay as they are, and gives a warning instead.",
        );
    }
}
