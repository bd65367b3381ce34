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
    clippy::needless_pass_by_value,
    clippy::similar_names,
    missing_docs
)]

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use deeds::Deed;
use planted::Planted;
use world::World;

mod author;
mod daemon;
mod deeds;
mod mortal;
mod orders;
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
}

/// Lets so many things happen, or until something is found.
fn run(seed: u64, planted: Option<Planted>, steps: usize) -> Run {
    let mut world = World::new(seed, planted);
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
            if world.dice.one_in(6) {
                world.pauses();
            }
        }
        if world.faults.is_empty() && step % BETWEEN_RESTS == BETWEEN_RESTS - 1 {
            world.rests();
        }
        if !world.faults.is_empty() {
            let found = Some(step + 1);
            return Run { world, found };
        }
    }
    Run { world, found: None }
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
    for seed in 0..4 {
        is_right(seed, steps);
    }
}

/// Seeds in which something was found that was wrong then.
const FOUND: [u64; 6] = [12, 59, 1002, 1008, 1015, 1027];

#[test]
fn what_was_found_before() {
    for seed in FOUND {
        is_right(seed, 270);
    }
}

/// Whoever finds nothing may have looked at nothing.
#[test]
fn faults_that_are_planted_are_found() {
    const SEEDS: u64 = 40;
    const STEPS: usize = 270;
    let one = |planted: Planted| {
        let mut before = 0;
        // Where it was found: whoever changes what happens looks a little longer.
        let first = match planted {
            Planted::DeafAfterMissed => 1_007,
            Planted::BlindToInterfaces => 1_002,
            Planted::GivesUp => 1_008,
            Planted::ForgetsWhoWaits => 1_020,
            _ => 1_000,
        };
        for seed in first..first + SEEDS {
            let run = run(seed, Some(planted), STEPS);
            match run.found {
                Some(after) => {
                    let what = run.world.faults.join("; ");
                    let what: String = what.chars().take(120).collect();
                    let after = before + after;
                    println!("{planted:?} is found after {after} events, in seed {seed}: {what}");
                    return;
                }
                None => before += STEPS,
            }
        }
        panic!("{planted:?} is not found within {before} events");
    };
    std::thread::scope(|scope| {
        let all = Planted::ALL.map(|planted| scope.spawn(move || one(planted)));
        for thread in all {
            thread.join().unwrap();
        }
    });
}

/// How often each thing happens in `make soak`, at least.
const EACH: u64 = 1_000;

/// The longest mean time between two events, in simulated seconds.
const MEAN: f64 = 60.0;

#[test]
fn months_of_machines() {
    if std::env::var_os("FLBC_SOAK").is_none() {
        return;
    }
    let first = number("FLBC_SIM_SEED").unwrap_or(100_000);
    let next = AtomicU64::new(first);
    let all: Mutex<(BTreeMap<Deed, u64>, Duration)> = Mutex::default();
    let enough = || {
        let (tally, _) = &*all.lock().unwrap();
        let count = |deed| tally.get(deed).copied().unwrap_or_default();
        Deed::ALL.iter().all(|deed| count(deed) >= EACH)
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while !enough() {
                    let run = is_right(next.fetch_add(1, Ordering::Relaxed), 1_800);
                    let (tally, time) = &mut *all.lock().unwrap();
                    *time += run.world.now().saturating_sub(world::BEGINNING);
                    for (deed, count) in run.world.tally {
                        *tally.entry(deed).or_default() += count;
                    }
                }
            });
        }
    });
    let (tally, time) = all.into_inner().unwrap();
    let events: u64 = tally.values().sum();
    #[expect(clippy::cast_precision_loss, reason = "far fewer than that")]
    let mean = time.as_secs_f64() / events as f64;
    println!(
        "{} machines, {events} events in {:.1} simulated days, one in {mean:.1} s",
        next.into_inner() - first,
        time.as_secs_f64() / 86_400.0
    );
    for (deed, count) in tally {
        println!("  {count:>6} {deed:?}");
    }
    assert!(mean <= MEAN, "an event in {mean} s");
}
