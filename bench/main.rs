//! `make bench`: what flbc costs, beside what it competes with, in one run.
//!
//! Every figure is the median of several rounds in which the contenders take turns, as these machines are
//! shared and noisy; what to believe are the ratios. Needs root, nft and GNU time; loads only into network
//! namespaces that `unshare` makes and that end with the command.

// The bench stops at the first thing that goes wrong, and says what.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic
)]

#[path = "../tests/lab/mod.rs"]
mod lab;

mod apply;
mod contender;
mod datapath;
mod generate;
mod load;
mod peers;
mod plot;
mod reload;
mod repair;
mod run;
mod sender;
mod status;
mod table;

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use generate::Shape;
use run::{Cost, Workshop};

/// How many rounds: enough for a median, few enough for a coffee.
const ROUNDS: usize = 5;

fn main() -> ExitCode {
    match bench() {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("bench: {message}");
            ExitCode::FAILURE
        }
    }
}

fn bench() -> Result<(), String> {
    let shop = Workshop::new()?;
    println!("{}\n", run::machine());
    // `bench apply` is that part alone, and so are the others; `full` takes its time.
    let parts: Vec<String> = std::env::args().skip(1).collect();
    let full = parts.iter().any(|part| part == "full");
    let wanted = |part: &str| {
        let mut named = parts.iter().filter(|part| *part != "full").peekable();
        named.peek().is_none() || named.any(|name| name == part)
    };
    if wanted("load") {
        let extent = load::Extent {
            sizes: if full {
                &[10, 100, 1_000, 10_000]
            } else {
                &[10, 100, 200, 1_000]
            },
            rounds: 3,
            limit: if full { 300 } else { 30 },
        };
        load::side_by_side(
            &shop,
            &extent,
            full.then_some(Path::new("docs/loading.svg")),
        )?;
    }
    if wanted("repair") {
        repair::repair_beside_nft(&shop, full)?;
    }
    if wanted("reload") {
        let extent = reload::Extent {
            sizes: if full {
                &[10, 100, 1_000, 10_000]
            } else {
                &[10, 100, 1_000]
            },
            rounds: if full { ROUNDS } else { 3 },
            nftlb: 100,
        };
        reload::while_clients_connect(&shop, &extent)?;
    }
    let extent = datapath::Extent {
        rounds: if full { ROUNDS } else { 3 },
        time: Duration::from_millis(if full { 500 } else { 200 }),
        flows: if full { 40_000 } else { 20_000 },
        absolute: true,
        idle: Duration::ZERO,
    };
    // Only where it is asked for: few kernels have it.
    if parts.iter().any(|part| part == "ipvs") {
        let extent = datapath::Extent {
            rounds: ROUNDS,
            flows: 10_000,
            absolute: false,
            // Longer than IPVS remembers a flow of UDP. In the guest of `make bench-vm` the clock leaps where nothing is done.
            idle: Duration::from_secs(if parts.iter().any(|part| part == "leaping") {
                310
            } else {
                0
            }),
            ..extent
        };
        return datapath::beside_ipvs(&shop, extent);
    }
    if wanted("datapath") {
        datapath::side_by_side(&shop, extent)?;
    }
    if wanted("many") {
        datapath::many_services(&shop, extent)?;
    }
    if wanted("options") {
        datapath::options(&shop, extent)?;
    }
    if wanted("apply") {
        apply::apply_beside_nft(&shop, full)?;
    }
    if wanted("status") {
        status::status_beside_nft(&shop, full)?;
    }
    if wanted("compile") {
        compiling(&shop)?;
    }
    Ok(())
}

/// What `flbc compile` costs, and its output.
fn compiling(shop: &Workshop) -> Result<(), String> {
    compile_beside_nft(shop)?;
    load_growth(shop)?;
    shared_pool(shop)
}

/// `flbc compile` beside the time that `nft -c -f` takes to read its output.
fn compile_beside_nft(shop: &Workshop) -> Result<(), String> {
    println!("compile 10,000 services x 10 servers (round-robin), median of {ROUNDS}");
    let source = shop.source(&Shape::services(10_000, "round-robin"))?;
    let rules = shop.compile(&source)?;
    println!(
        "  source {:.1} MB, rules {:.1} MB",
        run::megabytes(&source)?,
        run::megabytes(&rules)?
    );
    let mut compile = Vec::new();
    let mut check = Vec::new();
    for _ in 0..ROUNDS {
        compile.push(shop.time_compile(&source)?);
        check.push(run::time_nft_check(&rules)?);
    }
    let (compile, check) = (Cost::median(&compile), Cost::median(&check));
    println!("  flbc compile    {compile}");
    println!("  nft -c -f       {check}");
    println!(
        "  ratio           {:.3} (goal: under 0.1)\n",
        compile.seconds / check.seconds
    );
    Ok(())
}

/// `nft -f` of the output at ten times the size.
fn load_growth(shop: &Workshop) -> Result<(), String> {
    println!("nft -f of the output into an empty namespace, median of {ROUNDS}");
    let ten_thousand = [("round-robin", 1_000), ("random", 1_000), ("hash", 1_000)];
    for (scheduler, small) in ten_thousand.into_iter().chain([("maglev table 251", 100)]) {
        let sizes = [small, small * 10];
        let mut rules = Vec::new();
        for size in sizes {
            let source = shop.source(&Shape::services(size, scheduler))?;
            rules.push(shop.compile(&source)?);
        }
        let mut costs = [Vec::new(), Vec::new()];
        for _ in 0..ROUNDS {
            for (file, costs) in rules.iter().zip(&mut costs) {
                costs.push(run::time_nft_load(file)?);
            }
        }
        let [few, many] = costs.map(|costs| Cost::median(&costs));
        println!("  {scheduler:<17} {:>6} x 10  {few}", sizes[0]);
        println!("  {scheduler:<17} {:>6} x 10  {many}", sizes[1]);
        println!(
            "  {scheduler:<17} growth {:.1} (goal: at most 18)",
            many.seconds / few.seconds
        );
    }
    println!();
    Ok(())
}

/// A pool's slots, used by one service and by a thousand.
fn shared_pool(shop: &Workshop) -> Result<(), String> {
    println!("a pool of 10 servers, maglev table 251: slots in the rules");
    for services in [1, 1_000] {
        let source = shop.source(&Shape::shared(services, "maglev table 251"))?;
        let rules = shop.compile(&source)?;
        println!("  {services:>5} services  {} slots", run::slots(&rules)?);
    }
    Ok(())
}
