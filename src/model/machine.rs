//! Settings of the machine that an image becomes: its services, language and kernel.

/// `systemConfig.services`, `timezone`, `locale`, `keymap`, `sysctl` and `kernelModules`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Machine {
    /// `services`.
    pub services: Services,
    /// `timezone`: a name of the time zone database, such as `Europe/Berlin`.
    pub timezone: Option<String>,
    /// `locale`, such as `de_DE.UTF-8`.
    pub locale: Option<String>,
    /// `keymap`: a keyboard layout of the console, such as `de-latin1`.
    pub keymap: Option<String>,
    /// `sysctl`: kernel parameters and their values, in the order of the template.
    pub sysctl: Vec<(String, String)>,
    /// `kernelModules`: modules that each boot loads.
    pub kernel_modules: Vec<String>,
}

/// `systemConfig.services`: systemd units by name, each with its suffix.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Services {
    /// Units that are started at boot.
    pub enable: Vec<String>,
    /// Units that are not started at boot.
    pub disable: Vec<String>,
    /// Units that cannot be started at all.
    pub mask: Vec<String>,
}

/// The time zone of the machine (localtime(5)).
pub const LOCALTIME: &str = "/etc/localtime";
/// The same in words, which programs of Debian read.
pub const TIMEZONE: &str = "/etc/timezone";
/// The language of the machine (locale.conf(5)).
pub const LOCALE: &str = "/etc/locale.conf";
/// The same where Debian has it.
pub const DEBIAN_LOCALE: &str = "/etc/default/locale";
/// The keyboard layout of the console (vconsole.conf(5)).
pub const VCONSOLE: &str = "/etc/vconsole.conf";
/// The same where Debian has it (keyboard(5)).
pub const KEYBOARD: &str = "/etc/default/keyboard";
/// Kernel parameters of the template (sysctl.d(5)); the name sorts behind those of packages.
pub const SYSCTL: &str = "/etc/sysctl.d/90-template.conf";
/// Kernel modules of the template (modules-load.d(5)).
pub const MODULES: &str = "/etc/modules-load.d/template.conf";

/// The suffixes of units (systemd.unit(5)).
const SUFFIXES: [&str; 11] = [
    ".service",
    ".socket",
    ".device",
    ".mount",
    ".automount",
    ".swap",
    ".target",
    ".path",
    ".timer",
    ".slice",
    ".scope",
];

/// Gives the name of a unit with its suffix: `.service` if it has none, as systemctl(1) completes it.
pub fn unit(name: &str) -> String {
    match SUFFIXES.iter().any(|suffix| name.ends_with(suffix)) {
        true => name.to_owned(),
        false => format!("{name}.service"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_without_a_suffix_are_services() {
        for (name, expected) in [
            ("ssh", "ssh.service"),
            ("ssh.socket", "ssh.socket"),
            ("getty@tty2", "getty@tty2.service"),
            ("a.b", "a.b.service"),
        ] {
            assert_eq!(unit(name), expected);
        }
    }
}
