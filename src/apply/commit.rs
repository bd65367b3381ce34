//! The transaction itself, with what goes with servers whose numbers change.

use crate::emit::netlink::change::Change;
use crate::kernel::{Kernel, KernelError};
use crate::notes::Notes;

use super::carry::carry;
use super::moves::{self, Moves};
use super::{Applied, Failure};

/// A transaction that is to be made.
pub(crate) struct Transaction<'a> {
    pub(crate) place: (&'a Notes, &'a str),
    pub(crate) moves: &'a Moves,
    /// Whether a run that was killed had left something to do.
    pub(crate) resumes: bool,
    /// The generation that the changes were worked out at.
    pub(crate) generation: u32,
}

impl Transaction<'_> {
    /// Makes it; says at which generation the kernel is then. `None`: something else was there meanwhile, and all is to be
    /// worked out anew. `refused` counts how often that was because of what rules remember.
    pub(crate) fn make(
        &self,
        kernel: &mut impl Kernel,
        changes: &mut Vec<Change>,
        refused: &mut usize,
        applied: &mut Applied,
    ) -> Result<Option<u32>, Failure> {
        let (cache, table) = self.place;
        carry(kernel, table, self.moves, *refused > 0, changes)?;
        moves::begin(self.moves, self.place, &mut applied.notes);
        cache.set_aside(table);
        let start = kernel.now();
        let outcome = kernel.commit(table, changes, self.generation);
        applied.transaction = kernel.now().saturating_sub(start);
        let error = match outcome {
            Ok(committed) => return Ok(Some(committed.generation)),
            Err(error) => error,
        };
        cache.put_back(table);
        if !self.resumes {
            cache.finish(table);
        }
        // What rules remember changes all the time.
        let moving = self.moves.concern_memories() && error.is_out_of_date();
        *refused += usize::from(moving);
        if error == KernelError::Changed || moving {
            Ok(None)
        } else {
            Err(error.into())
        }
    }
}
