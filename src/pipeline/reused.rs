//! What a build has taken from earlier ones.

use std::collections::BTreeSet;

use crate::package::Sha256;
use crate::sync::{Mutex, MutexGuard, lock};

/// The step layers that a build has taken from earlier ones.
#[derive(Debug, Default)]
pub struct Reused(Mutex<BTreeSet<Sha256>>);

impl Reused {
    /// Notes the layer `key`.
    pub fn note(&self, key: Sha256) {
        self.keys().insert(key);
    }

    /// Locks and gives the keys.
    pub fn keys(&self) -> MutexGuard<'_, BTreeSet<Sha256>> {
        lock(&self.0)
    }
}
