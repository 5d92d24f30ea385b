//! Fields of the keys that sign what firmware starts.

use super::checks;
use crate::model::Enrollment;
use crate::yaml::schema::{Field, Text, fields};

/// A path on the build host.
const PATH: Text = Text::ANY.check(checks::LOCAL_PATH);

fields! {
    /// `systemConfig.signing`.
    mod signing {
        KEY: str = Field::text(
            "key",
            PATH.secret(),
            "Private key, relative to the template that names it: PEM or DER; RSA, P-256 or P-384. If absent, the sign command of the configuration signs.",
        );
        CERTIFICATE: str = Field::text(
            "certificate",
            PATH,
            "Its certificate, PEM or DER, relative to the template that names it; needed.",
        );
        PASSPHRASE_FILE: str = Field::text(
            "passphraseFile",
            PATH.secret(),
            "File with the passphrase of an encrypted key, relative to the template that names it.",
        );
        PASSPHRASE_CREDENTIAL: str = Field::text(
            "passphraseCredential",
            Text::ANY.max_chars(255).pattern("[A-Za-z0-9][A-Za-z0-9._-]*", "the name of a credential"),
            "Name of a credential of the service that runs the build (systemd.exec(5)), which has this passphrase.",
        );
        ENROLL: Enrollment = Field::word(
            "enroll",
            "When systemd-boot enrolls the certificate in a firmware without keys: if a person chooses it, by itself in a virtual machine, or always; if absent, the image brings nothing to enroll.",
        );
    }
}
