//! Reloading under way: while clients open connections, the balancer is told of another weight in the very service that
//! they use. How many connections fail, and for how long does none succeed?

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::contender::{Contender, How};
use crate::datapath::{Bed, PORT, SERVER_PORT, ask, open_within};
use crate::lab::namespace::Namespace;
use crate::peers::Site;
use crate::run::Workshop;
use crate::table::{self, Table};

/// A connection that takes longer has failed: the network has no delay, and a lost SYN is sent again after a second.
const PATIENCE: Duration = Duration::from_millis(200);

/// How long clients connect before and after.
const MARGIN: Duration = Duration::from_millis(300);

/// Who is told of the change, and how.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// Nothing is changed: what the machine itself does to clients.
    Nothing,
    Apply,
    CompileAndNft,
    HandWritten,
    Nftlb,
}

impl Way {
    const ALL: [Self; 5] = [
        Self::Nothing,
        Self::Apply,
        Self::CompileAndNft,
        Self::HandWritten,
        Self::Nftlb,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Nothing => "nothing is changed, for a second",
            Self::Apply => "`flbc apply`",
            Self::CompileAndNft => "`flbc compile \\| nft -f`",
            Self::HandWritten => "hand-written rules, `nft -f`",
            Self::Nftlb => "nftlb",
        }
    }

    fn text(self, site: &Site, only: Option<u32>) -> String {
        match self {
            Self::Nothing | Self::Apply | Self::CompileAndNft => site.flb("", true),
            Self::HandWritten => site.hand_written(),
            Self::Nftlb => match only {
                Some(service) => site.nftlb("dnat", std::iter::once(service)),
                None => site.nftlb("dnat", 0..site.services),
            },
        }
    }
}

/// How much is measured.
pub(crate) struct Extent<'a> {
    pub(crate) sizes: &'a [u32],
    pub(crate) rounds: usize,
    /// nftlb is measured up to this size: with more services it takes minutes to load, or never ends.
    pub(crate) nftlb: u32,
}

/// What clients saw.
#[derive(Clone, Copy, Debug)]
struct Seen {
    opened: u32,
    failed: u32,
    /// From the last success before failures to the next one, or the longest time of one connection, in milliseconds.
    longest: f64,
    /// How long the reload took, in seconds.
    reload: f64,
}

pub(crate) fn while_clients_connect(shop: &Workshop, extent: &Extent<'_>) -> Result<(), String> {
    println!("One weight changed while clients connect to that service\n");
    let mut head = vec!["failed connections; longest time without one".to_owned()];
    head.extend(extent.sizes.iter().map(|size| format!("{size} x 10")));
    let mut rows: Vec<Vec<String>> = Way::ALL.map(|way| vec![way.name().to_owned()]).to_vec();
    for &services in extent.sizes {
        let mut all: Vec<Vec<Seen>> = Way::ALL.map(|_| Vec::new()).to_vec();
        for _ in 0..extent.rounds {
            for (way, seen) in Way::ALL.into_iter().zip(&mut all) {
                if way != Way::Nftlb || services <= extent.nftlb {
                    seen.push(once(shop, way, services)?);
                }
            }
        }
        for (row, seen) in rows.iter_mut().zip(all) {
            row.push(cell(&seen));
        }
    }
    let mut table = Table::new(head);
    for row in rows {
        table.push(row);
    }
    println!("{table}");
    Ok(())
}

fn cell(seen: &[Seen]) -> String {
    if seen.is_empty() {
        return "not measured".to_owned();
    }
    let failed: u32 = seen.iter().map(|one| one.failed).sum();
    let opened: u32 = seen.iter().map(|one| one.opened).sum();
    let longest: Vec<f64> = seen.iter().map(|one| one.longest).collect();
    let reload: Vec<f64> = seen.iter().map(|one| one.reload).collect();
    format!(
        "{failed} of {opened}; {} ms (told in {} s)",
        table::median_and_spread(&longest, 1),
        table::median_and_spread(&reload, 2)
    )
}

fn once(shop: &Workshop, way: Way, services: u32) -> Result<Seen, String> {
    let contender = Contender::new(way.name(), How::HandWritten);
    let mut site = Bed::site(services, "tcp");
    let bed = Bed::bare(contender, &site);
    let before = shop.source_text(&way.text(&site, None))?;
    let middle = services / 2;
    site.heavy = Some(middle);
    let after = shop.source_text(&way.text(&site, Some(middle)))?;
    let mut told = Told::start(shop, way, &bed.balancer, &before)?;
    for port in [PORT, SERVER_PORT] {
        bed.serve(port)?;
    }
    // The first one finds the neighbours.
    let target = bed.target;
    let first = bed.client.run(|| {
        let patience = Duration::from_secs(2);
        open_within(target, patience).and_then(|stream| ask(&stream))
    });
    first.map_err(|error| format!("{}: {error}", way.name()))?;
    let ended = Arc::new(AtomicBool::new(false));
    thread::scope(|scope| {
        let clients = scope.spawn(|| bed.client.run(|| connect_until(&ended, target)));
        thread::sleep(MARGIN);
        let start = Instant::now();
        let told = told.tell(&after);
        let reload = start.elapsed().as_secs_f64();
        thread::sleep(MARGIN);
        ended.store(true, Ordering::Relaxed);
        let mut seen = clients
            .join()
            .map_err(|_| "the clients failed".to_owned())?;
        seen.reload = reload;
        told.map(|()| seen)
    })
}

/// Opens connections one after the other, with a question and an answer each.
fn connect_until(ended: &AtomicBool, to: SocketAddr) -> Seen {
    let mut seen = Seen {
        opened: 0,
        failed: 0,
        longest: 0.0,
        reload: 0.0,
    };
    let mut last = Instant::now();
    while !ended.load(Ordering::Relaxed) {
        match open_within(to, PATIENCE).and_then(|stream| ask(&stream)) {
            Ok(()) => {
                seen.longest = seen.longest.max(last.elapsed().as_secs_f64() * 1e3);
                last = Instant::now();
                seen.opened += 1;
            }
            Err(_) => seen.failed += 1,
        }
    }
    seen.longest = seen.longest.max(if seen.failed > 0 {
        last.elapsed().as_secs_f64() * 1e3
    } else {
        0.0
    });
    seen
}

/// A balancer that was told of a file, and can be told of another.
struct Told<'a> {
    shop: &'a Workshop,
    way: Way,
    balancer: Namespace,
    /// What `flbc` sees as `/run`.
    run: tempfile::TempDir,
    daemon: Option<Child>,
}

impl<'a> Told<'a> {
    fn start(
        shop: &'a Workshop,
        way: Way,
        balancer: &Namespace,
        file: &Path,
    ) -> Result<Self, String> {
        let mut told = Self {
            shop,
            way,
            balancer: balancer.clone(),
            run: tempfile::tempdir().map_err(|error| error.to_string())?,
            daemon: None,
        };
        if way != Way::Nftlb {
            let nothing = way == Way::Nothing;
            told.way = if nothing { Way::Apply } else { way };
            told.tell(file)?;
            told.way = way;
            return Ok(told);
        }
        let words = "nftlb -k key -H 127.0.0.1 -P 5555 -l 0 -L 2 -c \"$1\" </dev/null >/dev/null 2>&1 & cat >/dev/null; kill $!; wait";
        let child = told.balancer.run(|| {
            Command::new("sh")
                .args(["-c", words, "sh"])
                .arg(file)
                .stdin(Stdio::piped())
                .spawn()
        });
        told.daemon = Some(child.map_err(|error| format!("nftlb: {error}"))?);
        told.script(
            "for try in $(seq 3000); do
                curl -s -o /dev/null -H 'Key: key' http://127.0.0.1:5555/farms/s0 && exit 0
                sleep 0.02
            done
            exit 1",
            file,
        )?;
        Ok(told)
    }

    fn tell(&mut self, file: &Path) -> Result<(), String> {
        let script = match self.way {
            Way::Nothing => "mount --bind \"$RUN\" /run; sleep 1",
            Way::Apply => "mount --bind \"$RUN\" /run; \"$FLBC\" apply \"$1\" >/dev/null",
            Way::CompileAndNft => "\"$FLBC\" compile \"$1\" | nft -f -",
            Way::HandWritten => "nft -f \"$1\"",
            Way::Nftlb => {
                "curl -sf -o /dev/null -H 'Key: key' -X POST http://127.0.0.1:5555/farms -d @\"$1\""
            }
        };
        self.script(script, file)
    }

    /// Runs a script in the balancer's namespace.
    fn script(&self, script: &str, file: &Path) -> Result<(), String> {
        let flbc: PathBuf = self.shop.flbc().into();
        let output = self.balancer.run(|| {
            Command::new("unshare")
                .args(["--mount", "sh", "-ec", script, "sh"])
                .arg(file)
                .env("FLBC", flbc)
                .env("RUN", self.run.path())
                .stdin(Stdio::null())
                .output()
        });
        let output = output.map_err(|error| format!("{script}: {error}"))?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        Err(format!("{}: {script}: {}", self.way.name(), said.trim()))
    }
}

impl Drop for Told<'_> {
    fn drop(&mut self) {
        if let Some(daemon) = &mut self.daemon {
            drop(daemon.stdin.take());
            let _ = daemon.wait();
        }
    }
}
