//! `flbc apply` beside `nft -f` of flbc's own text: into an empty kernel, after a small change, and with none.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::ROUNDS;
use crate::generate::Shape;
use crate::run::{self, Cost, TIMED, Workshop};

/// What is measured in one namespace, one after the other; `A`, `B` and `C` are files that differ in one weight or
/// two.
const STEPS: [Step; 7] = [
    Step::new("into an empty kernel", "A", false, 1.0 / 2.0),
    Step::new("no change", "A", false, 1.0 / 6.0),
    Step::new(ONE_WEIGHT, "B", false, 1.0 / 6.0),
    Step::new(SWAPPED, "C", false, 1.0 / 6.0),
    Step::new("no change, another tool committed", "C", true, 1.0),
    Step::new("one weight changed, another tool committed", "A", true, 1.0),
    Step::new("no change, nothing remembered", "A", true, 1.0),
];

const ONE_WEIGHT: &str = "one weight changed";
const SWAPPED: &str = "two weights swapped";

/// The steps whose growth has a goal.
const GROWING: usize = 3;

struct Step {
    what: &'static str,
    file: &'static str,
    /// Whether another tool makes a transaction first.
    disturbed: bool,
    /// The goal, as a part of what `nft -f` takes.
    goal: f64,
}

impl Step {
    const fn new(what: &'static str, file: &'static str, disturbed: bool, goal: f64) -> Self {
        Self {
            what,
            file,
            disturbed,
            goal,
        }
    }
}

/// Megabytes that no apply may exceed at 10,000 services.
const MEMORY: f64 = 500.0;

/// How much longer ten times the services may take.
const GROWTH: f64 = 12.0;

/// The kernel's part of a small change, as a part of what `nft -f` takes.
const TRANSACTION: f64 = 1.0 / 500.0;

/// All sizes, with ratios. `full`: the largest too, for which there must be 16 GB of memory and ten minutes.
pub(crate) fn apply_beside_nft(shop: &Workshop, full: bool) -> Result<(), String> {
    println!(
        "apply (round-robin), whole command, beside nft -f of the same rules, median of {ROUNDS}"
    );
    let mut before: Option<Vec<Cost>> = None;
    let sizes = [100, 1_000, 10_000, 100_000];
    let mut swaps = Vec::new();
    for services in sizes.into_iter().take(if full { 4 } else { 3 }) {
        let rounds = if services > 10_000 { 3 } else { ROUNDS };
        let (nft, steps) = measure(shop, services, rounds)?;
        println!("  {services} services x 10 servers");
        println!("    {:<44}{nft}", "nft -f into an empty kernel");
        for (step, cost) in STEPS.iter().zip(&steps) {
            println!(
                "    {:<44}{cost}  ratio {:.3} (goal: under {:.3})",
                step.what,
                cost.seconds / nft.seconds,
                step.goal
            );
            if step.what == ONE_WEIGHT || step.what == SWAPPED {
                println!(
                    "      {:<42}{:8.2} ms          ratio {:.5} (goal: under {TRANSACTION:.5})",
                    "of it the kernel's transaction",
                    cost.transaction,
                    cost.transaction / 1e3 / nft.seconds
                );
            }
            if step.what == SWAPPED {
                swaps.push((services, cost.transaction));
            }
        }
        let most = steps.iter().map(|cost| cost.megabytes).fold(0.0, f64::max);
        println!("    {:<44}{most:17.0} MB", "peak memory");
        if services == 10_000 {
            println!("    {:<44}under {MEMORY} MB", "goal");
        }
        let pairs = before.iter().flatten().zip(&steps);
        for (step, (few, many)) in STEPS.iter().zip(pairs).take(GROWING) {
            println!(
                "    {:<44}growth {:.1} (goal: at most {GROWTH})",
                step.what,
                many.seconds / few.seconds
            );
        }
        before = Some(steps);
    }
    println!("  the kernel's transaction for two weights swapped (goal: the same at any size)");
    for (services, milliseconds) in swaps {
        println!("    {services:>7} services x 10 servers {milliseconds:10.3} ms");
    }
    Ok(())
}

fn measure(shop: &Workshop, services: u32, rounds: usize) -> Result<(Cost, Vec<Cost>), String> {
    let files = files(shop, services)?;
    let rules = shop.compile(&files[0])?;
    let mut nft = Vec::new();
    let mut steps = vec![Vec::new(); STEPS.len()];
    for _ in 0..rounds {
        nft.push(run::time_nft_load(&rules)?);
        for (costs, cost) in steps.iter_mut().zip(one_round(shop, &files)?) {
            costs.push(cost);
        }
    }
    let medians = steps.iter().map(|costs| Cost::median(costs));
    Ok((Cost::median(&nft), medians.collect()))
}

/// A file; the same where one server weighs 2; the same where another does instead. Of a service in the middle, so
/// that what comes before and after it could have moved.
fn files(shop: &Workshop, services: u32) -> Result<[PathBuf; 3], String> {
    let text = Shape::services(services, "round-robin").text();
    let middle = format!("service s{} ", services / 2);
    let heavy = |server: usize| {
        let (head, tail) = text.split_at(text.find(&middle).unwrap_or(0));
        let mut lines: Vec<String> = tail.splitn(10, '\n').map(str::to_owned).collect();
        // Behind the lines `service`, `vip` and `scheduler`.
        if let Some(line) = lines.get_mut(3 + server) {
            line.push_str(" weight 2");
        }
        format!("{head}{}", lines.join("\n"))
    };
    Ok([
        shop.source_text(&text)?,
        shop.source_text(&heavy(0))?,
        shop.source_text(&heavy(1))?,
    ])
}

/// Every step once, in a namespace with a `/run` of its own.
fn one_round(shop: &Workshop, files: &[impl AsRef<Path>; 3]) -> Result<Vec<Cost>, String> {
    let mut script = format!("{TIMED}\nmount -t tmpfs none /run\n");
    for (number, step) in STEPS.iter().enumerate() {
        if step.disturbed {
            script.extend(["nft add table ip other", &number.to_string(), "\n"]);
        }
        if step.what.ends_with("nothing remembered") {
            script.push_str("rm -r /run/flbc\n");
        }
        let timed = format!(
            "timed \"$FLBC\" apply --timing \"${}\" >/dev/null\n",
            step.file
        );
        script.push_str(&timed);
    }
    let mut command = Command::new("unshare");
    command
        .args(["--net", "--mount", "bash", "-ec", &script])
        .env("FLBC", shop.flbc())
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    for (name, file) in ["A", "B", "C"].into_iter().zip(files) {
        command.env(name, file.as_ref());
    }
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
