//! Whether this machine asks for MAC addresses, and answers for its VIPs.

use std::collections::BTreeSet;

use super::addresses::{link_near, vips};
use super::{Finding, FindingCode, paths, set_for_link};
use crate::diagnostic::word;
use crate::kernel::host::{Host, Link};
use crate::model::Model;

pub(super) fn examine(model: &Model, host: &Host, findings: &mut Vec<Finding>) {
    silent(model, host, findings);
    ignoring(model, host, findings);
}

/// Interfaces on which nobody is asked for a MAC address: packets to neighbours there bear this machine's own.
fn silent(model: &Model, host: &Host, findings: &mut Vec<Finding>) {
    let contacts = paths::contacts(model, host);
    let to_servers = contacts.into_iter().map(|(index, _)| index);
    let near = vips(model).into_keys();
    let near = near.filter_map(|vip| link_near(host, vip).map(|link| link.index));
    let on = model
        .services
        .iter()
        .filter_map(|service| service.mode.direct());
    let on = on.flat_map(|mode| &mode.on);
    let on = on.filter_map(|name| host.link(name).map(|link| link.index));
    let needed: BTreeSet<u32> = to_servers.chain(near).chain(on).collect();
    let needed = needed.into_iter().filter_map(|index| host.link_at(index));
    // What never asks by its nature has no neighbours.
    let is_silent = |link: &&Link| !link.arp && link.has_neighbours && link.kind != "dummy";
    for link in needed.filter(is_silent) {
        findings.push(Finding::new(
            FindingCode::ArpOff,
            format!(
                "the interface {} asks for no MAC addresses and tells nobody its own (NOARP): no neighbour finds it, and it finds none",
                link.name
            ),
            format!("ip link set dev {} arp on", word(&link.name)),
        ));
    }
}

/// VIPs that an interface has, and another one that clients' routers ask by does not answer for.
fn ignoring(model: &Model, host: &Host, findings: &mut Vec<Finding>) {
    let all = host.settings.arp_ignore.unwrap_or(0);
    for (address, (_, vip)) in vips(model) {
        let mut addresses = host.addresses.iter();
        let own = addresses.find(|own| own.address == address);
        let (Some(own), Some(near)) = (own, link_near(host, address)) else {
            continue;
        };
        if !address.is_ipv4() {
            continue;
        }
        let setting = all.max(near.arp_ignore.into());
        let answers = match setting {
            1 | 2 => own.interface == near.index,
            8 => false,
            _ => true,
        };
        if answers {
            continue;
        }
        let name = &near.name;
        let sentence = format!(
            "{name}, in whose network the VIP {address} is, does not answer for its MAC address (arp_ignore={setting}): nobody on that network finds it"
        );
        let remedy = set_for_link(name, "arp_ignore", 0);
        let mut finding = Finding::new(FindingCode::VipUnanswered, sentence, remedy);
        if all > 0 {
            let everywhere = "sysctl -w net.ipv4.conf.all.arp_ignore=0".to_owned();
            finding.remedy.push(everywhere);
        }
        findings.push(finding.at(vip.span));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostic::Diagnostics;
    use crate::doctor::machine::tests::{host, link};
    use crate::kernel::host::{Address, Nft, Settings};
    use crate::source::Sources;
    use crate::syntax::Input;

    fn found(host: &Host) -> Vec<(FindingCode, String)> {
        let file = "service www { vip 192.0.2.10 tcp 80; server a 10.0.0.1 }";
        let input = Input::Stdin(file.as_bytes().to_vec());
        let model = crate::read(input, &mut Sources::new(), &mut Diagnostics::new());
        let mut findings = Vec::new();
        examine(&model.expect("no faults"), host, &mut findings);
        let told = findings.into_iter();
        told.map(|one| (one.code, one.remedy.join("; "))).collect()
    }

    #[test]
    fn an_interface_that_neither_asks_nor_tells_is_told_where_it_is_needed() {
        let mut here = host(Settings::default(), Nft::Unknown);
        here.links.push(link("eth1", 3));
        here.links[1].arp = false;
        assert_eq!(found(&here), []);
        here.links[0].arp = false;
        let command = "ip link set dev eth0 arp on".to_owned();
        assert_eq!(found(&here), [(FindingCode::ArpOff, command)]);
    }

    #[test]
    fn a_vip_that_its_network_gets_no_answer_for_is_told() {
        let cases = [
            (0, 0, 2, None),
            (0, 1, 2, None),
            (0, 1, 1, Some("sysctl -w net/ipv4/conf/eth0/arp_ignore=0")),
            (0, 8, 2, Some("sysctl -w net/ipv4/conf/eth0/arp_ignore=0")),
            (
                2,
                0,
                1,
                Some(
                    "sysctl -w net/ipv4/conf/eth0/arp_ignore=0; sysctl -w net.ipv4.conf.all.arp_ignore=0",
                ),
            ),
        ];
        for (all, of_link, interface, remedy) in cases {
            let settings = Settings {
                arp_ignore: Some(all),
                ..Settings::default()
            };
            let mut here = host(settings, Nft::Unknown);
            here.links[0].arp_ignore = of_link;
            let own = |address: [u8; 4], prefix, interface| Address {
                address: address.into(),
                prefix,
                interface,
                duplicate: false,
            };
            here.addresses.push(own([192, 0, 2, 1], 24, 2));
            here.addresses.push(own([192, 0, 2, 10], 32, interface));
            let expected = remedy.map(|one| (FindingCode::VipUnanswered, one.to_owned()));
            assert_eq!(
                found(&here),
                Vec::from_iter(expected),
                "{all} {of_link} {interface}"
            );
        }
    }
}
