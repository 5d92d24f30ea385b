//! Unsigned repositories on disk, as dnf and as oic see them.
#![allow(dead_code, missing_docs)] // each program uses a part

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::SystemTime;

use oic::package::{Arch, PackageFilter};
use oic::repo::{LoadOptions, Repository, Signed};

/// dnf over repositories, each an id and a directory, with a root and a cache of its own below `scratch`.
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

/// The same repository for oic.
pub fn repository(id: &str, root: &Path) -> Repository {
    Repository {
        id: id.to_owned(),
        base_url: format!("file://{}", root.display()),
        mirror_list: None,
        suite: String::new(),
        components: Vec::new(),
        keys: Vec::new(),
        signed: Signed::Both,
        trusted: true,
        priority: 500,
        filter: PackageFilter::default(),
    }
}

/// How to load it.
pub fn options(metadata_dir: &Path, offline: bool) -> LoadOptions {
    LoadOptions {
        arch: Arch::X86_64,
        metadata_dir: metadata_dir.to_owned(),
        now: SystemTime::now(),
        offline,
        workers: 2,
        jobs: 2,
    }
}
