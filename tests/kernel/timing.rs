//! How long each step takes. Not a test of anything: `cargo test --release --test kernel timing -- --ignored --nocapture`

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Instant;

use flbc::diagnostic::Diagnostics;
use flbc::diff::{Observed, diff};
use flbc::emit::netlink::desired;
use flbc::kernel::{Kernel, Linux};
use flbc::lower;
use flbc::model::{
    Access, Member, Mode, Model, OnEmpty, Ports, Protocol, RealServer, Scheduler, Service,
    SourceNat, State, Vip,
};
use flbc::schedule;
use flbc::source::Span;
use flbc::view::numbers;

use crate::everything;
use crate::namespace::inside;

fn model(services: u32, servers: u32, span: Span) -> Model {
    let service = |n: u32| Service {
        name: format!("s{n:06}").into(),
        span,
        vips: vec![Vip {
            address: IpAddr::V4(Ipv4Addr::from_bits(0xc612_0000 + n)),
            protocol: Protocol::Tcp,
            ports: Ports::One(80),
            span,
        }],
        mode: Mode::Nat(SourceNat::Keep),
        scheduler: Scheduler::RoundRobin,
        persistence: None,
        track: None,
        on_empty: OnEmpty::Reject,
        access: Access::default(),
        members: (0..servers)
            .map(|m| {
                Member::Server(RealServer {
                    name: format!("web{m}").into(),
                    address: IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 + n * servers + m)),
                    port: Some(8080),
                    weight: 1,
                    state: State::Up,
                    file_weight: 1,
                    reserve: false,
                    mac: None,
                    via: None,
                    span,
                })
            })
            .collect(),
    };
    Model {
        pools: Vec::new(),
        services: (0..services).map(service).collect(),
    }
}

/// Runs a step and tells how long it took.
fn timed<T>(what: &str, step: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let result = step();
    println!("{what:>28} {:9.1} ms", start.elapsed().as_secs_f64() * 1e3);
    result
}

fn one_size(services: u32) {
    println!("{services} services x 10 servers");
    let (_, span) = everything::source();
    let mut model = model(services, 10, span);
    let mut kernel = Linux::open().expect("a socket");
    let interfaces = timed("interfaces", || kernel.interfaces().expect("interfaces"));
    let mut state = kernel.observe("flbc").expect("the kernel's tables");
    for step in ["into an empty kernel", "one weight changed", "no change"] {
        println!("  {step}");
        if step == "one weight changed"
            && let Member::Server(server) = &mut model.services[0].members[0]
        {
            server.weight = 3;
        }
        let mut sink = Diagnostics::new();
        let plan = timed("schedule", || schedule::schedule(&model, &mut sink));
        let known = timed("numbers", || numbers(&state));
        let numbering = timed("assign", || {
            lower::number::assign(
                &plan,
                ("flbc", lower::layout::Layout::default()),
                &(&known).into(),
                &mut sink,
            )
        });
        let ruleset = timed("lower", || lower::lower(&model, &plan, &numbering, "flbc"));
        let wanted = timed("desired", || desired(ruleset, &interfaces).expect("here"));
        let id = Arc::from("flbc 1234");
        let changes = timed("diff", || diff(&state, wanted, &id));
        println!("{:>28} {}", "changes", changes.len());
        let committed = timed("commit", || {
            kernel
                .commit("flbc", &changes, state.generation)
                .expect("loads")
        });
        timed("apply to memory", || state.apply(&changes).expect("fits"));
        state.generation = committed.generation;
        if state.lacks_handles() {
            timed("read handles", || {
                kernel.read_handles("flbc", &mut state).expect("handles");
            });
        }
    }
    let elements = |o: &Observed| -> usize {
        let sets = o.inet.iter().flat_map(|t| &t.sets);
        sets.map(|s| s.elements.len()).sum()
    };
    println!("{:>28} {}", "elements", elements(&state));
    let read = timed("observe", || kernel.observe("flbc").expect("the tables"));
    assert_eq!(elements(&read), elements(&state));
    timed("unload", || {
        let nothing = flbc::emit::netlink::Desired::nothing("flbc".into());
        let changes = diff(&read, nothing, &Arc::from(""));
        kernel
            .commit("flbc", &changes, read.generation)
            .expect("unloads");
    });
}

#[test]
#[ignore = "tells times, proves nothing"]
fn how_long_each_step_takes() {
    inside(|| {
        for services in [1_000, 10_000] {
            one_size(services);
        }
        if std::env::var_os("FLBC_HUGE").is_some() {
            one_size(100_000);
        }
    });
}
