//! Loading: every contender gets the same services, from nothing, once more unchanged, and with one server's weight
//! changed, each in a network namespace of its own.

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::peers::Site;
use crate::plot::{Line, Plot};
use crate::run::{self, Cost, TIMED, Workshop};
use crate::table::{self, Table};

/// Who loads.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Contender {
    Apply,
    CompileAndNft,
    HandWritten,
    Nftlb,
}

use Contender::{Apply, CompileAndNft, HandWritten, Nftlb};

impl Contender {
    const ALL: [Self; 4] = [Apply, CompileAndNft, HandWritten, Nftlb];

    const fn name(self) -> &'static str {
        match self {
            Apply => "`flbc apply`",
            CompileAndNft => "`flbc compile \\| nft -f`",
            HandWritten => "hand-written rules, `nft -f`",
            Nftlb => "nftlb",
        }
    }

    /// What brings the kernel to the file `$A` (and then `$B`), and writes what it cost.
    fn script(self) -> String {
        let each = |command: &str| {
            ["A", "A", "B"]
                .map(|file| {
                    format!(
                        "timed {}\n",
                        command.replace("FILE", &format!("\"${file}\""))
                    )
                })
                .concat()
        };
        match self {
            Apply => each("\"$FLBC\" apply FILE >/dev/null"),
            // The pipe's two programs are two lines for `time`: the shell that starts them is one.
            CompileAndNft => each("sh -ec '\"$FLBC\" compile \"$1\" | nft -f -' sh FILE"),
            HandWritten => each("nft -f FILE"),
            // A daemon: it starts with the file, and then is told by HTTP, as its users do. What it held at most
            // in memory stands for all three.
            Nftlb => "ip link set lo up
                start=$(date +%s%N)
                nftlb -k key -H 127.0.0.1 -P 5555 -l 0 -L 2 -c \"$A\" >/dev/null 2>&1 &
                daemon=$!
                tell() {
                    curl -sf -H 'Key: key' -X POST http://127.0.0.1:5555/farms -d @\"$1\" >/dev/null 2>&1
                }
                until curl -s -o /dev/null -H 'Key: key' http://127.0.0.1:5555/farms/s0; do sleep 0.02; done
                done=$(date +%s%N)
                cost() {
                    most=$(sed -n 's/^VmHWM:[^0-9]*\\([0-9]*\\).*/\\1/p' /proc/$daemon/status)
                    echo \"cost $(echo \"$start $done\" | awk '{ printf \"%.3f\", ($2 - $1) / 1e9 }') $most\" >&2
                }
                cost
                for file in \"$A\" \"$B\"; do
                    start=$(date +%s%N); tell \"$file\"; done=$(date +%s%N); cost
                done"
                .to_owned(),
        }
    }

    /// The files that it reads.
    fn files(self, shop: &Workshop, services: u32) -> Result<[PathBuf; 2], String> {
        let middle = services / 2;
        let text = |changed: bool| {
            let mut site = site(services);
            site.heavy = changed.then_some(middle);
            match self {
                Apply | CompileAndNft => site.flb("", true),
                HandWritten => site.hand_written(),
                Nftlb if changed => site.nftlb("dnat", std::iter::once(middle)),
                Nftlb => site.nftlb("dnat", 0..services),
            }
        };
        Ok([
            shop.source_text(&text(false))?,
            shop.source_text(&text(true))?,
        ])
    }
}

/// Each service has ten servers of its own.
fn site(services: u32) -> Site {
    Site {
        services,
        protocol: "tcp",
        vip: |service| Ipv4Addr::from_bits(0xc612_0000 + service),
        server: |service, server| Ipv4Addr::from_bits(0x0a00_0000 + service * 10 + server),
        port: 8080,
        heavy: None,
    }
}

/// What is measured of each contender.
const STEPS: [&str; 3] = ["first load", "reload, unchanged", "one weight changed"];

/// How much is measured.
pub(crate) struct Extent<'a> {
    pub(crate) sizes: &'a [u32],
    pub(crate) rounds: usize,
    /// Seconds after which a contender is given up at a size, and at all larger ones.
    pub(crate) limit: u32,
}

/// Every size, as one table for each step, and the plot of the first loads.
pub(crate) fn side_by_side(
    shop: &Workshop,
    extent: &Extent<'_>,
    plot: Option<&Path>,
) -> Result<(), String> {
    let mut results: Vec<Vec<Option<Vec<Vec<Cost>>>>> = Vec::new();
    let mut given_up = Vec::new();
    for &services in extent.sizes {
        let mut costs: Vec<Option<Vec<Vec<Cost>>>> = Contender::ALL.map(|_| None).to_vec();
        let mut files = Vec::new();
        for contender in Contender::ALL {
            files.push(contender.files(shop, services)?);
        }
        for _ in 0..extent.rounds {
            for ((contender, files), costs) in Contender::ALL.iter().zip(&files).zip(&mut costs) {
                if given_up.contains(contender) {
                    continue;
                }
                match once(shop, *contender, files, extent.limit)? {
                    None => {
                        given_up.push(*contender);
                        *costs = None;
                    }
                    Some(found) => {
                        let costs = costs.get_or_insert_with(|| vec![Vec::new(); STEPS.len()]);
                        for (costs, cost) in costs.iter_mut().zip(found) {
                            costs.push(cost);
                        }
                    }
                }
            }
        }
        results.push(costs);
    }
    print_tables(extent, &results);
    if let Some(place) = plot {
        let lines = Contender::ALL
            .iter()
            .enumerate()
            .map(|(at, contender)| Line {
                name: contender.name().replace(['`', '\\'], ""),
                points: extent
                    .sizes
                    .iter()
                    .zip(&results)
                    .filter_map(|(size, costs)| {
                        let costs = costs.get(at)?.as_ref()?.first()?;
                        Some((f64::from(*size), Cost::median(costs).seconds))
                    })
                    .collect(),
            });
        let plot = Plot {
            title: "First load, seconds",
            across: "services, of 10 servers each",
            lines: lines.collect(),
        };
        fs::write(place, plot.svg()).map_err(|error| error.to_string())?;
    }
    Ok(())
}

fn print_tables(extent: &Extent<'_>, results: &[Vec<Option<Vec<Vec<Cost>>>>]) {
    for (step, what) in STEPS.iter().enumerate() {
        let mut head = vec![(*what).to_owned()];
        head.extend(extent.sizes.iter().map(|size| format!("{size} x 10")));
        let mut table = Table::new(head);
        for (at, contender) in Contender::ALL.iter().enumerate() {
            let mut row = vec![contender.name().to_owned()];
            for costs in results {
                let costs = costs.get(at).and_then(Option::as_ref);
                row.push(costs.and_then(|costs| costs.get(step)).map_or_else(
                    || format!("not in {} s", extent.limit),
                    |costs| {
                        let seconds: Vec<f64> = costs.iter().map(|cost| cost.seconds).collect();
                        format!(
                            "{} s, {:.0} MB",
                            table::median_and_spread(&seconds, 3),
                            Cost::median(costs).megabytes
                        )
                    },
                ));
            }
            table.push(row);
        }
        println!("{table}");
    }
}

/// All steps in a namespace of their own; `None` if they did not end in time.
fn once(
    shop: &Workshop,
    contender: Contender,
    files: &[PathBuf; 2],
    limit: u32,
) -> Result<Option<Vec<Cost>>, String> {
    let script = format!("mount -t tmpfs none /run\n{TIMED}\n{}", contender.script());
    let mut command = Command::new("timeout");
    command
        .args(["--kill-after=2", &limit.to_string(), "unshare"])
        .args([
            "--net",
            "--mount",
            "--pid",
            "--mount-proc",
            "--fork",
            "--kill-child",
        ])
        .args(["bash", "-ec", &script])
        .env("FLBC", shop.flbc())
        .env("A", &files[0])
        .env("B", &files[1])
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    let output = command
        .output()
        .map_err(|error| format!("{command:?}: {error}"))?;
    let messages = String::from_utf8_lossy(&output.stderr);
    let costs: Vec<Cost> = run::costs(&messages).collect();
    match output.status.code() {
        Some(0) if costs.len() == STEPS.len() => Ok(Some(costs)),
        Some(124 | 137) | None => Ok(None),
        _ => Err(format!("{command:?} failed: {messages}")),
    }
}
