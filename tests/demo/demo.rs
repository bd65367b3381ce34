//! `make demo`: the whole of flbc in one run. Builds a network of namespaces, loads `examples/lb.flb` with
//! nft, sends TCP and UDP through it, prints who answered how often, and checks what it prints.
//!
//! There is nothing to clean up: the network lives in namespaces that only this process holds, so it ends
//! with the process, interrupted or not.

// The demo stops at the first thing that goes wrong, and says what.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic
)]

#[path = "../lab/mod.rs"]
mod lab;

mod plan;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use lab::PATIENCE;
use lab::client::{self, Connection, Protocol};
use lab::counter::ReplyCounter;
use lab::real_server::RealServer;
use lab::topology::{Layout, Topology, VIPS};
use plan::{Endpoint, How, Real};

/// How many clients each virtual service has, in each protocol and family.
const FLOWS: u32 = 600;

/// How large the reply is that shows which way replies take.
const BULK: usize = 5_000_000;

fn main() -> ExitCode {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/lb.flb");
    let endpoints = plan::read(&file);

    println!(
        "The network: client - router - balancer - LAN with three servers; the router is on the LAN too."
    );
    let topology = Topology::new(Layout::DrTwoInterfaces, 3);
    topology.balancer.forward();
    let _serving = serve(&topology, &endpoints);

    println!(
        "The rules:   flbc compile {} | nft -f -\n",
        file.strip_prefix(env!("CARGO_MANIFEST_DIR"))
            .unwrap_or(&file)
            .display()
    );
    topology.balancer.nft(&compile(&file));
    let passed = ReplyCounter::install(&topology.balancer, "vips", &["eth0", "eth1"], &VIPS);
    let returned = ReplyCounter::install(
        &topology.balancer,
        "servers",
        &["eth0", "eth1"],
        &["10.20.0.0/24", "2001:db8:1::/64"],
    );

    let mut wrong = Vec::new();
    println!(
        "{:<8} {:<20} {:<5} {:<10} {:>6} {:>8} {:>9}",
        "service", "virtual service", "by", "server", "weight", "share", "answered"
    );
    for endpoint in &endpoints {
        wrong.extend(shares(&topology, endpoint));
    }
    println!();
    for endpoint in endpoints
        .iter()
        .filter(|endpoint| endpoint.protocol == Protocol::Tcp)
    {
        wrong.extend(way_back(&topology, endpoint, &passed, &returned));
    }
    println!();
    if wrong.is_empty() {
        println!(
            "All as it should be. Nothing is left behind: the network was this process's own."
        );
        ExitCode::SUCCESS
    } else {
        for fault in wrong {
            eprintln!("wrong: {fault}");
        }
        ExitCode::FAILURE
    }
}

/// Every machine answers where the file says that it does.
fn serve(topology: &Topology, endpoints: &[Endpoint]) -> Vec<RealServer> {
    let listens_of = |machine: &lab::topology::Machine| {
        let mut listens = Vec::new();
        for endpoint in endpoints {
            for real in endpoint
                .reals
                .iter()
                .filter(|real| real.address == machine.v4 || real.address == machine.v6)
            {
                let listen = match endpoint.how {
                    How::Nat => (real.address, real.port).into(),
                    How::Dr => endpoint.vip,
                };
                if !listens.contains(&listen) {
                    listens.push(listen);
                }
            }
        }
        listens
    };
    topology
        .servers
        .iter()
        .map(|machine| RealServer::start(&machine.namespace, &machine.name, &listens_of(machine)))
        .collect()
}

/// The rules, by the binary that was built beside this one.
fn compile(file: &Path) -> String {
    let here = std::env::current_exe().expect("a running program has a path");
    let flbc: PathBuf = here
        .parent()
        .and_then(Path::parent)
        .expect("TARGET/PROFILE/examples/demo")
        .join("flbc");
    let output = Command::new(&flbc)
        .arg("compile")
        .arg(file)
        .output()
        .unwrap_or_else(|error| panic!("{}: {error}", flbc.display()));
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("rules are text")
}

/// Who answers how many of many clients? Prints it, and returns what is not as it should be.
fn shares(topology: &Topology, endpoint: &Endpoint) -> Vec<String> {
    let flows = topology.sources(endpoint.vip, FLOWS);
    let answers = client::ask_all(&topology.client, endpoint.protocol, &flows, endpoint.vip);
    let counts = client::tally(&answers);
    let by = format!("{:?}", endpoint.protocol).to_lowercase();
    let mut wrong = Vec::new();
    for real in &endpoint.reals {
        let answered = counts
            .get(machine_of(topology, real))
            .copied()
            .unwrap_or_default();
        let answered_share = real_number(answered) / f64::from(FLOWS);
        println!(
            "{:<8} {:<20} {:<5} {:<10} {:>6} {:>6.1} % {:>6.1} %",
            endpoint.service,
            endpoint.vip.to_string(),
            by,
            real.name,
            real.weight,
            endpoint.share(real) * 100.0,
            answered_share * 100.0
        );
        let deviations = endpoint.tolerance(real, FLOWS);
        if (answered_share - endpoint.share(real)).abs() > deviations {
            wrong.push(format!(
                "{by} {}: {} answered {answered} of {FLOWS}",
                endpoint.vip, real.name
            ));
        }
    }
    wrong
}

/// By which way does a large reply come? Prints it, and returns what is not as it should be.
fn way_back(
    topology: &Topology,
    endpoint: &Endpoint,
    passed: &ReplyCounter,
    returned: &ReplyCounter,
) -> Vec<String> {
    let total = || passed.bytes() + returned.bytes();
    let before = total();
    let mut connection = Connection::open(&topology.client, None, endpoint.vip, PATIENCE)
        .expect("the service answered before");
    let received = connection.bulk(BULK).expect("the reply is complete");
    let through = total() - before;
    println!(
        "{} ({}): of a reply of {received} bytes, {through} passed the balancer",
        endpoint.service, endpoint.vip
    );
    let as_it_should = match endpoint.how {
        How::Nat => through > u64::try_from(BULK).expect("a small number"),
        How::Dr => through == 0,
    };
    if as_it_should {
        Vec::new()
    } else {
        vec![format!(
            "{}: {through} bytes of its reply passed the balancer",
            endpoint.vip
        )]
    }
}

fn machine_of<'a>(topology: &'a Topology, real: &Real) -> &'a str {
    let machine = topology
        .servers
        .iter()
        .find(|machine| real.address == machine.v4 || real.address == machine.v6);
    &machine
        .unwrap_or_else(|| panic!("the demo has no machine {}", real.address))
        .name
}

fn real_number(count: usize) -> f64 {
    f64::from(u32::try_from(count).expect("a small number"))
}
