//! `flbc apply` beside `nft -f` of flbc's own text: into an empty kernel, after a small change, and with none.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::ROUNDS;
use crate::generate::Shape;
use crate::run::{self, Cost, FORMAT, Workshop};

/// What is measured in one namespace, one after the other; `A` and `B` are files that differ in one weight.
const STEPS: [Step; 7] = [
    Step::new("into an empty kernel", "A", false, 1.0 / 2.0),
    Step::new("no change", "A", false, 1.0 / 6.0),
    Step::new("one weight changed", "B", false, 1.0 / 6.0),
    Step::new("two weights swapped", "C", false, 1.0 / 6.0),
    Step::new("no change, another tool committed", "C", true, 1.0),
    Step::new("one weight changed, another tool committed", "A", true, 1.0),
    Step::new("no change, nothing remembered", "A", true, 1.0),
];

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

/// Megabytes that no apply may exceed.
const MEMORY: f64 = 500.0;

/// How much longer ten times the services may take.
const GROWTH: f64 = 12.0;

/// Both sizes, with ratios.
pub(crate) fn apply_beside_nft(shop: &Workshop) -> Result<(), String> {
    println!(
        "apply (round-robin), whole command, beside nft -f of the same rules, median of {ROUNDS}"
    );
    let mut before: Option<Vec<Cost>> = None;
    for services in [1_000, 10_000] {
        let (nft, steps) = measure(shop, services)?;
        println!("  {services} services x 10 servers");
        println!("    {:<44}{nft}", "nft -f into an empty kernel");
        for (step, cost) in STEPS.iter().zip(&steps) {
            println!(
                "    {:<44}{cost}  ratio {:.3} (goal: under {:.3})",
                step.what,
                cost.seconds / nft.seconds,
                step.goal
            );
        }
        let most = steps.iter().map(|cost| cost.megabytes).fold(0.0, f64::max);
        println!(
            "    {:<44}{most:17.0} MB  (goal: under {MEMORY})",
            "peak memory"
        );
        for (step, (few, many)) in STEPS.iter().zip(before.iter().flatten().zip(&steps)) {
            println!(
                "    {:<44}growth {:.1} (goal: at most {GROWTH})",
                step.what,
                many.seconds / few.seconds
            );
        }
        before = Some(steps);
    }
    Ok(())
}

fn measure(shop: &Workshop, services: u32) -> Result<(Cost, Vec<Cost>), String> {
    let text = Shape::services(services, "round-robin").text();
    // In the middle of the file, so that what comes before and after it could have moved.
    let middle = services / 2;
    let weighted = |second: &str| {
        let (head, tail) = text.split_at(text.find(&format!("service s{middle} ")).unwrap_or(0));
        let service = tail.replacen(":8080", ":8080 weight 2", 1);
        let mut lines: Vec<&str> = service.splitn(6, '\n').collect();
        let swapped = lines.get(4).map(|line| format!("{line}{second}"));
        if let (Some(line), Some(new)) = (lines.get_mut(4), &swapped) {
            *line = new;
        }
        format!("{head}{}", lines.join("\n"))
    };
    let one = weighted("");
    let other = weighted(" weight 2").replacen(":8080 weight 2", ":8080", 1);
    let files = [
        shop.source_text(&text)?,
        shop.source_text(&one)?,
        shop.source_text(&other)?,
    ];
    let rules = shop.compile(&files[0])?;
    let mut nft = Vec::new();
    let mut steps = vec![Vec::new(); STEPS.len()];
    for _ in 0..ROUNDS {
        nft.push(run::time_nft_load(&rules)?);
        for (costs, cost) in steps.iter_mut().zip(one_round(shop, &files)?) {
            costs.push(cost);
        }
    }
    let medians = steps.iter().map(|costs| Cost::median(costs));
    Ok((Cost::median(&nft), medians.collect()))
}

/// Every step once, in a namespace with a `/run` of its own.
fn one_round(shop: &Workshop, files: &[impl AsRef<Path>; 3]) -> Result<Vec<Cost>, String> {
    let mut script = "mount -t tmpfs none /run\n".to_owned();
    for (number, step) in STEPS.iter().enumerate() {
        if step.disturbed {
            script.extend(["nft add table ip other", &number.to_string(), "\n"]);
        }
        if step.what.ends_with("nothing remembered") {
            script.push_str("rm -r /run/flbc\n");
        }
        let timed = format!(
            "time -f '{FORMAT}' \"$FLBC\" apply \"${}\" >/dev/null\n",
            step.file
        );
        script.push_str(&timed);
    }
    let mut command = Command::new("unshare");
    command
        .args(["--net", "--mount", "sh", "-ec", &script])
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
