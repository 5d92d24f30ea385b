//! What tests, benches and the unit tests of oic share: foreign tools, servers, machines, made-up repositories.
//!
//! This crate does not depend on oic. A unit test of oic would otherwise see two crates of that name, and every
//! `cargo test --lib` would compile the library twice. Helpers that need types of oic are in `tests/it/support`.
//!
//! A helper that fails panics: the panic is the report of the test.

pub mod disk;
pub mod dnf;
pub mod faulty;
pub mod hidden;
pub mod hostile;
pub mod image_digest;
pub mod primary;
pub mod qemu;
pub mod rpm;
pub mod rpm_fixture;
pub mod scale;
pub mod selinux;
pub mod server;
pub mod source;
pub mod tiny;
pub mod tls;

mod program;
mod steps;

pub use program::{Finished, temporary, tool};
pub use steps::Steps;

use std::path::Path;
use std::time::{Duration, Instant};

/// Waits until `condition` holds, and returns whether it did within ten seconds.
pub fn soon(mut condition: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + Duration::from_secs(10);
    while Instant::now() < deadline {
        if condition() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    condition()
}

/// Starts `command`, and waits until it runs the program `name` (`comm` of proc(5)): what came before has been done.
pub fn spawn_until_it_runs(command: &mut std::process::Command, name: &str) -> std::process::Child {
    let child = command.spawn().unwrap();
    let comm = format!("/proc/{}/comm", child.id());
    let runs = soon(|| std::fs::read_to_string(&comm).is_ok_and(|running| running.trim_end() == name));
    assert!(runs, "{command:?} does not run {name}");
    child
}

/// Returns the SHA-256 of `bytes` as lowercase hexadecimal digits.
pub fn sha256(bytes: impl AsRef<[u8]>) -> String {
    use sha2::Digest as _;
    hex::encode(sha2::Sha256::digest(bytes.as_ref()))
}

/// Returns the SHA-512 of `bytes` in hexadecimal.
pub fn sha512(bytes: impl AsRef<[u8]>) -> String {
    use sha2::Digest as _;
    hex::encode(sha2::Sha512::digest(bytes.as_ref()))
}

/// Returns the root of oic's source tree.
pub fn source_root() -> &'static Path {
    let kit = Path::new(env!("CARGO_MANIFEST_DIR"));
    kit.ancestors().nth(2).expect("the kit lies in tests/testkit")
}
