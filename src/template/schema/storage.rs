//! Fields of the choice of a disk, and of encryption.

use super::checks;
use crate::model::{DiskStrategy, Unlock};
use crate::yaml::schema::{Field, Shape, Text, Unique, fields};

fields! {
    /// `disk.selectionPolicy`.
    mod selection_policy {
        STRATEGY: DiskStrategy = Field::word_but(
            "strategy",
            &[("largest-free", "it was never released; use largest together with requireEmpty: true")],
            "Which of several disks an unattended installer takes.",
        );
        EXCLUDE_REMOVABLE: bool = Field::bool("excludeRemovable", "Whether removable disks are left out; true if absent.");
        REQUIRE_EMPTY: bool = Field::bool(
            "requireEmpty",
            "Whether only a disk without partitions is taken; true if absent.",
        );
    }
}

fields! {
    /// `systemConfig.fde`.
    mod fde {
        ENABLED: bool = Field::bool("enabled", "Whether partitions are encrypted.").required();
        PASSPHRASE_FILE: str = Field::text(
            "passphraseFile",
            Text::ANY.check(checks::ONE_LINE).secret(),
            "File on the build host with the passphrase, relative to the template that names it; needed if enabled.",
        );
        SEED_FILE: str = Field::text(
            "seedFile",
            Text::ANY.check(checks::ONE_LINE).secret(),
            "File on the build host with 32 bytes or more that nobody knows, from which the keys of the disk are drawn; if absent, they are drawn by chance, and another host builds another image.",
        );
        PARTITIONS: [String] = Field::texts(
            "partitions",
            &Shape::Text(Text::ANY.filled()),
            Unique::Value,
            "Ids of the partitions to encrypt; the one mounted at / if absent.",
        );
        UNLOCK: Unlock = Field::word(
            "unlock",
            "auto keeps the passphrase in the image, where it protects nothing; manual (if absent) asks at each boot.",
        );
    }
}
