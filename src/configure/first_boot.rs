//! Commands that run when the machine boots for the first time: a unit for each.
//!
//! `ConditionFirstBoot=` would hold for none of them unless the template says `machineId: uninitialized`, and not again
//! after a first boot that failed. So each command lies in a file of its own, which its unit removes once it succeeded.

use std::path::Path;

use super::{ConfigureError, Context, finish};
use crate::model::{Configuration, When};

/// Where the units lie.
const UNITS: &str = "/etc/systemd/system";
/// Where the commands wait. Files there may hold passwords.
const SCRIPTS: &str = "/var/lib/oic/first-boot";

/// Writes the units of all commands of the first boot, and the commands. They run one after the other.
///
/// # Errors
/// [`ConfigureError::NoSystemd`] if the image has nothing that runs units.
pub(super) fn write(context: &Context<'_>) -> Result<(), ConfigureError> {
    let root = &context.root;
    let commands = context.request.template.system.commands.iter();
    let due = commands.filter(|command| command.when == Some(When::FirstBoot));
    for (index, command) in due.enumerate() {
        let number = index + 1;
        if !root.exists(finish::SYSTEMD)? {
            return Err(ConfigureError::NoSystemd);
        }
        root.create_directory(SCRIPTS)?;
        root.set_mode(SCRIPTS, 0o700)?;
        context.provide(format!("{SCRIPTS}/{number}"), script(command), 0o600)?;
        let name = format!("first-boot-{number}.service");
        let path = Path::new(UNITS).join(&name);
        context.provide(path, unit(number, command), 0o644)?;
        let link = Path::new(UNITS).join("multi-user.target.wants").join(&name);
        root.symlink(Path::new("..").join(name), link)?;
    }
    Ok(())
}

/// Returns the text of the unit (systemd.service(5)).
fn unit(number: usize, command: &Configuration) -> String {
    let mut after = match number {
        1 => String::new(),
        _ => format!("first-boot-{}.service", number - 1),
    };
    let mut wants = "";
    if command.network {
        after = format!("network-online.target {after}");
        wants = "Wants=network-online.target\n";
    }
    let after = match after.trim_end() {
        "" => String::new(),
        units => format!("After={units}\n"),
    };
    format!(
        "[Unit]\nDescription=Command {number} of the first boot\nConditionFileNotEmpty={SCRIPTS}/{number}\n{wants}{after}\n\
         [Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/bash {SCRIPTS}/{number}\n\
         ExecStartPost=/bin/rm {SCRIPTS}/{number}\n\n\
         [Install]\nWantedBy=multi-user.target\n"
    )
}

/// Returns the command as a script, with its environment.
fn script(command: &Configuration) -> String {
    let quoted = |value: &str| format!("'{}'", value.replace('\'', r"'\''"));
    let exports = command.env.iter();
    let exports = exports.map(|(name, value)| format!("export {name}={}\n", quoted(value)));
    format!("{}{}\n", exports.collect::<String>(), command.text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_reaches_the_command_as_it_is() {
        let command = Configuration {
            env: vec![
                ("A".into(), "it's $HOME `x` \\ \"q\"\nline".into()),
                ("B".into(), String::new()),
            ],
            ..Configuration::from("printf '%s|%s' \"$A\" \"$B\"")
        };
        let output = std::process::Command::new("bash")
            .arg("-c")
            .arg(script(&command))
            .output()
            .unwrap();
        let shown = String::from_utf8(output.stdout).unwrap();
        assert_eq!(shown, "it's $HOME `x` \\ \"q\"\nline|");
    }

    #[test]
    fn units_wait_for_each_other_and_for_the_network() {
        let plain = Configuration::from("true");
        let network = Configuration {
            network: true,
            ..plain.clone()
        };
        assert!(!unit(1, &plain).contains("After="));
        assert!(unit(2, &plain).contains("\nAfter=first-boot-1.service\n"));
        let third = unit(3, &network);
        assert!(third.contains("\nWants=network-online.target\nAfter=network-online.target first-boot-2.service\n"));
        assert!(unit(1, &network).contains("\nAfter=network-online.target\n"));
    }
}
