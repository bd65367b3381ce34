//! The VIPs: whether clients' packets for them come to this machine.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::{Code, Finding};
use crate::kernel::host::{Host, Link, Way};
use crate::model::{Family, Model, Prefix, Service, Vip};

/// Every VIP once, with the first service that has it.
pub(super) fn vips(model: &Model) -> BTreeMap<IpAddr, (&Service, &Vip)> {
    let mut vips = BTreeMap::new();
    for service in &model.services {
        for vip in &service.vips {
            vips.entry(vip.address).or_insert((service, vip));
        }
    }
    vips
}

pub(super) fn examine(model: &Model, host: &Host, findings: &mut Vec<Finding>) {
    for (address, (_, vip)) in vips(model) {
        let bits = Family::of(address).bits();
        let twice = host
            .addresses
            .iter()
            .find(|own| own.address == address && own.duplicate);
        if let Some(own) = twice {
            let name = host.link_at(own.interface).map_or("", |link| &link.name);
            let mut finding = Finding::new(
                Code::VipDuplicate,
                format!(
                    "another machine on {name} answers for {address}: a real server of direct return has to hide it (`flbc real-server` writes how)"
                ),
                format!("ip address del {address}/{} dev {name}", own.prefix),
            );
            finding
                .remedy
                .push(format!("ip address add {address}/{bits} dev {name} nodad"));
            findings.push(finding.at(vip.span));
        } else if host.way_to(address) != Way::Local {
            let (near, why) = match link_near(host, address) {
                Some(link) => (
                    link.name.as_str(),
                    "so nobody on its network can find it".to_owned(),
                ),
                None => (
                    "lo",
                    "and it is in no network of this machine's: a router has to send it here"
                        .to_owned(),
                ),
            };
            let finding = Finding::new(
                Code::VipNowhere,
                format!("no interface has the VIP {address}, {why}"),
                format!("ip address add {address}/{bits} dev {near}"),
            );
            findings.push(finding.at(vip.span));
        }
    }
}

/// The interface whose network the address is in.
fn link_near(host: &Host, address: IpAddr) -> Option<&Link> {
    let near = host.addresses.iter().find(|own| {
        let network = Prefix::new(own.address, own.prefix);
        own.prefix > 0 && network.is_some_and(|network| network.contains(address))
    })?;
    host.link_at(near.interface)
}
