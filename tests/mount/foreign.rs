//! Programs that others wrote and no distribution has.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The program `name`, which `scripts/foreign-tools` installs below the target directory, once.
pub fn tool(name: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from);
    let program = root.join(target).join("tools/bin").join(name);
    if !program.exists() {
        let script = root.join("scripts/foreign-tools");
        let status = Command::new(&script).arg("test").status();
        assert!(
            status.is_ok_and(|status| status.success()) && program.exists(),
            "{name} cannot be installed: see what `{} test` says; it needs crates.io",
            script.display()
        );
    }
    program
}
