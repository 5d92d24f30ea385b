//! The menu: `grub.cfg` (GRUB manual, "Writing your own configuration file"). Titles, ids and command lines are those that
//! update-grub(8) would write from the same `/etc/default/grub`, so that a chosen entry keeps its meaning.

use std::fmt::Write as _;

use super::defaults::Defaults;
use super::place::Place;
use super::quote::{single, word};

/// The first lines.
const HEAD: &str = "# update-grub and grub-mkconfig write this file anew, from /etc/default/grub and /etc/grub.d.

if [ -s $prefix/grubenv ]; then
  load_env
fi
if [ \"${next_entry}\" ]; then
  set default=\"${next_entry}\"
  set next_entry=
  save_env next_entry
else
";
/// The number of seconds that counts if the image says none.
const TIMEOUT: &str = "5";

/// The option before an entry's id.
const ID: &str = "--id";
/// The option before an entry's class.
const CLASS: &str = "--class";
/// The options of a search for a file system by its UUID.
const SEARCH: [&str; 3] = ["--no-floppy", "--fs-uuid", "--set=root"];

/// The parts of a menu.
#[derive(Debug, Clone)]
pub struct Menu<'a> {
    /// The values of `/etc/default/grub`.
    pub defaults: &'a Defaults,
    /// UUID of the root file system.
    pub root_uuid: &'a str,
    /// What entries for recovery have in front of the command line.
    pub recovery: &'a str,
    /// The kernels, the default one of the distribution first; at least one.
    pub kernels: &'a [Bootable],
}

/// A kernel that the menu offers.
#[derive(Debug, Clone)]
pub struct Bootable {
    /// Its version.
    pub version: String,
    /// The kernel.
    pub linux: Place,
    /// Its initrd.
    pub initrd: Place,
}

/// The kind of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// The first entry of the menu.
    Simple,
    /// An entry of the submenu.
    Advanced,
    /// An entry of the submenu, for repairs.
    Recovery,
}

impl Menu<'_> {
    /// Writes the menu with an entry, and one for recovery, for each kernel.
    pub fn text(&self) -> String {
        let mut text = self.head();
        if let Some(first) = self.kernels.first() {
            text += &self.entry(first, Kind::Simple);
        }
        let title = single(&format!("Advanced options for {}", self.system()));
        // Writing to a String cannot fail.
        let _ = writeln!(text, "submenu {title} {ID} {} {{", single(&advanced_id(self.root_uuid)));
        for kernel in self.kernels {
            text += &indented(&self.entry(kernel, Kind::Advanced));
            if !self.defaults.without_recovery {
                text += &indented(&self.entry(kernel, Kind::Recovery));
            }
        }
        text + "}\n"
    }

    /// Writes a menu that the program fills from the entries of the Boot Loader Specification in `entries`.
    pub fn of_entries(&self, entries: &Place) -> String {
        let mut text = self.head() + &search(entries);
        if entries.path != "/loader/entries" {
            let _ = writeln!(text, "set blsdir={}", entries.word());
        }
        text + "insmod blscfg\nblscfg\n"
    }

    /// Writes what comes before the entries: the default, the terminal, the time.
    fn head(&self) -> String {
        let defaults = self.defaults;
        let mut text = HEAD.to_owned();
        let default = match defaults.default.as_str() {
            "" => "0".to_owned(),
            "saved" => "\"${saved_entry}\"".to_owned(),
            entry => word(entry),
        };
        let _ = writeln!(text, "  set default={default}\nfi");
        if !defaults.serial_command.is_empty() {
            let _ = writeln!(text, "{}", defaults.serial_command);
        }
        for (command, devices) in [
            ("terminal_input", &defaults.terminal_input),
            ("terminal_output", &defaults.terminal_output),
        ] {
            if !devices.is_empty() {
                let _ = writeln!(text, "{command} {}", words(devices));
            }
        }
        if !defaults.timeout_style.is_empty() {
            let _ = writeln!(text, "set timeout_style={}", word(&defaults.timeout_style));
        }
        let is_number = defaults.timeout.parse::<i32>().is_ok();
        let timeout = if is_number { &defaults.timeout } else { TIMEOUT };
        let _ = writeln!(text, "set timeout={timeout}\n");
        text
    }

    /// Returns the name of the system, as update-grub writes it.
    fn system(&self) -> String {
        match self.defaults.distributor.as_str() {
            "" => "GNU/Linux".to_owned(),
            own if matches!(own, "Ubuntu" | "Kubuntu") || own.ends_with("GNU/Linux") => own.to_owned(),
            other => format!("{other} GNU/Linux"),
        }
    }

    fn entry(&self, kernel: &Bootable, kind: Kind) -> String {
        let (system, version, uuid) = (self.system(), &kernel.version, self.root_uuid);
        let (title, id) = match kind {
            Kind::Simple => (system, format!("gnulinux-simple-{uuid}")),
            Kind::Advanced => (format!("{system}, with Linux {version}"), advanced_entry(version, uuid)),
            Kind::Recovery => (
                format!("{system}, with Linux {version} (recovery mode)"),
                format!("gnulinux-{version}-recovery-{uuid}"),
            ),
        };
        let mut text = format!(
            "menuentry {} {CLASS} gnu-linux {ID} {} {{\n",
            single(&title),
            single(&id)
        );
        text += &indented(&search(&kernel.linux));
        let _ = writeln!(text, "  linux {} {}", kernel.linux.word(), self.arguments(kind));
        if kernel.initrd.uuid != kernel.linux.uuid {
            text += &indented(&search(&kernel.initrd));
        }
        let _ = writeln!(text, "  initrd {}\n}}", kernel.initrd.word());
        text
    }

    /// Returns what the kernel is started with, in words of a GRUB script.
    fn arguments(&self, kind: Kind) -> String {
        let defaults = self.defaults;
        let (before, after) = match kind {
            Kind::Recovery => (self.recovery, ""),
            _ => ("", defaults.command_line_default.as_str()),
        };
        arguments(self.root_uuid, [before, &defaults.command_line, after])
    }

    /// Returns the arguments of entries of the Boot Loader Specification.
    pub fn options(&self) -> String {
        self.arguments(Kind::Simple)
    }
}

/// Joins the arguments of a kernel, whose root file system has the UUID `root`.
fn arguments(root: &str, others: [&str; 3]) -> String {
    let root = format!("root=UUID={root} ro");
    let others = others.into_iter().filter(|text| !text.is_empty());
    others.fold(root, |all, text| format!("{all} {text}"))
}

/// Returns the id of the submenu.
fn advanced_id(root_uuid: &str) -> String {
    format!("gnulinux-advanced-{root_uuid}")
}

/// Returns the id of the entry of a kernel in the submenu.
fn advanced_entry(version: &str, root_uuid: &str) -> String {
    format!("gnulinux-{version}-advanced-{root_uuid}")
}

/// Returns the default that names the kernel `version`.
pub fn default_of(version: &str, root_uuid: &str) -> String {
    format!("{}>{}", advanced_id(root_uuid), advanced_entry(version, root_uuid))
}

/// Writes the commands that make the file system of `place` the one that paths without a device lie on.
pub fn search(place: &Place) -> String {
    let mut text = String::new();
    for module in place.modules {
        let _ = writeln!(text, "insmod {module}");
    }
    let _ = writeln!(text, "search {} {}", SEARCH.join(" "), place.uuid);
    text
}

/// Writes each word of `text` as one of a GRUB script.
fn words(text: &str) -> String {
    text.split_ascii_whitespace().map(word).collect::<Vec<_>>().join(" ")
}

fn indented(text: &str) -> String {
    text.lines().fold(String::new(), |all, line| all + "  " + line + "\n")
}

#[cfg(test)]
mod tests;
