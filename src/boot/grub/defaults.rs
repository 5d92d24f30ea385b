//! `/etc/default/grub`, from which update-grub(8) and grub2-mkconfig(8) make the menu (GRUB manual, "Simple
//! configuration"): oic writes the template's command line into it, and makes its own menu from it in the same way.

use super::quote;
use crate::boot::BootError;
use crate::sandbox::{Command, Sandbox};
use crate::work::Work;

/// The file.
pub const PATH: &str = "/etc/default/grub";
/// Reads the file as grub-mkconfig does, and writes each variable that is asked for, with its name.
const READ: &str = r#"set -e
[ ! -e /etc/default/grub ] || . /etc/default/grub
for file in /etc/default/grub.d/*.cfg; do [ ! -e "$file" ] || . "$file"; done
[ -z "${GRUB_TERMINAL-}" ] || GRUB_TERMINAL_INPUT=$GRUB_TERMINAL GRUB_TERMINAL_OUTPUT=$GRUB_TERMINAL
for name do eval "printf 'oic:%s=%s\n' \"$name\" \"\${$name-}\""; done"#;
/// The names of the variables that are read, in the order of the fields of [`Defaults`].
const NAMES: [&str; 10] = [
    "GRUB_DEFAULT",
    "GRUB_TIMEOUT",
    "GRUB_TIMEOUT_STYLE",
    "GRUB_DISTRIBUTOR",
    "GRUB_CMDLINE_LINUX",
    "GRUB_CMDLINE_LINUX_DEFAULT",
    "GRUB_DISABLE_RECOVERY",
    "GRUB_TERMINAL_INPUT",
    "GRUB_TERMINAL_OUTPUT",
    "GRUB_SERIAL_COMMAND",
];

/// The values that the menu depends on. Each is one line; a variable that is not set is empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Defaults {
    /// The entry that starts: a number, an id, or `saved`.
    pub default: String,
    /// Seconds until it starts.
    pub timeout: String,
    /// The screen meanwhile: `menu`, `countdown` or `hidden`.
    pub timeout_style: String,
    /// The name of the distribution.
    pub distributor: String,
    /// The command line of all entries, in words of a GRUB script.
    pub command_line: String,
    /// What entries that are no recovery get besides.
    pub command_line_default: String,
    /// Whether there are no entries for recovery.
    pub without_recovery: bool,
    /// The devices that GRUB reads from.
    pub terminal_input: String,
    /// The devices that GRUB writes to.
    pub terminal_output: String,
    /// The command that sets the serial port up.
    pub serial_command: String,
}

impl Defaults {
    /// Reads the variables with the shell of the image.
    ///
    /// # Errors
    /// If the image has no shell, or the files are none of a shell.
    pub fn read(sandbox: &Sandbox, work: Work<'_>) -> Result<Self, BootError> {
        let mut command = Command::new(["/bin/sh", "-c", READ, "sh"]);
        command.argv.extend(NAMES.map(Into::into));
        let mut values = vec![String::new(); NAMES.len()];
        let mut on_line = |line: &str| {
            let Some((name, value)) = line.strip_prefix("oic:").and_then(|line| line.split_once('=')) else {
                return;
            };
            let place = NAMES.iter().position(|known| *known == name);
            if let Some(place) = place.and_then(|place| values.get_mut(place)) {
                value.trim().clone_into(place);
            }
        };
        sandbox.run(&command, &mut on_line, work.cancel)?;
        Ok(Self::of(values))
    }

    /// Makes it of the values of [`NAMES`].
    fn of(values: Vec<String>) -> Self {
        let mut values = values.into_iter();
        let mut next = || values.next().unwrap_or_default();
        Self {
            default: next(),
            timeout: next(),
            timeout_style: next(),
            distributor: next(),
            command_line: next(),
            command_line_default: next(),
            without_recovery: next() == "true",
            terminal_input: next(),
            terminal_output: next(),
            serial_command: next(),
        }
    }
}

/// Returns the text of the file `before` in which each of `variables` has the given value: in place of its first line, or
/// at the end.
pub fn with(before: &str, variables: &[(&str, String)]) -> String {
    let mut lines: Vec<String> = before.lines().map(str::to_owned).collect();
    for (name, value) in variables {
        let assignment = format!("{name}={}", quote::shell(value));
        let assigns = |line: &String| line.strip_prefix(name).is_some_and(|rest| rest.starts_with('='));
        let first = lines.iter().position(assigns);
        match first
            .and_then(|first| lines.get_mut(first))
            .filter(|line| is_whole(line))
        {
            Some(line) => *line = assignment,
            None => lines.push(assignment),
        }
    }
    lines.iter().fold(String::new(), |text, line| text + line + "\n")
}

/// Says whether an assignment ends with its line.
fn is_whole(line: &str) -> bool {
    let count = |quote: char| line.chars().filter(|c| *c == quote).count();
    !line.ends_with('\\') && ['"', '\'', '`'].iter().all(|quote| count(*quote) % 2 == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_set_where_they_stand() {
        let before = "# a\nGRUB_DEFAULT=0\n#GRUB_CMDLINE_LINUX=\"x\"\nGRUB_CMDLINE_LINUX_DEFAULT=\"quiet\"\nGRUB_CMDLINE_LINUX=\"\"\n";
        let set = [
            ("GRUB_CMDLINE_LINUX", "ro 'a b$c'".to_owned()),
            ("GRUB_CMDLINE_LINUX_DEFAULT", String::new()),
            ("GRUB_NEW", "1".to_owned()),
        ];
        let after = "# a\nGRUB_DEFAULT=0\n#GRUB_CMDLINE_LINUX=\"x\"\nGRUB_CMDLINE_LINUX_DEFAULT=\"\"\n\
                     GRUB_CMDLINE_LINUX='ro '\\''a b$c'\\'''\nGRUB_NEW=\"1\"\n";
        assert_eq!(with(before, &set), after);
        // A value of several lines is not cut in two.
        let several = "GRUB_NEW=\"a\nb\"\n";
        assert_eq!(with(several, &set[2..]), "GRUB_NEW=\"a\nb\"\nGRUB_NEW=\"1\"\n");
        assert_eq!(with("", &set[2..]), "GRUB_NEW=\"1\"\n");
    }

    #[test]
    fn the_script_reads_as_grub_mkconfig_does() {
        let values = NAMES.iter().map(|name| name.to_lowercase()).collect();
        let defaults = Defaults::of(values);
        assert_eq!(defaults.default, "grub_default");
        assert_eq!(defaults.serial_command, "grub_serial_command");
        assert!(!defaults.without_recovery);
        let output = std::process::Command::new("/bin/sh")
            .args(["-c", READ, "sh", "HOME", "NO_SUCH_NAME"])
            .env_clear()
            .env("HOME", "/a\n$(b) \"c")
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.contains("oic:HOME=/a\n$(b) \"c\n"), "{text}");
        assert!(text.ends_with("oic:NO_SUCH_NAME=\n"), "{text}");
    }
}
