//! What follows a transaction.

use crate::diff::Observed;
use crate::kernel::Kernel;
use crate::model::Served;
use crate::notes::Notes;

use super::census::Census;
use super::moves::Moves;
use super::{Applied, Remembered, carry, dying, older};

/// Remembers by `keep` what the kernel has `now`, gives connections the numbers of their servers, and forgets the connections and
/// clients of servers that take no packet any more, and the flows that are older than their service.
///
/// It is remembered first: connections can be many, and whoever is killed over them must lose nothing. `keep` is given the
/// generation.
pub(crate) fn settle<K: Kernel>(
    kernel: &mut K,
    (cache, table): (&Notes, &str),
    now: &mut Observed,
    keep: impl Fn(&mut K, u32, &mut Applied),
    (moves, census, served): (&Moves, &Census, &Served),
    applied: &mut Applied,
) {
    keep(kernel, now.generation, applied);
    applied.older = older::forget(kernel, served, &mut applied.notes);
    if let Some(judged) = dying::judge(kernel, moves, census, &mut applied.notes) {
        applied.forgotten = judged.forgotten;
        applied.marked = judged.marked;
        cache.finish(table);
    }
    let committed = now.generation;
    let generation = &mut now.generation;
    if let Err(error) = carry::catch_up(kernel, table, moves, generation) {
        applied.notes.push(format!(
            "clients and flows that came while the rules changed may be given a server anew: {error}"
        ));
    }
    applied.clients = dying::forget_clients(kernel, table, moves, generation, &mut applied.notes);
    now.drop_service_chains();
    let known_at = now.generation;
    let nobody_came = |kernel: &mut K| kernel.generation().is_ok_and(|now| now == known_at);
    if kernel.read_handles(table, now).is_err() && nobody_came(kernel) {
        // Other rules than were sent: what is there is for the next run to read. Where somebody came right behind, it
        // compares anyway.
        remember(kernel, (cache, table), now.generation, None, applied);
    } else if now.generation != committed {
        keep(kernel, now.generation, applied);
    }
}

/// Remembers what the tables follow from at this generation; `None`: nothing.
pub(crate) fn remember(
    kernel: &mut impl Kernel,
    (cache, table): (&Notes, &str),
    generation: u32,
    known: Option<&Remembered<'_>>,
    applied: &mut Applied,
) {
    let outcome = match known {
        Some(known) => {
            let of = (generation, known.ids.each());
            cache.remember(kernel, table, of, &known.to_note())
        }
        None => cache.forget(table),
    };
    if let Err(error) = outcome {
        let note = format!(
            "the rules are in place, but the next apply will read them from the kernel: {error}"
        );
        if !applied.notes.contains(&note) {
            applied.notes.push(note);
        }
    }
}
