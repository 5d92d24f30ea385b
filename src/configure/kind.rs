//! What only an image without a disk needs: the first program of an initrd, the settings of a system for WSL.

use super::error::one_line;
use super::{ConfigureError, Context, finish};
use crate::model::ImageType;

/// The program that the kernel starts in an initrd (`rdinit=`, kernel parameters).
const INIT: &str = "/init";
/// The settings of one system for WSL.
const WSL_SETTINGS: &str = "/etc/wsl.conf";
/// What WSL reads when it installs the system.
const WSL_DISTRIBUTION: &str = "/etc/wsl-distribution.conf";
/// The label of a medium, and where its own system mounts it.
pub const MEDIUM_LABEL: &str = "ICT_CDROM";
const MEDIUM_MOUNT: &str = "/run/oic-medium";
/// The first process of a system.
const SYSTEM_INIT: &str = "/sbin/init";

/// Writes the files of the image's kind.
pub(super) fn write(context: &Context<'_>) -> Result<(), ConfigureError> {
    match context.request.template.target.image_type {
        ImageType::Img => link_init(context),
        ImageType::Wsl2 => write_wsl(context),
        ImageType::Iso => {
            link_init(context)?;
            write_installer(context)
        }
        ImageType::Raw => Ok(()),
    }
}

/// Writes the settings that WSL reads: whether systemd runs, which user opens a shell, and under which name the system is
/// installed (Microsoft, "Advanced settings configuration in WSL" and "Build a Custom Linux Distribution for WSL").
fn write_wsl(context: &Context<'_>) -> Result<(), ConfigureError> {
    let template = context.request.template;
    let has_systemd = context.root.exists(finish::SYSTEMD)?;
    let users: Vec<_> = template.system.users.iter().map(|user| &*user.name).collect();
    context.provide(WSL_SETTINGS, wsl_settings(has_systemd, &users), 0o644)?;
    let name = one_line("image.name", &template.image.name, WSL_DISTRIBUTION)?;
    let distribution = format!("[oobe]\ndefaultName = {name}\n");
    Ok(context.provide(WSL_DISTRIBUTION, distribution, 0o644)?)
}

/// Returns the settings of a system in which the template makes `users`.
fn wsl_settings(has_systemd: bool, users: &[&str]) -> String {
    let boot = format!("[boot]\nsystemd={has_systemd}\n");
    match users {
        [user] => format!("{boot}\n[user]\ndefault={user}\n"),
        // With several users the template does not say which one is meant.
        _ => boot,
    }
}

/// Writes the service that installs from the medium, if the medium installs something.
fn write_installer(context: &Context<'_>) -> Result<(), ConfigureError> {
    let template = context.request.template;
    if !template.installs() {
        return Ok(());
    }
    let (name, unit) = (
        "oic-install.service",
        installer(template.disk.installation.is_unattended()),
    );
    context.provide(format!("/etc/systemd/system/{name}"), unit, 0o644)?;
    let wanted = format!("/etc/systemd/system/multi-user.target.wants/{name}");
    Ok(context.root.symlink(format!("../{name}"), wanted)?)
}

/// The option of `oic install` that names the plan of the medium.
const PLAN: &str = "--plan";

/// Returns the unit of the installer (systemd.service(5), systemd.exec(5)).
fn installer(is_unattended: bool) -> String {
    let (input, success) = match is_unattended {
        true => ("null", "SuccessAction=reboot\n"),
        false => ("tty", ""),
    };
    format!(
        "[Unit]
Description=Installation from the medium
Wants=dev-disk-by\\x2dlabel-{label}.device
After=dev-disk-by\\x2dlabel-{label}.device systemd-user-sessions.service
Before=getty.target getty@tty1.service serial-getty@ttyS0.service
{success}
[Service]
Type=oneshot
ExecStartPre=/bin/mkdir -p {at}
ExecStartPre=/bin/mount -t iso9660 -o ro /dev/disk/by-label/{label} {at}
ExecStart={at}/installer/oic install {PLAN} {at}/installer/plan.json
StandardInput={input}
StandardOutput=tty
StandardError=tty
TTYPath=/dev/console
TimeoutStartSec=infinity

[Install]
WantedBy=multi-user.target
",
        label = MEDIUM_LABEL,
        at = MEDIUM_MOUNT,
    )
}

/// Makes the system's init the first program, unless the image has one of its own.
fn link_init(context: &Context<'_>) -> Result<(), ConfigureError> {
    let root = &context.root;
    let is_own = root.is_spared(INIT) || root.exists(INIT)? || root.read_link(INIT)?.is_some();
    if !is_own && root.exists(SYSTEM_INIT)? {
        root.symlink(SYSTEM_INIT.trim_start_matches('/'), INIT)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_only_user_opens_a_shell() {
        assert_eq!(wsl_settings(true, &[]), "[boot]\nsystemd=true\n");
        assert_eq!(
            wsl_settings(false, &["ann"]),
            "[boot]\nsystemd=false\n\n[user]\ndefault=ann\n"
        );
        assert_eq!(wsl_settings(true, &["ann", "bob"]), "[boot]\nsystemd=true\n");
    }
}
