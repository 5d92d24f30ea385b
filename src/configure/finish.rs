//! The last step: what the image says about itself, and the removal of what
//! belongs to the build or to one machine only.

use sha2::Digest as _;

use super::error::one_line;
use super::{ConfigureError, Context};
use crate::base::remove_traces;
use crate::date;
use crate::model::MachineId;
use crate::sandbox::MACHINE_ID;
use crate::secrets;

/// State and backups that must not be in every copy of an image.
pub(super) const MACHINE_FILES: [&str; 8] = [
    "/root/.bash_history",
    "/etc/passwd-",
    "/etc/group-",
    "/etc/shadow-",
    "/etc/gshadow-",
    "/etc/subuid-",
    "/etc/subgid-",
    "/etc/.resolv.conf.systemd-resolved.bak",
];
pub(super) const CLEARED: [&str; 3] = ["/var/lib/apt/lists", "/var/cache/apt/archives", "/var/log/journal"];
/// The program that is the first process of systems with systemd.
pub(super) const SYSTEMD: &str = "/usr/lib/systemd/systemd";

/// Writes what the image says about itself, and removes what belongs to the build or to one machine only.
pub(super) fn finish(context: &Context<'_>) -> Result<(), ConfigureError> {
    write_image_id(context)?;
    let root = &context.root;
    for path in secrets::reset(root)? {
        context.work.progress.note(&format!(
            "{} is removed, and each machine draws its own; systemConfig.allowSecrets keeps it",
            path.display()
        ));
    }
    for file in MACHINE_FILES {
        root.remove(file)?;
    }
    for directory in CLEARED {
        root.clear(directory)?;
    }
    remove_traces(root)?;
    reset_machine_id(context)
}

/// Leaves the id of the machine to its first boot, unless the template gives one. With an empty file, systemd draws an id
/// but does not take the boot for the first one of an unconfigured system, in which units with `ConditionFirstBoot=` run,
/// presets are applied and questions may be asked on the console (machine-id(5), "First Boot Semantics").
fn reset_machine_id(context: &Context<'_>) -> Result<(), ConfigureError> {
    if context.root.exists(SYSTEMD)? {
        let text = match &context.request.template.system.machine_id {
            MachineId::Empty => String::new(),
            MachineId::Uninitialized => "uninitialized\n".to_owned(),
            MachineId::Given(id) => format!("{id}\n"),
        };
        context.provide(MACHINE_ID, text, 0o444)?;
    }
    Ok(())
}

/// Writes `/etc/image-id`, with the names of os-release(5).
fn write_image_id(context: &Context<'_>) -> Result<(), ConfigureError> {
    let image = &context.request.template.image;
    let text = format!(
        "IMAGE_ID=\"{}\"\nIMAGE_VERSION=\"{}\"\nIMAGE_BUILD_DATE={}\nIMAGE_UUID={}\n",
        quoted("image.name", &image.name)?,
        quoted("image.version", &image.version)?,
        build_date(context.request.epoch),
        uuid(context)
    );
    Ok(context.provide("/etc/image-id", text, 0o644)?)
}

/// Escapes the text for use between double quotes of a shell (os-release(5), "escaped").
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

/// Makes the image's UUID, the same for each build of the same request (RFC 9562, version 8).
fn uuid(context: &Context<'_>) -> uuid::Uuid {
    let mut hasher = sha2::Sha256::new();
    hasher.update(b"oic image uuid\0");
    hasher.update(context.request.seed.0);
    let digest: [u8; 32] = hasher.finalize().into();
    let mut bytes = [0; 16];
    bytes.iter_mut().zip(digest).for_each(|(byte, from)| *byte = from);
    uuid::Uuid::new_v8(bytes)
}

/// Writes `YYYYMMDDhhmmss` in UTC.
fn build_date(epoch_seconds: u64) -> String {
    let seconds = i64::try_from(epoch_seconds).unwrap_or(i64::MAX);
    date::civil(seconds).strftime("%Y%m%d%H%M%S").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Compares with `date --utc --date=@SECONDS +%Y%m%d%H%M%S`.
    #[test]
    fn dates_are_those_of_the_calendar() {
        assert_eq!(build_date(0), "19700101000000");
        assert_eq!(build_date(951_782_399), "20000228235959");
        assert_eq!(build_date(951_782_400), "20000229000000");
        assert_eq!(build_date(1_760_000_000), "20251009085320");
        assert_eq!(build_date(4_107_542_400), "21000301000000");
    }
}
