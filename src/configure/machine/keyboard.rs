//! The keyboard layout of the console.

use super::super::{ConfigureError, Context};
use super::is_debian;
use crate::model::machine::{KEYBOARD, VCONSOLE};
use crate::sandbox::SandboxError;

/// The table from layouts of the console to those of X11, which localectl(1) uses.
const TABLE: &str = "/usr/share/systemd/kbd-model-map";
/// The program that sets the layout on Debian, in the places where releases have it (setupcon(1)).
const DEBIAN_READERS: [&str; 2] = ["/usr/bin/setupcon", "/bin/setupcon"];
/// The program of systemd that sets it.
const READER: &str = "/usr/lib/systemd/systemd-vconsole-setup";

/// Sets `systemConfig.keymap` for systemd and, on Debian, for console-setup. A note says if no program of the image
/// reads it.
pub(super) fn set(context: &Context<'_>) -> Result<(), ConfigureError> {
    let Some(keymap) = &context.request.template.system.machine.keymap else {
        return Ok(());
    };
    let root = &context.root;
    let has_reader = root.exists(READER)?;
    if has_reader {
        context.provide(VCONSOLE, format!("KEYMAP={keymap}\n"), 0o644)?;
    }
    let is_debian = is_debian(context)?;
    let mut has_setupcon = false;
    if is_debian {
        let table = root.read(TABLE)?.unwrap_or_default();
        context.provide(KEYBOARD, keyboard(keymap, &String::from_utf8_lossy(&table)), 0o644)?;
        for program in DEBIAN_READERS {
            has_setupcon |= root.exists(program)?;
        }
    }
    if has_setupcon {
        // What the initrd and the boot load. Without it, the boot makes it of the file above.
        match context.tool(["setupcon", "--save-only"]) {
            Err(error @ SandboxError::Failed { .. }) => {
                context.work.progress.note(&format!("systemConfig.keymap: {error}"));
            }
            ended => ended?,
        }
    } else if !has_reader {
        let package = if is_debian {
            "console-setup"
        } else {
            "systemd-udev and kbd"
        };
        context.work.progress.note(&format!(
            "systemConfig.keymap: no program of the image sets the keyboard layout: add the package {package}"
        ));
    }
    Ok(())
}

/// Gives the keyboard(5) file for a layout of the console; `table` leads to the layout of X11. A layout that is not in
/// it has the same name there.
fn keyboard(keymap: &str, table: &str) -> String {
    let lines = table.lines().filter(|line| !line.starts_with('#'));
    let mut lines = lines.map(|line| line.split_whitespace().collect::<Vec<_>>());
    let found = lines.find(|words| words.first() == Some(&keymap));
    let word = |at: usize| {
        let word = found.as_ref().and_then(|words| words.get(at).copied());
        word.map(|word| if word == "-" { "" } else { word })
    };
    format!(
        "XKBMODEL=\"{}\"\nXKBLAYOUT=\"{}\"\nXKBVARIANT=\"{}\"\nXKBOPTIONS=\"{}\"\n\nBACKSPACE=\"guess\"\n",
        word(2).unwrap_or("pc105"),
        word(1).unwrap_or(keymap),
        word(3).unwrap_or_default(),
        word(4).unwrap_or_default()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layouts_of_the_console_become_those_of_x11() {
        let table = "# console x11\nsg ch pc105 de_nodeadkeys terminate:ctrl_alt_bksp\nde\tde pc105 - -\n";
        let first_four = |keymap: &str| keyboard(keymap, table).lines().take(4).collect::<Vec<_>>().join(" ");
        assert_eq!(
            first_four("sg"),
            r#"XKBMODEL="pc105" XKBLAYOUT="ch" XKBVARIANT="de_nodeadkeys" XKBOPTIONS="terminate:ctrl_alt_bksp""#
        );
        assert_eq!(
            first_four("de"),
            r#"XKBMODEL="pc105" XKBLAYOUT="de" XKBVARIANT="" XKBOPTIONS="""#
        );
        assert_eq!(
            first_four("gb"),
            r#"XKBMODEL="pc105" XKBLAYOUT="gb" XKBVARIANT="" XKBOPTIONS="""#
        );
    }
}
