//! dnf over unsigned repositories on disk.

use std::fs;
use std::path::Path;
use std::process::Command;

/// Prepares dnf over `repositories`, each an id and a directory, with a root and a cache of its own below `scratch`.
pub fn dnf(repositories: &[(&str, &Path)], scratch: &Path) -> Command {
    let _ = fs::create_dir_all(scratch.join("log"));
    let mut command = Command::new("dnf");
    command
        .arg(format!("--installroot={}", scratch.join("root").display()))
        .arg(format!("--setopt=cachedir={}", scratch.join("dnf").display()))
        .arg(format!("--setopt=logdir={}", scratch.join("log").display()))
        .args([
            "--releasever=1",
            "--forcearch=x86_64",
            "--setopt=reposdir=/nonexistent",
            "--nogpgcheck",
        ])
        .args([
            "--setopt=install_weak_deps=False",
            "--setopt=metadata_expire=never",
            "--setopt=varsdir=/nonexistent",
        ])
        .env("COLUMNS", "400")
        .env("LC_ALL", "C");
    for (id, root) in repositories {
        command.arg(format!("--repofrompath={id},file://{}", root.display()));
    }
    command
}
