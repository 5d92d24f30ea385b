//! Fields of the machine's own settings: services, language, kernel.

use crate::package::ForeignArch;
use crate::words::Words as _;
use crate::yaml::schema::{Field, Shape, Text, Unique, fields};

use super::checks;

/// A unit (systemd.unit(5), "Description").
const UNIT: Text = Text::ANY.filled().max_chars(255).pattern(
    r"[A-Za-z0-9:_.][A-Za-z0-9:_.\\-]*(@[A-Za-z0-9:_.\\-]*)?",
    "the name of a unit, such as ssh.service or fstrim.timer",
);
const UNITS: Shape = Shape::Text(UNIT);

/// A name of the time zone database (tzfile(5); "Theory and pragmatics of the tz code and data").
pub(super) const TIMEZONE: Text = Text::ANY.max_chars(64).pattern(
    "[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*",
    "a name of the time zone database, such as Europe/Berlin or UTC",
);
/// A locale (setlocale(3)).
pub(super) const LOCALE: Text = Text::ANY.max_chars(64).pattern(
    r"[A-Za-z]+(_[A-Za-z]+)?(\.[A-Za-z0-9-]+)?(@[A-Za-z0-9]+)?",
    "a locale, such as de_DE.UTF-8 or C.UTF-8",
);
/// A keyboard layout of the console (vconsole.conf(5)).
pub(super) const KEYMAP: Text = Text::ANY.max_chars(64).pattern(
    "[A-Za-z0-9][A-Za-z0-9_.-]*",
    "a keyboard layout of the console, such as us or de-latin1",
);
/// A kernel parameter (sysctl.d(5)).
pub(super) const PARAMETER: Text = Text::ANY.filled().max_chars(256).pattern(
    r"-?[A-Za-z0-9_*?][A-Za-z0-9_.*?/:@-]*",
    "a kernel parameter, such as net.ipv4.ip_forward",
);
pub(super) const PARAMETER_VALUE: Shape = Shape::Plain(Text::ANY.filled().check(checks::ONE_LINE));
/// A kernel module (modules-load.d(5)).
pub(super) const MODULE: Shape = Shape::Text(
    Text::ANY
        .filled()
        .max_chars(128)
        .pattern("[A-Za-z0-9_-]+", "the name of a kernel module, such as br_netfilter"),
);

/// An architecture besides the machine's own (dpkg(1), `--add-architecture`).
pub(super) const FOREIGN: Shape = Shape::Text(Text::ANY.one_of(ForeignArch::CHOICES));

fields! {
    /// `systemConfig.services`.
    mod services {
        ENABLE: [String] = Field::texts(
            "enable",
            &super::UNITS,
            Unique::Value,
            "Units that are started at boot, as systemctl enable does it.",
        );
        DISABLE: [String] = Field::texts(
            "disable",
            &super::UNITS,
            Unique::Value,
            "Units that are not started at boot, as systemctl disable does it.",
        );
        MASK: [String] = Field::texts(
            "mask",
            &super::UNITS,
            Unique::Value,
            "Units that cannot be started at all, as systemctl mask does it.",
        );
    }
}

/// The lists of units.
pub(in crate::template) const UNIT_LISTS: [Field<[String]>; 3] = [services::ENABLE, services::DISABLE, services::MASK];
