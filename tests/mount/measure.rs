//! Not a test: what the mount costs against the native file system. Run with
//! `cargo test --test mount -- measure`.

pub const TESTS: &[(&str, fn())] = &[];
