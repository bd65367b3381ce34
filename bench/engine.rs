//! What a change of some servers costs who keeps what was applied in memory: CPU in and outside of the kernel, and memory.
//!
//! A child applies a file in a namespace of its own, and another, which is started behind it as a daemon is, makes changes
//! there and tells what they cost.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use flbc::apply::Tables;
use flbc::diagnostic::Diagnostics;
use flbc::engine::Engine;
use flbc::kernel::{Kernel, Linux};
use flbc::model::{LayerChanges, Place, ServerKey, Service, State, Verdict, Wanted, Wish};
use flbc::notes::Notes;
use flbc::operate::engine::{Changed, change};

use crate::generate::Shape;
use crate::run::Workshop;

/// Milliseconds outside of the kernel that a change of one server may take, at any size.
const GOAL: f64 = 2.0;

/// Megabytes at 10,000 services of ten servers.
const MEMORY: f64 = 300.0;

/// The sizes at which these hold.
const MIDDLE: u32 = 10_000;

/// What is changed, and how often.
const STEPS: [Step; 3] = [
    Step {
        what: "one server of ten down, and up again",
        servers: 1,
        times: 1_000,
        how: How::Found,
    },
    Step {
        what: "one server of ten drained, and no more",
        servers: 1,
        times: 1_000,
        how: How::Set,
    },
    Step {
        what: "five of ten drained: no rule changes",
        servers: 5,
        times: 1_000,
        how: How::Set,
    },
];

struct Step {
    what: &'static str,
    servers: u32,
    times: u32,
    how: How,
}

/// Who changes a server.
#[derive(Clone, Copy)]
enum How {
    /// A check finds it dead: what is connected to it is looked for in connection tracking.
    Found,
    /// An operator drains it: that is written down first, and connections stay.
    Set,
}

/// All sizes. `full`: the largest too.
pub(crate) fn changes(shop: &Workshop, full: bool) -> Result<(), String> {
    println!("engine: a change of servers where what was applied is kept in memory (round-robin)");
    let sizes = [1_000, MIDDLE, 100_000];
    for services in sizes.into_iter().take(if full { 3 } else { 2 }) {
        println!("  {services} services x 10 servers");
        let source = shop.source(&Shape::services(services, "round-robin"))?;
        let script = "mount -t tmpfs none /run\n\"$FLBC\" apply \"$A\" >/dev/null\n\"$BENCH\" engine-child \"$N\"";
        let mut command = Command::new("unshare");
        command
            .args(["--net", "--mount", "bash", "-ec", script])
            .env("FLBC", shop.flbc())
            .env("BENCH", std::env::current_exe().map_err(|e| e.to_string())?)
            .env("A", source)
            .env("N", services.to_string())
            .stdin(Stdio::null());
        let output = command.output().map_err(|error| error.to_string())?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned());
        }
        print!("{}", String::from_utf8_lossy(&output.stdout));
    }
    println!();
    Ok(())
}

/// Makes changes where the calling process is, and tells what they cost.
pub(crate) fn child(services: u32) -> Result<(), String> {
    let kernel = Linux::open().map_err(|error| error.to_string())?;
    let mut tables = Tables::new(kernel, Notes::new(Path::new("/run/flbc")), "flbc");
    let begun = Spent::now()?;
    let engine = Engine::of(&mut tables).map_err(|error| error.to_string())?;
    let mut engine = engine.ok_or("nothing is known of the tables")?;
    let took = Spent::now()?.since(&begun);
    println!(
        "    {:<40}{:8.1} ms outside of the kernel, {:.1} in it",
        "start",
        took.outside * 1e3,
        took.inside * 1e3
    );
    for step in &STEPS {
        let begun = Spent::now()?;
        for turn in 0..step.times {
            // Far apart, and each twice: down, and up again.
            let service = (u64::from(turn / 2) * 7_919 % u64::from(services)).to_string();
            let ends = !turn.is_multiple_of(2);
            one(&mut tables, &mut engine, (&service, step, ends))?;
        }
        let took = Spent::now()?.since(&begun);
        let each = |seconds: f64| seconds * 1e3 / f64::from(step.times);
        println!(
            "    {:<40}{:8.3} ms outside of the kernel (goal: under {GOAL}), {:.3} in it, {:.3} from start to end",
            step.what,
            each(took.outside),
            each(took.inside),
            each(took.all)
        );
    }
    let goal = if services == MIDDLE {
        format!(" (goal: at most {MEMORY})")
    } else {
        String::new()
    };
    println!(
        "    {:<40}{:8.0} MB at its peak{goal}, {:.0} MB at the end",
        "memory",
        memory("VmHWM")?,
        memory("VmRSS")?
    );
    Ok(())
}

fn one(
    tables: &mut Tables<impl Kernel>,
    engine: &mut Engine,
    (service, step, ends): (&str, &Step, bool),
) -> Result<(), String> {
    let place = Place::Service(format!("s{service}").into());
    let names = engine.users(&place).flat_map(Service::own_servers);
    let names = names.map(|server| server.name.clone());
    let keys = names.take(step.servers as usize).map(|server| ServerKey {
        place: place.clone(),
        server,
    });
    let mut changes = LayerChanges::default();
    for key in keys {
        match step.how {
            How::Found => {
                let verdict = (!ends).then_some(Verdict::Dead);
                changes.health.insert(key, verdict);
            }
            How::Set => {
                let drained = Wish {
                    state: Some(Wanted {
                        value: State::Drain,
                        since: 1,
                    }),
                    weight: None,
                    address: None,
                    port: None,
                };
                let wish = (!ends).then_some(drained);
                changes.operator.insert(key, wish);
            }
        }
    }
    let outcome = change(tables, engine, changes, &mut Diagnostics::new());
    let Changed { applied, whole } = outcome.map_err(|refused| refused.to_string())?;
    match whole {
        None if !applied.totals.is_empty() => Ok(()),
        why => Err(format!("s{service}: {why:?} {:?}", applied.totals)),
    }
}

/// What a process has cost so far, in seconds.
struct Spent {
    outside: f64,
    inside: f64,
    all: f64,
}

impl Spent {
    fn now() -> Result<Self, String> {
        let stat = fs::read_to_string("/proc/self/stat").map_err(|error| error.to_string())?;
        let (_, fields) = stat.rsplit_once(") ").ok_or("/proc/self/stat is strange")?;
        let mut ticks = fields.split(' ').skip(11).map(str::parse::<f64>);
        let mut next = || ticks.next().and_then(Result::ok).ok_or("no ticks");
        // A tick is a hundredth of a second to whoever reads there.
        let (outside, inside) = (next()? / 100.0, next()? / 100.0);
        let clock = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        let all = Duration::try_from(clock).map_err(|error| error.to_string())?;
        Ok(Self {
            outside,
            inside,
            all: all.as_secs_f64(),
        })
    }

    fn since(&self, before: &Self) -> Self {
        Self {
            outside: self.outside - before.outside,
            inside: self.inside - before.inside,
            all: self.all - before.all,
        }
    }
}

/// Megabytes that the kernel tells of this process under a name.
fn memory(name: &str) -> Result<f64, String> {
    let status = fs::read_to_string("/proc/self/status").map_err(|error| error.to_string())?;
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let kilobytes =
        line.and_then(|rest| rest.trim_matches([':', ' ', '\t', 'k', 'B']).parse().ok());
    kilobytes
        .map(|all: f64| all / 1024.0)
        .ok_or_else(|| format!("no {name}"))
}
