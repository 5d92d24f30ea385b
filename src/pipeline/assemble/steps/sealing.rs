//! A thread beside the build that makes a layer durable.

use std::thread::JoinHandle;

use crate::cancel::Cancelled;
use crate::layer::LayerError;

/// A thread that makes a layer durable; joined when dropped.
pub(super) struct Sealing<T>(Option<JoinHandle<Result<T, LayerError>>>);

impl<T: Send + 'static> Sealing<T> {
    /// Starts `work` on a thread of its own.
    pub(super) fn start(work: impl FnOnce() -> Result<T, LayerError> + Send + 'static) -> Self {
        Self(Some(std::thread::spawn(work)))
    }

    /// Waits for the thread and returns its result; a panic of the thread goes on in this one.
    pub(super) fn join(mut self) -> Result<T, LayerError> {
        match self.0.take().map(JoinHandle::join) {
            Some(Ok(result)) => result,
            Some(Err(panic)) => std::panic::resume_unwind(panic),
            // Only this function and `drop` take it.
            None => Err(LayerError::Cancelled(Cancelled)),
        }
    }
}

impl<T> Drop for Sealing<T> {
    fn drop(&mut self) {
        if let Some(thread) = self.0.take() {
            // The build has failed already; a layer that was published all the same is sound.
            drop(thread.join());
        }
    }
}
