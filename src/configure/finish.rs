//! The last step: what the image says about itself, and the removal of what
//! belongs to the build or to one machine only.

use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use sha2::Digest as _;

use super::error::one_line;
use super::{ConfigureError, Context};
use crate::base::remove_traces;

/// Secrets, state and backups that must not be in every copy of an image.
const MACHINE_FILES: [&str; 10] = [
    "/var/lib/systemd/random-seed",
    "/var/lib/systemd/credential.secret",
    "/root/.bash_history",
    "/etc/passwd-",
    "/etc/group-",
    "/etc/shadow-",
    "/etc/gshadow-",
    "/etc/subuid-",
    "/etc/subgid-",
    "/etc/.resolv.conf.systemd-resolved.bak",
];
const CLEARED: [&str; 3] = ["/var/lib/apt/lists", "/var/cache/apt/archives", "/var/log/journal"];
const KEYS: &str = "/etc/ssh";
const KEYS_UNIT: &str = "ssh-host-keys.service";
/// ssh-keygen(1), `-A`: makes those keys that do not exist.
const KEYS_UNIT_TEXT: &str = "[Unit]\nDescription=Generate the SSH host keys of this machine\n\
    ConditionPathExistsGlob=!/etc/ssh/ssh_host_*_key\nBefore=ssh.service ssh.socket sshd.service\n\n\
    [Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/usr/bin/ssh-keygen -A\n\n\
    [Install]\nWantedBy=multi-user.target\n";

pub(super) fn finish(context: &Context<'_>) -> Result<(), ConfigureError> {
    write_image_id(context)?;
    reset_ssh_keys(context)?;
    let root = &context.root;
    for file in MACHINE_FILES {
        root.remove(file)?;
    }
    for directory in CLEARED {
        root.clear(directory)?;
    }
    remove_traces(root)?;
    // Empty, not absent: systemd draws an id but does not take the boot for the first one of
    // an unconfigured system, which would ask questions on the console and apply presets
    // (machine-id(5), "First Boot Semantics").
    if root.exists("/usr/lib/systemd/systemd")? {
        root.write("/etc/machine-id", "", 0o444)?;
    }
    Ok(())
}

/// Host keys are drawn by each machine when it first boots.
fn reset_ssh_keys(context: &Context<'_>) -> Result<(), ConfigureError> {
    let root = &context.root;
    if !root.exists("/usr/sbin/sshd")? {
        return Ok(());
    }
    for name in root.names(KEYS)? {
        let bytes = name.as_bytes();
        if bytes.starts_with(b"ssh_host_") && (bytes.ends_with(b"_key") || bytes.ends_with(b"_key.pub")) {
            root.remove(Path::new(KEYS).join(name))?;
        }
    }
    if root.exists("/usr/lib/systemd/systemd")? {
        let directory = Path::new("/etc/systemd/system");
        root.write(directory.join(KEYS_UNIT), KEYS_UNIT_TEXT, 0o644)?;
        let target = Path::new("..").join(KEYS_UNIT);
        root.symlink(target, directory.join("multi-user.target.wants").join(KEYS_UNIT))?;
    }
    Ok(())
}

/// `/etc/image-id`, with the names of os-release(5).
fn write_image_id(context: &Context<'_>) -> Result<(), ConfigureError> {
    let image = &context.request.template.image;
    let text = format!(
        "IMAGE_ID=\"{}\"\nIMAGE_VERSION=\"{}\"\nIMAGE_BUILD_DATE={}\nIMAGE_UUID={}\n",
        quoted("image.name", &image.name)?,
        quoted("image.version", &image.version)?,
        date(context.request.epoch),
        uuid(context)
    );
    Ok(context.root.write("/etc/image-id", text, 0o644)?)
}

/// The text for use between double quotes of a shell (os-release(5), "escaped").
fn quoted(field: &'static str, value: &str) -> Result<String, ConfigureError> {
    let mut text = String::new();
    for character in one_line(field, value, "/etc/image-id")?.chars() {
        if matches!(character, '"' | '\\' | '$' | '`') {
            text.push('\\');
        }
        text.push(character);
    }
    Ok(text)
}

/// The same for each build of the same request (RFC 9562, version 8).
fn uuid(context: &Context<'_>) -> uuid::Uuid {
    let mut hasher = sha2::Sha256::new();
    hasher.update(b"oic image uuid\0");
    hasher.update(context.request.seed.0);
    let digest: [u8; 32] = hasher.finalize().into();
    let mut bytes = [0; 16];
    bytes.iter_mut().zip(digest).for_each(|(byte, from)| *byte = from);
    uuid::Uuid::new_v8(bytes)
}

/// `YYYYMMDDhhmmss` in UTC.
fn date(epoch_seconds: u64) -> String {
    let (days, seconds) = (epoch_seconds / 86_400, epoch_seconds % 86_400);
    // Days are counted in eras of 400 years that begin on 1 March, so that leap days come last.
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}{month:02}{day:02}{hour:02}{minute:02}{second:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Against `date --utc --date=@SECONDS +%Y%m%d%H%M%S`.
    #[test]
    fn dates_are_those_of_the_calendar() {
        assert_eq!(date(0), "19700101000000");
        assert_eq!(date(951_782_399), "20000228235959");
        assert_eq!(date(951_782_400), "20000229000000");
        assert_eq!(date(1_760_000_000), "20251009085320");
        assert_eq!(date(4_107_542_400), "21000301000000");
    }
}
