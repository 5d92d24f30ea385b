//! The same work on many things, on several threads.
//!
//! The calling thread works too, so one thread means no other thread at all. If the system gives fewer threads than
//! asked for, the work only takes longer. A panic of any thread is passed on to the caller after all have ended.
//! `tests/model.rs` tries the interleavings.

use std::convert::Infallible;
use std::panic::resume_unwind;

use crate::sync::{Mutex, lock, scope, spawn_scoped};

/// Calls `work` for each item, at most `threads` at once; returns the results in the order of the items.
pub fn map<I, R>(threads: usize, items: I, work: impl Fn(I::Item) -> R + Sync) -> Vec<R>
where
    I: IntoIterator<IntoIter: ExactSizeIterator + Send>,
    R: Send,
{
    let Ok(results) = try_map(threads, items, |item| Ok::<_, Infallible>(work(item)));
    results
}

/// Calls `work` for each item, at most `threads` at once; returns the results in the order of the items.
///
/// # Errors
/// The first error that occurs. No further item is begun after it; items that are at work are completed.
pub fn try_map<I, R, E>(threads: usize, items: I, work: impl Fn(I::Item) -> Result<R, E> + Sync) -> Result<Vec<R>, E>
where
    I: IntoIterator<IntoIter: ExactSizeIterator + Send>,
    R: Send,
    E: Send,
{
    let items = items.into_iter();
    let threads = threads.min(items.len());
    let queue = Mutex::new((items.enumerate(), None));
    let take = || {
        let (items, error) = &mut *lock(&queue);
        if error.is_some() { None } else { items.next() }
    };
    let done = run(threads, || {
        let mut done = Vec::new();
        while let Some((place, item)) = take() {
            match work(item) {
                Ok(result) => done.push((place, result)),
                Err(error) => drop(lock(&queue).1.get_or_insert(error)),
            }
        }
        done
    });
    if let Some(error) = lock(&queue).1.take() {
        return Err(error);
    }
    let mut done: Vec<_> = done.into_iter().flatten().collect();
    done.sort_unstable_by_key(|(place, _)| *place);
    Ok(done.into_iter().map(|(_, result)| result).collect())
}

/// Calls `work` on this thread and on `threads - 1` others at once, for work that shares a queue of its own; returns
/// the results of all calls, this thread's first.
pub fn run<R: Send>(threads: usize, work: impl Fn() -> R + Sync) -> Vec<R> {
    let work = &work;
    scope(|scope| {
        let others: Vec<_> = (1..threads).filter_map(|_| spawn_scoped(scope, work)).collect();
        let own = std::iter::once(work());
        let joined = others
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|panic| resume_unwind(panic)));
        own.chain(joined).collect()
    })
}
