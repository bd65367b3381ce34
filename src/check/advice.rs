//! What works as written, and may surprise: told by `flbc check` alone, not at every apply.

use std::collections::BTreeSet;

use crate::diagnostic::{Code, Diagnostic, Diagnostics, quote};
use crate::model::{Fragments, Model, Protocol};

/// Tells of services whose clients' long datagrams arrive in part, and of those that take no clients by their weights.
pub fn advise(model: &Model, sink: &mut Diagnostics) {
    advise_of_weights(model, sink);
    advise_of_fragments(model, sink);
}

/// A weight of 0 is written in a file; a server that is drained or down by its state is meant so.
fn advise_of_weights(model: &Model, sink: &mut Diagnostics) {
    for service in &model.services {
        let mut servers = model.real_servers(service).peekable();
        if servers.peek().is_none() || servers.any(|server| server.weight > 0) {
            continue;
        }
        let message = format!(
            "Every server of {} has weight 0, so that none takes new clients",
            quote(&service.name)
        );
        let fault = Diagnostic::new(Code::AllWeightsZero, service.span, message);
        sink.report(fault.help("give one of them a share: `weight 1`, or no `weight`"));
    }
}

fn advise_of_fragments(model: &Model, sink: &mut Diagnostics) {
    let mut told = BTreeSet::new();
    for of_interface in model.fragments().values() {
        for (&(address, protocol), &fragments) in of_interface {
            let Fragments::Lost { first, several } = fragments else {
                continue;
            };
            let Some(service) = model.services.get(first) else {
                continue;
            };
            let mut vips = service.vips.iter();
            let vip = vips.find(|vip| vip.address == address && vip.protocol == protocol);
            let Some(vip) = vip.filter(|_| protocol == Protocol::Udp) else {
                continue;
            };
            // A statement may name many VIPs, and a service many interfaces.
            if !told.insert(vip.span) {
                continue;
            }
            let name = quote(&service.name);
            let (why, help) = if several {
                (
                    format!("{name} and others share {address}"),
                    "give the service a VIP of its own for UDP, or keep datagrams within the MTU of the path",
                )
            } else {
                (
                    format!("{name} finds the server by them"),
                    "choose the server by the client alone (`scheduler maglev by source` without `track`, or `persist`), or keep datagrams within the MTU of the path",
                )
            };
            let message = format!(
                "Later fragments of UDP datagrams reach no server: they have no ports, and {why}"
            );
            sink.report(Diagnostic::new(Code::UdpFragments, vip.span, message).help(help));
        }
    }
}
