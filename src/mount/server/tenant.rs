//! The interface between a server and the layers that it serves.

use std::fmt;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::hint::Hint;
use crate::overlay::layer::Layer;

/// A request for layers. The caller sends it as JSON, and the server process opens what it names.
pub trait Tenant: fmt::Debug + Clone + Serialize + DeserializeOwned {
    /// The opened layers' own statistics, sent as JSON in the other direction.
    type Stats: fmt::Debug + Serialize + DeserializeOwned + 'static;

    /// Opens the layers. Runs in the server process.
    ///
    /// # Errors
    /// In words, with a next step where one is known.
    fn open(self) -> Result<Opened<Self::Stats>, OpenFailure>;
}

/// Layers, opened in the server.
pub struct Opened<S> {
    /// Name (a directory name) and layer, the topmost first.
    pub layers: Vec<(String, Arc<dyn Layer>)>,
    /// A function that returns the layers' statistics so far.
    pub stats: Box<dyn Fn() -> S + Send + Sync>,
    /// A function that is called once, when the mount is gone.
    pub finish: Box<dyn FnOnce() + Send>,
}

impl<S> fmt::Debug for Opened<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opened")
            .field("layers", &self.layers)
            .finish_non_exhaustive()
    }
}

/// A reason why layers could not be opened, as it crosses the process boundary.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct OpenFailure {
    /// The cause.
    pub message: String,
    /// The next step, if one is known.
    pub hint: Option<Hint>,
}
