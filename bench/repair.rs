//! `flbc run` after a flush of the ruleset, beside `nft -f` of the same rules in the same run: how long until all is back.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::generate::Shape;
use crate::run::{self, Cost, TIMED, Workshop};

/// The goal, as a part of what `nft -f` takes.
const GOAL: f64 = 1.0 / 3.0;

const ROUNDS: usize = 5;

/// The daemon starts, all is flushed, and it says itself when all is back: by the clock that is asked before and after the
/// flush. Somebody opens and closes a table all the time, so that it has other things to hear.
const SCRIPT: &str = r#"
mount -t tmpfs none /run
timed unshare --net nft -f "$R" >/dev/null
ip link set lo up
"$FLBC" run "$A" >/dev/null 2>&1 &
daemon=$!
trap 'kill $daemon $noise 2>/dev/null' EXIT
until "$FLBC" events 2>/dev/null | grep -q started; do sleep 0.05; done
while :; do nft add table ip noise; nft delete table ip noise; sleep 0.02; done 2>/dev/null &
noise=$!
sleep 0.5
nft flush ruleset
flushed=$(date +%s%3N)
until "$FLBC" events --format json | grep -q '"code":"repaired"'; do sleep 0.05; done
back=$("$FLBC" events --format json | sed -n '/"code":"repaired"/{s/.*"time":"\([^"]*\)".*/\1/p;q}')
back=$(date -d "$back" +%s%3N)
kill $noise
until "$FLBC" status >/dev/null; do sleep 0.1; done
printf 'cost %d.%03d 0\n' $(((back - flushed) / 1000)) $(((back - flushed) % 1000)) >&2
"#;

/// All sizes, with ratios.
pub(crate) fn repair_beside_nft(shop: &Workshop, full: bool) -> Result<(), String> {
    println!(
        "repair by the daemon, from the end of `nft flush ruleset` until all is back, beside `nft -f` of the same rules, median of {ROUNDS}"
    );
    let sizes: &[u32] = if full {
        &[10, 100, 1_000, 10_000]
    } else {
        &[10, 100, 1_000]
    };
    for &services in sizes {
        let source = shop.source(&Shape::services(services, "round-robin"))?;
        let rules = shop.compile(&source)?;
        let mut rounds = Vec::new();
        for _ in 0..ROUNDS {
            rounds.push(one_round(shop, &source, &rules)?);
        }
        let median = |at: usize| {
            let costs: Vec<Cost> = rounds.iter().map(|round| round[at]).collect();
            Cost::median(&costs).seconds
        };
        let (nft, repair) = (median(0), median(1));
        println!(
            "  {services:>6} services x 10 servers: nft -f {:8.1} ms, repaired after {:8.1} ms, ratio {:.3} (goal at 1,000: under {GOAL:.3})",
            nft * 1e3,
            repair * 1e3,
            repair / nft
        );
    }
    println!();
    Ok(())
}

fn one_round(shop: &Workshop, source: &Path, rules: &Path) -> Result<[Cost; 2], String> {
    let script = format!("{TIMED}\n{SCRIPT}");
    let mut command = Command::new("unshare");
    command
        .args(["--net", "--mount", "bash", "-ec", &script])
        .env("FLBC", shop.flbc())
        .env("A", source)
        .env("R", rules)
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    let output = command
        .output()
        .map_err(|error| format!("{command:?}: {error}"))?;
    let messages = String::from_utf8_lossy(&output.stderr);
    let costs: Vec<Cost> = run::costs(&messages).collect();
    match (output.status.success(), &*costs) {
        (true, &[load, repair]) => Ok([load, repair]),
        _ => Err(format!("{command:?} failed: {messages}")),
    }
}
