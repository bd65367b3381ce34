//! The VIPs: whether clients' packets for them come to this machine.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::{Finding, FindingCode};
use crate::diagnostic::word;
use crate::kernel::host::{Address, Host, LOOP_GUARD, Link, Way};
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

/// The addresses of all VIPs, to ask whether their packets circle.
pub fn vips_of(model: &Model) -> BTreeSet<IpAddr> {
    vips(model).into_keys().collect()
}

pub(super) fn examine(model: &Model, host: &Host, findings: &mut Vec<Finding>) {
    let mut guarded = host.guarded.clone();
    for (address, (service, vip)) in vips(model) {
        let has = |twice| {
            let mut own = host.addresses.iter();
            own.find(|own| own.address == address && own.duplicate == twice)
        };
        let finding = match (has(true), link_near(host, address), host.way_to(address)) {
            (Some(own), ..) => Some(duplicate(host, own)),
            (None, _, Way::Local) => None,
            // A new address of IPv6 has no route until the kernel begins to look whether another machine has it.
            (None, _, _) if has(false).is_some() => None,
            // What guards it from circling says that a router sends it here.
            (None, Some(_), way @ Way::Out { .. }) if is_guarded(host, address) => {
                routed(host, service, address, way, &mut guarded).map(Finding::known)
            }
            (None, Some(near), Way::Nowhere | Way::Out { .. }) => Some(Finding::new(
                FindingCode::VipNowhere,
                format!("no interface has the VIP {address}, so nobody on its network can find it"),
                format!(
                    "ip address add {address}/{} dev {}",
                    Family::of(address).bits(),
                    word(&near.name)
                ),
            )),
            (None, _, way) => routed(host, service, address, way, &mut guarded),
        };
        findings.extend(finding.map(|finding| finding.at(vip.span)));
    }
}

/// That another table of flbc's has a VIP of the file; `by` is the VIP there, in the words of a file.
pub fn claimed(vip: &Vip, by: &str, table: &str) -> Finding {
    Finding::new(
        FindingCode::VipOfAnotherTable,
        format!("the VIP {vip} meets {by} of flbc's table {table}: a VIP, protocol and port belong to one table, and the kernel is not given a second one"),
        // Which of them is right is for a person to say.
        format!("flbc status --table {}", word(table)),
    )
    .at(vip.span)
}

fn duplicate(host: &Host, own: &Address) -> Finding {
    let address = own.address;
    let name = host.link_at(own.interface).map_or("", |link| &link.name);
    let mut finding = Finding::new(
        FindingCode::VipDuplicate,
        format!(
            "another machine on {name} answers for {address}: a real server of direct return has to hide it (`flbc real-server` writes how)"
        ),
        format!("ip address del {address}/{} dev {}", own.prefix, word(name)),
    );
    let bits = Family::of(address).bits();
    finding.remedy.push(format!(
        "ip address add {address}/{bits} dev {} nodad",
        word(name)
    ));
    finding
}

/// Of a VIP that a router has to send here. `guarded` has the families that have a rule for the loop guard, or are told to
/// have one.
fn routed(
    host: &Host,
    service: &Service,
    address: IpAddr,
    way: Way,
    guarded: &mut BTreeSet<Family>,
) -> Option<Finding> {
    let family = Family::of(address);
    let ip = match family {
        Family::V4 => "ip",
        Family::V6 => "ip -6",
    };
    match way {
        Way::Local => None,
        Way::Out { interface, gateway } if circles(host, address) => {
            let back = gateway.map_or_else(
                || {
                    let link = host.link_at(interface).map_or("?", |link| &link.name);
                    format!("whoever is behind {link}")
                },
                |gateway| format!("the router {gateway}"),
            );
            let bits = family.bits();
            let mut finding = Finding::new(
                FindingCode::VipCircles,
                format!(
                    "no interface has the VIP {address}: what no service takes goes to {back}, which sends it here again, until its TTL ends"
                ),
                format!("{ip} route replace blackhole {address}/{bits} table {LOOP_GUARD}"),
            );
            if guarded.insert(family) {
                let rule = format!("{ip} rule add pref 100 not iif lo lookup {LOOP_GUARD}");
                finding.remedy.insert(0, rule);
            }
            Some(finding)
        }
        // Stopped by a route that packets from outside see alone.
        Way::Out { .. } if forwards(host, family) => None,
        Way::Out { .. } | Way::Nowhere => {
            let finding = Finding::new(
                FindingCode::VipNowhere,
                format!(
                    "no interface has the VIP {address}, and it is in no network of this machine's: a router has to send it here"
                ),
                format!("{ip} route get {address}"),
            );
            Some(finding.known())
        }
        Way::Refused => service.mode.translates().then(|| {
            Finding::new(
                FindingCode::VipRefused,
                format!(
                    "a route refuses packets to the VIP {address}, those of this machine itself too: its own connections to it fail, as does a check by the VIP"
                ),
                format!("{ip} route show to match {address}"),
            )
        }),
    }
}

/// Whether packets for the VIP that come in from outside have a table of their own, and are stopped: by the loop guard or
/// one like it.
fn is_guarded(host: &Host, vip: IpAddr) -> bool {
    let family = Family::of(vip);
    host.apart.contains(&family) && forwards(host, family) && !host.circling.contains(&vip)
}

/// Whether what no service takes of the VIP's packets is sent on to where it comes from.
fn circles(host: &Host, vip: IpAddr) -> bool {
    host.circling.contains(&vip) && forwards(host, Family::of(vip))
}

/// Whether packets are sent on. In IPv4 the kernel looks at it with the route.
fn forwards(host: &Host, family: Family) -> bool {
    let setting = match family {
        Family::V4 => host.settings.ipv4_forward,
        Family::V6 => host.settings.ipv6_forward,
    };
    setting != Some(0)
}

/// The interface whose network the address is in, beside that of the address itself.
pub(super) fn link_near(host: &Host, address: IpAddr) -> Option<&Link> {
    let near = host.addresses.iter().find(|own| {
        let network = Prefix::new(own.address, own.prefix);
        let is_near = own.prefix > 0 && own.address != address;
        is_near && network.is_some_and(|network| network.contains(address))
    })?;
    host.link_at(near.interface)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostic::Diagnostics;
    use crate::doctor::machine::tests::host;
    use crate::kernel::host::{Address, Nft, Settings};
    use crate::source::Sources;
    use crate::syntax::Input;

    /// An address of IPv6 that was just added has no route for a moment.
    #[test]
    fn a_vip_that_the_kernel_still_checks_is_there() {
        let file = "service www { vip 2001:db8::10 tcp 80; server 2001:db8:1::1 }";
        let (mut sources, mut sink) = (Sources::new(), Diagnostics::new());
        let input = Input::Stdin(file.as_bytes().to_vec());
        let model = crate::read(input, &mut sources, &mut sink).expect("no faults");
        for (added, duplicate, found) in [
            (false, false, vec![FindingCode::VipNowhere]),
            (true, false, vec![]),
            (true, true, vec![FindingCode::VipDuplicate]),
        ] {
            let mut host = host(Settings::default(), Nft::Version([1, 0, 6]));
            host.addresses.extend(added.then(|| Address {
                address: "2001:db8::10".parse().expect("an address"),
                prefix: 128,
                interface: 2,
                duplicate,
            }));
            let mut findings = Vec::new();
            examine(&model, &host, &mut findings);
            let codes: Vec<FindingCode> = findings.iter().map(|one| one.code).collect();
            assert_eq!(codes, found, "{added} {duplicate}");
        }
    }
}
