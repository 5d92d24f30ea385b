//! Tells the program which commit it is built from, and when.
//!
//! Development builds say `unknown`, so that a commit does not rebuild everything. Nothing is run: git's
//! files are read, and only a full commit id is taken from them. A tarball without git can set
//! `OIC_BUILD_COMMIT`; `SOURCE_DATE_EPOCH` gives the date (reproducible-builds.org/specs/source-date-epoch).

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

const UNKNOWN: &str = "unknown";

fn main() {
    for variable in ["OIC_BUILD_COMMIT", "SOURCE_DATE_EPOCH"] {
        println!("cargo:rerun-if-env-changed={variable}");
    }
    println!("cargo:rerun-if-changed=build.rs");
    let is_release = env::var("PROFILE").is_ok_and(|profile| profile == "release");
    let (commit, seconds) = if is_release {
        (commit(), seconds())
    } else {
        (None, None)
    };
    println!(
        "cargo:rustc-env=OIC_BUILD_COMMIT={}",
        commit.as_deref().unwrap_or(UNKNOWN)
    );
    let seconds = seconds.map_or_else(|| UNKNOWN.to_owned(), |seconds| seconds.to_string());
    println!("cargo:rustc-env=OIC_BUILD_EPOCH={seconds}");
}

/// The commit's id, 40 or 64 hexadecimal digits.
fn commit() -> Option<String> {
    let id = env::var("OIC_BUILD_COMMIT").ok().or_else(head)?;
    let id = id.trim();
    let is_id = matches!(id.len(), 40 | 64) && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_id.then(|| id.to_owned())
}

/// What `HEAD` points to (gitrepository-layout(5)).
fn head() -> Option<String> {
    let own = Path::new(&env::var_os("CARGO_MANIFEST_DIR")?).join(".git");
    let directory = match fs::read_to_string(&own) {
        // A worktree: a file that says where its directory is.
        Ok(text) => PathBuf::from(text.strip_prefix("gitdir: ")?.trim()),
        Err(_) => own,
    };
    let common = match fs::read_to_string(directory.join("commondir")) {
        Ok(text) => directory.join(text.trim()),
        Err(_) => directory.clone(),
    };
    let head = read(&directory.join("HEAD"))?;
    let Some(reference) = head.strip_prefix("ref: ") else {
        return Some(head);
    };
    let packed = read(&common.join("packed-refs")).unwrap_or_default();
    read(&common.join(reference)).or_else(|| {
        let line = packed.lines().find(|line| line.ends_with(&format!(" {reference}")))?;
        line.split(' ').next().map(str::to_owned)
    })
}

/// Reads a file of git; the build runs again when it changes.
fn read(path: &Path) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    println!("cargo:rerun-if-changed={}", path.display());
    Some(text.trim().to_owned())
}

/// `SOURCE_DATE_EPOCH` or now, in seconds since 1970; the program makes a date of it.
fn seconds() -> Option<u64> {
    match env::var("SOURCE_DATE_EPOCH") {
        Ok(text) => text.parse().ok(),
        Err(_) => Some(SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_secs()),
    }
}
