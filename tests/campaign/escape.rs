//! Attempts of a program in the sandbox to reach the host (`tests/data/escapes.c`).

use crate::escapes::Root;
use crate::ground::Ground;
use crate::tally::{Fault, Tally};

/// Makes all attempts.
pub fn chapter(ground: &Ground) -> Tally {
    let (attempts, wrong) = Root::new(&ground.program).attempts();
    let mut tally = Tally::of(150);
    tally.attempts(attempts);
    for line in wrong {
        tally.fault(Fault::WrongBytes, line);
    }
    tally
}
