//! What a doctor on the balancer cannot see: what is to be done on the real servers, and what was not looked at.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use super::Facts;
use super::paths;
use super::reach::live;
use crate::diagnostic::word;
use crate::kernel::host::{Host, Way};
use crate::model::{Model, Prefix, RealServer};
use crate::real_server::{Needs, SetupQuestion, Unknown};

/// So many servers are told of.
const SERVERS: usize = 100;

/// The commands that write what each real server needs, without the file's name at their end; and how many servers more
/// there are. Those that need nothing are left out.
pub fn on_servers(model: &Model, host: &Host) -> (Vec<String>, usize) {
    let mut known: BTreeSet<(Arc<str>, IpAddr)> = BTreeSet::new();
    let (mut commands, mut more) = (Vec::new(), 0);
    for service in &model.services {
        for server in live(model, service) {
            // The machine itself is one to which all comes back.
            let here = service.mode.translates() && host.way_to(server.address) == Way::Local;
            if here || !known.insert((server.name.clone(), server.address)) {
                continue;
            }
            if known.len() > SERVERS {
                more += 1;
            } else {
                commands.extend(command(model, host, &service.name, server));
            }
        }
    }
    (commands, more)
}

fn command(model: &Model, host: &Host, service: &str, server: &RealServer) -> Option<String> {
    let servers = [server.name.to_string()];
    let mut only = None;
    let mut gateways: Vec<IpAddr> = Vec::new();
    let mut words = format!("flbc real-server --server {}", word(&server.name));
    // Each round adds what was missing: the service once, a gateway for each family.
    for _ in 0..4 {
        let question = SetupQuestion {
            servers: &servers,
            service: only,
            gateways: &gateways,
            label: "flbc-real-server",
        };
        match Needs::of(model, question) {
            Ok(needs) if needs.is_nothing() => return None,
            Ok(_) => {
                for gateway in gateways {
                    words = format!("{words} --gateway {gateway}");
                }
                return Some(words);
            }
            Err(Unknown::Ambiguous { .. }) if only.is_none() => {
                only = Some(service);
                words = format!("{words} --service {}", word(service));
            }
            Err(Unknown::NoGateway { .. }) => match own_address_near(host, server.address) {
                Some(own) if !gateways.contains(&own) => gateways.push(own),
                Some(_) | None => return Some(format!("{words} --gateway GATEWAY")),
            },
            Err(_) => return None,
        }
    }
    None
}

/// This machine's address in a server's network.
fn own_address_near(host: &Host, server: IpAddr) -> Option<IpAddr> {
    let on = match host.way_to(server) {
        Way::Out {
            interface,
            gateway: None,
        } => interface,
        Way::Out { .. } | Way::Local | Way::Nowhere | Way::Refused => return None,
    };
    let mut own = host.addresses.iter().filter(|own| own.interface == on);
    let near = own.find(|own| {
        let network = Prefix::new(own.address, own.prefix);
        network.is_some_and(|network| network.contains(server))
    });
    near.map(|own| own.address)
}

/// What was not looked at, each in a few words. `asked` is how many neighbours are asked for their MAC addresses at most.
pub fn unseen(model: &Model, facts: &Facts<'_>, asked: usize) -> Vec<String> {
    let mut unseen = Vec::new();
    if facts.unresolved.is_none() {
        unseen.push("whether servers and routers answer for their MAC addresses".to_owned());
    }
    if facts.foreign.is_none() {
        unseen.push("chains and rules of other programs".to_owned());
    }
    for table in &facts.host.legacy_tables {
        unseen.push(format!(
            "the rules of table {table}, which is of iptables-legacy"
        ));
    }
    let contacts = paths::contacts(model, facts.host).len();
    if facts.unresolved.is_some() && contacts > asked {
        unseen.push(format!("{} of {contacts} neighbours", contacts - asked));
    }
    let given = model.services.iter().any(|service| {
        let direct = service.mode.direct().is_some();
        direct && live(model, service).any(|server| server.mac.is_some())
    });
    if given {
        unseen.push("whether servers that are given by `mac` are there".to_owned());
    }
    unseen.push("programs of tc and XDP, switches, and the servers themselves".to_owned());
    unseen
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostic::Diagnostics;
    use crate::doctor::machine::tests::host;
    use crate::kernel::host::{Address, Nft, Settings};
    use crate::lower::layout::Layout;
    use crate::source::Sources;
    use crate::syntax::Input;

    fn model(file: &str) -> Model {
        let mut sink = Diagnostics::new();
        let input = Input::Stdin(file.as_bytes().to_vec());
        crate::read(input, &mut Sources::new(), &mut sink).expect("no faults")
    }

    #[test]
    fn each_server_that_needs_something_has_its_command() {
        let mut here = host(Settings::default(), Nft::Unknown);
        let of = |file: &str, host: &Host| on_servers(&model(file), host);
        let direct = "service www { vip 192.0.2.10 tcp 80; mode dr on eth0; server a 10.0.0.1; server b 10.0.0.2 down }";
        let expected = vec!["flbc real-server --server a".to_owned()];
        assert_eq!(of(direct, &here), (expected, 0));
        let nat = "service www { vip 192.0.2.10 tcp 80; server a 10.0.0.1 }";
        let expected = vec!["flbc real-server --server a --gateway GATEWAY".to_owned()];
        assert_eq!(of(nat, &here), (expected, 0));
        here.addresses.push(Address {
            address: [10, 0, 0, 9].into(),
            prefix: 24,
            interface: 2,
            duplicate: false,
        });
        let expected = vec!["flbc real-server --server a --gateway 10.0.0.9".to_owned()];
        assert_eq!(of(nat, &here), (expected, 0));
        let masked =
            "service www { vip 192.0.2.10 tcp 80; mode nat masquerade; server a 10.0.0.1 }";
        assert_eq!(of(masked, &here), (vec![], 0));
        let twice = format!(
            "{direct} service ftp {{ vip 192.0.2.11 tcp 21; mode dr on eth0; server a 10.0.0.3 }}"
        );
        let expected =
            ["www", "ftp"].map(|one| format!("flbc real-server --server a --service {one}"));
        assert_eq!(of(&twice, &here), (expected.to_vec(), 0));
        let many = "service www { vip 192.0.2.10 tcp 80; mode dr on eth0; server a[1-120] 10.0.0.[1-120] }";
        let (commands, more) = of(many, &here);
        assert_eq!((commands.len(), more), (100, 20));
    }

    #[test]
    fn what_was_not_looked_at_is_said() {
        let file = model(
            "service www { vip 192.0.2.10 tcp 80; mode dr on eth0; server a 10.0.0.1; server b 10.0.0.2 }",
        );
        let mut here = host(Settings::default(), Nft::Unknown);
        let nobody = BTreeSet::new();
        let of = |host: &Host, seen: bool, asked| {
            let facts = Facts {
                host,
                unresolved: seen.then_some(&nobody),
                foreign: seen.then_some(&[]),
                layout: Layout::default(),
            };
            let unseen = unseen(&file, &facts, asked);
            unseen.join("; ")
        };
        let always = "programs of tc and XDP, switches, and the servers themselves";
        assert_eq!(of(&here, true, 2), always);
        assert_eq!(of(&here, true, 1), format!("1 of 2 neighbours; {always}"));
        let expected = format!(
            "whether servers and routers answer for their MAC addresses; chains and rules of other programs; {always}"
        );
        assert_eq!(of(&here, false, 1), expected);
        here.legacy_tables.push("iptables nat".to_owned());
        let expected =
            format!("the rules of table iptables nat, which is of iptables-legacy; {always}");
        assert_eq!(of(&here, true, 2), expected);
    }
}
