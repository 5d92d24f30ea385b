//! What threads meet at. The modules that share work between threads take it from here, so that
//! `tests/model.rs` can compile them a second time over `shuttle` and try their interleavings.

pub use std::sync::atomic::{AtomicU8, Ordering};
pub use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
