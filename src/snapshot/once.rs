//! Each member is unpacked once, however many threads and processes want it.
//!
//! Invariant: [`Once::ensure`] says "kept" only after this process has verified what is kept, or has put it there
//! itself. `tests/model.rs` tries the interleavings.

use crate::flight::Flights;
use crate::sync::{AtomicU8, Ordering};

/// The bytes that are kept were verified by this process.
const READY: u8 = 1;
/// Something in the member was read by a user of the layer.
const USED: u8 = 2;

/// Where unpacked members are kept for all processes, and how one is unpacked.
pub trait Keeping {
    /// A member's bytes.
    type Bytes;
    /// Why it cannot be unpacked.
    type Error;
    /// Held while this process unpacks a member, so that others wait for it. It may be given without being held:
    /// two who unpack the same member at once keep the same bytes.
    type Claim;

    /// The bytes of a member that could not be kept, if this process still has them.
    fn remembered(&self, id: u32) -> Option<Self::Bytes>;
    /// Whether the right bytes are kept: looks at all of them.
    fn holds(&self, id: u32) -> bool;
    /// Waits for other processes that unpack the member.
    fn claim(&self, id: u32) -> Self::Claim;
    /// Unpacks the member and keeps it; gives its bytes if they could not be kept.
    ///
    /// # Errors
    /// If it is damaged.
    fn unpack(&self, id: u32) -> Result<Option<Self::Bytes>, Self::Error>;
}

/// What is known of each member.
#[derive(Debug)]
pub struct Once {
    states: Vec<AtomicU8>,
    flights: Flights<u32>,
}

impl Once {
    /// For members 0 to `members`, none of which was used.
    pub fn new(members: u32) -> Self {
        Self {
            states: (0..members).map(|_| AtomicU8::new(0)).collect(),
            flights: Flights::default(),
        }
    }

    /// Whether verified bytes of the member are kept.
    pub fn is_ready(&self, id: u32) -> bool {
        self.state(id) & READY != 0
    }

    /// Whether nobody has used or unpacked the member in this process.
    pub fn is_untouched(&self, id: u32) -> bool {
        self.state(id) == 0
    }

    /// Notes a use of the member; whether it is the first.
    pub fn is_first_use(&self, id: u32) -> bool {
        let first = |state: &AtomicU8| {
            state.load(Ordering::Relaxed) & USED == 0 && state.fetch_or(USED, Ordering::Relaxed) & USED == 0
        };
        self.states.get(id as usize).is_some_and(first)
    }

    /// What is kept of the member was found to have changed: it is verified, or unpacked again, before its next use.
    pub fn forget(&self, id: u32) {
        if let Some(state) = self.states.get(id as usize) {
            state.fetch_and(!READY, Ordering::AcqRel);
        }
    }

    /// Makes sure that verified bytes of the member are kept; gives the bytes themselves if they cannot be.
    ///
    /// # Errors
    /// Those of [`Keeping::unpack`].
    pub fn ensure<K: Keeping>(&self, id: u32, keeping: &K) -> Result<Option<K::Bytes>, K::Error> {
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
                // Whoever we waited for has done it, if there was one.
                if !keeping.holds(id)
                    && let Some(bytes) = keeping.unpack(id)?
                {
                    return Ok(Some(bytes));
                }
            }
            if let Some(state) = self.states.get(id as usize) {
                state.fetch_or(READY, Ordering::Release);
            }
            Ok(None)
        })
    }

    fn state(&self, id: u32) -> u8 {
        self.states
            .get(id as usize)
            .map_or(0, |state| state.load(Ordering::Acquire))
    }
}
