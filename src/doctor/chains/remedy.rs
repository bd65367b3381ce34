//! Commands that show a chain of others, or let balanced packets pass it.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::packets::{CONNTRACK, is_before};
use crate::doctor::Trouble;
use crate::kernel::BaseChain;
use crate::model::{Family, Model};
use crate::ruleset::name;

/// So many addresses are named in a command.
const NAMED: usize = 8;

/// The command that shows a chain.
pub(super) fn listing(chain: &BaseChain) -> String {
    let BaseChain {
        family,
        table,
        chain: name,
        ..
    } = chain;
    if name::is_readable(table) && name::is_readable(name) {
        format!("nft list chain {family} {table} {name}")
    } else {
        // No nft can be given such a name.
        "nft list ruleset".to_owned()
    }
}

/// The program whose table it is, where `nft` must not write to it: it would not know its own rules again.
fn program(chain: &BaseChain) -> Option<&'static str> {
    let program = match chain.family {
        "ip" => "iptables",
        "ip6" => "ip6tables",
        _ => return None,
    };
    let tables = ["filter", "mangle", "raw", "nat", "security"];
    let is_its = tables.contains(&&*chain.table) && chain.chain == chain.hook.to_uppercase();
    is_its.then_some(program)
}

/// Commands that let balanced packets pass a chain.
pub(super) fn accepting(
    model: &Model,
    chain: &BaseChain,
    trouble: Trouble,
    iptables: bool,
) -> Vec<String> {
    let BaseChain {
        family,
        table,
        chain: name,
        hook,
        priority,
        ..
    } = chain;
    // Where there is no iptables, nobody reads its tables by it.
    let program = program(chain).filter(|_| iptables);
    if program.is_none() && !(name::is_readable(table) && name::is_readable(name)) {
        return vec![listing(chain)];
    }
    let is_direct = trouble == Trouble::MayDropDirectReturn;
    let concerned = model
        .services
        .iter()
        .filter(|service| service.mode.direct().is_some() == is_direct);
    let mut commands = Vec::new();
    let mut accept = |what: &str, addresses: &BTreeSet<IpAddr>| {
        for (of, word) in [(Family::V4, "ip"), (Family::V6, "ip6")] {
            let fits = matches!(*family, "inet" | "netdev") || *family == word;
            let named = addresses
                .iter()
                .filter(|address| Family::of(**address) == of);
            let mut named: Vec<String> = named.take(NAMED + 1).map(IpAddr::to_string).collect();
            if !fits || named.is_empty() {
                continue;
            }
            if let Some(last) = named.get_mut(NAMED) {
                "ADDRESSES".clone_into(last);
            }
            if let Some(program) = program {
                let flag = if what == "daddr" { "-d" } else { "-s" };
                let named = named.join(",");
                commands.push(format!(
                    "{program} -t {table} -I {name} {flag} {named} -j ACCEPT"
                ));
            } else {
                let named = named.join(", ");
                commands.push(format!(
                    "nft insert rule {family} {table} {name} {word} {what} '{{' {named} '}}' accept"
                ));
            }
        }
    };
    let vips = || {
        let vips = concerned.clone().flat_map(|service| &service.vips);
        vips.map(|vip| vip.address).collect()
    };
    let servers = || {
        let servers = concerned
            .clone()
            .flat_map(|service| model.real_servers(service));
        servers.map(|server| server.address).collect()
    };
    let is_wire = matches!(*hook, "ingress" | "egress");
    // A new connection is known by its VIP alone until it is translated.
    if is_direct || *hook == "ingress" || is_before(chain) {
        accept("daddr", &vips());
    }
    // Before the kernel finds its connection, an answer is known by its server alone.
    let untracked = *hook == "prerouting" && *priority <= CONNTRACK;
    if !is_direct && (untracked || *hook == "ingress") {
        accept("saddr", &servers());
    }
    // Where packets leave, connections are not looked at either.
    if !is_direct && *hook == "egress" {
        accept("daddr", &servers());
        accept("saddr", &vips());
    }
    if !is_direct && !is_wire {
        commands.push(match program {
            Some(program) => {
                format!("{program} -t {table} -I {name} -m conntrack --ctstate DNAT -j ACCEPT")
            }
            None => format!("nft insert rule {family} {table} {name} ct status dnat accept"),
        });
    }
    commands
}
