//! What threads meet at. The modules that share work between threads take it from here, so that
//! `tests/model.rs` and `tests/model_overlay.rs` can compile them a second time over `shuttle` and try their interleavings.

pub use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
pub use std::sync::{
    Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, Weak,
};
