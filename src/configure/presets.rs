//! The template's own presets of units (systemd.preset(5)): applied before anything else enables units.

use std::path::Path;

use super::{ConfigureError, Context};
use crate::package::glob;

/// Where systemd reads presets from.
const DIRECTORIES: [&str; 4] = [
    "/etc/systemd/system-preset",
    "/usr/local/lib/systemd/system-preset",
    "/usr/lib/systemd/system-preset",
    "/lib/systemd/system-preset",
];
/// Where packages and templates have their units.
const UNITS: [&str; 3] = [
    "/usr/lib/systemd/system",
    "/usr/local/lib/systemd/system",
    "/etc/systemd/system",
];

/// Enables and disables the units that the template's presets name. Packages have enabled theirs already, without them.
pub(super) fn apply(context: &Context<'_>) -> Result<(), ConfigureError> {
    let patterns = patterns(context)?;
    if patterns.is_empty() || !context.root.exists("/usr/bin/systemctl")? {
        return Ok(());
    }
    let mut units = Vec::new();
    for directory in UNITS {
        for name in context.root.names(directory)? {
            let path = Path::new(directory).join(&name);
            let Ok(name) = name.into_string() else { continue };
            // A link is another name of a unit, or masks it.
            if is_named(&patterns, &name) && is_regular(context, &path)? {
                units.push(name);
            }
        }
    }
    units.sort();
    units.dedup();
    if units.is_empty() {
        return Ok(());
    }
    let words = ["systemctl", "preset", "--"].map(str::to_owned);
    Ok(context.tool(words.into_iter().chain(units))?)
}

/// Says whether a preset of the template decides if `unit` is enabled.
pub(super) fn decide(context: &Context<'_>, unit: &str) -> Result<bool, ConfigureError> {
    Ok(is_named(&patterns(context)?, unit))
}

fn is_named(patterns: &[String], unit: &str) -> bool {
    patterns.iter().any(|pattern| glob::matches(pattern, unit))
}

/// Gives the patterns of all lines in the template's presets that enable or disable units.
fn patterns(context: &Context<'_>) -> Result<Vec<String>, ConfigureError> {
    let mut patterns = Vec::new();
    for path in context.request.template.system.destinations().map(Path::new) {
        let is_preset = path.extension().is_some_and(|extension| extension == "preset")
            && path
                .parent()
                .is_some_and(|parent| DIRECTORIES.iter().any(|known| parent == Path::new(known)));
        if is_preset {
            let bytes = context.root.read(path)?.unwrap_or_default();
            patterns.extend(named(&String::from_utf8_lossy(&bytes)));
        }
    }
    Ok(patterns)
}

/// Gives the patterns that a preset file enables or disables.
pub(super) fn named(text: &str) -> Vec<String> {
    let pattern = |line: &str| {
        let mut words = line.split_whitespace();
        let verb = words.next()?;
        matches!(verb, "enable" | "disable").then(|| words.next().map(str::to_owned))?
    };
    text.lines().filter_map(pattern).collect()
}

fn is_regular(context: &Context<'_>, path: &Path) -> Result<bool, ConfigureError> {
    let mode = context.root.mode(path)?;
    let is_file = mode.is_some_and(|mode| mode & libc::S_IFMT == libc::S_IFREG);
    Ok(is_file && context.root.read_link(path)?.is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_those_of_a_preset_file() {
        let text = "# enable no\n; x\n\nenable ssh.service\n disable  apt-*.timer  \nignore x.service\nenable\n\
            enable getty@.service tty1 tty2\n";
        let patterns = named(text);
        assert_eq!(patterns, ["ssh.service", "apt-*.timer", "getty@.service"]);
        assert!(is_named(&patterns, "apt-daily.timer") && !is_named(&patterns, "x.service"));
    }
}
