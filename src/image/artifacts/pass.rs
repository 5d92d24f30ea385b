//! One ordered pass over the raw image for all products: the threads take chunks in the order in which these lie in the
//! raw image, whichever product they belong to. So a range is read from the disk once, and is in memory for every other
//! product that wants it.
//!
//! Memory is bounded: a chunk counts until its product has written it, and no thread begins one while too many count.
//! The oldest of them never waits for another, so there is always one that gets done.

use super::product::Product;
use crate::durable::PathError;
use crate::image::error::ImageError;
use crate::parallel;
use crate::progress::{Task, Unit};
use crate::sync::{Condvar, Mutex, lock, wait};
use crate::work::Work;

/// Makes all `products`, with the threads of `work`.
///
/// # Errors
/// If one of them fails, or the user asked to stop; all are incomplete then.
pub(super) fn run(products: &[Product<'_>], work: Work<'_>) -> Result<(), ImageError> {
    let total = products.iter().map(Product::size_bytes).sum();
    let pass = Pass {
        products,
        queue: Mutex::new(Queue {
            next: vec![0; products.len()],
            unfinished: 0,
            is_over: false,
        }),
        room: Condvar::new(),
        limit: work.threads + 2,
        task: work.start("Write artifacts", Unit::Bytes, Some(total)),
        work,
    };
    let results = parallel::run(work.threads, || pass.work());
    work.cancel.check()?;
    results.into_iter().collect::<Result<(), PathError>>()?;
    Ok(())
}

struct Pass<'a, 'p> {
    products: &'a [Product<'p>],
    queue: Mutex<Queue>,
    /// Tells that a thread may begin another chunk.
    room: Condvar,
    /// The most chunks at once that were begun and not written.
    limit: usize,
    task: Task<'a>,
    work: Work<'a>,
}

struct Queue {
    /// The number of the next chunk of each product.
    next: Vec<u64>,
    /// The number of chunks that were begun and are not written.
    unfinished: usize,
    /// Whether a thread has ended.
    is_over: bool,
}

impl Pass<'_, '_> {
    /// Makes chunks until there are none.
    fn work(&self) -> Result<(), PathError> {
        let _over = Over(&self.queue, &self.room);
        while let Some((index, number)) = self.take() {
            let Some(product) = self.products.get(index) else {
                continue;
            };
            let done = product.make(number, self.work.cancel)?;
            lock(&self.queue).unfinished -= done;
            self.room.notify_all();
            let place = product.chunk(number).unwrap_or_default();
            self.task.advance(place.end - place.start);
        }
        Ok(())
    }

    /// Takes the next chunk: the index of its product and its number.
    fn take(&self) -> Option<(usize, u64)> {
        let mut queue = lock(&self.queue);
        while queue.unfinished >= self.limit && !queue.is_over {
            queue = wait(&self.room, queue);
        }
        if queue.is_over || self.work.cancel.is_cancelled() {
            return None;
        }
        let waiting = self.products.iter().zip(&queue.next).enumerate();
        let places =
            waiting.filter_map(|(index, (product, number))| Some((product.reads_from(*number)?, index, *number)));
        let (_, index, number) = places.min()?;
        if let Some(next) = queue.next.get_mut(index) {
            *next += 1;
        }
        queue.unfinished += 1;
        Some((index, number))
    }
}

/// Ends the work of all threads when one ends: it has found no chunk left, or has failed, and then its chunk would count
/// for ever.
struct Over<'a>(&'a Mutex<Queue>, &'a Condvar);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        lock(self.0).is_over = true;
        self.1.notify_all();
    }
}
