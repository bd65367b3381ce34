//! `flbc status` beside `nft -j list table` of the same tables: with a note that nobody came behind, after another tool
//! committed something, and without a note.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::generate::Shape;
use crate::run::{self, Cost, TIMED, Workshop};

/// What is measured in one namespace, one after the other, and what another program does before.
const STEPS: [(&str, &str, &str); 6] = [
    ("nft -j list table", "", "nft -j list table inet flbc"),
    ("for people", "", "\"$FLBC\" status"),
    ("json", "", "\"$FLBC\" status --json"),
    ("prometheus", "", "\"$FLBC\" status --format prometheus"),
    (
        "another tool committed",
        "nft add table ip other",
        "\"$FLBC\" status",
    ),
    ("nothing remembered", "rm -r /run/flbc", "\"$FLBC\" status"),
];

/// How many of the steps are without anybody else's doing, and have the goal.
const QUIET: usize = 4;

/// The goal, as a part of what `nft -j list table` takes.
const GOAL: f64 = 1.0 / 4.0;

/// How much longer twice the services may take.
const GROWTH: f64 = 2.5;

const ROUNDS: usize = 3;

/// All sizes, with ratios. `full`: the largest too, of which nft's listing takes minutes.
pub(crate) fn status_beside_nft(shop: &Workshop, full: bool) -> Result<(), String> {
    println!("status, whole command, beside nft's listing of the same table, median of {ROUNDS}");
    let maglev: &[u32] = if full {
        &[500, 1_000, 2_000]
    } else {
        &[250, 500]
    };
    let by_turns: &[u32] = if full {
        &[5_000, 10_000]
    } else {
        &[2_500, 5_000]
    };
    for (scheduler, sizes) in [("maglev", maglev), ("round-robin", by_turns)] {
        let mut before: Option<Vec<Cost>> = None;
        for &services in sizes {
            let source = shop.source(&Shape::services(services, scheduler))?;
            let costs = measure(shop, &source)?;
            println!("  {services} services x 10 servers, {scheduler}");
            let nft = costs.first().map_or(f64::NAN, |cost| cost.seconds);
            for (at, ((what, ..), cost)) in STEPS.iter().zip(&costs).enumerate() {
                let ratio = cost.seconds / nft;
                let goal = if (1..QUIET).contains(&at) {
                    format!(" (goal: under {GOAL:.3})")
                } else {
                    String::new()
                };
                println!("    {what:<30}{cost}  ratio {ratio:.3}{goal}");
            }
            let pairs = before.iter().flatten().zip(&costs);
            for ((what, ..), (few, many)) in STEPS.iter().zip(pairs).skip(1) {
                println!(
                    "    {what:<30}growth {:.1} (goal for twice the size: at most {GROWTH})",
                    many.seconds / few.seconds
                );
            }
            before = Some(costs);
        }
    }
    println!();
    Ok(())
}

/// The median of each step.
fn measure(shop: &Workshop, source: &Path) -> Result<Vec<Cost>, String> {
    let mut steps = vec![Vec::new(); STEPS.len()];
    for _ in 0..ROUNDS {
        for (costs, cost) in steps.iter_mut().zip(one_round(shop, source)?) {
            costs.push(cost);
        }
    }
    Ok(steps.iter().map(|costs| Cost::median(costs)).collect())
}

/// Every step once, in a namespace with a `/run` of its own.
fn one_round(shop: &Workshop, source: &Path) -> Result<Vec<Cost>, String> {
    let mut script =
        format!("{TIMED}\nmount -t tmpfs none /run\n\"$FLBC\" apply \"$A\" >/dev/null\n");
    for (_, others, command) in STEPS {
        script.extend([others, "\ntimed ", command, " >/dev/null\n"]);
    }
    let mut command = Command::new("unshare");
    command
        .args(["--net", "--mount", "bash", "-ec", &script])
        .env("FLBC", shop.flbc())
        .env("A", source)
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    let output = command
        .output()
        .map_err(|error| format!("{command:?}: {error}"))?;
    let messages = String::from_utf8_lossy(&output.stderr);
    let costs: Vec<Cost> = run::costs(&messages).collect();
    if output.status.success() && costs.len() == STEPS.len() {
        Ok(costs)
    } else {
        Err(format!("{command:?} failed: {messages}"))
    }
}
