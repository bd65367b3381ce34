//! What the demo's file asks for, in the demo's words.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use flbc::check::check;
use flbc::diagnostic::Diagnostics;
use flbc::model::{self, Mode, Ports, Scheduler, State};
use flbc::source::Sources;
use flbc::syntax::{Input, parse_program};

use crate::lab::client::Protocol;

/// NAT or direct return.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    Nat,
    Dr,
}

/// One virtual address, protocol and port.
#[derive(Debug)]
pub(crate) struct Endpoint {
    pub(crate) service: String,
    pub(crate) vip: SocketAddr,
    pub(crate) protocol: Protocol,
    pub(crate) how: How,
    pub(crate) reals: Vec<Real>,
    /// Shares are exact, not by chance.
    in_turn: bool,
}

/// One real server behind it.
#[derive(Debug)]
pub(crate) struct Real {
    pub(crate) name: String,
    pub(crate) address: IpAddr,
    pub(crate) port: u16,
    pub(crate) weight: u16,
}

impl Endpoint {
    /// The part of the clients that this server's weight asks for.
    pub(crate) fn share(&self, real: &Real) -> f64 {
        f64::from(real.weight)
            / self
                .reals
                .iter()
                .map(|real| f64::from(real.weight))
                .sum::<f64>()
    }

    /// How far from it the answers of so many clients may be: one turn, or five standard deviations.
    pub(crate) fn tolerance(&self, real: &Real, flows: u32) -> f64 {
        let share = self.share(real);
        if self.in_turn {
            1.0 / f64::from(flows)
        } else {
            5.0 * (share * (1.0 - share) / f64::from(flows)).sqrt()
        }
    }
}

/// Reads the file: every virtual address and port in it, and the servers that are up.
pub(crate) fn read(file: &Path) -> Vec<Endpoint> {
    let mut sources = Sources::new();
    let mut sink = Diagnostics::new();
    let tree = parse_program(Input::Path(file.to_owned()), &mut sources, &mut sink)
        .expect("the file is there");
    let model = check(&tree, &sources, &mut sink);
    assert_eq!(sink.errors(), 0, "flbc check {} says more", file.display());
    let endpoints = model.services.iter().flat_map(|service| {
        service
            .vips
            .iter()
            .map(|vip| endpoint(&model, service, vip))
    });
    endpoints.collect()
}

fn endpoint(model: &model::Model, service: &model::Service, vip: &model::Vip) -> Endpoint {
    let Ports::One(port) = vip.ports else {
        panic!("the demo wants one port for each VIP, not {:?}", vip.ports)
    };
    let up = model
        .real_servers(service)
        .filter(|real| real.state == State::Up && real.address.is_ipv4() == vip.address.is_ipv4());
    Endpoint {
        service: service.name.to_string(),
        vip: SocketAddr::new(vip.address, port),
        protocol: match vip.protocol {
            model::Protocol::Tcp => Protocol::Tcp,
            model::Protocol::Udp => Protocol::Udp,
            model::Protocol::Sctp => Protocol::Sctp,
        },
        how: match service.mode {
            Mode::Nat(_) => How::Nat,
            Mode::Dr(_) => How::Dr,
        },
        in_turn: service.scheduler == Scheduler::RoundRobin,
        reals: up
            .map(|real| Real {
                name: real.name.to_string(),
                address: real.address,
                port: real.port.unwrap_or(port),
                weight: real.weight,
            })
            .collect(),
    }
}
