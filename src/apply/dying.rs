//! What follows a transaction for connections, and for clients of servers that take no packet any more.

use crate::kernel::{Judged, Kernel};

use super::census::Census;
use super::moves::{Judge, Moves};

/// Gives connections the numbers of their servers, and forgets those of servers that take none any more. `None`: they
/// could not be seen to.
pub(super) fn judge(
    kernel: &mut impl Kernel,
    moves: &Moves,
    now: &Census,
    notes: &mut Vec<String>,
) -> Option<Judged> {
    if !moves.concern_connections() {
        return Some(Judged::default());
    }
    let judge = Judge::new(moves, now);
    match kernel.judge(&|connection| judge.of(connection)) {
        Ok(judged) => Some(judged),
        Err(error) => {
            notes.push(format!(
                "connections to servers that are gone may live on, and others have the numbers that their servers had; the next apply sees to them: {error}"
            ));
            None
        }
    }
}

/// Forgets the clients that are remembered for servers that take none any more. `generation` is the last one of
/// which it is known what the kernel has, here and afterwards. Says how many.
pub(super) fn forget_clients(
    kernel: &mut impl Kernel,
    table: &str,
    moves: &Moves,
    generation: &mut u32,
    notes: &mut Vec<String>,
) -> usize {
    let dying = moves.dying();
    if dying.is_empty() {
        return 0;
    }
    match kernel.forget_remembered(table, &dying, *generation) {
        Ok((forgotten, now)) => {
            *generation = now;
            forgotten
        }
        Err(error) => {
            notes.push(format!(
                "clients of servers that are gone may be remembered until they time out: {error}"
            ));
            0
        }
    }
}
