//! Derives from the reads of a snapshot which member to unpack next.

use super::member_id::MemberId;
use crate::sync::{Condvar, Mutex, lock, wait};

/// Upper limit for the members unpacked ahead of a sequential reader; each has 1 MiB at most.
const WINDOW_MAX: u32 = 16;
/// Largest step between two members that still counts as reading in order: small files are skipped, threads overtake.
const STEP_MAX: u32 = 2;

/// The course of the reads of a snapshot's users.
#[derive(Debug, Default)]
pub struct Hints {
    course: Mutex<Course>,
    wake: Condvar,
}

#[derive(Debug, Default)]
struct Course {
    last: Option<u32>,
    window: u32,
    /// The next member to unpack, of `next..end`.
    next: u32,
    end: u32,
    /// Whether a thread takes the hints.
    open: bool,
}

impl Hints {
    /// Records the first use of a member.
    pub fn used(&self, id: MemberId) {
        let mut course = lock(&self.course);
        if !course.open {
            return;
        }
        let step = course.last.and_then(|last| id.0.checked_sub(last));
        let in_order = step.is_some_and(|step| (1..=STEP_MAX).contains(&step));
        course.last = Some(id.0);
        if !in_order {
            (course.window, course.next, course.end) = (0, 0, 0);
            return;
        }
        course.window = (course.window * 2).clamp(2, WINDOW_MAX);
        course.next = course.next.max(id.0.saturating_add(1));
        course.end = id.0.saturating_add(1).saturating_add(course.window);
        drop(course);
        self.wake.notify_one();
    }

    /// Waits for the next member to unpack: those that a sequential reader needs go before `recorded`. Returns `None`
    /// after [`Self::close`].
    pub fn next(&self, recorded: &mut impl Iterator<Item = MemberId>) -> Option<MemberId> {
        let mut course = lock(&self.course);
        loop {
            if !course.open {
                return None;
            }
            if course.next < course.end {
                course.next += 1;
                return Some(MemberId(course.next - 1));
            }
            if let Some(id) = recorded.next() {
                return Some(id);
            }
            course = wait(&self.wake, course);
        }
    }

    /// Starts collecting hints, for the thread that calls [`Self::next`].
    pub fn open(&self) {
        lock(&self.course).open = true;
    }

    /// Stops collecting hints, and ends the thread that waits in [`Self::next`].
    pub fn close(&self) {
        lock(&self.course).open = false;
        self.wake.notify_all();
    }
}
