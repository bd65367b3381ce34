//! Days of a machine that `flbc run` keeps right, in seconds: everything that can happen to it does, each run from a seed.
//!
//! `FLBC_SIM_SEED=N` runs one seed, `FLBC_SIM_STEPS=N` so many events of it, `FLBC_SIM_LOUD=1` says all that happens.

// The kernel in memory is in no release.
#![cfg(debug_assertions)]
// A test that cannot do its work stops, with what it found.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs
)]

use std::time::Duration;

use deeds::Deed;
use planted::Planted;
use world::World;

mod author;
mod daemon;
mod deeds;
mod mortal;
mod planted;
mod rest;
mod strangers;
mod wanted;
mod world;

/// So many events between two rests.
const BETWEEN_RESTS: usize = 90;

/// What a run came to.
struct Run {
    world: World,
    /// After how many events something was found.
    found: Option<usize>,
    /// How many events there were.
    events: usize,
}

/// Lets so many things happen, or until something is found.
fn run(seed: u64, planted: Option<Planted>, steps: usize) -> Run {
    let mut world = World::new(seed, planted);
    let mut events = 0;
    let mut deck: Vec<Deed> = Vec::new();
    for step in 0..steps {
        if deck.is_empty() {
            deck = Deed::ALL.to_vec();
            world.dice.shuffle(&mut deck);
        }
        // Some come one right behind the other.
        let pause = match world.dice.below(4) {
            0 => Duration::from_millis(world.dice.below(100)),
            1 => Duration::from_millis(world.dice.below(3_000)),
            _ => Duration::from_millis(world.dice.below(40_000)),
        };
        world.advance(world.now() + pause);
        if world.faults.is_empty()
            && let Some(deed) = deck.pop()
        {
            world.happens(deed);
        }
        if world.faults.is_empty() && step % BETWEEN_RESTS == BETWEEN_RESTS - 1 {
            world.rests();
        }
        events += 1;
        if !world.faults.is_empty() {
            return Run {
                world,
                found: Some(events),
                events,
            };
        }
    }
    Run {
        world,
        found: None,
        events,
    }
}

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().expect("a number"))
}

/// Runs a seed in which nothing may be found.
#[track_caller]
fn is_right(seed: u64, steps: usize) -> Run {
    let run = run(seed, None, steps);
    if let Some(after) = run.found {
        let log: Vec<&str> = run.world.log.iter().map(String::as_str).collect();
        panic!(
            "FLBC_SIM_SEED={seed}: after {after} events: {}\n{}",
            run.world.faults.join("\n"),
            log.join("\n")
        );
    }
    run
}

#[test]
fn some_hours_of_a_machine() {
    let steps = number("FLBC_SIM_STEPS").map_or(270, |it| usize::try_from(it).unwrap());
    if let Some(seed) = number("FLBC_SIM_SEED") {
        is_right(seed, steps);
        return;
    }
    for seed in 0..8 {
        is_right(seed, steps);
    }
}
