//! The parts of a long test, by name: a part that fails does not hide the others.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// The parts of one test; dropped, it fails the test if a part has failed.
#[derive(Debug, Default)]
pub struct Steps {
    failed: Vec<&'static str>,
}

impl Steps {
    /// Starts without any part.
    pub fn new() -> Self {
        Self::default()
    }

    /// Runs a part that later ones build on: if it panics, the test ends.
    pub fn need<T>(&mut self, name: &'static str, work: impl FnOnce() -> T) -> T {
        println!("step {name:?}");
        catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
            println!(
                "step {name:?} FAILED, the ones behind it did not run; before it failed: {:?}",
                self.failed
            );
            resume_unwind(panic)
        })
    }

    /// Runs a part that no other builds on: if it panics, the others run all the same.
    pub fn check(&mut self, name: &'static str, work: impl FnOnce()) {
        println!("step {name:?}");
        if catch_unwind(AssertUnwindSafe(work)).is_err() {
            println!("step {name:?} FAILED");
            self.failed.push(name);
        }
    }
}

impl Drop for Steps {
    fn drop(&mut self) {
        assert!(
            self.failed.is_empty() || std::thread::panicking(),
            "these steps failed: {:?}",
            self.failed
        );
    }
}
