//! systemctl(1) and udevadm(8) where no service manager and no device manager run.
//!
//! With `SYSTEMD_OFFLINE` systemctl ignores what needs a manager, and says so, as in a chroot. But systemd 257 and later
//! refuse `--now` there, where earlier ones ignore it; and udevadm looks for a real chroot, which this is not. So a
//! script stands before each in the search path.

use std::path::Path;

use super::{SEARCH_PATH, SandboxFile};

/// The directory of the scripts, on the sandbox's own `/run`.
const DIRECTORY: &str = "/run/oic-bin";
/// The names of the programs, and the scripts.
const SCRIPTS: [(&str, &str); 2] = [("systemctl", SYSTEMCTL), ("udevadm", UDEVADM)];
const SYSTEMCTL: &str = r#"#!/bin/sh
for argument do
    shift
    case $argument in
        "--now") echo "No service manager runs here, ignoring option '--now'" >&2 ;;
        *) set -- "$@" "$argument" ;;
    esac
done
exec /usr/bin/systemctl "$@"
"#;
const UDEVADM: &str = r#"#!/bin/sh
case $1 in
    control | settle | trigger | wait)
        echo "No device manager runs here, ignoring command '$1'" >&2
        exit 0 ;;
esac
exec /usr/bin/udevadm "$@"
"#;

/// Gives the scripts for those programs that the root directory has.
pub(super) fn scripts() -> Vec<SandboxFile> {
    let present = SCRIPTS
        .into_iter()
        .filter(|(name, _)| Path::new("/usr/bin").join(name).exists());
    let script = |(name, text): (&str, &str)| SandboxFile {
        target: Path::new(DIRECTORY).join(name),
        mode: 0o755,
        contents: text.into(),
    };
    present.map(script).collect()
}

/// Gives the search path for programs, with the scripts if there are any.
pub(super) fn search_path() -> String {
    match Path::new(DIRECTORY).exists() {
        true => format!("{DIRECTORY}:{SEARCH_PATH}"),
        false => SEARCH_PATH.to_owned(),
    }
}
