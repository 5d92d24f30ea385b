//! Unpacks each member once, even if many threads and processes want it.
//!
//! Invariant: [`MemberStates::ensure`] reports a member as kept only after this process has verified the kept bytes, or
//! has written them itself. `tests/model.rs` tries the interleavings.

use super::member_id::MemberId;
use crate::flight::Flights;
use crate::sync::{AtomicU8, Ordering};

/// The flag that this process has verified the kept bytes.
const READY: u8 = 1;
/// The flag that a user of the layer has read from the member.
const USED: u8 = 2;

/// The store of unpacked members that all processes share, and the way to unpack one.
pub trait Keeping {
    /// A member's bytes.
    type Bytes;
    /// The error of unpacking.
    type Error;
    /// A guard held while this process unpacks a member, so that others wait for it. It may be returned without a lock:
    /// two processes that unpack the same member at once keep the same bytes.
    type Claim;

    /// Returns the bytes of a member that could not be kept, if this process still has them.
    fn remembered(&self, id: MemberId) -> Option<Self::Bytes>;
    /// Verifies all kept bytes of a member; returns whether they are right.
    fn holds(&self, id: MemberId) -> bool;
    /// Waits for other processes that unpack the member, then makes others wait.
    fn claim(&self, id: MemberId) -> Self::Claim;
    /// Unpacks the member and keeps it; returns its bytes if they could not be kept.
    ///
    /// # Errors
    /// If it is damaged.
    fn unpack(&self, id: MemberId) -> Result<Option<Self::Bytes>, Self::Error>;
}

/// The state of each member.
#[derive(Debug)]
pub struct MemberStates {
    states: Vec<AtomicU8>,
    flights: Flights<MemberId>,
}

impl MemberStates {
    /// Makes the states of members 0 to `members`, all unused.
    pub fn new(members: u32) -> Self {
        Self {
            states: (0..members).map(|_| AtomicU8::new(0)).collect(),
            flights: Flights::default(),
        }
    }

    /// Returns whether verified bytes of the member are kept.
    pub fn is_ready(&self, id: MemberId) -> bool {
        self.state(id) & READY != 0
    }

    /// Returns whether this process has neither used nor unpacked the member.
    pub fn is_untouched(&self, id: MemberId) -> bool {
        self.state(id) == 0
    }

    /// Records a use of the member; returns whether it is the first.
    pub fn is_first_use(&self, id: MemberId) -> bool {
        let first = |state: &AtomicU8| {
            state.load(Ordering::Relaxed) & USED == 0 && state.fetch_or(USED, Ordering::Relaxed) & USED == 0
        };
        self.states.get(id.0 as usize).is_some_and(first)
    }

    /// Records that the kept bytes of the member have changed: its next use verifies it, or unpacks it again.
    pub fn forget(&self, id: MemberId) {
        if let Some(state) = self.states.get(id.0 as usize) {
            state.fetch_and(!READY, Ordering::AcqRel);
        }
    }

    /// Makes sure that verified bytes of the member are kept; returns the bytes themselves if they cannot be kept.
    ///
    /// # Errors
    /// Those of [`Keeping::unpack`].
    pub fn ensure<K: Keeping>(&self, id: MemberId, keeping: &K) -> Result<Option<K::Bytes>, K::Error> {
        if self.is_ready(id) {
            return Ok(None);
        }
        let known = || match self.is_ready(id) {
            true => Some(None),
            false => keeping.remembered(id).map(Some),
        };
        self.flights.run(id, known, || {
            if !keeping.holds(id) {
                let _claim = keeping.claim(id);
                // Another process may have unpacked the member while this one waited for the claim.
                if !keeping.holds(id)
                    && let Some(bytes) = keeping.unpack(id)?
                {
                    return Ok(Some(bytes));
                }
            }
            if let Some(state) = self.states.get(id.0 as usize) {
                state.fetch_or(READY, Ordering::Release);
            }
            Ok(None)
        })
    }

    fn state(&self, id: MemberId) -> u8 {
        self.states
            .get(id.0 as usize)
            .map_or(0, |state| state.load(Ordering::Acquire))
    }
}
