//! The machine's own settings: time zone, language, keyboard, kernel parameters, kernel modules, services.

mod keyboard;
mod locale;

use std::fmt::Write as _;
use std::path::Path;

use super::error::one_line;
use super::{ConfigureError, Context};
use crate::model::MachineId;
use crate::model::machine::{LOCALTIME, MODULES, SYSCTL, TIMEZONE};

/// The directory of the time zone database.
const ZONES: &str = "/usr/share/zoneinfo";
/// The time zone that needs no database.
const UTC: &str = "UTC";
/// A directory that Debian and its relatives have.
const DPKG: &str = "/var/lib/dpkg";
/// The presets of the template's services (systemd.preset(5)); the name sorts before those of packages.
const PRESET: &str = "/etc/systemd/system-preset/00-template.preset";

/// Writes `systemConfig.timezone`, `locale`, `keymap`, `sysctl` and `kernelModules`.
pub(super) fn write(context: &Context<'_>) -> Result<(), ConfigureError> {
    set_timezone(context)?;
    locale::set(context)?;
    keyboard::set(context)?;
    let machine = &context.request.template.system.machine;
    if !machine.sysctl.is_empty() {
        context.provide(SYSCTL, parameters(&machine.sysctl)?, 0o644)?;
    }
    if !machine.kernel_modules.is_empty() {
        context.provide(MODULES, machine.kernel_modules.join("\n") + "\n", 0o644)?;
    }
    Ok(())
}

/// Says whether the image is of Debian or one of its relatives.
fn is_debian(context: &Context<'_>) -> Result<bool, ConfigureError> {
    Ok(context.root.exists(DPKG)?)
}

/// Makes `/etc/localtime` the link that timedatectl(1) makes, and on Debian names the zone in `/etc/timezone`.
fn set_timezone(context: &Context<'_>) -> Result<(), ConfigureError> {
    let root = &context.root;
    let Some(zone) = &context.request.template.system.machine.timezone else {
        return Ok(());
    };
    if zone != UTC && !root.exists(Path::new(ZONES).join(zone))? {
        return Err(ConfigureError::Setting {
            field: "timezone",
            value: zone.clone(),
            reason: format!("the image has no {ZONES}/{zone}"),
            hint: "correct the name, or add the package tzdata (old names are in tzdata-legacy) to systemConfig.packages",
        });
    }
    if !root.is_spared(LOCALTIME) {
        root.symlink(format!("..{ZONES}/{zone}"), LOCALTIME)?;
    }
    if is_debian(context)? {
        context.provide(TIMEZONE, format!("{zone}\n"), 0o644)?;
    }
    Ok(())
}

/// Gives the sysctl.d(5) file of kernel parameters.
fn parameters(parameters: &[(String, String)]) -> Result<String, ConfigureError> {
    let mut text = String::new();
    for (name, value) in parameters {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{name} = {}", one_line("systemConfig.sysctl", value, SYSCTL)?);
    }
    Ok(text)
}

/// Enables, disables and masks the units of `systemConfig.services`; what they say counts over presets.
pub(super) fn switch_services(context: &Context<'_>) -> Result<(), ConfigureError> {
    let system = &context.request.template.system;
    let services = &system.machine.services;
    for (verb, units) in [
        ("disable", &services.disable),
        ("enable", &services.enable),
        ("mask", &services.mask),
    ] {
        if units.is_empty() {
            continue;
        }
        let words = ["systemctl", verb, "--"].map(str::to_owned);
        let run = context.tool(words.into_iter().chain(units.iter().cloned()));
        run.map_err(ConfigureError::services(verb))?;
    }
    // The first boot of a system that is not configured yet applies presets, which would undo this.
    if system.machine_id == MachineId::Uninitialized {
        let text = preset(&services.enable, &services.disable);
        if !text.is_empty() {
            context.provide(PRESET, text, 0o644)?;
        }
    }
    Ok(())
}

/// Gives the preset file of units. Instances are left out: presets name them in another way, and none disables them.
fn preset(enabled: &[String], disabled: &[String]) -> String {
    let lines = |verb: &'static str, units: &[String]| -> String {
        let whole = units.iter().filter(|unit| !unit.contains('@') || unit.contains("@."));
        whole.map(|unit| format!("{verb} {unit}\n")).collect()
    };
    lines("enable", enabled) + &lines("disable", disabled)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_lines_of_sysctl() {
        let of = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        let text = parameters(&[
            of("vm.swappiness", "10"),
            of("net.ipv4.ip_local_port_range", "1024 65000"),
        ]);
        assert_eq!(
            text.unwrap(),
            "vm.swappiness = 10\nnet.ipv4.ip_local_port_range = 1024 65000\n"
        );
        assert!(parameters(&[of("kernel.hostname", "a\nkernel.panic = 1")]).is_err());
    }

    #[test]
    fn presets_name_whole_units() {
        let units = |names: &[&str]| -> Vec<String> { names.iter().map(ToString::to_string).collect() };
        let text = preset(&units(&["a.timer", "getty@tty2.service"]), &units(&["getty@.service"]));
        assert_eq!(text, "enable a.timer\ndisable getty@.service\n");
    }
}
